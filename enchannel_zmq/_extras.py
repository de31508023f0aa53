"""The extra of enchannel that a launch requires."""

__all__ = ["PYTHON_KERNEL", "launch_extra"]

PYTHON_KERNEL = "python3"  # the kernelspec of ipykernel


def launch_extra(kernelspec: str) -> str:
    """Return the extra that launching the kernelspec requires."""
    return "kernel" if kernelspec == PYTHON_KERNEL else "launch"
