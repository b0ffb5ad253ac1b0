"""Report of a day: its spans, and from them results/day.md and day.json."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bench import figures
from bench.day.learners import CALL_SECONDS, DROPS, LEVELS, LOGS_IN, SEARCH_SECONDS

LEARNERS = int(os.environ.get("DAY_LEARNERS", "2500"))
HOUR = float(os.environ.get("DAY_HOUR", "5"))
#: How many open the app in a second of the busiest hour.
VISITS = float(os.environ.get("DAY_VISITS", "20"))
#: Of 24 hours, how busy each is; the busiest is 1. An evening of one time zone, and a smaller noon.
CURVE = (
    *(0.12, 0.07, 0.05, 0.04, 0.05, 0.08, 0.15, 0.28, 0.4, 0.45, 0.45, 0.5),
    *(0.6, 0.58, 0.5, 0.48, 0.52, 0.62, 0.78, 0.93, 1.0, 0.9, 0.6, 0.3),
)
#: How many sockets do nothing while it is measured what they cost.
SOCKETS = 2 * LEARNERS
#: What users would notice, in milliseconds: 99 of 100 answers of /health and candidates are quicker, and 9 of 10
#: searches.
HEALTH_LIMIT, RELAY_LIMIT, SEARCH_LIMIT = 250, 250, 5000

SERVER, JOBS, POSTGRES, VALKEY, S3 = "server", "job worker", "PostgreSQL", "Valkey", "S3"
LOAD, BENCH, OTHERS = "learners", "stand-ins, measuring", "others on this machine"
PRODUCT = (SERVER, JOBS, POSTGRES, VALKEY, S3)


@dataclass
class Span:
    """What was measured between two looks."""

    name: str
    seconds: float
    #: How many were to open the app in a second.
    visits: float
    #: CPU seconds by process, and of the busiest worker of the server.
    cpu: dict[str, float]
    busiest_worker: float
    counted: dict[str, Any]
    #: Milliseconds of /health.
    health: list[float]
    events: float

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.counted["counts"])

    @property
    def relays(self) -> list[float]:
        return list(self.counted["relays"])

    def waits(self, level: str = "") -> list[float]:
        """Seconds that searches took."""
        return [seconds for name, seconds in self.counted["waits"] if not level or name == level]

    def cores(self) -> dict[str, float]:
        """How many cores each process kept busy."""
        return {name: seconds / self.seconds for name, seconds in self.cpu.items()}


def at(values: list[float], share: float) -> float:
    """The value that so many of the values do not reach; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def noticed(span: Span) -> list[str]:
    """Return what users would notice."""
    taken = {
        "/health": (at(span.health, 0.99), HEALTH_LIMIT),
        "a candidate": (at(span.relays, 0.99), RELAY_LIMIT),
        "a search": (at(span.waits(), 0.9) * 1000, SEARCH_LIMIT),
    }
    found = [f"{what} {took:.0f} ms" for what, (took, limit) in taken.items() if took > limit]
    if span.counts["nobody left to come"] > span.counts["visits"] / 20:
        found.append("of the bench itself: too few learners")
    return found


def failed(counts: Counter[str]) -> dict[str, int]:
    """What went wrong for learners, by how often."""
    return {name: count for name, count in counts.items() if ":" in name and not name.startswith("left:")}


def summary(span: Span) -> str:
    counts, waits = span.counts, span.waits()
    cores = ", ".join(f"{name} {cores:.2f}" for name, cores in span.cores().items())
    return (
        f"{counts['visits'] / span.seconds:.1f} visits/s, {counts['calls'] / span.seconds:.1f} calls/s,"
        f" search p50 {at(waits, 0.5):.2f} p99 {at(waits, 0.99):.2f} s, candidate p99 {at(span.relays, 0.99):.0f} ms,"
        f" health p99 {at(span.health, 0.99):.0f} ms, {span.events / span.seconds:.0f} events/s; cores: {cores}"
        f" {failed(counts) or ''}"
    )


