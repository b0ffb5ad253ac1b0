"""Matching beside the required sequence in Node: `python -m bench.matching.run` writes results/matching.md.

Two Valkeys, one for each side, on one core; on the other the side that is measured. Each round measures every side in
turn, so that a busy moment of the machine strikes all alike; medians of the rounds are compared. Between two
measurements the queue is filled up again, off the clock. Needs Linux; all traffic stays on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import redis

from bench import beside, figures
from bench.matching.client import make_entry
from devtools.embedded import EmbeddedServices

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "matching.md"
ROUNDS = 5
CONCURRENCY = 256
WAITING = (100, 10_000, 100_000)
CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, VALKEY_CORE = CORES[0], CORES[-1]

PAIR, FIND, LEAVE, LIMIT = "pair", "find", "leave", "limit"
OURS, NODE = "Parlance", "ioredis"
TOGETHER, PIPELINED = "ioredis, a step at a time", "ioredis, auto-pipelining"


class Sample(NamedTuple):
    per_second: float
    #: Microseconds of CPU for an operation, of the client and of Valkey.
    client: float
    valkey: float
    p99: float


class Queue:
    """One side's Valkey, and who waits in it, the longest waiting first."""

    def __init__(self, environment: dict[str, str], *, is_list: bool) -> None:
        self.environment = environment
        self._is_list = is_list
        self._redis = redis.Redis(environment["REDIS_HOST"], int(environment["REDIS_PORT"]))
        self.waiting: list[str] = []
        #: Microseconds, as the product counts; those who wait have begun within the last minutes.
        self._since = self._begin()

    @staticmethod
    def _begin() -> int:
        return int(time.time() * 1e6) - 200 * 1_000_000

    def empty(self) -> None:
        self._since = self._begin()
        self._redis.flushall()
        self._redis.set("worker:{match}:bench", "1")
        self._redis.zadd("workers:{match}", {"bench": 2e12})
        self.waiting = []

    def fill(self, count: int) -> None:
        """Let people join until `count` wait; rooms made meanwhile are forgotten."""
        while len(self.waiting) < count:
            users = [str(uuid.uuid4()) for _ in range(min(5000, count - len(self.waiting)))]
            pipeline = self._redis.pipeline(transaction=False)
            for user in users:
                # A hundred thousand begin within 100 s.
                self._since += 1000
                held = "1"
                if not self._is_list:
                    entry = make_entry(user, self._since)
                    place = (entry["level"], entry["topic"], entry["socket"], str(self._since))
                    # As the product writes it: the script reads the pool at its beginning.
                    held = "\n".join((*place, orjson.dumps(entry).decode()))
                pipeline.set(f"{{match}}:searching:{user}", held, ex=600)
                if not self._is_list:
                    pipeline.zadd("{match}:queue:18_plus:all", {user: self._since})
            if self._is_list:
                pipeline.rpush("{match}:queue:all", *users)
            pipeline.execute()
            self.waiting += users

    def cpu_seconds(self) -> float:
        found: dict[str, Any] = self._redis.info("cpu")  # type: ignore[assignment]
        return float(found["used_cpu_user"] + found["used_cpu_sys"])


