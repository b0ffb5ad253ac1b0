"""Checks before a process serves or runs jobs: each passes, or raises an error that names the fault and its fix.

`Misconfigured` lasts until an operator corrects it; a service that is `Unreachable` may recover by itself.
`parlance doctor` reports the same sentences.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psycopg
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

import errors
from adapters import budgets, bus, mesh, postgresql, redis
from adapters.keys import KeyFiles
from adapters.redis_connection import CONNECT_TIMEOUT_SECONDS, NotPrimary
from adapters.storage import Storage, StorageRefused
from services.safety import policies
from setting_values import RedisAddress, url_host
from settings import Settings

log = logging.getLogger("parlance.startup")

#: Seconds that a connection may take.
CONNECT_SECONDS = 5
#: Seconds between two attempts to reach an unavailable service.
RETRY_SECONDS = 1.0

RUN_MIGRATIONS = "run `parlance migrations upgrade`"

#: Temporary errors of PostgreSQL.
_NOT_READY_PATTERN = re.compile(
    "starting up|shutting down|recovery mode|not yet accepting|too many clients|connection slots"
)
#: Temporary errors of S3 stores.
_STORAGE_BUSY_CODES = {"InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "OperationAborted"}


class StartupError(errors.Refused):
    """`problem` is what is wrong, `fix` what to do about it; neither has a password or a key."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}; {fix}")
        self.problem, self.fix = problem, fix


class Misconfigured(StartupError):
    """A fault that waiting does not correct."""


class Unreachable(StartupError):
    """A service that is unreachable, or not ready, at the moment."""


async def require_ready(settings: Settings, revisions: Sequence[str]) -> None:
    """Raise StartupError where `parlance serve` could not answer; unavailable storage is a warning."""
    check_files(settings)
    await check_schema(settings, revisions)
    await check_redis(settings)
    try:
        await check_storage(settings)
    except Unreachable as error:
        log.warning("storage_unavailable reason=%s", error.problem)


async def wait_until_ready(settings: Settings, revisions: Sequence[str]) -> None:
    """Wait for the services of `parlance worker`; raise Misconfigured where waiting would not help."""
    check_files(settings)
    await wait_for("postgresql", lambda: check_schema(settings, revisions))
    await wait_for("redis", lambda: check_redis(settings))
    await wait_for("storage", lambda: check_storage(settings))


async def wait_for(
    name: str, check: Callable[[], Awaitable[None]], tolerated: type[StartupError] = Unreachable
) -> None:
    """Repeat a check that raises what is `tolerated` until it passes, with one log line for the outage and its end."""
    began = time.monotonic()
    is_unavailable = False
    while True:
        try:
            await check()
        except tolerated as error:
            if not is_unavailable:
                log.warning("%s_unavailable reason=%s", name, error.problem)
            is_unavailable = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            if is_unavailable:
                log.info("%s_available after_seconds=%d", name, time.monotonic() - began)
            return


def check_files(settings: Settings) -> None:
    """Check the key pair, the documents and BUS_DIRECTORY; raise KeyFileError, PolicyError or Misconfigured."""
    KeyFiles(settings).signing_key()
    policies.load_all(settings.policy_directory)
    check_bus_directory(settings)


def check_bus_directory(settings: Settings) -> None:
    """Raise Misconfigured where web processes could not listen in BUS_DIRECTORY."""
    directory = bus.directory(settings)
    if directory is None or settings.bus_directory is None:  # without such a directory the bus uses Redis
        return
    try:
        mesh.require_usable(directory)
    except OSError as error:
        reason = error.strerror or "another user owns it, or its mode is not 0700"
        raise Misconfigured(
            f"BUS_DIRECTORY {directory} cannot be used: {reason}",
            "set it to a directory that this user owns with mode 0700, or leave it empty",
        ) from None


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[psycopg.AsyncConnection]:
    """Connect to a PostgreSQL that can write; raise StartupError, also where it stops answering."""
    where = f"PostgreSQL at {settings.database_address}"
    with budgets.time_limit(CONNECT_SECONDS):
        try:
            connection = await postgresql.connect(settings)
        except psycopg.OperationalError as error:
            if "timeout expired" in str(error):
                raise _no_answer(where, "DB_HOST", "DB_PORT") from None
            # The system's own words for what cannot be reached.
            await _require_one_reachable(where, settings.database_hosts)
            raise _database_error(settings, where, str(error)) from None
        async with connection:
            try:
                yield connection
            except psycopg.OperationalError as error:
                raise _database_error(settings, where, str(error)) from None


async def _require_one_reachable(where: str, hosts: Sequence[tuple[str, int]]) -> None:
    """Raise the first host's StartupError where none can be reached."""
    refusals = []
    for host, port in hosts:
        try:
            return await _require_reachable(where, host, port, "DB_HOST", "DB_PORT")
        except StartupError as error:
            refusals.append(error)
    raise refusals[0]


