"""Sockets beside socket.io 4.8: `python -m bench.sockets.run` takes five minutes and writes results/sockets.md.

One process of each server, on one core; the load, PostgreSQL, Redis and everything else on the other. Each round
measures every server in turn, so that a busy moment of the machine strikes all alike; the medians are compared. For
the tail at half load only the two that are compared are there, for twice as many rounds: a few milliseconds decide it.
Events are counted against the server's own CPU time, which the load, where it is the slower, does not change.
Needs Linux. All traffic stays on 127.0.0.1.
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
import timeit
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench import beside, figures
from bench.beside import CORES, OTHER_CORE, SERVER_CORE
from contract import schemas
from contract.event_bindings import EventBindings
from devtools.embedded import EmbeddedServices

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "sockets.md"
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = 2.0
CONNECTS = 600
IDLE = 5000

OURS, SLOW, PEER, PEER_BARE = "Parlance", "Parlance, no fast lane", "socket.io", "socket.io, no ban look-up"
OUR_LIMIT, PEER_LIMIT = "uvicorn, echo", "ws, echo"
TWO = "Parlance, partners on two workers"
RELAY, PACED, CONNECT = "relay", "paced", "connect"


@dataclass
class Server(beside.Server):
    #: The other worker, where there are two.
    twin: Server | None = None

    @property
    def cpu_seconds(self) -> float:
        return beside.cpu_seconds(self.pid) + (self.twin.cpu_seconds if self.twin else 0)

    @property
    def play(self) -> str:
        return "echo" if "echo" in self.title else "relay"


class Sample(NamedTuple):
    per_second: float
    #: Microseconds of the server's CPU for one.
    cpu: float
    p50: float = 0
    p99: float = 0


def main() -> None:
    began = time.monotonic()
    os.sched_setaffinity(0, {OTHER_CORE})
    beside.install_peers(HERE)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        services = stack.enter_context(EmbeddedServices(directory / "services"))
        environment = beside.prepare(
            directory,
            services,
            LOG_LEVEL="warning",  # the peer writes no log
            # The limits are counted, but never reached.
            SOCKET_EVENTS_PER_SECOND="1000000",
            SOCKET_EVENT_BURST="1000000",
            SOCKETS_PER_USER="1000000",
        )
        servers = _servers(environment)
        processes, twins = {}, {}
        for server in servers:
            processes[server.title] = beside.start(server, directory)
            stack.callback(beside.stop, processes[server.title])
            if server.twin:
                twins[server.title] = beside.start(server.twin, directory)
                stack.callback(beside.stop, twins[server.title])
        tokens = beside.register(servers[0].port)
        samples: dict[tuple[str, str], list[Sample]] = {}

        def rounds(*measured: str, among: list[Server], rate: float = 0, count: int = ROUNDS) -> None:
            for number in range(count + 1):
                for what in measured:
                    for server in among:
                        if what in server.measured:
                            sample = measure(server, what, tokens, rate)
                            if number:  # the first warms up: compilers, caches, pools
                                samples.setdefault((server.title, what), []).append(sample)
                print(f"round {number} of {count}: {', '.join(measured)}", file=sys.stderr, flush=True)

        rounds(RELAY, CONNECT, among=servers)
        # A tail is made of milliseconds in which something else had the core, such as other servers with nothing to do.
        for server in servers:
            if server.title not in (OURS, PEER):
                for process in (processes.pop(server.title), twins.pop(server.title, None)):
                    if process is not None:
                        beside.stop(process)
        rate = statistics.median(sample.per_second for sample in samples[PEER, RELAY]) / 2
        rounds(PACED, among=servers[:2], rate=rate, count=2 * ROUNDS)
        slow = next(server for server in servers if server.title == SLOW)
        stack.callback(beside.stop, beside.start(slow, directory))
        rounds(PACED, among=[slow], rate=rate)
        memory: dict[str, list[float]] = {}
        for server in servers:
            if server.title not in (OURS, PEER, OUR_LIMIT):
                continue
            if server.play == "echo":
                continue
            beside.stop(processes[server.title])
            stack.callback(beside.stop, beside.start(server, directory))  # what it has done so far left its traces
            memory[server.title] = _idle(server, tokens)
    report = _report(samples, memory, time.monotonic() - began)
    RESULTS.write_text(report)
    figures.write("sockets", _figures(samples, memory))
    print(report)


def _servers(environment: dict[str, str]) -> list[Server]:
    python = [sys.executable, "-m", "bench.sockets.server"]
    node = [beside.NODE, str(HERE / "peer.mjs")]
    everything = (RELAY, PACED, CONNECT)
    return [
        Server(OURS, [*python, "parlance"], environment, everything),
        Server(PEER, node, environment, everything),
        Server(SLOW, [*python, "parlance"], {**environment, "EVENTS_FAST_LANE": "false"}, (RELAY, PACED)),
        Server(
            TWO,
            [*python, "parlance"],
            environment,
            (RELAY,),
            twin=Server("Parlance, the second worker", [*python, "parlance"], environment, ()),
        ),
        Server(PEER_BARE, node, {**environment, "NO_DATABASE": "1"}, (CONNECT,)),
        Server(OUR_LIMIT, [*python, "echo"], environment, (RELAY,)),
        Server(PEER_LIMIT, node, {**environment, "RAW": "1"}, (RELAY,)),
    ]


class Load:
    """A process of bench.sockets.load, which says when what it does begins and ends."""

    def __init__(self, server: Server, tokens: list[str], *arguments: str) -> None:
        ports = f"{server.port}+{server.twin.port}" if server.twin else str(server.port)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.sockets.load", ports, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent.parent,
        )
        self._title = f"{server.title}: {' '.join(arguments)}"
        self.go(json.dumps(tokens))

    def go(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def says(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self._title} failed")
        return line

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.says())
        self._process.wait(30)
        return found


def measure(server: Server, what: str, tokens: list[str], rate: float, seconds: float = SECONDS) -> Sample:
    if what == CONNECT:
        load = Load(server, tokens, CONNECT, str(CONNECTS))
    else:
        load = Load(server, tokens, server.play, str(seconds), str(rate if what == PACED else 0))
    load.says()
    before = server.cpu_seconds
    load.go()
    load.says()
    cpu = server.cpu_seconds - before
    found = load.result()
    # Closed connections are cleaned up before the next is measured.
    time.sleep(0.5)
    latencies = (found["p50"], found["p99"]) if "p99" in found else (0, 0)
    return Sample(found["count"] / found["seconds"], cpu / found["count"] * 1e6, *latencies)


def _idle(server: Server, tokens: list[str]) -> list[float]:
    """Hold sockets; answer kilobytes of the process before, and for each socket."""
    before = _resident(server.pid)
    load = Load(server, tokens, "idle", str(IDLE))
    load.says()
    load.go()
    load.says()
    time.sleep(2)
    after = _resident(server.pid)
    load.go()
    load.result()
    return [before, (after - before) / IDLE]


def _validation() -> str:
    """Say what of an event's cost is holding it to asyncapi.yaml."""
    bound = EventBindings(schemas.load(schemas.ASYNCAPI))
    candidate = {"candidate": "candidate:1 1 udp 2122260223 192.0.2.77 54321 typ host generation 0", "sdpMid": "0"}
    offer = {"roomId": str(uuid.uuid4()), "sdp": "v=0\r\n" + "a=rtcp-mux\r\n" * 230}

    def microseconds(validate: schemas.Validator, value: Any) -> str:
        return f"{min(timeit.repeat(lambda: validate(value), number=20_000, repeat=5)) / 20_000 * 1e6:.1f}"

    figures = {
        "a candidate that comes": (
            bound.receives["webrtc_ice"][1],
            {"roomId": offer["roomId"], "candidate": candidate},
        ),
        f"an offer of {len(offer['sdp']):,} characters": (bound.receives["webrtc_offer"][1], offer),
        "outside production also a candidate that leaves": (
            bound.sends["webrtc_ice"],
            {"candidate": candidate, "seq": 1},
        ),
        "and an ack": (bound.acks["webrtc_ice"], {"ok": True}),
    }
    times = ", ".join(f"{name} {microseconds(*figure)}" for name, figure in figures.items())
    return f"Validation, in µs: {times}."


