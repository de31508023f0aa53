"""The tests of the rules, by subject."""

__all__: list[str] = []
