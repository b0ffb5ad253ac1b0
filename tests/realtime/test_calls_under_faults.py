"""Owns that calls come through whatever dies while they are negotiated: they resume, or end, and the record is right.

Promised: what was acknowledged reaches the partner once and in order, unless the worker that took it was killed (-9)
with both of them on it. What was not acknowledged is sent again by its client, and may then be heard twice.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from container import Container
from models import CallSession, EndedBy, Profile
from tests.accounts import load
from tests.calls import becomes
from tests.deployment import GRACE, Client, Deployment, deployed
from tests.world import Phone, register

LEARNERS, ROUNDS = 40, 25
SIGNALS = 16
FAULTS = ("client dropped", "worker killed", "client dropped", "Redis restarted", "worker stopped")


@pytest.fixture(scope="module")
def deployment(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(environment, tmp_path_factory.mktemp("deployment")) as running:
        yield running


class Lost(Exception):
    """The connection dropped before the answer came."""


async def send(phone: Phone, event: str, payload: dict[str, Any]) -> str:
    """Send an event; answer `ok`, or the code of its refusal."""
    answers: list[dict[str, Any]] = []
    try:
        await phone.client.emit(event, payload, callback=answers.append)
    except Exception as error:
        raise Lost from error
    for _ in range(2000):
        await asyncio.sleep(0.01)
        if answers:
            return "ok" if answers[0]["ok"] else str(answers[0]["error"]["code"])
        if not phone.client.connected:
            raise Lost
    raise AssertionError(f"{event} was not acknowledged in 20 s")


@dataclass
class Caller:
    """One learner's part in one call."""

    client: Client
    fault: Story
    room: str = ""
    is_caller: bool = False
    partner: str = ""
    resent: int = 0
    drops: int = 0
    #: Of each signal that was acknowledged, the worker that did.
    acknowledged: list[str] = field(default_factory=list)
    outcome: str = ""

    async def play(self) -> None:
        await self._meet()
        await self._negotiate()

    async def _meet(self) -> None:
        """Search until there is a partner who has joined, too."""
        self.client.forget()
        while True:
            phone = await self._connected()
            try:
                told = await send(phone, "find_partner", {})
                if told in ("already_searching", "already_in_room", "unavailable"):
                    # Of a connection that nobody knows to be dead yet; or the answer was lost, not the search.
                    await asyncio.sleep(0.2)
                    if told == "already_searching" and any(name == "searching" for name, _ in phone.heard):
                        told = "ok"
                if told == "ok" and await self._joined(phone):
                    return
            except Lost:
                continue

    async def _joined(self, phone: Phone) -> bool:
        seen = 0
        while phone.client.connected:
            for name, payload in phone.heard[seen:]:
                seen += 1
                if name == "match_found":
                    self.room, self.partner = payload["roomId"], payload["partner"]["userId"]
                    await send(phone, "join_room", {"roomId": self.room})
                elif name == "peer_joined" and payload["role"] == "caller":
                    self.is_caller = payload["userId"] == self.client.learner.id
                elif name == "peer_joined":
                    return True
            await asyncio.sleep(0.01)
        # It may have become a call without our hearing of it.
        return bool(self.room) and await self.client.rejoin({"roomId": self.room}) == "ok" and await self._is_call()

    async def _is_call(self) -> bool:
        told = await send(self.client.phone, "webrtc_ice", {"roomId": self.room, "candidate": None})
        return told == "ok"

    async def _connected(self) -> Phone:
        if not self.client.phone.client.connected:
            await self.client.connect()
        return self.client.phone

    async def _negotiate(self) -> None:
        for number in range(SIGNALS):
            if not await self._signal(number):
                self.outcome = "ended"
                return
            await asyncio.sleep(self.fault.random.random() * 0.1)
        self.fault.ready[self.room].add(self.client.learner.id)
        everybody = {self.client.learner.id, self.partner}
        while self.fault.ready[self.room] != everybody:
            if "peer_left" in self.client.heard or self.fault.is_over(self.room):
                self.outcome = "ended"
                return
            if not self.client.phone.client.connected and not await self._come_back():
                self.outcome = "ended"
                return
            await asyncio.sleep(0.02)
        self.outcome = "completed"
        if self.is_caller:
            await self._until_heard()
            while True:
                try:
                    told = await send(await self._connected(), "end_call", {"roomId": self.room})
                except Lost:
                    continue
                if told in ("ok", "not_in_room", "room_closed"):
                    self.fault.over.add(self.room)
                    return
                await asyncio.sleep(0.2)
        await self._until_heard()

    async def _until_heard(self) -> None:
        """Wait a little for what the partner has signalled: it was acknowledged to them."""
        for _ in range(150):
            if len(self.heard) >= SIGNALS:
                return
            if not self.client.phone.client.connected and not await self._come_back():
                return
            await asyncio.sleep(0.02)

    @property
    def heard(self) -> list[int]:
        """The partner's signals, each once, in the order of their first coming."""
        mine = [text.partition(" ") for text in self.client.said_to]
        return list(dict.fromkeys(int(number) for room, _, number in mine if room == self.room))

    @property
    def heard_again(self) -> int:
        return sum(text.startswith(f"{self.room} ") for text in self.client.said_to) - len(self.heard)

    async def _signal(self, number: int) -> bool:
        payload = {"roomId": self.room, "candidate": {"candidate": f"{self.room} {number}"}}
        while True:
            try:
                phone = self.client.phone
                told = await send(phone, "webrtc_ice", payload)
            except Lost:
                self.resent += 1
                if not await self._come_back():
                    return False
                continue
            if told == "ok":
                self.acknowledged.append(phone.worker)
                return True
            if told in ("not_in_room", "room_closed") and await self.client.rejoin({"roomId": self.room}) != "ok":
                return False
            await asyncio.sleep(0.05)

    async def _come_back(self) -> bool:
        self.drops += 1
        return await self.client.rejoin({"roomId": self.room}) == "ok"


