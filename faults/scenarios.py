"""Faults: one function each, called under load, that returns when the fault has ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.deployment import FaultDeployment
from testing.servers import stop_server

#: Seconds that a store or a vendor is away.
AWAY = 5.0


def nothing(deployment: FaultDeployment) -> None:
    """No fault: the load alone."""
    time.sleep(AWAY)


def server_worker_killed(deployment: FaultDeployment) -> None:
    """One of two server processes killed with -9, twice."""
    for _ in range(2):
        deployment.kill_server_worker()
        time.sleep(AWAY)


def job_worker_killed(deployment: FaultDeployment) -> None:
    """The job worker killed with -9, another started later."""
    deployment.kill_worker()
    time.sleep(AWAY)
    deployment.start_worker()


def job_worker_stopped(deployment: FaultDeployment) -> None:
    """The job worker stopped (SIGSTOP) for 15 s beside another, then continued."""
    deployment.start_worker()
    stopped = deployment.workers[0]
    os.kill(stopped.pid, signal.SIGSTOP)
    time.sleep(15)
    os.kill(stopped.pid, signal.SIGCONT)
    stopped.terminate()
    stopped.wait(30)
    deployment.workers.remove(stopped)


def postgresql_restarted(deployment: FaultDeployment) -> None:
    """PostgreSQL killed, started again after 5 s."""
    deployment.restart("postgres", away=AWAY)


def redis_restarted(deployment: FaultDeployment) -> None:
    """Redis killed with -9, started again after 5 s from its append-only file."""
    deployment.restart("valkey", away=AWAY)


def redis_flushed(deployment: FaultDeployment) -> None:
    """FLUSHALL, twice."""
    for _ in range(2):
        _redis(deployment, "FLUSHALL")
        time.sleep(AWAY)


def s3_away(deployment: FaultDeployment) -> None:
    """S3 killed, started again after 5 s."""
    deployment.restart("s3", away=AWAY)


def stripe_away(deployment: FaultDeployment) -> None:
    """Every call of Stripe's API fails for 10 s: cut off after the effect, without an answer, then refused."""
    faults = deployment.stand_ins.faults
    faults.add("cut", "* /v1/checkout/*", times=3)
    faults.add("hang", "* /v1/checkout/*", times=3)
    faults.add("cut", "* /v1/refunds*")
    faults.add("refuse", "* /v1/[cr]*", times=10_000)
    time.sleep(2 * AWAY)
    faults.clear()


def fcm_away(deployment: FaultDeployment) -> None:
    """Firebase refuses every push with 503 for 10 s."""
    deployment.stand_ins.faults.add("refuse", "POST */messages:send", times=10_000, status=503)
    time.sleep(2 * AWAY)
    deployment.stand_ins.faults.clear()


def clients_partitioned(deployment: FaultDeployment) -> None:
    """Half of the learners without network for 8 s, then for 25 s; their connections stay open."""
    for seconds in (8, 25):
        deployment.send_to_load("cut")
        time.sleep(seconds)
        deployment.send_to_load("restore")
        time.sleep(AWAY)


def slow_readers(deployment: FaultDeployment) -> None:
    """Five calls in which one side reads nothing for 15 s, while the other sends at its limit."""
    deployment.send_to_load("slow")
    time.sleep(3 * AWAY)


def clock_ahead(deployment: FaultDeployment) -> None:
    """A job worker's clock ten minutes ahead, beside another with a correct clock."""
    ahead = deployment.start_worker(**clock_environment("+10m"))
    time.sleep(3 * AWAY)
    ahead.terminate()
    ahead.wait(30)
    deployment.workers.remove(ahead)


def clock_behind(deployment: FaultDeployment) -> None:
    """The only job worker's clock ten minutes behind."""
    deployment.kill_worker()
    behind = deployment.start_worker(**clock_environment("-10m"))
    time.sleep(3 * AWAY)
    behind.terminate()
    behind.wait(30)
    deployment.workers.remove(behind)
    deployment.start_worker()