def _database_error(settings: Settings, where: str, text: str) -> StartupError:
    user, name = settings.db_username, settings.db_name
    if "password authentication failed" in text or "no password supplied" in text:
        return Misconfigured(f"{where} refuses the password of {user}", "correct DB_USERNAME and DB_PASSWORD")
    if re.search(r'role ".*" does not exist', text):
        return Misconfigured(f"{where} has no role {user}", "create it, or correct DB_USERNAME")
    if re.search(r'database ".*" does not exist', text):
        return Misconfigured(f"{where} has no database {name}", f"create it (`createdb {name}`), or correct DB_NAME")
    if "pg_hba.conf" in text:
        return Misconfigured(f"{where} has no pg_hba.conf entry for {user} from here", "add one, and reload PostgreSQL")
    if "session is read-only" in text:
        fix = "promote it, or name the primary in DB_HOST; several hosts may have commas between"
        return Unreachable(f"{where} cannot write: it is a standby, or read only", fix)
    if "SSL" in text or "certificate" in text:
        return Misconfigured(
            f"{where} and DB_SSLMODE do not agree: {_first_line(text)}", "correct DB_SSLMODE or DB_SSLROOTCERT"
        )
    if "invalid response" in text or "expected authentication request" in text:
        return Misconfigured(f"{where} is no PostgreSQL", "correct DB_HOST and DB_PORT")
    reason = _first_line(text)
    if _NOT_READY_PATTERN.search(text) or "FATAL:" not in text:
        return Unreachable(f"{where} is not ready: {reason}", "wait, or read its log")
    return Misconfigured(f"{where} cannot be used: {reason}", "read its log")


def _first_line(text: str) -> str:
    return " ".join(text.rpartition("FATAL:")[2].splitlines()[0].split()) if text.strip() else "no reason given"


async def check_database(settings: Settings) -> None:
    """Raise StartupError where PostgreSQL cannot be used."""
    async with open_database(settings):
        pass


async def check_schema(settings: Settings, revisions: Sequence[str]) -> None:
    """Raise StartupError where the schema is older than this release; `revisions` are all of it, newest first.

    A revision that is not among them is of a newer release, during whose rollout both run.
    """
    async with open_database(settings) as connection:
        current = await current_revision(connection)
    if current is None:
        raise Misconfigured(f"the database {settings.db_name} has no tables yet", RUN_MIGRATIONS)
    if current not in revisions:
        log.warning("schema_newer_than_release revision=%s newest_known=%s", current, revisions[0])
    elif current != revisions[0]:
        pending = revisions.index(current)
        raise Misconfigured(describe_older_schema(settings, pending, revisions), RUN_MIGRATIONS)


def describe_older_schema(settings: Settings, missing: int, revisions: Sequence[str]) -> str:
    """Say how many migrations the database lacks."""
    return (
        f"the schema of the database {settings.db_name} is older than this release:"
        f" {missing} of {len(revisions)} migrations {'is' if missing == 1 else 'are'} missing"
    )


def describe_newer_schema(current: str, revisions: Sequence[str]) -> str:
    """Say that a newer release has migrated the database."""
    return f"the database is at {current}, of a newer release than this one, whose newest migration is {revisions[0]}"


async def current_revision(connection: psycopg.AsyncConnection) -> str | None:
    """Read which migration the schema is at; None where none has ever run."""
    try:
        row = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return str(row[0]) if row else None


async def check_redis(settings: Settings) -> None:
    """Raise StartupError where Redis is unreachable or refuses the credentials."""
    address, names = settings.redis, ("REDIS_URL",) if settings.redis_url else ("REDIS_HOST", "REDIS_PORT")
    if address is None:
        raise Misconfigured("REDIS_HOST is not set", "set it, or REDIS_URL")
    where = f"Redis at {address}"
    if address.kind == "server":
        await _require_reachable(where, *address.nodes[0], *names)
    _check_redis_certificates(settings)
    try:
        await redis.check(settings)
    except BusyLoadingError:
        raise Unreachable(f"{where} is not ready: it is loading its data", "wait until it has loaded") from None
    except NotPrimary as error:
        fix = f"wait for its promotion, or correct {names[0]}"
        raise Unreachable(f"{where} cannot be written: {error}", fix) from None
    except TimeoutError:
        fix = f"read its log, or correct {' and '.join(names)}{' that uses TLS' if address.uses_tls else ''}"
        raise Unreachable(
            f"{where} accepts connections, and gives no answer within {CONNECT_TIMEOUT_SECONDS:g} seconds", fix
        ) from None
    except (AuthenticationError, ResponseError) as error:
        raise _redis_error(settings, where, str(error)) from None
    except ssl.SSLCertVerificationError as error:
        fix = "correct the host of REDIS_URL, or set REDIS_SSLROOTCERT to the file of the authority that signed it"
        raise Misconfigured(f"{where} has a certificate that is not trusted: {error.verify_message}", fix) from None
    except (RedisError, OSError, UnicodeError) as error:
        raise _unusable_redis(address, where, names, error) from None


