"""Acknowledged signals arrive once and in order when something breaks between the web processes of a call.

Two real processes, as on two hosts, or on one with a proxy between their Unix sockets. A learner sends signals, twenty
on their way at a time, and sends again what was refused or not acknowledged; something breaks in the middle.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testing.calls import Room, call
from testing.deployment import ReconnectingClient
from testing.polling import eventually
from testing.servers import Server, http_client, register, start_servers
from testing.severed_links import Link, link_to_port, link_to_unix_socket
from testing.time_limits import limit

SIGNALS, WINDOW = 400, 20


@dataclass
class Flow:
    """Numbered signals of a learner to the partner."""

    sender: ReconnectingClient
    room: Room
    waiting: list[int] = field(default_factory=lambda: list(range(SIGNALS)))
    unanswered: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    #: Sent again, for they were refused, or had no answer when the connection dropped.
    repeated: set[int] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)

    async def run(self) -> None:
        while len(self.acknowledged) < SIGNALS:
            client = self.sender.phone.client
            if not client.connected:
                self._repeat(self.unanswered)
                assert await self.sender.rejoin(self.room) == "ok"
                continue
            while self.waiting and len(self.unanswered) < WINDOW and client.connected:
                await self._send(client, self.waiting.pop(0))
            before = len(self.unanswered)
            await eventually(
                lambda before=before, client=client: len(self.unanswered) != before or not client.connected,  # type: ignore[misc]
                lambda: f"{len(self.acknowledged)} acknowledged, {self.refusals[-3:]}",
                within=30,
            )

    async def _send(self, client: Any, number: int) -> None:
        def settle(ack: dict[str, Any]) -> None:
            self.unanswered.discard(number)
            if ack["ok"]:
                self.acknowledged.add(number)
            else:
                self.refusals.append(ack["error"]["code"])
                self._repeat({number})

        self.unanswered.add(number)
        payload = {**self.room, "candidate": {"candidate": str(number)}}
        try:
            await client.emit("webrtc_ice", payload, callback=settle)
        except Exception:
            self._repeat({number})

    def _repeat(self, numbers: set[int]) -> None:
        self.repeated |= numbers
        self.waiting = sorted({*self.waiting, *numbers})
        self.unanswered = self.unanswered - numbers

    async def has_come_to(self, share: float) -> None:
        await eventually(
            lambda: len(self.acknowledged) >= SIGNALS * share,
            lambda: f"{len(self.acknowledged)} acknowledged",
            within=30,
        )

    async def is_stuck(self, link: Link) -> None:
        """Wait until a link swallows something, and all signals that may be on their way are without an answer."""
        before = link.swallowed_bytes
        link.swallows = True
        await eventually(
            lambda: link.swallowed_bytes > before and len(self.unanswered) == WINDOW,
            lambda: f"{len(self.unanswered)} unanswered",
            within=30,
        )


@dataclass
class Two:
    """Two web processes with a call between them, one learner on each, and the links that a test may cut."""

    servers: list[Server]
    clients: list[ReconnectingClient]
    room: Room
    #: From the sender's process to the receiver's and back; of each process to Redis.
    between: list[Link]
    to_redis: list[Link]

    def kill(self, at: int) -> None:
        os.killpg(self.servers[at].process.pid, signal.SIGKILL)
        self.servers[at].process.wait()

    async def finish(self, flow: Flow, sending: asyncio.Task[None]) -> list[int]:
        """Wait for the end of the flow; check what the partner received, and return it."""
        receiver = self.clients[1]
        async with asyncio.timeout(limit(90)):
            await sending
        received: list[int] = []

        def have_arrived() -> bool:
            received[:] = [int(text) for text in receiver.received_candidates]
            return set(received) >= flow.acknowledged

        await eventually(have_arrived, lambda: f"lost {sorted(flow.acknowledged - set(received))}", within=20)
        once = [number for number in received if number not in flow.repeated]
        assert once == sorted(set(once)), "twice, or out of order"
        return received


@pytest.fixture
async def two(
    request: pytest.FixtureRequest, environment: dict[str, str], own_valkey: dict[str, str], tmp_path: Path
) -> AsyncIterator[Two]:
    """Over Redis, as between two hosts, or, with `mesh` as parameter, over Unix sockets."""
    to_redis = [link_to_port(int(own_valkey["REDIS_PORT"])) for _ in range(2)]
    folders = [tmp_path / str(at) for at in range(2)]
    environments = [
        {**environment, **own_valkey, "REDIS_PORT": str(await link.listen()), "BUS_DIRECTORY": str(folder)}
        for link, folder in zip(to_redis, folders, strict=True)
    ]
    # Beside the event loop, which passes on what they send to Redis.
    starting = start_servers(environments, tmp_path)
    servers = await asyncio.to_thread(starting.__enter__)
    between = []
    if getattr(request, "param", "") == "mesh":
        # Before the first message: the first look-up of a process decides on the path.
        for source, target in (folders, folders[::-1]):
            (address,) = target.glob("*.sock")
            link = link_to_unix_socket(address)
            between.append((link, source / address.name))
        for link, at in between:
            await link.listen(at)
    clients = []
    for server in servers:
        learner = await register(http_client(server.url))
        client = ReconnectingClient(learner, lambda: [each.url for each in servers])
        await client.connect(at=servers.index(server))
        clients.append(client)
    room = await call(*(client.phone for client in clients))
    coming_back = asyncio.create_task(come_back(clients[1], room))
    yield Two(servers, clients, room, [link for link, _ in between], to_redis)
    coming_back.cancel()
    await asyncio.gather(coming_back, return_exceptions=True)
    for client in clients:
        await client.close()
    await asyncio.to_thread(starting.__exit__, None, None, None)
    for link in (*(link for link, _ in between), *to_redis):
        await link.stop()


async def come_back(client: ReconnectingClient, room: Room) -> None:
    """Reconnect the receiver whenever the connection drops, as a client does."""
    while True:
        await eventually(lambda: not client.phone.client.connected, within=3600)
        await client.rejoin(room)


def begin(two: Two) -> tuple[Flow, asyncio.Task[None]]:
    flow = Flow(two.clients[0], two.room)
    return flow, asyncio.create_task(flow.run())


@pytest.mark.parametrize("two", ["mesh", "redis"], indirect=True)
async def test_undisturbed_signals_arrive_once(two: Two) -> None:
    flow, sending = begin(two)
    assert await two.finish(flow, sending) == list(range(SIGNALS))
    assert flow.repeated == set()


@pytest.mark.parametrize("two", ["mesh"], indirect=True)
@pytest.mark.parametrize("way", [0, 1])
async def test_signals_survive_a_cut_link(two: Two, way: int) -> None:
    """The connection loses what is on its way, and breaks; once in the direction of the signals, once in the other."""
    flow, sending = begin(two)
    for share in (0.1, 0.3, 0.5):
        await flow.has_come_to(share)
        await flow.is_stuck(two.between[way])
        two.between[way].cut()
    await two.finish(flow, sending)
    assert flow.repeated == set(), f"refused, although Redis can be reached: {flow.refusals}"


@pytest.mark.parametrize("two", ["mesh"], indirect=True)
async def test_signals_are_stored_while_a_link_is_silent(two: Two) -> None:
    """Acks come from Redis while the partner's process is out of reach; all is delivered when it is back."""
    flow, sending = begin(two)
    await flow.has_come_to(0.1)
    two.between[0].swallows = True
    await flow.has_come_to(0.3)
    received = len(two.clients[1].received_candidates)
    assert received < SIGNALS * 0.3, "the link is not silent"
    two.between[0].cut()
    await two.finish(flow, sending)
    assert flow.repeated == set()


