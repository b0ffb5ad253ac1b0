"""The embedded PostgreSQL, Valkey and S3: they answer, keep their data, and end with their parent process."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import minio
import psycopg
import pytest
import redis

from devtools.embedded import EmbeddedError, EmbeddedServices
from testing.polling import wait_until

OWNER = """
import json, sys
from pathlib import Path
from devtools.embedded import EmbeddedServices
print(json.dumps(EmbeddedServices(Path(sys.argv[1]), durable=False).start()), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    directory = tmp_path_factory.mktemp("embedded")
    with EmbeddedServices(directory, durable=False) as environment:
        yield directory, environment


def database(environment: dict[str, str]) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=environment["DB_HOST"],
        port=environment["DB_PORT"],
        user=environment["DB_USERNAME"],
        password=environment["DB_PASSWORD"],
        dbname=environment["DB_NAME"],
        autocommit=True,
    )


def valkey(environment: dict[str, str]) -> redis.Redis:
    return redis.Redis(host=environment["REDIS_HOST"], port=int(environment["REDIS_PORT"]))


def s3(environment: dict[str, str]) -> minio.Minio:
    return minio.Minio(
        environment["STORAGE_ENDPOINT"].removeprefix("http://"),
        access_key=environment["STORAGE_ACCESS_KEY"],
        secret_key=environment["STORAGE_SECRET_KEY"],
        secure=False,
    )


def ports(directory: Path) -> list[int]:
    state = json.loads((directory / "state.json").read_text())
    return [port for numbers in state["ports"].values() for port in numbers]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_silent(directory: Path) -> None:
    def open_ports() -> list[int]:
        return [port for port in ports(directory) if listens(port)]

    wait_until(lambda: not open_ports(), lambda: f"ports {open_ports()} are closed", within=5)


def test_postgresql_valkey_and_s3_answer(running: tuple[Path, dict[str, str]]) -> None:
    _, environment = running
    with database(environment) as connection:
        row = connection.execute("SELECT lower('ÄÉЖ'), current_setting('server_version_num')::int / 10000").fetchone()
    assert row == ("äéж", 18)
    assert valkey(environment).ping()
    assert s3(environment).bucket_exists(environment["STORAGE_BUCKET_NAME"])


def test_only_avatars_and_thumbnails_are_public(running: tuple[Path, dict[str, str]]) -> None:
    _, environment = running
    answers = {}
    for name in ("avatars/a.webp", "thumbnails/courses/c.webp", "videos/v.mp4", "attachments/a.pdf"):
        s3(environment).put_object(environment["STORAGE_BUCKET_NAME"], name, io.BytesIO(b"bytes"), 5)
        answers[name] = anonymous_status(f"{environment['STORAGE_PUBLIC_URL']}/{name}")
    answers["the list"] = anonymous_status(environment["STORAGE_PUBLIC_URL"])
    assert answers == {
        "avatars/a.webp": 200,
        "thumbnails/courses/c.webp": 200,
        "videos/v.mp4": 403,
        "attachments/a.pdf": 403,
        "the list": 403,
    }


def anonymous_status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def test_secrets_are_readable_by_their_owner_only(running: tuple[Path, dict[str, str]]) -> None:
    directory, environment = running
    secrets = [environment[name] for name in ("DB_PASSWORD", "STORAGE_ACCESS_KEY", "STORAGE_SECRET_KEY")]
    files = [each for each in directory.iterdir() if each.is_file()]
    secret_files = [each for each in files if any(secret in each.read_text() for secret in secrets)]
    assert secret_files and [each for each in secret_files if each.stat().st_mode & 0o077] == []


def test_directory_in_use_is_refused(running: tuple[Path, dict[str, str]]) -> None:
    directory, environment = running
    with pytest.raises(EmbeddedError, match=f"{directory} is in use by process {os.getpid()}; stop that one first"):
        EmbeddedServices(directory).start()
    assert valkey(environment).ping()


def test_restart_keeps_data_credentials_and_ports(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path)
    with services as first:
        with database(first) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        valkey(first).set("kept", "42")
        s3(first).put_object(first["STORAGE_BUCKET_NAME"], "kept", io.BytesIO(b"42"), 2)
    wait_until_silent(tmp_path)
    with services as second:
        assert second == first
        with database(second) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert valkey(second).get("kept") == b"42"
        assert s3(second).get_object(second["STORAGE_BUCKET_NAME"], "kept").read() == b"42"


def test_killed_owner_leaves_no_listener(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout
        environment = json.loads(owner.stdout.readline())
        with database(environment) as connection:
            connection.execute("CREATE TABLE kept ()")
        owner.kill()
    # At once, while some of its children may still be ending.
    with (
        EmbeddedServices(tmp_path, durable=False, only={"postgres"}) as environment,
        database(environment) as connection,
    ):
        connection.execute("SELECT FROM kept")
    wait_until_silent(tmp_path)


@pytest.mark.parametrize("leftover", ["{pid}\n{data}\n1\n1\n\n127.0.0.1\n0 0\nready\n", "not a number"])
def test_stale_postmaster_pid_is_ignored(tmp_path: Path, leftover: str) -> None:
    services = EmbeddedServices(tmp_path, durable=False, only={"postgres"})
    with services:
        pass
    data = tmp_path / "postgres"
    # The number now belongs to a process that lives: this one.
    (data / "postmaster.pid").write_text(leftover.format(pid=os.getpid(), data=data))
    with services as environment, database(environment) as connection:
        connection.execute("SELECT 1")


def test_service_that_dies_is_reported_with_its_log(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path, durable=False, only={"valkey"})
    with services as environment:
        services.watch()
        os.kill(valkey(environment).info("server")["process_id"], signal.SIGKILL)
        with pytest.raises(EmbeddedError, match=f"Valkey died .by signal 9.; its log is {tmp_path}/logs/valkey.log"):
            for _ in range(100):
                services.watch()
                time.sleep(0.01)


def test_port_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path, durable=False, only={"valkey"})
    with services as first:
        pass
    with socket.create_server(("127.0.0.1", int(first["REDIS_PORT"]))), services as second:
        assert second["REDIS_PORT"] != first["REDIS_PORT"]
        assert valkey(second).ping()


def test_failed_start_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(EmbeddedError, match=r"cannot start in .*/a file: .*File exists.*"):
        EmbeddedServices(tmp_path / "a file").start()

    (tmp_path / "postgres").mkdir()
    with pytest.raises(EmbeddedError, match=r"PostgreSQL did not start .*; its log is .*/logs/postgres\.log$"):
        EmbeddedServices(tmp_path, only={"valkey", "postgres"}).start()
    wait_until_silent(tmp_path)

    (tmp_path / "state.json").write_text("{")
    with pytest.raises(EmbeddedError, match=r"state\.json is not readable as JSON"):
        EmbeddedServices(tmp_path).start()


def test_services_start_in_the_main_thread_alone(tmp_path: Path) -> None:
    failures = []

    def start() -> None:
        try:
            EmbeddedServices(tmp_path).start()
        except EmbeddedError as error:
            failures.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert failures == ["the embedded services have to be started from the main thread"]
