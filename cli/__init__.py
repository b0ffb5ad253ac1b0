"""Command line of operators: `parlance`."""

from cli.main import main

__all__ = ["main"]
