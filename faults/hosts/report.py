"""The table of the goals, on the terminal and in docs/reliability.md."""

from __future__ import annotations

import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

from faults.hosts import goals
from faults.hosts.failovers import SCENARIOS
from faults.hosts.goals import Evidence
from faults.hosts.scenarios import Scenario

HEAD = (
    "| scenario | writes back, s | finds back, s | jobs back, s | calls ended | half open | lost | rows wrong"
    " | longest ban, s | HTTP errors | goals not met |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
_BEGIN, _END = "<!-- written by `make hosts`", "<!-- end of `make hosts` -->"


@dataclass
class Result:
    """One scenario as it was played: what was seen, and what does not hold, by goal or invariant."""

    scenario: Scenario
    evidence: Evidence
    unmet: dict[str, list[str]]

    def row(self) -> str:
        found, bans = self.evidence, goals.ban_seconds(self.evidence)
        errors = ", ".join(f"{count} {name}" for name, count in sorted(goals.http_errors(found).items()))
        cells = [
            f"`{self.scenario.name}`",
            _seconds(goals.seconds_until_writes(found)),
            _seconds(goals.seconds_until_finds(found)),
            _seconds(goals.seconds_until_jobs(found)),
            str(len(goals.ended_early(found))),
            str(len(goals.half_open(found))),
            str(len(goals.nothing_lost(found))),
            str(len(goals.call_rows(found))),
            _seconds(max(bans.values())) if bans else "–",
            errors or "none",
            ", ".join(self.unmet) or "none",
        ]
        return f"| {' | '.join(cells)} |"


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None or seconds == float("inf") else f"{seconds:.1f}"


def write(document: Path, results: list[Result], machine: str) -> None:
    """Put the rows into the document, in the place of those of the same scenarios."""
    text = document.read_text()
    begin, end = text.index(_BEGIN), text.index(_END)
    kept = {name: row for row, name in re.findall(r"^(\| `([a-z0-9-]+)` \| .* \|)$", text[begin:end], re.M)}
    rows = kept | {result.scenario.name: result.row() for result in results}
    lines = [
        f"{_BEGIN}, the last time on {time.strftime('%Y-%m-%d')} -->",
        "",
        f"The machine: {machine}; Linux {platform.release().partition('-')[0]}.",
        "",
        HEAD,
        *(rows[name] for name in SCENARIOS if name in rows),
        "",
    ]
    document.write_text(text[:begin] + "\n".join(lines) + "\n" + text[end:])
