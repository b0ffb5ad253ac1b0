"""A mistake at start is one sentence with what to do, exit 1 and no traceback."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from adapters.keys import KeyFileError, KeyFiles
from adapters.redis import connect
from cli.listening import refusal
from cli.migrations import revisions, upgrade_to_head
from devtools.embedded import EmbeddedServices
from services.operations import startup
from settings import Settings
from testing.containers import load_settings
from testing.databases import execute, own_database
from testing.polling import eventually, wait_until
from testing.ports import free_port
from testing.shop import run_job_worker
from testing.time_limits import limit
from tests.cli.test_operators import parlance

ROOT = Path(__file__).resolve().parents[2]
SECRET = "Hunter2-secret"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A PostgreSQL and a Valkey with passwords, apart from those of other tests."""
    with EmbeddedServices(tmp_path_factory.mktemp("stores"), durable=False, only=("postgres", "valkey")) as connections:
        yield connections


def refused(*command: str, **environment: str) -> str:
    """Run a command that has to refuse; return its sentence."""
    done = parlance(*command, **environment)
    output = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in output, output
    lines = [line for line in output.splitlines() if line.startswith("parlance: ")]
    assert len(lines) == 1 and done.stderr.endswith(f"{lines[0]}\n"), output
    assert SECRET not in output
    return lines[0].removeprefix("parlance: ")


@contextmanager
def closing_port() -> Iterator[int]:
    """A server that closes each connection once something was sent, as a TLS port does with plain text."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


MISTAKES = [
    (
        {"REDIS_HOST": "no-such-host.invalid"},
        "no address is known for the host no-such-host.invalid; correct REDIS_HOST",
    ),
    ({"REDIS_PORT": "CLOSED"}, "Connection refused; start it, or correct REDIS_HOST and REDIS_PORT"),
    ({"REDIS_PASSWORD": SECRET}, "has no password; leave REDIS_PASSWORD empty"),
    ({"REDIS_PORT": "CLOSING"}, "does not answer as Redis does without TLS"),
    ({"DB_HOST": "no-such-host.invalid"}, "no address is known for the host no-such-host.invalid; correct DB_HOST"),
    ({"DB_PORT": "CLOSED"}, "Connection refused; start it, or correct DB_HOST and DB_PORT"),
    ({"DB_NAME": "nowhere"}, "has no database nowhere; create it (`createdb nowhere`), or correct DB_NAME"),
    ({"DB_NAME": "postgres"}, "the database postgres has no tables yet; run `parlance migrations upgrade`"),
    ({"STORAGE_ENDPOINT": "http://no-such-host.invalid"}, "correct STORAGE_ENDPOINT"),
    ({"STORAGE_SECRET_KEY": SECRET}, "correct STORAGE_ACCESS_KEY, STORAGE_SECRET_KEY and STORAGE_REGION"),
    ({"STORAGE_BUCKET_NAME": "nowhere"}, "has no bucket nowhere; create it, or correct STORAGE_BUCKET_NAME"),
    ({"BUS_DIRECTORY": "/proc/parlance"}, "BUS_DIRECTORY /proc/parlance cannot be used: "),
    ({"BUS_DIRECTORY": "/etc/hostname"}, "BUS_DIRECTORY /etc/hostname cannot be used: File exists"),
]


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES, ids=[" ".join(changes)[:40] for changes, _ in MISTAKES])
async def test_startup_mistake_is_one_sentence(
    environment: dict[str, str], changes: dict[str, str], sentence: str
) -> None:
    with closing_port() as closing:
        ports = {"CLOSED": str(free_port()), "CLOSING": str(closing)}
        changed = load_settings({**environment, **{name: ports.get(value, value) for name, value in changes.items()}})
        known = revisions(changed)
        with pytest.raises(startup.StartupError) as refused:
            await startup.require_ready(changed, known)
            await startup.check_storage(changed)  # of which serve only warns where it is away
        message = str(refused.value)
        assert sentence in message and "\n" not in message and SECRET not in message
        # A worker waits for what may come back, and refuses what a mistake is.
        assert isinstance(refused.value, startup.Unreachable) == ("CLOSED" in changes.values())


async def test_store_passwords_are_checked(environment: dict[str, str], stores: dict[str, str]) -> None:
    for user, password in (("parlance", SECRET), ("nobody", SECRET)):
        wrong = load_settings({**environment, **stores, "DB_USERNAME": user, "DB_PASSWORD": password})
        with pytest.raises(
            startup.Misconfigured, match=f"refuses the password of {user}; correct DB_USERNAME"
        ) as refused:
            await startup.check_database(wrong)
        assert SECRET not in str(refused.value)
    right = load_settings({**environment, **stores})
    client = connect(right)
    await client.config_set("requirepass", "right-password")
    await client.aclose()
    with pytest.raises(startup.Misconfigured, match="needs a password; set REDIS_PASSWORD"):
        await startup.check_redis(right)
    with pytest.raises(startup.Misconfigured, match="refuses the password; correct REDIS_PASSWORD") as refused:
        await startup.check_redis(load_settings({**environment, **stores, "REDIS_PASSWORD": SECRET}))
    assert SECRET not in str(refused.value)
    await startup.check_redis(load_settings({**environment, **stores, "REDIS_PASSWORD": "right-password"}))


async def test_schema_behind_refuses_and_newer_is_allowed(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A newer schema is that of a release that is being rolled out while this one still runs."""
    newest, before, *_ = known = revisions(settings)
    with own_database(settings) as own:
        await startup.check_schema(own, known)
        for revision in (before, "feedfeed"):
            with psycopg.connect(own.database_url) as connection:
                connection.execute("UPDATE alembic_version SET version_num = %s", [revision])
            if revision == before:
                sentence = (
                    r"older than this release: 1 of \d+ migrations is missing; run `parlance migrations upgrade`$"
                )
                with pytest.raises(startup.Misconfigured, match=sentence):
                    await startup.check_schema(own, known)
            else:
                await startup.check_schema(own, known)
                assert f"schema_newer_than_release revision=feedfeed newest_known={newest}" in caplog.text


