"""The command line: a user of the public API, like any other."""
