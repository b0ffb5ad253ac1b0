"""Owns how tests bring learners together: an empty queue, a match, a call, and its row."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.counting import Traffic
from container import Container
from models import CallSession, User
from testing.servers import Phone
from testing.time_limits import limit

MakePhone = Callable[..., Awaitable[Phone]]
Room = dict[str, str]


async def empty_queue(container: Container) -> None:
    """Forget searches and rooms: tests share one Redis, and whoever still waits from before would be matched."""
    keys = [key async for key in container.redis.scan_iter("match:*", count=1000)]
    if keys:
        await container.redis.delete(*keys)


class LocalBus:
    """A bus between no workers: everything is for a socket of this one."""

    def __init__(self, worker_id: str = "w") -> None:
        self.worker_id = worker_id
        self._handlers: dict[str, Any] = {}

    def on(self, kind: str, handler: Any) -> None:
        self._handlers[kind] = handler

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        await self._handlers[kind](socket, *arguments)

    def post(self, socket: str, kind: str, *arguments: Any) -> None:
        raise errors.Unavailable()

    def on_worker_lost(self, listener: Any) -> None: ...

    def on_data_lost(self, listener: Any) -> None: ...

    def neighbours(self) -> list[str]:
        return []

    def traffic(self) -> dict[str, Traffic]:
        return {}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class HeldBus(LocalBus):
    """A bus that holds messages until they are let go."""

    def __init__(self, worker_id: str = "w") -> None:
        super().__init__(worker_id)
        self.held: list[tuple[str, str, tuple[Any, ...]]] = []

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        self.held.append((socket, kind, arguments))

    async def let_go(self) -> None:
        held, self.held = self.held, []
        for socket, kind, arguments in held:
            await super().send(socket, kind, *arguments)


async def becomes(condition: Callable[[], Awaitable[Any]], *, within: float = 10) -> Any:
    """Wait until `condition` answers something true; answer it."""
    deadline = time.monotonic() + limit(within)
    while not (answer := await condition()):
        assert time.monotonic() < deadline, f"not within {within} s"
        await asyncio.sleep(0.01)
    return answer


async def match(one: Phone, other: Phone, **search: Any) -> dict[str, Any]:
    """Let two learners find each other; answer what the first heard. Their next match counts from here."""
    search = search or {"topic": f"topic of {one.learner.username}"}
    for phone in (one, other):
        phone.heard.clear()
    for phone in (one, other):
        assert await phone.send("find_partner", search) == {"ok": True}
    to_one, to_other = await one.hears("match_found"), await other.hears("match_found")
    assert to_one["roomId"] == to_other["roomId"]
    assert to_one["partner"]["userId"] == other.learner.id and to_other["partner"]["userId"] == one.learner.id
    found: dict[str, Any] = to_one
    return found


async def call(caller: Phone, receiver: Phone) -> Room:
    """Bring two learners into a call; answer the payload that names their room."""
    room = {"roomId": (await match(caller, receiver))["roomId"]}
    for phone in (caller, receiver):
        assert await phone.send("join_room", room) == {"ok": True}
    for phone, joins in ((caller, 2), (receiver, 1)):
        assert (await phone.hears("peer_joined", count=joins))["role"] == "receiver"
    return room


async def row(container: Container, room_id: str) -> CallSession | None:
    """Read the row of a room's call."""
    async with container.database.transaction() as db:
        return (await db.exec(select(CallSession).where(CallSession.room_id == room_id))).one_or_none()


async def ended_row(container: Container, room_id: str) -> CallSession:
    """Wait until a room's call has ended, and read its row."""

    async def ended() -> CallSession | None:
        found = await row(container, room_id)
        return found if found is not None and found.ended_at is not None else None

    found: CallSession = await becomes(ended)
    return found


async def ban(container: Container, user_id: str) -> None:
    async with container.database.transaction() as db:
        await db.exec(
            sa.update(User)
            .where(col(User.id) == uuid.UUID(user_id))
            .values(is_banned=True, banned_at=sa.func.now(), ban_reason="a test")
        )
