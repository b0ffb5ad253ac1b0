"""A simulated day of a deployment: `python -m bench.day.run` takes five minutes and writes results/day.md.

Learners (bench/day/learners.py) live a day with its quiet night and its busy evening against the whole product: a
server of two workers, a job worker, PostgreSQL that syncs each commit, Valkey, S3, and stand-ins of Stripe, Firebase
and Resend. Then more and more of them come, until users would notice. All of it runs on this machine, the learners
too; so what counts is CPU seconds, read for each process, more than how long anything took. Needs Linux.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import bcrypt
import psycopg

from bench.beside import prepare
from bench.day import processes, report
from bench.day.learners import SEARCH_SECONDS
from bench.day.report import (
    BENCH,
    CURVE,
    HOUR,
    JOBS,
    LEARNERS,
    LOAD,
    OTHERS,
    POSTGRES,
    PRODUCT,
    S3,
    SERVER,
    SOCKETS,
    VALKEY,
    VISITS,
    Span,
    noticed,
    summary,
)
from container import Container
from devtools.embedded import EmbeddedServices
from devtools.stand_ins import StandIns
from devtools.stand_ins import running as stand_ins_running
from settings import Settings
from testing.containers import load_settings
from testing.email_outbox import ResendStandIn
from testing.metrics import growth, scrape
from testing.payments import add_course
from testing.ports import free_port
from testing.servers import PASSWORD, Server, start_server, stop_server
from testing.shop import run_job_worker

HERE = Path(__file__).resolve().parent
WORKERS = 2
BASE_SECONDS = 12.0
#: Longer than it takes until each socket has been pinged.
IDLE_SECONDS = 26.0
#: Times the busiest hour.
STEPS, STEP_SECONDS = (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6), 8.0

_SIZE = """
    SELECT (pg_total_relation_size('call_sessions') + pg_total_relation_size('session_ratings')) / count(*)
    FROM call_sessions
"""
_TRANSACTIONS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


class Health:
    """Asks /health twenty times a second, over a new connection each, so that any worker may answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._taken: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._is_over.wait(0.05):
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.request("GET", "/health")
                connection.getresponse().read()
            except OSError:
                pass  # its time counts
            finally:
                connection.close()
            self._taken.append((time.perf_counter() - began) * 1000)

    def taken(self) -> list[float]:
        taken, self._taken = self._taken, []
        return taken

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


