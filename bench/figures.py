"""Figures of benchmarks for docs/performance.md: results/{name}.json beside each report."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """What one operation took here and at the peer; the goal is of ours divided by theirs."""

    operation: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    goal: float | None = None
    less_is_better: bool = False


def write(name: str, figures: list[Figure], **more: Any) -> None:
    """Write the figures of a benchmark, with more of its results."""
    report = {"date": time.strftime("%Y-%m-%d"), **more, "figures": [asdict(each) for each in figures]}
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")


def read(name: str) -> dict[str, Any] | None:
    """Read the figures of a benchmark; None if it has not been run."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def table(titles: list[str], rows: list[list[Any]]) -> list[str]:
    """A table of Markdown."""
    return [f"| {' | '.join(map(str, cells))} |" for cells in (titles, ["---"] * len(titles), *rows)]
