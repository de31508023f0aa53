"""The command line, as a shell and a person see it."""
