"""State of the stand-ins: tables of JSON objects, kept in a file where a path is given, and a clock."""

from __future__ import annotations

import json
import secrets
import string
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Table = dict[str, Json]

_ALPHABET = string.ascii_letters + string.digits


class Store:
    """Tables by name, each an id -> object dictionary, the oldest first.

    The server's thread and a test's change it side by side: every read holds `lock`, every change is in `change()`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.lock = threading.RLock()
        #: Called after each change, with the lock free.
        self.on_change: Callable[[], None] = lambda: None
        self._path = path
        self._depth = 0
        self._skew = 0.0
        self._tables: dict[str, Table] = json.loads(path.read_text()) if path and path.exists() else {}

    def table(self, name: str) -> Table:
        return self._tables.setdefault(name, {})

    @contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock, then save. Nothing is rolled back, so check before a change."""
        with self.lock:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                outermost = self._depth == 0
                if outermost:
                    self._save()
        if outermost:
            self.on_change()

    def now(self) -> int:
        """Unix seconds by the provider's clock, which a test may put forward."""
        return int(time.time() + self._skew)

    def advance(self, seconds: float) -> None:
        self._skew += seconds

    def _save(self) -> None:
        if self._path is None:
            return
        # Beside it and renamed: one that is killed while it writes leaves the state of before.
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._tables))
        draft.replace(self._path)


def new_id(prefix: str, length: int = 24) -> str:
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))
