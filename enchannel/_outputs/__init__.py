"""Outputs of a request: types, the reducer, size limits, results."""
