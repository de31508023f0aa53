"""The tests of the rules, by what they are about."""

__all__: list[str] = []
