"""Messages between two web processes beside Node's: `python -m bench.bus.run` writes results/bus.md.

A sender and a receiver of each side, the sender on one core, the receiver and Valkey on the other. Each round measures
every side in turn at each rate; medians of the rounds are compared. Needs Linux; all traffic stays on this machine.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import redis

from bench import beside, figures
from devtools.embedded import EmbeddedServices

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "bus.md"
ROUNDS = 5
SECONDS = 1.2
RATES = (1_000, 10_000, 20_000)
CORES = sorted(os.sched_getaffinity(0))
SENDER_CORE, OTHER_CORE = CORES[0], CORES[-1]

MESH, STREAM, NODE = "Parlance, one host", "Parlance, between hosts", "socket.io's Redis adapter"


class Sample(NamedTuple):
    #: Microseconds of CPU a message, of the sender, the receiver and Valkey.
    sender: float
    receiver: float
    valkey: float
    p50: float
    p99: float

    @property
    def cpu(self) -> float:
        return self.sender + self.receiver + self.valkey


class Side:
    def __init__(self, title: str, command: list[str], environment: dict[str, str], *options: str) -> None:
        self.title = title
        self._valkey = redis.Redis(environment["REDIS_HOST"], int(environment["REDIS_PORT"]))
        self._receiver = _launch([*command, "receive", *options], environment, OTHER_CORE)
        self._to = self._receiver.stdout.readline().strip()  # type: ignore[union-attr]
        self._sender = _launch([*command, "send", *options], environment, SENDER_CORE)

    def measure(self, rate: int) -> Sample:
        idle = _ask(self._sender, {"to": None, "rate": rate, "seconds": SECONDS / 3})["cpu"] * 3
        _ask(self._receiver, {})
        before = self._valkey_cpu()
        sent = _ask(self._sender, {"to": self._to, "rate": rate, "seconds": SECONDS})
        count = sent["count"]
        latencies: list[float] = []
        used, deadline = 0.0, time.monotonic() + 10
        while len(latencies) < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.title}: {len(latencies)} of {count} messages arrived")
            time.sleep(0.3)
            received = _ask(self._receiver, {})
            latencies += received["latencies"]
            used += received["cpu"]
        valkey = self._valkey_cpu() - before
        latencies.sort()
        micro = 1e6 / count
        return Sample(
            (sent["cpu"] - idle) * micro,
            used * micro,
            valkey * micro,
            latencies[count // 2],
            latencies[count * 99 // 100],
        )

    def _valkey_cpu(self) -> float:
        found: dict[str, Any] = self._valkey.info("cpu")  # type: ignore[assignment]
        return float(found["used_cpu_user"] + found["used_cpu_sys"])

    def stop(self) -> None:
        for process in (self._sender, self._receiver):
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


def _launch(command: list[str], environment: dict[str, str], core: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment, "APP_ENV": "production"},
        cwd=HERE.parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(process.pid, {core})
    return process


def _ask(process: subprocess.Popen[str], order: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None
    print(json.dumps(order), file=process.stdin, flush=True)
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def main() -> None:
    began = time.monotonic()
    os.sched_setaffinity(0, {OTHER_CORE})
    beside.install_peers(HERE)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        environment = stack.enter_context(EmbeddedServices(directory / "services", only={"valkey"}))
        python = [sys.executable, "-m", "bench.bus.worker"]
        node = [beside.NODE, str(HERE / "peer.mjs")]
        sides = [
            Side(MESH, python, environment, str(directory / "mesh")),
            Side(STREAM, python, environment),
            Side(NODE, node, environment),
        ]
        for side in sides:
            stack.callback(side.stop)
        samples: dict[tuple[str, int], list[Sample]] = {}
        for round_number in range(ROUNDS + 1):
            for rate in RATES:
                for side in sides:
                    sample = side.measure(rate)
                    if round_number:  # the first one warms up
                        samples.setdefault((side.title, rate), []).append(sample)
            print(f"round {round_number} of {ROUNDS}", file=sys.stderr, flush=True)
    medians = {
        key: Sample(*(statistics.median(values) for values in zip(*taken, strict=True)))
        for key, taken in samples.items()
    }
    report = _report(medians, time.monotonic() - began)
    RESULTS.write_text(report)
    figures.write("bus", _figures(medians))
    print(report)


def _report(median: dict[tuple[str, int], Sample], seconds: float) -> str:
    lines = [
        "# Messages between workers beside Node's",
        "",
        f"`make bench-bus`: {ROUNDS} interleaved rounds of {SECONDS} s at each rate, a sender on one core, the receiver"
        f" and Valkey on {'the other' if SENDER_CORE != OTHER_CORE else 'the same'}; {seconds:.0f} s in all. Python"
        f" {platform.python_version()}, {len(CORES)} cores, load average"
        f" {os.getloadavg()[1]:.1f}, {time.strftime('%Y-%m-%d')}.",
        "",
        "A message is an ICE candidate on its way to the partner's worker. *socket.io's Redis adapter* does what"
        " `@socket.io/redis-adapter` does with ioredis and notepack.io, without socket.io around it: publish to the"
        " room's channel, to which all workers have subscribed by a pattern. CPU is that of both workers and Valkey,"
        " less what the sender's clock costs when it sends nothing.",
        "",
        "| messages/s | way | messages a CPU second, to the adapter | µs of CPU: sender | receiver | Valkey | p50, ms"
        " | p99, ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rate in RATES:
        for title in (MESH, STREAM, NODE):
            sample = median[title, rate]
            lines.append(
                f"| {rate:,} | {title} | {median[NODE, rate].cpu / sample.cpu:.1f} | {sample.sender:.1f} |"
                f" {sample.receiver:.1f} | {sample.valkey:.1f} | {sample.p50:.2f} | {sample.p99:.2f} |"
            )
    lines += ["", "Goal: 4 within a host. At a low rate most of the CPU is that of waking up, not of messages.", ""]
    return "\n".join(lines)


def _figures(median: dict[tuple[str, int], Sample]) -> list[figures.Figure]:
    rate = RATES[1]
    return [
        figures.Figure(
            f"message to {way}, {rate:,}/s",
            "a CPU second",
            1e6 / median[title, rate].cpu,
            1e6 / median[NODE, rate].cpu,
            NODE,
            goal,
        )
        for title, way, goal in ((MESH, "a worker of the host", 4.0), (STREAM, "a worker elsewhere", None))
    ]


if __name__ == "__main__":
    main()