class Side:
    def __init__(self, title: str, command: list[str], queue: Queue, **environment: str) -> None:
        self.title = title
        self.queue = queue
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **queue.environment, **environment, "APP_ENV": "production"},
            cwd=HERE.parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self.process.pid, {CLIENT_CORE})

    def measure(self, operation: str, users: list[str]) -> Sample:
        assert self.process.stdin is not None and self.process.stdout is not None
        before = self.queue.cpu_seconds()
        order = {"operation": operation, "users": users, "concurrency": CONCURRENCY}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        done = json.loads(self.process.stdout.readline())
        valkey = self.queue.cpu_seconds() - before
        latencies = sorted(done["latencies"])
        count = len(users)
        p99 = latencies[len(latencies) * 99 // 100]
        return Sample(count / done["seconds"], done["cpu"] / count * 1e6, valkey / count * 1e6, p99)

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def main() -> None:
    began = time.monotonic()
    os.sched_setaffinity(0, {VALKEY_CORE})
    beside.install_peers(HERE)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        queues = []
        for name in ("ours", "node"):
            services = stack.enter_context(EmbeddedServices(directory / name, only={"valkey"}))
            queues.append(Queue(services, is_list=name == "node"))
        ours, theirs = queues
        node = [beside.NODE, str(HERE / "peer.mjs")]
        sides = [
            Side(OURS, [sys.executable, "-m", "bench.matching.client"], ours),
            Side(NODE, node, theirs),
            Side(TOGETHER, node, theirs, TOGETHER="1"),
            Side(PIPELINED, node, theirs, TOGETHER="1", AUTO_PIPELINING="1"),
        ]
        for side in sides:
            stack.callback(side.stop)
        samples: dict[tuple[str, str, int], list[Sample]] = {}

        def note(key: tuple[str, str, int], sample: Sample, round_number: int) -> None:
            if round_number:  # the first one warms up
                samples.setdefault(key, []).append(sample)

        for waiting in (0, *WAITING):
            for queue in queues:
                queue.empty()
                queue.fill(waiting)
            for round_number in range(ROUNDS + 1):
                for side in sides:
                    for operation, sample in _measure(side, waiting):
                        note((side.title, operation, waiting), sample, round_number)
            print(f"{waiting} waiting: done", file=sys.stderr, flush=True)
    medians = {
        key: Sample(*(statistics.median(values) for values in zip(*taken, strict=True)))
        for key, taken in samples.items()
    }
    report = _report(medians, time.monotonic() - began)
    RESULTS.write_text(report)
    figures.write("matching", _figures(medians))
    print(report)


def _measure(side: Side, waiting: int) -> list[tuple[str, Sample]]:
    queue = side.queue
    if waiting == 0:
        # Everybody comes to an empty queue: of two, one waits and one is matched.
        queue.empty()
        found = [(PAIR, side.measure("find", [str(uuid.uuid4()) for _ in range(20_000)]))]
        if side.title == OURS:
            found.append((LIMIT, side.measure("limit", ["any"] * 20_000)))
        return found
    count = min(waiting, 5000)
    finding = side.measure("find", [str(uuid.uuid4()) for _ in range(count)])
    del queue.waiting[:count]
    queue.fill(waiting)
    count = min(waiting, 5000 if side.title == OURS else 300 if waiting > 50_000 else 2000)
    leaving = random.sample(queue.waiting, count)
    left = side.measure("leave", leaving)
    gone = set(leaving)
    queue.waiting = [user for user in queue.waiting if user not in gone]
    queue.fill(waiting)
    return [(FIND, finding), (LEAVE, left)]


def _report(median: dict[tuple[str, str, int], Sample], seconds: float) -> str:
    ways = [(PAIR, 0), *((operation, waiting) for operation in (FIND, LEAVE) for waiting in WAITING)]
    goals = {(PAIR, 0): "3.5 at 0.6 of the CPU", (LEAVE, 100_000): "100"}

    def name(operation: str, waiting: int) -> str:
        return "find, empty queue" if operation == PAIR else f"{operation}, {waiting:,} waiting"

    lines = [
        "# Matching beside the required sequence in Node",
        "",
        f"`make bench-matching`: {ROUNDS} interleaved rounds, {CONCURRENCY} callers at once in one process on one core,"
        f" Valkey on {'another' if CLIENT_CORE != VALKEY_CORE else 'the same'}; {seconds:.0f} s in all. Python"
        f" {platform.python_version()}, {len(CORES)} cores, load average"
        f" {os.getloadavg()[1]:.1f}, {time.strftime('%Y-%m-%d')}.",
        "",
        "*ioredis* runs the required sequence, two guards, LPOP, then RPUSH and SET or the room's keys, each command"
        " when the one before it is answered; *a step at a time* sends both guards at once and the room in one"
        " pipeline, *auto-pipelining* also what all callers ask for in one turn. Parlance's one script also looks for"
        " topic, level, blocks and recent partners. A pair from an empty queue is two finds; with people waiting each"
        " find takes the one who waited longest.",
        "",
        "## Ratios of medians: operations a second, CPU of client and Valkey for one",
        "",
        "| | to ioredis | to a step at a time | to auto-pipelining | goal |",
        "| --- | --- | --- | --- | --- |",
    ]
    for operation, waiting in ways:
        mine, *peers = (median[title, operation, waiting] for title in (OURS, NODE, TOGETHER, PIPELINED))
        ratios = [
            f"{mine.per_second / each.per_second:.1f}, {(mine.client + mine.valkey) / (each.client + each.valkey):.2f}"
            for each in peers
        ]
        lines.append(f"| {name(operation, waiting)} | {' | '.join(ratios)} | {goals.get((operation, waiting), '')} |")
    lines += [
        "",
        "## Medians",
        "",
        "| operation | side | operations/s | µs of CPU: client | Valkey | p99, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for operation, waiting in ways:
        for title in (OURS, NODE, TOGETHER, PIPELINED):
            sample = median[title, operation, waiting]
            lines.append(
                f"| {name(operation, waiting)} | {title} | {sample.per_second:,.0f} | {sample.client:.1f} |"
                f" {sample.valkey:.1f} | {sample.p99:.2f} |"
            )
    limit = median[OURS, LIMIT, 0]
    lines += [
        "",
        "With one process of Node the client is the limit, with one of Parlance it is Valkey: there a match writes"
        " about ten keys, of which that sequence lacks recent partners and the rate by which waiting times"
        " are estimated.",
        "",
        f"Limit: a script that answers 1, called the same way: {limit.per_second:,.0f} a second, {limit.client:.1f} µs"
        f" of the client and {limit.valkey:.1f} µs of Valkey each.",
        "",
    ]
    return "\n".join(lines)


def _figures(median: dict[tuple[str, str, int], Sample]) -> list[figures.Figure]:
    def rate(name: str, operation: str, waiting: int, goal: float | None, peer: str = NODE) -> figures.Figure:
        ours, theirs = (median[title, operation, waiting].per_second for title in (OURS, peer))
        return figures.Figure(name, "a second", ours, theirs, peer, goal)

    ours, theirs = (median[title, PAIR, 0] for title in (OURS, NODE))
    cpu = (ours.client + ours.valkey, theirs.client + theirs.valkey)
    return [
        rate("find a partner, empty queue", PAIR, 0, 3.5),
        figures.Figure("the same, client and Valkey", "µs of CPU", *cpu, NODE, 0.6, less_is_better=True),
        *(rate(f"find a partner, {waiting:,} waiting", FIND, waiting, None) for waiting in WAITING),
        *(rate(f"find a partner, {waiting:,} waiting", FIND, waiting, None, PIPELINED) for waiting in WAITING[:1]),
        *(
            rate(f"leave the queue, {waiting:,} waiting", LEAVE, waiting, 100 if waiting == 100_000 else None)
            for waiting in WAITING
        ),
    ]


if __name__ == "__main__":
    main()
