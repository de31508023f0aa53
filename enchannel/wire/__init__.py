"""How messages look on a wire: bytes in, messages out. No sockets here."""

__all__: list[str] = []
