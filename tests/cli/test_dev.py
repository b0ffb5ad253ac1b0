"""`parlance dev`: from an empty directory to an answering server, and back to nothing running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[2]
CONFIGURED = ("DB_", "REDIS_", "STORAGE_", "JWT_", "APP_", "PARLANCE_")


@contextmanager
def started(directory: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(CONFIGURED)}
    with (directory / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "dev"],
            cwd=directory,
            env=environment | {"PYTHONPATH": str(ROOT), "PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def wait_until_ready(directory: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while "parlance: ready" not in (output := (directory / "output").read_text()):
        assert process.poll() is None, output
        assert time.monotonic() < deadline, output
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listeners(directory: Path, port: int) -> list[int]:
    state = json.loads((directory / ".parlance" / "state.json").read_text())
    ports = [port, *(number for numbers in state["ports"].values() for number in numbers)]
    return [number for number in ports if is_open(number)]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_taken_port_is_told_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with started(tmp_path, port) as process:
            assert process.wait(20) == 1
    assert (tmp_path / "output").read_text() == (
        f"parlance: port {port} is taken by another program; stop it, or choose another port with PORT\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output"]


def test_a_run_a_stop_and_a_run_that_finds_its_data_again(tmp_path: Path) -> None:
    port = free_port()
    dev_env = tmp_path / ".parlance" / "dev.env"
    with started(tmp_path, port) as process:
        wait_until_ready(tmp_path, process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
            assert json.load(answer)["status"] == "ok"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
            assert json.load(answer)["status"] == "ok"
        assert dev_env.stat().st_mode & 0o777 == 0o600
        with database(dev_env) as connection:
            connection.execute("CREATE TABLE kept ()")
        key = (tmp_path / "keys" / "private.pem").read_bytes()

        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert listeners(tmp_path, port) == []
    assert not dev_env.exists()

    with started(tmp_path, port) as process:
        wait_until_ready(tmp_path, process)
        with database(dev_env) as connection:
            connection.execute("SELECT FROM kept")
        assert (tmp_path / "keys" / "private.pem").read_bytes() == key

        # A service that dies takes the rest along, with a sentence that names it.
        postmaster = tmp_path / ".parlance" / "postgres" / "postmaster.pid"
        os.kill(int(postmaster.read_text().splitlines()[0]), signal.SIGKILL)
        assert process.wait(20) == 1
    log = tmp_path / ".parlance" / "logs" / "postgres.log"
    assert f"parlance: PostgreSQL died (by signal 9); its log is {log}\n" in (tmp_path / "output").read_text()
    assert listeners(tmp_path, port) == []


def database(dev_env: Path) -> psycopg.Connection[tuple[object, ...]]:
    values = dict(line.split("=", 1) for line in dev_env.read_text().splitlines())
    return psycopg.connect(
        host=values["DB_HOST"],
        port=values["DB_PORT"],
        user=values["DB_USERNAME"],
        password=values["DB_PASSWORD"],
        dbname=values["DB_NAME"],
        autocommit=True,
    )
