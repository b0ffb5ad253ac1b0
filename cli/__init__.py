"""The operator's door: `parlance`."""

from cli.main import main

__all__ = ["main"]