def server_clock_ahead(deployment: FaultDeployment) -> None:
    """Half of the learners moved for 15 s to a server whose clock is ten minutes ahead, then back."""
    _server_withclock_environment(deployment, "+10m")


def server_clock_behind(deployment: FaultDeployment) -> None:
    """The same with a clock ten minutes behind."""
    _server_withclock_environment(deployment, "-10m")


def postgresql_disk_full(deployment: FaultDeployment) -> None:
    """PostgreSQL's disk full for 5 s, then free again."""
    with full_disk(deployment.stores["postgres"].directory):
        time.sleep(AWAY)


def redis_disk_full(deployment: FaultDeployment) -> None:
    """Redis's disk full for 5 s, then free again."""
    with full_disk(deployment.stores["valkey"].directory):
        time.sleep(AWAY)


def s3_disk_full(deployment: FaultDeployment) -> None:
    """The disk of S3 full for 5 s, then free again."""
    with full_disk(deployment.stores["s3"].directory):
        time.sleep(AWAY)


def scratch_disk_full(deployment: FaultDeployment) -> None:
    """The disk of temporary files of servers and job workers full for 10 s, then free again."""
    with full_disk(deployment.scratch):
        time.sleep(2 * AWAY)


Scenario = Callable[[FaultDeployment], None]
SCENARIOS: dict[str, Scenario] = {
    each.__name__.replace("_", "-"): each
    for each in (
        nothing,
        server_worker_killed,
        job_worker_killed,
        job_worker_stopped,
        postgresql_restarted,
        redis_restarted,
        redis_flushed,
        s3_away,
        stripe_away,
        fcm_away,
        clients_partitioned,
        slow_readers,
        clock_ahead,
        clock_behind,
        server_clock_ahead,
        server_clock_behind,
        postgresql_disk_full,
        redis_disk_full,
        s3_disk_full,
        scratch_disk_full,
    )
}
#: Of each that fills a disk, the folder of the deployment that is one of its own, and its megabytes.
DISKS = {
    "postgresql-disk-full": ("postgres", 220),
    "redis-disk-full": ("valkey", 40),
    "s3-disk-full": ("s3", 300),
    "scratch-disk-full": ("tmp", 20),
}


# --- How ------------------------------------------------------------------------------------------------


def _redis(deployment: FaultDeployment, command: str) -> None:
    with socket.create_connection(("127.0.0.1", deployment.settings.redis_port), timeout=5) as connection:
        connection.sendall(f"{command}\r\n".encode())
        answer = connection.recv(64)
        if not answer.startswith(b"+OK"):
            raise SystemExit(f"{command}: {answer!r}")


def clock_environment(offset: str) -> dict[str, str]:
    """Return the environment in which a process sees another time of day; how long things take stays right."""
    program = shutil.which("faketime")
    if program is None:
        raise SystemExit("faketime is needed: apt-get install faketime")
    variables = subprocess.run([program, "-f", offset, "env"], capture_output=True, text=True, check=True).stdout
    changed = dict(
        line.split("=", 1) for line in variables.splitlines() if line.startswith(("LD_PRELOAD=", "FAKETIME"))
    )
    return {**changed, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def _server_withclock_environment(deployment: FaultDeployment, offset: str) -> None:
    server = deployment.start_server(**clock_environment(offset))
    deployment.send_to_load(f"to {server.url}")
    time.sleep(3 * AWAY)
    deployment.send_to_load(f"to {deployment.server.url}")
    stop_server(server)


@contextmanager
def full_disk(directory: Path) -> Iterator[None]:
    """Fill the disk that a directory is on, which `small_disk` made."""
    filler = directory / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        yield
    finally:
        filler.unlink()


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[None]:
    """Give a directory a disk of its own (tmpfs), which only root may."""
    directory.mkdir(parents=True)
    size = f"size={megabytes}m,mode=0700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "parlance-faults", str(directory)], capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit("a disk that can be filled needs root: run `make faults` as root, or leave out *-disk-full")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
