"""Owns what is done to the product: one function each, called while the load runs; it ends when the fault is over."""

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

from faults.house import House

#: Seconds that a store or a vendor is away.
AWAY = 5.0


def nothing(house: House) -> None:
    """Nothing: what the load alone does."""
    time.sleep(AWAY)


def server_worker_killed(house: House) -> None:
    """One of two server processes killed with -9, twice."""
    for _ in range(2):
        house.kill_server_worker()
        time.sleep(AWAY)


def job_worker_killed(house: House) -> None:
    """The job worker killed with -9, another started after a while."""
    house.kill_worker()
    time.sleep(AWAY)
    house.start_worker()


def job_worker_stopped(house: House) -> None:
    """The job worker stopped (SIGSTOP) for 15 s beside another, then let go on."""
    house.start_worker()
    stopped = house.workers[0]
    os.kill(stopped.pid, signal.SIGSTOP)
    time.sleep(15)
    os.kill(stopped.pid, signal.SIGCONT)
    stopped.terminate()
    stopped.wait(30)
    house.workers.remove(stopped)


def postgresql_restarted(house: House) -> None:
    """PostgreSQL killed, started again after 5 s."""
    house.restart("postgres", away=AWAY)


def redis_restarted(house: House) -> None:
    """Redis killed with -9, started again after 5 s with what its log kept."""
    house.restart("valkey", away=AWAY)


def redis_flushed(house: House) -> None:
    """FLUSHALL, twice."""
    for _ in range(2):
        _redis(house, "FLUSHALL")
        time.sleep(AWAY)


def s3_away(house: House) -> None:
    """S3 killed, started again after 5 s."""
    house.restart("s3", away=AWAY)


def stripe_away(house: House) -> None:
    """Every call of Stripe's API fails for 10 s: cut off after the effect, without an answer, then refused."""
    faults = house.stand_ins.faults
    faults.add("cut", "* /v1/checkout/*", times=3)
    faults.add("hang", "* /v1/checkout/*", times=3)
    faults.add("cut", "* /v1/refunds*")
    faults.add("refuse", "* /v1/[cr]*", times=10_000)
    time.sleep(2 * AWAY)
    faults.clear()


def fcm_away(house: House) -> None:
    """Firebase refuses every push with 503 for 10 s."""
    house.stand_ins.faults.add("refuse", "POST */messages:send", times=10_000, status=503)
    time.sleep(2 * AWAY)
    house.stand_ins.faults.clear()


def clients_partitioned(house: House) -> None:
    """Half of the learners cut off for 8 s, then for 25 s: nothing passes, and no connection is closed."""
    for seconds in (8, 25):
        house.tell("cut")
        time.sleep(seconds)
        house.tell("mend")
        time.sleep(AWAY)


def slow_readers(house: House) -> None:
    """Five calls of which one side reads nothing for 15 s, while the other sends what it may."""
    house.tell("slow")
    time.sleep(3 * AWAY)


def clock_ahead(house: House) -> None:
    """A job worker whose clock is ten minutes ahead, beside one whose clock is right."""
    ahead = house.start_worker(prefix=_faketime("+10m"))
    time.sleep(3 * AWAY)
    ahead.terminate()
    ahead.wait(30)
    house.workers.remove(ahead)


def clock_behind(house: House) -> None:
    """The only job worker's clock ten minutes behind."""
    house.kill_worker()
    behind = house.start_worker(prefix=_faketime("-10m"))
    time.sleep(3 * AWAY)
    behind.terminate()
    behind.wait(30)
    house.workers.remove(behind)
    house.start_worker()


def postgresql_disk_full(house: House) -> None:
    """PostgreSQL's disk full for 5 s, then free again."""
    with full_disk(house.stores["postgres"].directory):
        time.sleep(AWAY)


def redis_disk_full(house: House) -> None:
    """Redis's disk full for 5 s, then free again."""
    with full_disk(house.stores["valkey"].directory):
        time.sleep(AWAY)


Scenario = Callable[[House], None]
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
        postgresql_disk_full,
        redis_disk_full,
    )
}


# --- How ------------------------------------------------------------------------------------------------


def _redis(house: House, command: str) -> None:
    with socket.create_connection(("127.0.0.1", house.settings.redis_port), timeout=5) as connection:
        connection.sendall(f"{command}\r\n".encode())
        answer = connection.recv(64)
        if not answer.startswith(b"+OK"):
            raise SystemExit(f"{command}: {answer!r}")


def _faketime(offset: str) -> tuple[str, ...]:
    program = shutil.which("faketime")
    if program is None:
        raise SystemExit("faketime is needed: apt-get install faketime")
    return (program, "-f", offset)


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
