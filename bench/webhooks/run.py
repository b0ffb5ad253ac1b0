"""Latency of webhook acknowledgements, beside Fastify: `python -m bench.webhooks.run` writes results/webhooks.md.

One process of each server, on one core; the load, PostgreSQL (which syncs each commit to the disk) and Valkey on the
other. Each round measures both servers in turn, so that a busy moment of the machine strikes both alike; medians of the
rounds are compared. Needs Linux. All traffic stays on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import settings as configuration
from bench import beside, figures
from devtools.embedded import EmbeddedServices
from testing.databases import execute

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "webhooks.md"
ROUNDS = 5
SECONDS = 4
CONNECTIONS = 16
#: Webhooks a second; 0 is as many as the server takes. A shop that sells a course each second gets fewer than five.
RATES = (50, 200, 0)


class Sample(NamedTuple):
    per_second: float
    p50: float
    p99: float


def main() -> None:
    began = time.monotonic()
    os.sched_setaffinity(0, {beside.OTHER_CORE})
    beside.install_peers(HERE)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        services = stack.enter_context(EmbeddedServices(directory / "services"))
        environment = {
            **beside.prepare(directory, services),
            "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(24)}",
            "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
        }
        servers = [
            beside.Server("Parlance", [sys.executable, "-m", "bench.rest.server", "parlance"], environment),
            beside.Server("Fastify", [beside.NODE, str(HERE / "peer.mjs")], environment),
        ]
        for server in servers:
            stack.callback(beside.stop, beside.start(server, directory))
        settings = configuration.load(None, **{name.lower(): value for name, value in environment.items()})
        samples: dict[tuple[str, int], list[Sample]] = {}
        for round_number in range(ROUNDS + 1):
            for rate in RATES:
                for server in servers:
                    sample = _measure(server, rate, SECONDS if round_number else 1)
                    # The first round warms up: compilers, caches, pools.
                    if round_number:
                        samples.setdefault((server.title, rate), []).append(sample)
            # Nobody works on the jobs here: later rounds should not have longer tables.
            execute(
                settings,
                "TRUNCATE webhook_events, procrastinate_jobs, procrastinate_events, peer_inbox, peer_jobs CASCADE",
            )
            print(f"round {round_number} of {ROUNDS}", file=sys.stderr, flush=True)
    report = _report(samples, time.monotonic() - began)
    RESULTS.write_text(report)
    figures.write("webhooks", _figures(samples))
    print(report)


def _measure(server: beside.Server, rate: int, seconds: float) -> Sample:
    done = subprocess.run(
        [sys.executable, "-m", "bench.webhooks.load", *map(str, (server.port, seconds, rate, CONNECTIONS))],
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=HERE.parent.parent,
    )
    load = json.loads(done.stdout)
    if load["failed"]:
        raise SystemExit(f"{server.title} failed {load['failed']} webhooks")
    return Sample(load["requests"] / load["seconds"], load["p50"], load["p99"])


def _report(samples: dict[tuple[str, int], list[Sample]], seconds: float) -> str:
    cores = "another" if beside.SERVER_CORE != beside.OTHER_CORE else "the same"
    lines = [
        "# Acknowledging webhooks, beside Fastify",
        "",
        f"`make bench-webhooks`: {ROUNDS} interleaved rounds of {SECONDS} s a row, {CONNECTIONS} connections, a process"
        f" for each server on one core, load, PostgreSQL and Valkey on {cores}; {seconds:.0f} s in all."
        f" Python {platform.python_version()}, {len(beside.CORES)} cores, {time.strftime('%Y-%m-%d')}.",
        "",
        "Both verify Stripe's signature of the raw bytes, keep the event once and its job in one commit that is synced"
        " to the disk, and answer 200. Each event is another; latencies count from the moment at which it was due.",
        "",
        "Fastify has stripe-node and pg (a named statement for both rows) and nothing else. Parlance also has"
        " procrastinate's queue (whose insert writes a history and notifies workers), asks Redis whether it knows the"
        " event, handles it afterwards, and has what every answer has: limits, a request id, security headers, a"
        " line of log.",
        "",
        "| webhooks/s | server | answered/s | p50, ms | p99, ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (title, rate), taken in samples.items():
        sample = Sample(*(statistics.median(values) for values in zip(*taken, strict=True)))
        lines.append(
            f"| {rate or 'as many as go'} | {title} | {sample.per_second:,.0f} | {sample.p50:.1f} | {sample.p99:.1f} |"
        )
    return "\n".join([*lines, ""])


def _figures(samples: dict[tuple[str, int], list[Sample]]) -> list[figures.Figure]:
    def both(rate: int, of: str) -> tuple[float, float]:
        ours, theirs = (
            statistics.median(getattr(sample, of) for sample in samples[title, rate])
            for title in ("Parlance", "Fastify")
        )
        return ours, theirs

    late = both(RATES[0], "p99")
    return [
        figures.Figure(
            f"webhook acknowledged, p99 of {RATES[0]} a second", "ms", *late, "Fastify", less_is_better=True
        ),
        figures.Figure("webhook stored, synced and acknowledged", "a second", *both(0, "per_second"), "Fastify"),
    ]


if __name__ == "__main__":
    main()