class Learners:
    """The process of bench.day.learners."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.day.learners", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent.parent,
        )

    def __call__(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the learners are gone")
        counted: dict[str, Any] = json.loads(line)
        return counted

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Deployment:
    """What runs, and a look at all of it."""

    def __init__(self, server: Server, jobs: int, learners: Learners, health: Health) -> None:
        own = processes.children(os.getpid(), processes.everything())
        self.server, self.learners, self.health = server, learners, health
        self.pids = {
            SERVER: server.process.pid,
            JOBS: jobs,
            POSTGRES: own["postgres"],
            VALKEY: own["valkey-server"],
            S3: own["weed"],
            LOAD: learners.process.pid,
        }

    def look(self) -> tuple[float, dict[str, float], dict[int, float]]:
        """The time, CPU seconds by process, and those of each worker of the server."""
        found = processes.everything()
        cpu = {name: processes.cpu_seconds(pid, found) for name, pid in self.pids.items()}
        cpu[BENCH] = time.process_time()
        cpu[OTHERS] = processes.busy_seconds() - sum(cpu.values())
        workers = {pid: each.cpu for pid, each in found.items() if each.parent == self.pids[SERVER]}
        return time.perf_counter(), cpu, workers

    def during(self, name: str, **order: float) -> Span:
        """Have the learners do something, and measure it."""
        self.health.taken()
        metrics = scrape(self.server.url)
        began, before, workers = self.look()
        counted = self.learners(**order)
        ended, after, workers_after = self.look()
        busiest = max((after - workers.get(pid, 0) for pid, after in workers_after.items()), default=0.0)
        cpu = {each: after[each] - before[each] for each in after}
        events = growth(metrics, scrape(self.server.url))("parlance_events")
        return Span(name, ended - began, order.get("visits", 0), cpu, busiest, counted, self.health.taken(), events)

    def megabytes(self) -> dict[str, float]:
        found = processes.everything()
        return {name: processes.megabytes(self.pids[name], found) for name in PRODUCT}


def main() -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parlance-bench-")))
        services = stack.enter_context(EmbeddedServices(directory / "services"))
        stand_ins = stack.enter_context(stand_ins_running())
        resend = stack.enter_context(_resend())
        environment = _environment(prepare(directory, services), stand_ins, resend)
        port = free_port()
        learners = Learners(f"http://127.0.0.1:{port}")
        stack.callback(learners.stop)
        _people(environment, directory, port, learners)
        say(f"{LEARNERS:,} learners after {time.monotonic() - began:.0f} s")
        jobs = stack.enter_context(run_job_worker(environment, directory / "worker.log"))
        server = start_server(environment, directory / "server.log", workers=WORKERS, port=port)
        stack.callback(stop_server, server)
        stand_ins.webhooks.url = f"{server.url}/payments/webhook"
        health = stack.enter_context(Health(port))
        deployment = Deployment(server, jobs.pid, learners, health)
        base = deployment.during("nobody", stay=BASE_SECONDS)
        learners(connect=SOCKETS)
        idle = deployment.during("sockets that do nothing", stay=IDLE_SECONDS)
        learners(**{"hang up": True})
        say(f"nobody: {summary(base)}\n{SOCKETS:,} sockets that do nothing: {summary(idle)}")
        memory = [deployment.megabytes()]
        hours = []
        transactions = _asked(environment, _TRANSACTIONS)
        for hour, share in enumerate(CURVE):
            hours.append(deployment.during(f"{hour}:00", seconds=HOUR, visits=VISITS * share))
            say(f"{hour:2}:00  {summary(hours[-1])}")
        memory.append(deployment.megabytes())
        transactions = _asked(environment, _TRANSACTIONS) - transactions
        steps = []
        for times in STEPS:
            steps.append(deployment.during(f"{times:g}", seconds=STEP_SECONDS, visits=VISITS * times))
            say(f"{times:g} times the busiest hour: {summary(steps[-1])}")
            if noticed(steps[-1]):
                break
        rest = deployment.during("the last leave", leave=60)
        memory.append(deployment.megabytes())
        call_bytes = _asked(environment, _SIZE)
        errors = sum('"level":"error"' in line.replace(" ", "") for line in server.log.read_text().splitlines())
    seconds = time.monotonic() - began
    report.write(base, idle, hours, steps, rest, memory, errors, call_bytes, transactions, seconds)


def _asked(environment: dict[str, str], question: LiteralString) -> int:
    """What PostgreSQL answers to a question with one number."""
    with psycopg.connect(load_settings(environment).database_url) as connection:
        answer = connection.execute(question).fetchone()
    return int(answer[0]) if answer else 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _resend() -> Iterator[str]:
    with ResendStandIn() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _environment(prepared: dict[str, str], stand_ins: StandIns, resend: str) -> dict[str, str]:
    return {
        **prepared,
        **stand_ins.environment,
        **stand_ins.fcm.environment,
        "BCRYPT_ROUNDS": "12",
        "RESEND_API_KEY": "re_of_the_bench",
        "RESEND_API_URL": resend,
        "SEARCH_EXPIRY": f"{SEARCH_SECONDS:.0f}s",
        # A sixtieth, as all times of this day.
        "EARLY_LEAVE": "1s",
    }


def _people(environment: dict[str, str], directory: Path, port: int, learners: Learners) -> None:
    """Have accounts made by the product, but with quick hashes, which are replaced by such as production has."""
    quick = {**environment, "APP_ENV": "test", "BCRYPT_ROUNDS": "4"}
    settings = load_settings(environment)
    server = start_server(quick, directory / "set-up.log", workers=WORKERS, port=port)
    try:
        learners(register=LEARNERS, course=asyncio.run(_course(settings)))
    finally:
        stop_server(server)
    with psycopg.connect(settings.database_url) as connection:
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode()
        connection.execute("UPDATE users SET password_hash = %s", [hashed])
        # Mails to confirm all these addresses are no part of this day.
        connection.execute("TRUNCATE procrastinate_jobs, procrastinate_events CASCADE")
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


async def _course(settings: Settings) -> str:
    container = Container(settings)
    try:
        return await add_course(container)
    finally:
        await container.close()


if __name__ == "__main__":
    main()