@pytest.mark.parametrize("missing", [1, 2])
def test_serve_refuses_an_older_schema(environment: dict[str, str], settings: Settings, missing: int) -> None:
    with own_database(settings) as own:
        known = revisions(settings)
        execute(own, "UPDATE alembic_version SET version_num = %s", known[missing])
        sentence = (
            f"the schema of the database {own.db_name} is older than this release: {missing} of {len(known)} migrations"
            f" {'is' if missing == 1 else 'are'} missing; run `parlance migrations upgrade`"
        )
        for command in (("serve", "--port", str(free_port())), ("worker",)):
            assert refused(*command, **{**environment, "DB_NAME": own.db_name}) == sentence


def test_commands_of_an_older_release_accept_a_newer_schema(environment: dict[str, str], settings: Settings) -> None:
    """As in a roll-out whose next release has migrated already, and after a step back."""
    with own_database(settings) as own:
        execute(own, "UPDATE alembic_version SET version_num = 'feedfeed'")
        variables = {**environment, "DB_NAME": own.db_name}
        newest = revisions(settings)[0]
        sentence = f"the database is at feedfeed, of a newer release than this one, whose newest migration is {newest}"
        for command in (("upgrade",), ("current",)):
            done = parlance("migrations", *command, **variables)
            assert done.returncode == 0 and sentence in done.stdout, done.stdout + done.stderr
        assert refused("migrations", "downgrade", **variables) == f"{sentence}; downgrade it with that release"
        upgrade_to_head(own)
        checked = parlance("doctor", "--json", **variables)
        assert f'"summary": "{sentence}"' in checked.stdout and '"warning"' in checked.stdout


def test_serve_with_workers_reports_a_mistake_once(environment: dict[str, str]) -> None:
    sentence = refused("serve", "--workers", "2", "--port", str(free_port()), **{**environment, "DB_NAME": "nowhere"})
    assert "has no database nowhere" in sentence


