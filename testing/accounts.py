"""Owns what tests of accounts add to the world: a database of their own, mails caught, the CLI, more workers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import sqlalchemy as sa
from psycopg import sql

import settings as configuration
from adapters.ports import Mail
from cli.migrations import upgrade_to_head
from cli.worker import bind
from container import Container
from settings import Settings
from testing.servers import PASSWORD, Server, start_server, stop_server
from testing.time_limits import limit

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parent.parent


def an_email() -> str:
    """An address that nobody has."""
    return f"u{uuid.uuid4().hex[:20]}@example.com"


def credentials(
    email: str, *, password: str = PASSWORD, device: str = "phone", platform: str = "ios"
) -> dict[str, str]:
    """The body of a registration or a login."""
    return {"email": email, "password": password, "deviceId": device, "platform": platform}


@dataclass
class Outbox:
    """A mailer that keeps what it is given, or fails while `broken` says why."""

    mails: list[Mail] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    broken: Exception | None = None

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        if self.broken:
            raise self.broken
        self.mails.append(mail)
        self.keys.append(idempotency_key)

    def to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mails if mail.to == email]

    def tokens(self, email: str, page: str) -> list[str]:
        """The tokens of the links to `page` that were mailed to an address, the oldest first."""
        links = [urlsplit(mail.link) for mail in self.to(email)]
        return [parse_qs(link.query)["token"][0] for link in links if link.path == f"/{page}"]


class ResendStandIn(ThreadingHTTPServer):
    """Resend's HTTP API, as far as sending goes. `answer` is what it says next."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ResendHandler)
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answer: tuple[int, dict[str, Any]] = (200, {"id": "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"})


class _ResendHandler(BaseHTTPRequestHandler):
    server: ResendStandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
        status, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def own_database(settings: Settings) -> Iterator[Settings]:
    """Settings of a fresh, migrated database on the same PostgreSQL, where no other test's jobs are."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        own = settings.model_copy(update={"db_name": name})
        try:
            upgrade_to_head(own)
            yield own
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@asynccontextmanager
async def running(settings: Settings, **doubles: Any) -> AsyncIterator[Container]:
    """A container that serves, as one worker process has it, with its jobs bound and their queue open."""
    services = Container(settings, **doubles)
    bind(services.jobs.app, services)
    async with services.jobs.app.open_async(), services.lifespan(None):
        yield services


async def run_jobs(services: Container) -> None:
    """Run every job that is due, as `parlance worker` would, until none is left."""
    await services.jobs.app.run_worker_async(
        wait=False, install_signal_handlers=False, concurrency=4, delete_jobs="successful", update_heartbeat_interval=1
    )


async def query(services: Container, statement: str, **values: Any) -> list[Any]:
    """Run one SQL statement, committed, and answer its rows."""
    async with services.database.transaction() as db:
        result = await (await db.connection()).execute(sa.text(statement), values)
        return list(result.all()) if result.returns_rows else []


def execute(settings: Settings, statement: str, *values: Any) -> None:
    """Run one SQL statement, committed, from outside the product."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


async def eventually(check: Callable[[], Any], *, within: float, what: str) -> Any:
    """Repeat `check` until it answers something true, and answer that."""
    deadline = asyncio.get_running_loop().time() + limit(within)
    while True:
        found = check()
        answer: Any = await found if isinstance(found, Awaitable) else found
        if answer:
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"after {within} s still not: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Ran:
    """A command of the command line that has ended."""

    code: int
    out: str
    err: str


async def parlance(environment: dict[str, str], *arguments: str, stdin: str = "") -> Ran:
    """Run `parlance ...` in a process of its own; its standard input is a pipe."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_ROOT,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


@contextmanager
def servers(environments: list[dict[str, str]], directory: Path) -> Iterator[list[Server]]:
    """Servers of one worker each, started side by side: the workers of one deployment, told apart by their ports."""
    with ThreadPoolExecutor() as pool:
        starting = [
            pool.submit(start_server, environment, directory / f"server-{number}.log", workers=1)
            for number, environment in enumerate(environments)
        ]
    started = [each.result() for each in starting if each.exception() is None]
    try:
        yield [each.result() for each in starting]
    finally:
        for server in started:
            stop_server(server)


def load(environment: dict[str, str]) -> Settings:
    """The settings that a process with this environment has."""
    return configuration.load(None, **{name.lower(): value for name, value in environment.items()})


def bearer(access_token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token}"}


async def status_of(url: str, access_token: str) -> int:
    """What a server answers to a token, asked over a connection of its own."""
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{url}/users/me", headers=bearer(access_token))).status_code
