"""`python -m faults.run [SCENARIO...]`: each fault under load, then a report of its effects.

Writes the rows of docs/reliability.md; all take twenty-five minutes. Exit 1 where anything was lost. All traffic stays
on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import psycopg
import redis

from container import Container
from faults.deployment import PROCESS_LOSS_GRACE, ROOT, FaultDeployment
from faults.invariants import INVARIANTS, Stores, broken
from faults.load import Claims
from faults.scenarios import DISKS, SCENARIOS, small_disk
from testing.payments import add_course
from testing.pictures import bucket
from testing.servers import PASSWORD

DOCUMENT = ROOT / "docs" / "reliability.md"
ADMIN = "operator@example.com"
#: Seconds of load before a fault, and behind it; and those in which everything has to be settled.
BEFORE, BEHIND, SETTLE = 5, 10, 90
#: User actions that have to work again: names in the load, and in the table.
WANTED = {
    "call": "calls",
    "register": "registrations",
    "refresh": "refreshes",
    "order": "orders",
    "picture": "pictures",
    "video": "videos",
}


class Result:
    """What one scenario showed."""

    def __init__(self, name: str, claims: Claims, began: float, over: float, lost: dict[str, list[str]]) -> None:
        """`began` is when the fault did, `over` when the load was stopped."""
        self.name, self.claims, self.lost = name, claims, lost
        self.began, self.over = began, over

    def silences(self) -> dict[str, float]:
        """For how many seconds, at the longest, nothing of a kind worked: from just before the fault to the end."""
        found = {}
        for what in WANTED:
            times = [at for at, each, outcome in self.claims.tries if each == what and outcome == "ok"]
            around = [self.began, *(at for at in times if self.began < at < self.over), self.over]
            found[what] = max(later - earlier for earlier, later in pairwise(around))
        return found

    def errors(self) -> Counter[str]:
        return Counter(
            outcome
            for at, _, outcome in self.claims.tries
            if at > self.began and (outcome == "lost" or outcome.startswith(("5", "ended")))
        )

    def p99(self) -> float:
        """Milliseconds of /health from the fault on."""
        taken = sorted(seconds for at, seconds in self.claims.health if at > self.began)
        return taken[len(taken) * 99 // 100] * 1000 if taken else -1

    def row(self) -> str:
        outcomes = Counter(what for _, what, outcome in self.claims.tries if outcome == "ok")
        done = ", ".join(f"{outcomes[what]} {title}" for what, title in WANTED.items())
        silent = ", ".join(
            f"{title} {seconds:.1f}" for title, seconds in zip(WANTED.values(), self.silences().values(), strict=True)
        )
        errors = ", ".join(f"{count} {name}" for name, count in sorted(self.errors().items())) or "none"
        lost = "; ".join(f"{name}: {len(sentences)}" for name, sentences in self.lost.items()) or "nothing"
        return f"| {_title(self.name)} | {done} | {silent} | {errors} | {self.p99():.0f} | {lost} |"


def play(deployment: FaultDeployment, name: str, course: str) -> Result:
    """Run the load, do it, wait until all is settled, and look what was lost."""
    command = [sys.executable, "-m", "faults.load", deployment.server.url, deployment.stand_ins.url, course, ADMIN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as load:
        assert load.stdin is not None and load.stdout is not None
        try:
            if load.stdout.readline().strip() != "begun":
                raise SystemExit(f"{name}: the load did not begin")
            time.sleep(BEFORE)
            began = time.time()
            deployment.send_to_load = functools.partial(_send_line, load)
            SCENARIOS[name](deployment)
            time.sleep(BEHIND)
            over = time.time()
            deployment.send_to_load("end")
            claims = Claims(**json.loads(load.stdout.readline()))
        finally:
            load.kill()
    with ExitStack() as stack:
        stores = Stores(
            stack.enter_context(psycopg.connect(deployment.settings.database_url, autocommit=True)),
            stack.enter_context(redis.Redis("127.0.0.1", deployment.settings.redis_port, decode_responses=True)),
            claims,
            deployment.settings,
            bucket(deployment.settings),
            deployment.stand_ins,
        )
        time.sleep(PROCESS_LOSS_GRACE + 2)
        deadline = time.monotonic() + SETTLE
        while (lost := broken(stores, INVARIANTS)) and time.monotonic() < deadline:
            time.sleep(1)
    verified = subprocess.run(
        [sys.executable, "-m", "cli", "audit", "verify"],
        env={**deployment.environment, "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if verified.returncode:
        lost["audit"] = [verified.stderr.strip()]
    if deployment.complaints:
        lost["seen"] = deployment.complaints
    return Result(name, claims, began, over, lost)


def _send_line(load: subprocess.Popen[str], line: str) -> None:
    assert load.stdin is not None
    load.stdin.write(f"{line}\n")
    load.stdin.flush()


async def _furnish(deployment: FaultDeployment) -> str:
    """Make the operator and the course that is sold."""
    services = Container(deployment.settings)
    await services.administrators.create(ADMIN, PASSWORD)
    course = await add_course(services)
    await services.close()
    return course


def main(names: Sequence[str]) -> None:
    if unknown := set(names) - SCENARIOS.keys():
        raise SystemExit(f"there is no {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    chosen = [name for name in SCENARIOS if not names or name in names]
    results: list[Result] = []
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-faults-", ignore_cleanup_errors=True))
        )
        for name in chosen:
            # Each has a deployment of its own: what one fault did is not taken for the effect of the next.
            with ExitStack() as rooms:
                # A short name: sockets of processes are in it.
                place = directory / str(len(results))
                if name in DISKS:
                    folder, megabytes = DISKS[name]
                    rooms.enter_context(small_disk(place / folder, megabytes))
                deployment = FaultDeployment(place, rooms)
                result = play(deployment, name, asyncio.run(_furnish(deployment)))
            results.append(result)
            write(results)
            print(result.row(), flush=True)
            for invariant, sentences in result.lost.items():
                print(f"  {invariant}: {'; '.join(sentences[:5])}", flush=True)
    if any(result.lost for result in results):
        raise SystemExit("something was lost")


def write(results: list[Result]) -> None:
    """Put the rows into docs/reliability.md, between its marks, in the place of those of the same scenarios."""
    text = DOCUMENT.read_text()
    by_title = {_title(name): name for name in SCENARIOS}
    kept = {
        by_title[title]: row for row, title in re.findall(r"^(\| ([^|]+) \| .* \|)$", text, re.M) if title in by_title
    }
    rows = kept | {result.name: result.row() for result in results}
    lines = [
        f"<!-- written by `make faults`, the last time on {time.strftime('%Y-%m-%d')} -->",
        "",
        f"The machine: {machine()}.",
        "",
        "| fault | successful meanwhile | longest gap, s | errors seen by users | p99 of /health, ms | lost |",
        "| --- | --- | --- | --- | --- | --- |",
        *(rows[name] for name in SCENARIOS if name in rows),
        "",
        "Invariants, checked after each fault:",
        "",
        *(f"- {each.__doc__}" for each in INVARIANTS),
        "- The audit log's hash chain is intact.",
        "",
        "<!-- until here -->",
    ]
    DOCUMENT.write_text(re.sub(r"<!-- written by .*<!-- until here -->", lambda _: "\n".join(lines), text, flags=re.S))


def machine() -> str:
    """Say on what this was seen."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, for the product, its stores and the load"


def _title(name: str) -> str:
    return (SCENARIOS[name].__doc__ or "").rstrip(".")


if __name__ == "__main__":
    main(sys.argv[1:])