@dataclass
class Story:
    """One round: twenty calls, and what happens to them."""

    random: random.Random
    ready: dict[str, set[str]]
    over: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)

    def is_over(self, room: str) -> bool:
        return room in self.over


class Rooms(dict[str, set[str]]):
    def __missing__(self, room: str) -> set[str]:
        self[room] = set()
        return self[room]


async def strike(fault: str, deployment: Deployment, callers: list[Caller], story: Story) -> None:
    at = story.random.randrange(2)
    match fault:
        case "client dropped":
            for caller in story.random.sample(callers, LEARNERS // 3):
                if caller.client.phone.client.connected:
                    caller.client.phone.client.eio.ws._response.connection.transport.abort()
        case "worker killed":
            url = deployment.servers[at].url
            story.killed |= {
                phone.worker
                for caller in callers
                for phone in caller.client.phones
                if phone.client.connection_url.startswith(url)
            }
            deployment.kill(at)
            await asyncio.to_thread(deployment.start, at)
        case "worker stopped":
            os.kill(deployment.servers[at].process.pid, signal.SIGTERM)
            await asyncio.to_thread(deployment.servers[at].process.wait, 20)
            await asyncio.to_thread(deployment.start, at)
        case "Redis restarted":
            deployment.restart_redis()


async def in_order(caller: Caller, partner: Caller, story: Story, problems: list[str]) -> None:
    """Check what one side heard of the other."""
    heard = caller.heard
    missing = [number for number in range(len(partner.acknowledged)) if number not in heard]
    mine = {phone.worker for phone in caller.client.phones}
    lost = [number for number in missing if partner.acknowledged[number] not in story.killed & mine]
    if heard != sorted(heard):
        problems.append(f"out of order: {heard}")
    if lost:
        problems.append(f"lost {lost} of {len(partner.acknowledged)}; heard {heard}")
    if caller.heard_again > partner.resent:
        problems.append(f"heard {caller.heard_again} twice, sent again {partner.resent}")


async def test_five_hundred_calls_resume_or_end_whatever_dies(deployment: Deployment) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "7"))
    clients = []
    for number in range(LEARNERS):
        learner = await register(httpx.AsyncClient(base_url=deployment.servers[number % 2].url))
        clients.append(Client(learner, lambda: [server.url for server in deployment.servers]))
    counts: Counter[str] = Counter()
    problems: list[str] = []
    rooms: dict[str, str] = {}
    for number in range(ROUNDS):
        fault = FAULTS[number % len(FAULTS)]
        story = Story(random.Random(f"{seed} {number}"), Rooms())
        await asyncio.gather(*(settle(client, deployment.servers[at % 2].url) for at, client in enumerate(clients)))
        callers = [Caller(client, story) for client in clients]
        playing = [asyncio.create_task(caller.play()) for caller in callers]
        await asyncio.sleep(0.3 + story.random.random() * 0.5)
        await strike(fault, deployment, callers, story)
        async with asyncio.timeout(60):
            await asyncio.gather(*playing)
        by_user = {caller.client.learner.id: caller for caller in callers}
        for caller in callers:
            partner = by_user[caller.partner]
            if caller.room != partner.room or caller.outcome != "completed":
                counts[f"{fault}: ended"] += 1
                continue
            counts[f"{fault}: {'resumed' if caller.drops or partner.drops else 'undisturbed'}"] += 1
            rooms[caller.room] = fault
            before = len(problems)
            await in_order(caller, partner, story, problems)
            problems[before:] = [f"round {number}, {fault}: {problem}" for problem in problems[before:]]
    print(f"seed {seed}:", {name: times // 2 for name, times in sorted(counts.items())})
    for client in clients:
        await client.close()
    assert not problems, "\n".join(problems[:20])
    assert sum(counts.values()) == LEARNERS * ROUNDS
    for fault in ("client dropped", "worker killed", "worker stopped"):
        assert counts[f"{fault}: resumed"] > LEARNERS, f"{fault} interrupts too few calls to show anything"
    ended = sum(times for name, times in counts.items() if name.endswith("ended"))
    assert ended < LEARNERS * ROUNDS / 20, f"{ended // 2} calls did not come back"
    await check_records(Container(load(deployment.environment)), rooms)


async def settle(client: Client, url: str) -> None:
    """See that a client is connected to that server: half of them each."""
    if client.phones and client.phone.client.connected:
        if client.phone.client.connection_url.startswith(url):
            return
        await client.phone.client.disconnect()
    while True:
        phone = await client.connect(at=client.urls().index(url))
        if phone.client.connected:
            return


async def check_records(services: Container, rooms: dict[str, str]) -> None:
    """Check what PostgreSQL and Redis say in the end."""

    async def settled() -> bool:
        return not [key async for key in services.redis.scan_iter("match:room:*")] and not await services.redis.zcard(
            "match:due"
        )

    await becomes(settled, within=GRACE + 20)
    left = {
        key async for key in services.redis.scan_iter("match:*") if not key.startswith(("match:rate", "match:recent"))
    }
    assert not left
    async with services.database.transaction() as session:
        calls = (await session.exec(select(CallSession))).all()
        assert not [call.room_id for call in calls if call.ended_at is None], "a call that never ended"
        by_room = {call.room_id: call for call in calls}
        assert len(by_room) == len(calls)
        for room, fault in rooms.items():
            found = by_room[room]
            assert found.connected_at is not None, f"{fault}: a call that was one, and is recorded as none"
            assert found.ended_by in (EndedBy.USER_A, EndedBy.USER_B), fault
            assert found.duration_seconds is not None and found.ended_at is not None
            assert found.started_at <= found.connected_at <= found.ended_at
        counted = Counter(
            user for call in calls if call.connected_at is not None for user in (call.user_a_id, call.user_b_id)
        )
        totals = await session.exec(select(col(Profile.user_id), col(Profile.total_sessions)))
        assert {user: total for user, total in totals if total} == dict(counted), "statistics that are not the calls'"
        assert (await session.exec(select(sa.func.count()).select_from(CallSession))).one() >= LEARNERS * ROUNDS // 2
    await services.close()
