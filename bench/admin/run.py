"""Administration queries on a large deployment: `python -m bench.admin.run` writes results/admin.md.

A scratch PostgreSQL is filled with a million accounts and five million calls (testing/load_users.sql). Each query is
run through the service method that its entry point calls, twenty times, and its statements are explained; the run fails
where one of them reads a whole table that grows with the deployment. Then all of it is deleted.
"""

from __future__ import annotations

import asyncio
import platform
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench import figures
from bench.beside import prepare
from container import Container
from devtools.embedded import EmbeddedServices
from testing import load_users
from testing.containers import load_settings, running_container

RESULTS = Path(__file__).resolve().parent.parent / "results" / "admin.md"
SIZES = {"users": 1_000_000, "sessions": 5_000_000, "orders": 300_000, "reports": 200_000, "entries": 200_000}
TIMES = 20
#: Of these the whole plan is shown; of the others, by which indexes it reads.
SHOWN = ("stats, not kept", "users: all, midway", "users: search, three letters", "orders: pending", "audit: by one")


async def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="parlance-bench-") as folder:
        directory = Path(folder)
        with EmbeddedServices(directory / "services", durable=False, only=("postgres", "valkey")) as services:
            settings = load_settings(prepare(directory, services))
            load_users.fill_tables(settings, **SIZES)
            print(f"filled after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            async with running_container(settings) as container:
                lines, medians, whole = await _ask(container)
    report = "\n".join([*_head(time.monotonic() - began), *lines, ""])
    RESULTS.write_text(report)
    dashboard = medians.pop("stats, not kept")
    figures.write(
        "admin",
        [
            figures.Figure("the dashboard, a million accounts, median", "ms", dashboard),
            figures.Figure("the slowest list or search of operators, median", "ms", max(medians.values())),
        ],
    )
    print(report)
    if whole:
        sys.exit(f"a whole table is read by: {', '.join(whole)}")


async def _ask(container: Container) -> tuple[list[str], dict[str, float], list[str]]:
    titles = ("question", "first, ms", "fastest, ms", "median, ms", "slowest, ms", "reads by")
    table = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    shown, medians, whole = [], {}, []
    asked = load_users.questions(container, SIZES["users"])
    asked["stats, kept in Redis"] = container.dashboard.read
    for name, question in asked.items():
        taken = []
        for _ in range(1 + TIMES):
            if "not kept" in name:
                await container.redis.delete("admin:stats")
            started = time.perf_counter()
            await question()
            taken.append((time.perf_counter() - started) * 1000)
        if "not kept" in name:
            await container.redis.delete("admin:stats")
        explained = await load_users.plans(container, question, "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF")
        plan = [line for each in explained.values() for line in each]
        indexes = dict.fromkeys(re.findall(r"(?:using|Index Scan on) (\w+)", "\n".join(plan)))
        if load_users.sequential_scans(plan):
            whole.append(name)
        first, *rest = taken
        medians[name] = statistics.median(rest)
        by = ", ".join(indexes) or "nothing of PostgreSQL"
        times = " | ".join(f"{each:.1f}" for each in (first, min(rest), medians[name], max(rest)))
        table.append(f"| {name} | {times} | {by} |")
        if name in SHOWN:
            shown += ["", f"### {name}", ""]
            for statement, lines in explained.items():
                shown += ["```", " ".join(statement.split())[:160], *lines, "```"]
    return [*table, "", "## Plans", *shown], medians, whole


def _head(seconds: float) -> list[str]:
    sizes = ", ".join(f"{count:,} {name}" for name, count in SIZES.items())
    return [
        "# Administration queries at scale",
        "",
        f"`make bench-admin`: {sizes} (of the audit log). PostgreSQL as it comes (128 MB of shared buffers, no fsync),"
        f" just vacuumed; each question {TIMES} times, one after another, through the services; {seconds:.0f} s in all,"
        f" most of it filling. Python {platform.python_version()}, two cores that others use too,"
        f" {time.strftime('%Y-%m-%d')}.",
        "",
        "The run fails where a plan reads a whole table that grows. *Midway* is a page in the middle of the list. The"
        " calls are spread over a year: the dashboard's 30 days hold one in twelve of them. The first run reads"
        " what is not in memory yet; the slowest of the others includes what else the machine does.",
        "",
    ]


if __name__ == "__main__":
    asyncio.run(main())