@pytest.mark.parametrize(
    ("failure", "workers", "reason"),
    [
        ("stack", 1, "the middleware cannot be built"),
        ("stack", 2, "the middleware cannot be built"),
        ("lifespan", 1, "the services cannot start"),
        ("contract", 2, "openapi.yaml names handlers.health.nowhere, but there is no such function"),
    ],
)
def test_failed_startup_ends_the_server(environment: dict[str, str], failure: str, workers: int, reason: str) -> None:
    """Connexion builds its middlewares at startup; uvicorn took a failure there for an app without a lifespan."""
    command = [sys.executable, "-m", "tests.cli.failing_server", failure, str(free_port()), str(workers)]
    variables = {**os.environ, **environment}
    done = subprocess.run(
        command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=limit(120), check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 1 and reason in output, output
    sentences = [line for line in output.splitlines() if line.startswith("parlance: ")]
    assert len(sentences) == 1 and output.endswith(f"{sentences[0]}\n"), output
    # A mistake has no traceback; what is none has one, in the log alone.
    assert ("Traceback" in output) == (failure == "lifespan"), output


@contextmanager
def running_as_process_1(port: int, **variables: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `parlance serve` as in a container, where the kernel ignores a signal for process 1 that has no handler.

    Yields the command around it, which ends as it does, and its id outside.
    """
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    command += [sys.executable, "-P", "-m", "parlance", "serve", "--port", str(port)]
    with subprocess.Popen(
        command, env={**os.environ, **variables}, cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            listed = Path(f"/proc/{running.pid}/task/{running.pid}/children")
            wait_until(listed.read_text, "its child", within=20)
            yield running, int(listed.read_text())
        finally:
            running.kill()


@pytest.mark.system
def test_sigterm_ends_a_process_1_that_has_not_started(environment: dict[str, str]) -> None:
    """It waits for a PostgreSQL that is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(limit(60))
        variables = {**environment, "DB_PORT": str(silent.getsockname()[1])}
        with running_as_process_1(free_port(), **variables) as (running, process_1):
            connection, _ = silent.accept()
            with connection:
                os.kill(process_1, signal.SIGTERM)
                _, errors = running.communicate(timeout=limit(60))
    assert running.returncode == 128 + signal.SIGTERM, errors


@pytest.mark.system
def test_process_1_that_serves_ends_without_an_error(environment: dict[str, str]) -> None:
    port = free_port()
    with running_as_process_1(port, **environment) as (running, process_1):

        def serves() -> bool:
            with suppress(httpx.HTTPError):
                return (
                    httpx.get(f"http://127.0.0.1:{port}/health", timeout=limit(5), trust_env=False).status_code == 200
                )
            return False

        wait_until(serves, "it serves", within=60)
        os.kill(process_1, signal.SIGTERM)
        _, errors = running.communicate(timeout=limit(60))
    assert running.returncode == 0, errors


def test_commands_report_mistakes_of_stores(environment: dict[str, str]) -> None:
    for command in (("worker",), ("migrations", "current"), ("admins", "list")):
        assert "correct DB_HOST" in refused(*command, **{**environment, "DB_HOST": "no-such-host.invalid"})


def test_serve_refuses_a_port_that_is_taken(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert refused("serve", "--port", port, **environment).startswith(f"port {port} is in use by another program")
    assert "choose one above 1023 with PORT" in refusal("0.0.0.0", 80, errno.EACCES)


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_serve_refuses_a_port_out_of_range(port: str) -> None:
    done = parlance("serve", "--port", port)
    assert done.returncode == 2 and "'--port'" in done.stderr and "Traceback" not in done.stderr, done.stderr


async def test_worker_waits_for_services_and_logs_it_once(
    environment: dict[str, str], stores: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    directory = tmp_path / "postgres"
    with EmbeddedServices(directory, durable=False, only=("postgres",)) as connections:
        variables = {**environment, **connections}
        upgrade_to_head(load_settings(variables))
    lines = re.compile("postgresql_(un)?available|error connecting|Traceback|job_worker_ready")
    with run_job_worker(variables, log, ready="postgresql_unavailable") as process:
        with EmbeddedServices(directory, durable=False, only=("postgres",)) as again:
            assert again["DB_PORT"] == connections["DB_PORT"]
            await eventually(lambda: "job_worker_ready" in log.read_text(), within=60, what="the job worker is ready")
        await eventually(lambda: log.read_text().count("postgresql_unavailable") == 2, within=60, what="it noticed")
        assert process.poll() is None
        with EmbeddedServices(directory, durable=False, only=("postgres",)):
            await eventually(lambda: log.read_text().count("postgresql_available") == 2, within=60, what="it is back")
            found = [match.group() for match in lines.finditer(log.read_text())]
    outage = ["postgresql_unavailable", "postgresql_available"]
    assert found == [*outage, "job_worker_ready", *outage], log.read_text()


def keys(path: Path, settings: Settings) -> KeyFiles:
    where = {"jwt_private_key_path": path / "private.pem", "jwt_public_key_path": path / "public.pem"}
    return KeyFiles(settings.model_copy(update=where))


def pem(key: Any, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )
    return encoded


def test_signing_keys_that_cannot_sign_are_refused(tmp_path: Path, settings: Settings) -> None:
    files = keys(tmp_path, settings)
    files.generate()
    good = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    for content, sentence in (
        (pem(ec.generate_private_key(ec.SECP256R1())), "not RSA"),
        (pem(good, serialization.BestAvailableEncryption(SECRET.encode())), "is encrypted; write it without"),
        (pem(short), "1024 bits, too few for RS256; use 2048 or more"),
        (files.public_path.read_bytes(), "holds a public key; set JWT_PRIVATE_KEY_PATH"),
        (pem(good), "are not one pair; set JWT_PUBLIC_KEY_PATH"),
        (b"", "is empty"),
        (b"nonsense", "holds no RSA key in PEM"),
    ):
        files.private_path.write_bytes(content)
        with pytest.raises(KeyFileError) as refused:
            files.signing_key()
        assert sentence in str(refused.value) and "\n" not in str(refused.value) and SECRET not in str(refused.value)
    files.private_path.unlink()
    files.private_path.mkdir()
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        files.signing_key()


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_unreadable_document_stops_the_start(environment: dict[str, str], tmp_path: Path, command: str) -> None:
    (tmp_path / "terms.md").write_text("# Our terms\n")
    sentence = refused(command, **{**environment, "POLICY_DIRECTORY": str(tmp_path)})
    assert sentence.startswith(f"{tmp_path / 'terms.md'} has no version; its first line should be")
    sentence = refused(command, **{**environment, "POLICY_DIRECTORY": str(tmp_path / "absent")})
    assert sentence == f"POLICY_DIRECTORY {tmp_path / 'absent'} is not a folder"