def _resident(pid: int) -> float:
    """Kilobytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def _report(samples: dict[tuple[str, str], list[Sample]], memory: dict[str, list[float]], seconds: float) -> str:
    median = {
        key: Sample(*(statistics.median(values) for values in zip(*taken, strict=True)))
        for key, taken in samples.items()
    }

    def cheaper(ours: str, theirs: str, what: str) -> float:
        return median[theirs, what].cpu / median[ours, what].cpu

    late = median[OURS, PACED].p99 / median[PEER, PACED].p99
    lines = [
        "# Sockets beside socket.io",
        "",
        f"`make bench-sockets`: {ROUNDS} interleaved rounds of {SECONDS:.0f} s, 16 calls of two phones, each server on"
        f" one core, load and PostgreSQL on {'another' if SERVER_CORE != OTHER_CORE else 'the same'};"
        f" {seconds:.0f} s in all. Python {platform.python_version()}, {len(CORES)} cores,"
        f" {time.strftime('%Y-%m-%d')}.",
        "",
        "socket.io 4.8 over ws, with ajv, fast-jwt (with its cache) and one row of PostgreSQL at each handshake, as"
        " Parlance reads it. An event is a candidate of 250 bytes that comes, is validated, goes to the partner and is"
        " acknowledged. Parlance counts events and sockets against their limits; neither writes a log. At half load"
        " phones send four candidates at a time, as they find them, each phone at random times of its own.",
        "",
        "## Against socket.io",
        "",
        "| | ratio | goal |",
        "| --- | --- | --- |",
        f"| events relayed a CPU second | {cheaper(OURS, PEER, RELAY):.2f} | 1.7 or more |",
        f"| p99 at half of socket.io's load | {late:.2f} | 0.5 or less |",
        f"| connections a CPU second | {cheaper(OURS, PEER, CONNECT):.2f} | 1.0 or more |",
        f"| the same, to socket.io without the look-up | {cheaper(OURS, PEER_BARE, CONNECT):.2f} | |",
        f"| memory of an idle socket | {memory[OURS][1] / memory[PEER][1]:.2f} | 2.2 or less |",
        f"| events relayed a CPU second of both workers, partners on one each, to partners on one worker |"
        f" {cheaper(TWO, OURS, RELAY):.2f} | |",
        f"| events relayed a CPU second, `EVENTS_FAST_LANE=false` | {cheaper(SLOW, PEER, RELAY):.2f} | |",
        "",
        "## Medians",
        "",
        "| | server | a second | µs of CPU for one | p50, ms | p99, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    names = {RELAY: "relay", PACED: "relay, half load", CONNECT: "connect"}
    for what, name in names.items():
        for (title, measured), sample in median.items():
            if measured == what:
                shown = "echo" if "echo" in title else name
                times = f"{sample.p50:.1f} | {sample.p99:.1f}" if sample.p99 else " | "
                lines.append(f"| {shown} | {title} | {sample.per_second:,.0f} | {sample.cpu:.1f} | {times} |")
    lines += [
        "",
        f"| {IDLE:,} idle sockets | process before, MB | KB for each |",
        "| --- | --- | --- |",
        *(f"| {title} | {before / 1024:.0f} | {each:.1f} |" for title, (before, each) in memory.items()),
        "",
        "The echoes are the limits: the WebSocket server alone echoes what it receives, one frame for one, where the"
        " relay sends two.",
        "",
        _validation(),
        "",
    ]
    return "\n".join(lines)


def _figures(samples: dict[tuple[str, str], list[Sample]], memory: dict[str, list[float]]) -> list[figures.Figure]:
    def median(server: str, what: str) -> Sample:
        return Sample(*(statistics.median(values) for values in zip(*samples[server, what], strict=True)))

    def a_cpu_second(operation: str, server: str, what: str, goal: float | None) -> figures.Figure:
        ours, theirs = (1e6 / median(each, what).cpu for each in (server, PEER))
        return figures.Figure(operation, "a CPU second", ours, theirs, PEER, goal)

    late = (median(OURS, PACED).p99, median(PEER, PACED).p99)
    return [
        a_cpu_second("candidate relayed", OURS, RELAY, 1.7),
        a_cpu_second("candidate relayed, `EVENTS_FAST_LANE=false`", SLOW, RELAY, None),
        figures.Figure(
            "candidate relayed, p99 at half of the peer's load", "ms", *late, PEER, 0.5, less_is_better=True
        ),
        a_cpu_second("socket connected", OURS, CONNECT, 1.0),
        figures.Figure("idle socket", "KB", memory[OURS][1], memory[PEER][1], PEER, 2.2, less_is_better=True),
    ]


if __name__ == "__main__":
    main()
