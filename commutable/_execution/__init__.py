"""Running notebooks in kernels."""

from commutable._execution.observable import execute, runnable_cells

__all__ = ["execute", "runnable_cells"]
