"""Finding a kernel by the beginning of its id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from enchannel._protocol.models import KernelModel
from enchannel._protocol.url_secrets import redact_url
from enchannel.errors import ConnectionFailed

__all__ = ["find_kernel"]

KernelT = TypeVar("KernelT", bound=KernelModel)


def find_kernel(kernels: Sequence[KernelT], beginning: str, place: str) -> KernelT:
    """Return the kernel whose id has an unambiguous beginning.

    Args:
        kernels: The kernels to search.
        beginning: The id, or the beginning of it.
        place: The URL of their server, for error messages, which do not show a token in it.

    Raises:
        ConnectionFailed: No kernel or several kernels match.
    """
    exact = [kernel for kernel in kernels if kernel.id == beginning]
    matching = exact or [kernel for kernel in kernels if kernel.id.startswith(beginning)]
    if len(matching) == 1:
        return matching[0]
    place = redact_url(place)
    ids = ", ".join(kernel.id for kernel in matching or kernels) or "none"
    if matching:
        raise ConnectionFailed(
            f"{beginning!r} matches several kernels on {place}; use more characters of an id: {ids}"
        )
    raise ConnectionFailed(f"no kernel on {place} matches {beginning!r}; running kernels: {ids}")
