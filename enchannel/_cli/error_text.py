"""The text of an error, with advice in terms of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import enchannel as ec
from enchannel.errors import Remedy

__all__ = ["ADVICE", "error_text", "reporting_invalid_arguments"]

ADVICE: Mapping[Remedy, str] = {
    Remedy.ALLOW_HTTP: "use https://, or --allow-http if you trust the network",
    Remedy.ALLOW_UNSIGNED: "use a connection file with a key",
    Remedy.CONNECT: "use --existing for a running kernel",
    Remedy.LAUNCH: "start a kernel with `enchannel run --at`",
    Remedy.OVERWRITE: "choose another name, or replace it with `enchannel record --overwrite`",
    Remedy.AUTHENTICATE: "use a URL with its ?token=…, JUPYTER_TOKEN, or --ask-password",
    Remedy.AUTHENTICATE_AT_RELAY: "set ENCHANNEL_TOKEN to its token",
    Remedy.TRUST_CERTIFICATE: "set SSL_CERT_FILE to a file of certificates with that of its issuer",
}


def error_text(error: ec.EnchannelError) -> str:
    """Return the text of an error for somebody at the command line."""
    return error.problem if error.remedy is None else f"{error.problem}; {ADVICE[error.remedy]}"


@contextmanager
def reporting_invalid_arguments() -> Iterator[None]:
    """Report the ValueError of a call whose arguments the user wrote, such as a URL, as ConnectionFailed.

    Raises:
        ConnectionFailed: The call raised ValueError.
    """
    try:
        yield
    except ec.EnchannelError:
        # Some of them are also ValueErrors.
        raise
    except ValueError as error:
        raise ec.ConnectionFailed(str(error)) from None
