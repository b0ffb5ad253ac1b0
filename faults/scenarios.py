"""Owns what is done to the product: one function each, called while the load runs; it ends when the fault is over."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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
    """Every call of Stripe's API fails for 10 s: refused, cut off after the effect, or without an answer."""
    for kind in ("refuse", "cut", "hang"):
        house.stand_ins.faults.add(kind, "* /v1/checkout/*", times=4)
        house.stand_ins.faults.add(kind, "* /v1/refunds*", times=1)
    time.sleep(2 * AWAY)
    house.stand_ins.faults.clear()


def fcm_away(house: House) -> None:
    """Firebase refuses every push with 503 for 10 s."""
    house.stand_ins.faults.add("refuse", "POST */messages:send", times=10_000, status=503)
    time.sleep(2 * AWAY)
    house.stand_ins.faults.clear()


def clients_partitioned(house: House) -> None:
    """Twenty clients whose packets all go nowhere for 20 s: connected, silent, never closed."""
    with stalled_clients(house, 20):
        time.sleep(4 * AWAY)


def slow_readers(house: House) -> None:
    """Twenty clients that ask for a page each millisecond and read nothing."""
    sockets = []
    for _ in range(20):
        client = _connection(house)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(0.001)
        sockets.append(client)
    until = time.monotonic() + 2 * AWAY
    request = b"GET /openapi.json HTTP/1.1\r\nHost: parlance\r\n\r\n"
    while time.monotonic() < until:
        for client in sockets:
            with suppress(OSError):
                client.send(request)
        time.sleep(0.001)
    for client in sockets:
        client.close()


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


def _connection(house: House) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(house.server.url.rpartition(":")[2])), timeout=5)


@contextmanager
def stalled_clients(house: House, count: int) -> Iterator[None]:
    """Sockets that asked for a session, and from then on neither send nor take a byte, nor end."""
    request = (
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: parlance\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(_connection(house))
            client.sendall(request)
            # Closed with a reset: what was lost on the way is not made up for at the end.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        yield


def _faketime(offset: str) -> tuple[str, ...]:
    program = shutil.which("faketime")
    if program is None:
        raise SystemExit("faketime is needed: apt-get install faketime")
    return (program, "-f", offset)


@contextmanager
def full_disk(directory: Path) -> Iterator[None]:
    """Fill the disk that a directory is on, which `small_disk` made."""
    filler = directory / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
            file.flush()
    try:
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
