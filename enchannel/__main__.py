"""``enchannel`` on the command line; also ``python -m enchannel``."""

from enchannel._cli.command import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