def write(
    base: Span,
    idle: Span,
    hours: list[Span],
    steps: list[Span],
    rest: Span,
    memory: list[dict[str, float]],
    errors: int,
    call_bytes: int,
    transactions: int,
    seconds: float,
) -> None:
    """Write both files, and print the report."""
    total: Counter[str] = sum((span.counts for span in (*hours, *steps, rest)), Counter())
    day: Counter[str] = sum((span.counts for span in hours), Counter())
    resting = base.cores()
    lasted = sum(span.seconds for span in hours)
    # Learners of the last hour still talk when the day ends; the day began without any.
    spent = {name: sum(span.cpu[name] for span in hours) - resting[name] * lasted for name in PRODUCT}
    call = {name: max(0.0, spent[name]) / day["calls"] * 1000 for name in PRODUCT}
    socket = {name: max(0.0, idle.cores()[name] - resting[name]) / SOCKETS * 1e6 for name in (SERVER, VALKEY)}
    answers: dict[str, list[float]] = {}
    for span in hours:
        for what, taken in span.counted["answers"].items():
            answers.setdefault(what, []).extend(taken)
    result = {
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "hour": HOUR,
        "peak_visits": VISITS,
        "peak_share": max(CURVE) / sum(CURVE),
        "calls_a_visit": day["calls"] / day["visits"],
        "call_ms": call,
        "socket_us": socket,
        "resting_cores": {name: resting[name] for name in PRODUCT},
        "memory": memory,
        "errors": errors,
        "call_bytes": call_bytes,
        "transactions_a_call": transactions / day["calls"],
        "counts": dict(total),
        "others": sum(span.cpu[OTHERS] for span in hours) / lasted,
        "learners": sum(span.cpu[LOAD] for span in hours) / lasted,
        "events_a_call": sum(span.events for span in hours) / day["calls"],
        "hours": [_summarize(span) for span in hours],
        "steps": [{**_summarize(span), "noticed": noticed(span)} for span in steps],
        "answers": {what: [len(taken), at(taken, 0.5), at(taken, 0.99)] for what, taken in answers.items()},
    }
    whole = figures.Figure("a call, with all that belongs to it", "ms of CPU, all processes", sum(call.values()))
    figures.write("day", [whole], **result)
    text = "\n".join(_lines(result, day, total))
    (figures.RESULTS / "day.md").write_text(text)
    print(text)


def _summarize(span: Span) -> dict[str, Any]:
    return {
        "name": span.name,
        "seconds": span.seconds,
        "visits": span.counts["visits"] / span.seconds,
        "calls": span.counts["calls"] / span.seconds,
        "here": span.counted["here"],
        "searches": span.counts["searches"],
        "matched": span.counts["matched"],
        "expired": span.counts["expired"],
        "cancelled": span.counts["cancelled"],
        "drops": span.counts["drops"],
        "resumed": span.counts["resumed"],
        "waits": {level: _percentiles(span.waits(level)) for level in ("", "all", *LEVELS)},
        "candidate": _percentiles(span.relays),
        "health": _percentiles(span.health),
        "events": span.events / span.seconds,
        "cores": span.cores(),
        "busiest_worker": span.busiest_worker / span.seconds,
        "failed": failed(span.counts),
    }


def _percentiles(values: list[float]) -> list[float]:
    """How many, and the 50th, 90th and 99th percentile."""
    return [len(values), *(round(at(values, share), 3) for share in (0.5, 0.9, 0.99))]


