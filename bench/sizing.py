"""Sizing of deployments, from the figures of a measured day and assumptions about learners.

Figures come from results/*.json; assumptions are here, with their sources.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bench import figures
from bench.day.learners import CALL_SECONDS

#: Learners a day.
SIZES = {"1x": 100_000, "10x": 1_000_000, "100x": 10_000_000}
#: How often a learner opens the app in a day, for how many minutes; a day's calls have a sixtieth of their length.
VISITS, VISIT_MINUTES, CALL_MINUTES = 1.0, 15.0, CALL_SECONDS
#: How full a core, a network or a host is planned to be at the busiest hour: the rest is for its busiest minute, for a
#: host that is away, and for what differs from this machine.
FULL = 0.5
HOST_CORES = 8
#: Opus as browsers send it: 32 kbit/s of speech in packets of 20 ms (RFC 7587), each with 12 bytes of RTP, 10 of SRTP's
#: tag, 8 of UDP, 20 of IPv4 and 4 of TURN's channel (RFC 8656).
AUDIO_KBITS = 32 + 50 * (12 + 10 + 8 + 20 + 4) * 8 / 1000
#: Calls that need the relay, as callstats.io saw it in 2015 over all the services that it watched ("22% of the
#: conferences need some kind of a TURN relay server"). On mobile networks it may be more.
RELAYED = 0.22
NETWORK_KBITS = 1_000_000
#: Learners who watch a lesson, for how many minutes, in 720p.
WATCH, WATCH_MINUTES, VIDEO_KBITS = 0.1, 10.0, 2800


class Need(NamedTuple):
    what: str
    by_size: dict[str, str]


def _rounded(value: float) -> str:
    """Two digits that count: nothing here is known better."""
    if value == 0:
        return "0"
    digits = 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def calls_a_second(day: dict[str, Any], learners: float) -> float:
    """Calls that begin in a second of the busiest hour."""
    return float(learners * VISITS * day["calls_a_visit"] * day["peak_share"] / 3600)


def machine(day: dict[str, Any]) -> list[list[str]]:
    """What one machine carries that has everything on it, by its cores: calls a second, calls at once, learners."""
    rows = []
    for cores in (2, 4, 8, 16):
        rate = (cores * FULL - sum(day["resting_cores"].values())) / sum(day["call_ms"].values()) * 1000
        learners = rate / calls_a_second(day, 1)
        rows.append([str(cores), _rounded(rate), _rounded(rate * CALL_MINUTES * 60), _rounded(learners)])
    return rows


def full_cores(day: dict[str, Any]) -> list[list[str]]:
    """How many calls a second one core of each carries when it is full; the least first."""
    ways = {
        "server": "another web process, on this host or another: they share only the stores",
        "PostgreSQL": "another core of its host: each connection is a process; commits wait for the disk in groups",
        "job worker": "another job worker, on any host",
        "S3": "any S3 service",
        "Valkey": "one thread runs all scripts; see below",
    }
    rates = {name: 1000 / day["call_ms"][name] for name in ways if day["call_ms"][name] > 0}
    return [
        [name, f"{day['call_ms'][name]:.2f}", _rounded(rate), ways[name]]
        for name, rate in sorted(rates.items(), key=lambda each: each[1])
    ]


def requirements(day: dict[str, Any]) -> list[Need]:
    """What a deployment of each size needs in its busiest hour."""
    measured = (figures.read("sockets") or {"figures": []})["figures"]
    socket_kb = next((each["ours"] for each in measured if each["unit"] == "KB"), 0)
    needs: dict[str, dict[str, str]] = {}

    def note(size: str, what: str, needed: str) -> None:
        needs.setdefault(what, {})[size] = needed

    for size, learners in SIZES.items():
        rate = calls_a_second(day, learners)
        at_once = rate * CALL_MINUTES * 60
        sockets = learners * VISITS * day["peak_share"] * VISIT_MINUTES / 60
        cores = {name: rate * each / 1000 for name, each in day["call_ms"].items()}
        cores["server"] += sockets * day["socket_us"]["server"] / 1e6
        workers = max(2, math.ceil(cores["server"] / FULL))
        hosts = max(2, math.ceil(workers / HOST_CORES))
        jobs = max(1, math.ceil(cores["job worker"] / FULL))
        relay = at_once * RELAYED * 2 * AUDIO_KBITS
        year = rate * 3600 / day["peak_share"] * 365 * day["call_bytes"]
        video = learners * WATCH * day["peak_share"] * WATCH_MINUTES / 60 * VIDEO_KBITS
        note(size, "learners a day", f"{learners:,}")
        note(size, "calls started a second", _rounded(rate))
        note(size, "calls at once", _rounded(at_once))
        note(size, "sockets at once", _rounded(sockets))
        note(size, "signaling events a second", _rounded(rate * day["events_a_call"]))
        note(size, "server: cores busy", _rounded(cores["server"]))
        note(size, "server: web processes, a core each", f"{workers:,}")
        note(size, f"server: hosts of {HOST_CORES} cores, two at least", f"{hosts:,}")
        note(size, "server: memory of sockets, GB", _rounded(sockets * socket_kb / 1024**2))
        note(size, "job workers", f"{jobs:,}")
        note(size, "PostgreSQL: cores busy", _rounded(cores["PostgreSQL"]))
        note(size, "PostgreSQL: transactions a second", _rounded(rate * day["transactions_a_call"]))
        note(size, "PostgreSQL: connections at most", f"{workers * 11 + jobs * 11:,}")
        note(
            size,
            "PostgreSQL: GB of calls a year",
            _rounded(year / 1e9),
        )
        note(size, "Redis: share of its one core", f"{cores['Valkey']:.1%}")
        note(size, "Redis: primaries", f"{max(1, math.ceil(cores['Valkey'] / FULL)):,}")
        note(size, "TURN: Gbit/s in, and the same out", _rounded(relay / 1e6))
        note(size, "TURN: hosts of 1 Gbit/s, half full", f"{max(1, math.ceil(relay / NETWORK_KBITS / FULL)):,}")
        note(size, "S3: Gbit/s of lessons", _rounded(video / 1e6))
    return [Need(what, by_size) for what, by_size in needs.items()]


def assumed() -> list[str]:
    """What was assumed of learners and networks."""
    return [
        f"- A learner opens the app {VISITS:g} times a day, for {VISIT_MINUTES:g} minutes; a call lasts"
        f" {CALL_MINUTES:g}. Calls per visit and the share of the busiest hour are those of the benchmark's day.",
        f"- A core, a host and a network are planned to be {FULL:.0%} full in the busiest hour.",
        f"- {RELAYED:.0%} of calls need the relay, each {2 * AUDIO_KBITS:.0f} kbit/s in and as much out:"
        f" two directions of {AUDIO_KBITS:.0f} kbit/s.",
        f"- {WATCH:.0%} of learners watch {WATCH_MINUTES:g} minutes of lessons a day, at {VIDEO_KBITS:,} kbit/s.",
    ]
