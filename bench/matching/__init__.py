"""Matching beside Node: `python -m bench.matching.run`."""