def _lines(result: dict[str, Any], day: Counter[str], total: Counter[str]) -> list[str]:
    def cell(values: list[float]) -> str:
        return " / ".join(f"{value:.2f}" for value in values[1:]) if values[0] else ""

    levels, watched = ("all", *LEVELS), (*PRODUCT, LOAD, BENCH, OTHERS)
    hours = [
        [
            each["name"],
            f"{each['visits']:.1f}",
            f"{each['calls']:.1f}",
            f"{each['matched'] / each['searches']:.0%}" if each["searches"] else "",
            *(cell(each["waits"][level]) for level in levels),
            cell(each["candidate"]),
            cell(each["health"]),
            f"{each['events']:.0f}",
            *(f"{each['cores'][name]:.2f}" for name in PRODUCT),
        ]
        for each in result["hours"]
    ]
    steps = [
        [
            each["name"],
            f"{each['visits']:.1f}",
            f"{each['calls']:.1f}",
            *(cell(values) for values in (each["waits"][""], each["candidate"], each["health"])),
            f"{each['busiest_worker']:.2f}",
            *(f"{each['cores'][name]:.2f}" for name in watched),
            ", ".join(each["noticed"]),
        ]
        for each in result["steps"]
    ]
    costs = [
        ["ms of CPU a call", *(f"{result['call_ms'][name]:.2f}" for name in PRODUCT)],
        ["cores when nobody is there", *(f"{result['resting_cores'][name]:.3f}" for name in PRODUCT)],
    ]
    for when, memory in zip(("before the day", "after it", "when all have gone"), result["memory"], strict=True):
        costs.append([f"MB, {when}", *(f"{memory[name]:.0f}" for name in PRODUCT)])
    answers = [
        [what, f"{count:,}", f"{p50:.1f}", f"{p99:.1f}"]
        for what, (count, p50, p99) in sorted(result["answers"].items())
    ]
    return [
        "# A day in the life",
        "",
        f"`make bench-day`: {day['visits']:,} visits of learners in a day whose hours last {result['hour']:g} s, then"
        f" more and more of them; {result['seconds']} s in all. Python {platform.python_version()}, {result['cores']}"
        f" cores, which the learners ({result['learners']:.2f} cores) and others here ({result['others']:.2f})"
        f" shared with the product; {time.strftime('%Y-%m-%d')}.",
        "",
        "Two web processes, a job worker, PostgreSQL (every commit on the disk), Valkey, S3, stand-ins of"
        f" Stripe, Firebase and Resend. Calls last {CALL_SECONDS:g} s and searches {SEARCH_SECONDS:g} s, a sixtieth of"
        f" what they stand for; {DROPS:.0%} of learners lose the network in a call, {LOGS_IN:.0%} log in by password,"
        " the others refresh. All shares are in `bench/day/learners.py`.",
        "",
        "## What happened",
        "",
        f"- {total['searches']:,} searches: {total['matched']:,} matched, {total['cancelled']:,} given up,"
        f" {total['expired']:,} expired.",
        f"- {total['calls']:,} calls; {total['drops']:,} drops, of which {total['stayed away']:,} stayed away and"
        f" {total['resumed']:,} resumed; {total['left: disconnected']:,} were left by a partner who did not come back.",
        f"- {total['rated']:,} ratings, {total['reported']:,} reports, {total['bought']:,} courses bought and open.",
        f"- Went wrong: {failed(total) or 'nothing'}; {result['errors']} errors in the server's log.",
        "",
        "## By hour",
        "",
        "Seconds from `find_partner` to `match_found`, p50 / p90 / p99, by the level that was searched for;"
        " milliseconds of a candidate from phone to phone and of `/health` in the same way; cores that were busy.",
        "",
        *figures.table(
            ["hour", "visits/s", "calls/s", "matched", *levels, "candidate, ms", "health, ms", "events/s", *PRODUCT],
            hours,
        ),
        "",
        "## More and more of them",
        "",
        f"Each step with more visits, until /health ({HEALTH_LIMIT} ms) or a candidate ({RELAY_LIMIT} ms) takes too"
        f" long for one of a hundred, or a search ({SEARCH_LIMIT / 1000:g} s) for one of ten.",
        "",
        *figures.table(
            [
                *("times the busiest hour", "visits/s", "calls/s", "search, s", "candidate, ms", "health, ms"),
                *("busiest worker", *watched, "noticed"),
            ],
            steps,
        ),
        "",
        "## What it costs",
        "",
        "CPU of the day's hours, less what the deployment needs when nobody is there, for each call: the logins,"
        " searches, reads and ratings around it included.",
        "",
        *figures.table(["", *PRODUCT], costs),
        "",
        f"Together a call takes {sum(result['call_ms'].values()):.1f} ms of CPU. A socket that does nothing takes"
        f" {result['socket_us'][SERVER]:.0f} µs of the server's in a second.",
        "",
        *figures.table(["request", "how many", "p50, ms", "p99, ms"], answers),
        "",
    ]
