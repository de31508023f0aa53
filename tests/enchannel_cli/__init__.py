"""Tests of the command line, used from a shell and on a terminal."""
