"""Recordings: writer, file format, player."""