def _check_redis_certificates(settings: Settings) -> None:
    path = settings.redis_sslrootcert
    try:
        if path is not None:
            ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        reason = "it has no certificates" if isinstance(error, ssl.SSLError) else error
        raise Misconfigured(f"REDIS_SSLROOTCERT cannot be used: {reason}", "set it to a PEM file") from None


def _unusable_redis(address: RedisAddress, where: str, names: tuple[str, ...], error: Exception) -> StartupError:
    if address.kind != "server":
        if "not enabled" in str(error):
            return Misconfigured(f"{where} is no cluster", "begin REDIS_URL with redis:// or rediss://")
        return Unreachable(f"{where} cannot be used: {error}", "start it, or correct REDIS_URL")
    if address.uses_tls:
        return Misconfigured(f"{where} does not answer as Redis does with TLS", "correct REDIS_URL, or use redis://")
    fix = f"correct {' and '.join(names)}; for a port with TLS set REDIS_URL to rediss://"
    return Misconfigured(f"{where} does not answer as Redis does without TLS", fix)


def _redis_error(settings: Settings, where: str, text: str) -> StartupError:
    name = "REDIS_URL" if settings.redis_url else "REDIS_PASSWORD"
    if settings.redis is None or settings.redis.password is None:
        if "auth" in text.lower():
            return Misconfigured(f"{where} needs a password", f"set {name}")
    elif "without any password configured" in text:
        fix = f"leave {name} empty" if name == "REDIS_PASSWORD" else f"leave it out of {name}"
        return Misconfigured(f"{where} has no password", f"{fix}, or set its requirepass")
    elif re.search("WRONGPASS|invalid|auth", text, re.IGNORECASE):
        return Misconfigured(f"{where} refuses the password", f"correct {name}")
    return Misconfigured(f"{where} refuses commands: {text[:120]}", "check its configuration")


async def check_storage(settings: Settings) -> None:
    """Raise StartupError where the store is unreachable, refuses the key or has no such bucket."""
    url = urlsplit(settings.storage_endpoint or "")
    where = f"storage at {settings.storage_endpoint}"
    await _require_reachable(
        where, url.hostname or "", url.port or (443 if url.scheme == "https" else 80), "STORAGE_ENDPOINT"
    )
    try:
        await Storage(settings).ping()
    except StorageRefused as error:
        if error.reason in _STORAGE_BUSY_CODES:
            raise Unreachable(f"{where} is not ready ({error.reason})", "wait, or read its log") from None
        if error.reason == "NoSuchBucket":
            fix = "create it, or correct STORAGE_BUCKET_NAME"
            raise Misconfigured(f"{where} has no bucket {settings.storage_bucket_name}", fix) from None
        fix = "correct STORAGE_ACCESS_KEY, STORAGE_SECRET_KEY and STORAGE_REGION"
        raise Misconfigured(
            f"{where} refuses access to bucket {settings.storage_bucket_name} ({error.reason})", fix
        ) from None
    except errors.Unavailable as error:
        raise Unreachable(f"{where} cannot be used: {error.detail}", "start it, or correct STORAGE_ENDPOINT") from None


async def _require_reachable(where: str, host: str, port: int, *names: str) -> None:
    """Connect and close; raise Misconfigured for a host that has no address, else Unreachable."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except (socket.gaierror, UnicodeError):
        problem = f"{where} cannot be reached: no address is known for the host {url_host(host)}"
        raise Misconfigured(problem, f"correct {names[0]}") from None
    except TimeoutError:
        raise _no_answer(where, *names) from None
    except OSError as error:
        problem = f"{where} cannot be reached: {_describe(error)}"
        raise Unreachable(problem, f"start it, or correct {' and '.join(names)}") from None
    writer.close()


def _no_answer(where: str, *names: str) -> Unreachable:
    fix = f"start it, open the firewall, or correct {' and '.join(names)}"
    return Unreachable(f"{where} cannot be reached: no answer within {CONNECT_SECONDS} seconds", fix)


def _describe(error: OSError) -> str:
    """Return the system's text for an error; that of asyncio repeats the address."""
    number = error.errno or next(iter(map(int, re.findall(r"\[Errno (\d+)\]", str(error)))), None)
    return os.strerror(number) if number else str(error)
