"""Server processes, registered learners, and their HTTP and Socket.IO clients."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis
import socketio

from testing import wire_recording
from testing.client_internals import close_http_session
from testing.polling import eventually, wait_until
from testing.ports import free_port
from testing.time_limits import limit

PASSWORD = "correct horse battery"


def address() -> str:
    """Return an IP address that no other test uses: limits are counted per address."""
    # Not `random`: a property-based test seeds it.
    return ".".join(str(1 + secrets.randbelow(253)) for _ in range(4))


def own_address() -> str:
    """Return an address of this machine, to connect from, that no other test uses."""
    return "127." + ".".join(str(1 + secrets.randbelow(253)) for _ in range(3))


def client(asgi: Any, host: str | None = None, **options: Any) -> httpx.AsyncClient:
    """A client of the app in this process; without `host` from an address of its own, so that limits stay apart."""
    transport = httpx.ASGITransport(asgi, client=(host or address(), 1234), raise_app_exceptions=False)
    if wire_recording.FOLDER is not None:
        options["event_hooks"] = {"response": [wire_recording.record_response]}
    return httpx.AsyncClient(transport=transport, base_url="http://parlance.test", **options)


def http_client(url: str = "", **options: Any) -> httpx.AsyncClient:
    """A client of a process on this machine; `url` is the start of each address."""
    return httpx.AsyncClient(base_url=url, timeout=limit(15), trust_env=False, **options)


@dataclass
class Learner:
    """A registered account. `http` carries its access token."""

    id: str
    email: str
    username: str
    access_token: str
    refresh_token: str
    http: httpx.AsyncClient


async def register(http: httpx.AsyncClient, *, ready: bool = True, level: str = "intermediate") -> Learner:
    """Make an account over `http`; with `ready`, one that may look for a partner."""
    name = f"u{uuid.uuid4().hex[:20]}"
    body = {"email": f"{name}@example.com", "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
    answer = await http.post("/auth/register", json=body, headers={"X-Forwarded-For": address()})
    assert answer.status_code == 201, answer.text
    tokens = answer.json()
    http.headers["Authorization"] = f"Bearer {tokens['accessToken']}"
    if ready:
        profile = {"username": name, "displayName": name.title(), "englishLevel": level}
        answer = await http.patch("/users/me", json=profile)
        assert answer.status_code == 200, answer.text
    user_id = tokens["user"]["id"]
    return Learner(user_id, body["email"], name, tokens["accessToken"], tokens["refreshToken"], http)


@dataclass
class Server:
    """`parlance serve` on a port of 127.0.0.1."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def start_server(environment: dict[str, str], log: Path, *, workers: int, port: int | None = None) -> Server:
    port = port or free_port()
    before = _workers(environment)
    arguments = [sys.executable, "-m", "cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*arguments, "--workers", str(workers)],
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            cwd=Path(__file__).resolve().parent.parent,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)

    def is_ready() -> bool:
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        try:
            is_up = httpx.get(f"{server.url}/health", timeout=limit(1)).status_code == 200
        except httpx.HTTPError:
            return False
        # One process may be there long before the others; without Redis they cannot be counted.
        return is_up and (not (now := _workers(environment)) or len(now - before) >= workers)

    try:
        wait_until(is_ready, log.read_text, within=60)
    except AssertionError:
        stop_server(server)
        raise
    return server


def _workers(environment: dict[str, str]) -> set[Any]:
    with redis.Redis(environment["REDIS_HOST"], int(environment["REDIS_PORT"])) as client:
        try:
            return set(client.scan_iter("worker:{match}:*", count=1000))
        except redis.ConnectionError:
            return set()


def stop_server(server: Server) -> None:
    if server.process.poll() is None:
        os.killpg(server.process.pid, signal.SIGTERM)
        try:
            server.process.wait(limit(15))
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()


@contextmanager
def start_servers(environments: list[dict[str, str]], directory: Path) -> Iterator[list[Server]]:
    """Run servers of one process each, started side by side; together they are one deployment."""
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


async def send_at_once(sends: Iterable[Callable[[], Awaitable[httpx.Response]]]) -> list[httpx.Response]:
    """Send requests side by side. As clients do, repeat one answered 503: a slow machine queues them."""

    async def repeat(send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        for _ in range(10):
            if (answer := await send()).status_code != 503:
                break
        return answer

    return await asyncio.gather(*map(repeat, sends))


async def status_for_token(url: str, access_token: str) -> int:
    """Return the status that a server answers to a token, over a connection of its own."""
    async with http_client(headers={"Authorization": f"Bearer {access_token}"}) as http:
        return (await http.get(f"{url}/users/me")).status_code


@dataclass
class Phone:
    """A learner's Socket.IO client. `received` is every event so far, in order."""

    learner: Learner
    client: socketio.AsyncClient
    received: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def worker(self) -> str:
        """The worker process that holds this socket: a socket's id starts with it."""
        return str(self.client.get_sid()).partition(".")[0]

    async def send(self, event: str, payload: Any = None) -> dict[str, Any]:
        """Send an event and answer its ack."""
        ack: dict[str, Any] = await self.client.call(event, payload, timeout=limit(10))
        wire_recording.event(event, payload, ack)
        return ack

    async def wait_for(self, event: str, *, count: int = 1, within: float = 5) -> Any:
        """Wait until `event` has been received `count` times; return the payload of that one."""

        def found() -> list[Any]:
            return [payload for name, payload in self.received if name == event][count - 1 : count]

        (payload,) = await eventually(
            found, lambda: f"{event}; received {[name for name, _ in self.received]}", within=within
        )
        return payload


async def dial(
    url: str, learner: Learner, *, headers: dict[str, str] | None = None, within: float = 10, **options: Any
) -> Phone:
    """Connect a learner's socket; `options` are those of the client, which waits in vain where the server is killed."""
    phone = Phone(learner, socketio.AsyncClient(reconnection=False, **options))

    async def note(event: str, payload: Any = None) -> None:
        phone.received.append((event, payload))
        wire_recording.received(event, payload)

    phone.client.on("*", note)
    auth = {"token": learner.access_token}
    try:
        await phone.client.connect(url, headers or {}, auth=auth, transports=["websocket"], wait_timeout=limit(within))
    except socketio.exceptions.ConnectionError:
        await close_http_session(phone.client)
        raise
    return phone