@pytest.mark.parametrize("at", [0, 1])
async def test_signals_survive_a_cut_from_redis(two: Two, at: int) -> None:
    """Between hosts: the sender's or the receiver's process is cut from Redis, and so from the other."""
    flow, sending = begin(two)
    await flow.has_come_to(0.2)
    await flow.is_stuck(two.to_redis[at])
    two.to_redis[at].cut()
    await flow.has_come_to(0.5)
    await flow.is_stuck(two.to_redis[at])
    await eventually(lambda: len(flow.unanswered) != WINDOW or flow.refusals, "it is stored, or refused")
    two.to_redis[at].cut()
    await two.finish(flow, sending)
    assert set(flow.refusals) <= {"unavailable"}


@pytest.mark.parametrize("two", ["mesh", "redis"], indirect=True)
async def test_signals_survive_the_death_of_the_receivers_process(two: Two) -> None:
    flow, sending = begin(two)
    await flow.has_come_to(0.3)
    two.kill(1)
    await two.finish(flow, sending)
    assert flow.repeated == set(), f"refused, although Redis can be reached: {flow.refusals}"


@pytest.mark.parametrize("two", ["mesh", "redis"], indirect=True)
async def test_signals_survive_the_death_of_the_senders_process(two: Two) -> None:
    flow, sending = begin(two)
    await flow.has_come_to(0.3)
    two.kill(0)
    await two.finish(flow, sending)


@pytest.mark.parametrize("two", ["mesh"], indirect=True)
async def test_stored_signals_survive_the_death_of_the_senders_process(two: Two) -> None:
    """The partner's process is out of reach when the one that acknowledged dies: Redis has the signals."""
    flow, sending = begin(two)
    await flow.has_come_to(0.1)
    two.between[0].swallows = True
    await flow.has_come_to(0.4)
    two.kill(0)
    await two.finish(flow, sending)
