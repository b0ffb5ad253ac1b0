"""A deployment for faults: servers and a Redis that are killed and restarted, and clients that reconnect."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import socketio.exceptions

from devtools.embedded import EmbeddedServices
from testing.calls import Room
from testing.containers import load_settings
from testing.databases import own_database
from testing.polling import eventually
from testing.servers import Learner, Phone, Server, dial, start_server, stop_server
from testing.time_limits import GRACE, PROCESS_LOSS_GRACE, limit


@dataclass
class Deployment:
    """Servers of one worker each, with a Redis and a database of their own; what is killed can be started again."""

    environment: dict[str, str]
    directory: Path
    valkey: EmbeddedServices
    servers: list[Server] = field(default_factory=list)

    def start(self, at: int) -> None:
        log = self.directory / f"server-{at}-{len(list(self.directory.glob('*.log')))}.log"
        self.servers[at : at + 1] = [start_server(self.environment, log, workers=1)]

    def kill(self, at: int) -> None:
        os.killpg(self.servers[at].process.pid, signal.SIGKILL)
        self.servers[at].process.wait()

    def restart_redis(self) -> None:
        self.valkey.kill()
        self.valkey.stop()
        self.valkey = EmbeddedServices(self.valkey.directory, only=("valkey",))
        self.valkey.start()

    def stop(self) -> None:
        for server in self.servers:
            stop_server(server)
        self.valkey.stop()


@contextmanager
def deployed(environment: dict[str, str], directory: Path, *, grace: str | None = None) -> Iterator[Deployment]:
    """Two servers, with a Redis and a database of their own, and a `grace` to come back to a call.

    A test that starts servers within the grace gives one that is longer than their start on a busy machine.
    """
    with ExitStack() as stack:
        own = stack.enter_context(own_database(load_settings(environment)))
        valkey = EmbeddedServices(directory / "valkey", only=("valkey",))
        variables = {
            **environment,
            **valkey.start(),
            "DB_NAME": own.db_name,
            "RECONNECT_GRACE": grace or f"{GRACE}s",
            "PROCESS_LOSS_GRACE": grace or f"{PROCESS_LOSS_GRACE}s",
            "SEARCH_EXPIRY": "60s",
        }
        deployment = Deployment(variables, directory, valkey)
        stack.callback(deployment.stop)
        for at in range(2):
            deployment.start(at)
        yield deployment


@dataclass
class ReconnectingClient:
    """A learner who comes back by themselves when the connection drops, as a good client does."""

    learner: Learner
    urls: Callable[[], list[str]]
    phones: list[Phone] = field(default_factory=list)
    #: In place of `dial`, where a proxy needs a TLS context or an address.
    open: Callable[..., Awaitable[Phone]] = dial

    @property
    def phone(self) -> Phone:
        return self.phones[-1]

    @property
    def received(self) -> list[str]:
        return [name for phone in self.phones for name, _ in phone.received]

    @property
    def received_candidates(self) -> list[str]:
        """The candidates received over all connections, in order."""
        return [
            payload["candidate"]["candidate"]
            for phone in self.phones
            for name, payload in phone.received
            if name == "webrtc_ice" and payload["candidate"] is not None
        ]

    async def connect(self, *, at: int | None = None, within: float = 15) -> Phone:
        """Connect to some server that takes us."""
        deadline = asyncio.get_running_loop().time() + limit(within)
        turn = len(self.phones) if at is None else at
        while True:
            urls = self.urls()
            try:
                phone = await self.open(urls[turn % len(urls)], self.learner, within=1)
            except socketio.exceptions.ConnectionError:
                assert asyncio.get_running_loop().time() < deadline, f"no server takes us within {within} s"
                turn += at is None
                await asyncio.sleep(0.1)
                continue
            self.phones.append(phone)
            return phone

    async def rejoin(self, room: Room) -> str:
        """Come back to a call; answer `ok`, or the code of the refusal."""
        while True:
            phone = self.phone if self.phone.client.connected else await self.connect()
            numbers = [payload["seq"] for each in self.phones for name, payload in each.received if "webrtc_" in name]
            after = max(numbers, default=0)
            try:
                ack = await phone.send("join_room", {**room, "after": after})
            except (socketio.exceptions.SocketIOError, OSError):
                continue
            if ack["ok"]:
                return "ok"
            if ack["error"]["code"] != "unavailable":
                return str(ack["error"]["code"])
            await asyncio.sleep(0.1)

    async def send_candidate(self, room: Room, text: str) -> None:
        ack = await self.phone.send("webrtc_ice", {**room, "candidate": {"candidate": text}})
        assert ack == {"ok": True}, ack

    async def wait_for(self, event: str, *, within: float = 10) -> None:
        await eventually(lambda: event in self.received, lambda: f"{event}; received {self.received}", within=within)

    def forget(self) -> None:
        """Drop what was received so far."""
        self.phones = [self.phone]
        self.phone.received.clear()

    async def close(self) -> None:
        for phone in self.phones:
            if phone.client.connected:
                await phone.client.disconnect()
        await self.learner.http.aclose()
