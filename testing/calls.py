"""Matches and calls between learners of tests, their deadlines in Redis, and their rows."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.counting import Traffic
from container import Container
from models import CallSession, User
from testing.polling import eventually
from testing.servers import Phone
from testing.time_limits import GRACE

MakePhone = Callable[..., Awaitable[Phone]]
Room = dict[str, str]
Pair = tuple[Phone, Phone]


async def empty_queue(container: Container) -> None:
    """Forget searches and rooms: tests share one Redis, and a search left over would be matched."""
    keys = [key async for key in container.redis.scan_iter("{match}:*", count=1000)]
    if keys:
        await container.redis.delete(*keys)


class LocalBus:
    """A bus of a single web process: all messages are for its own sockets."""

    def __init__(self, process_id: str = "w") -> None:
        self.process_id = process_id
        self._handlers: dict[str, Any] = {}

    def on(self, kind: str, handler: Any) -> None:
        self._handlers[kind] = handler

    async def send(self, socket_id: str, kind: str, *arguments: Any) -> None:
        unfinished = self._handlers[kind](socket_id, *arguments)
        if unfinished is not None:
            await unfinished

    def post(self, socket_id: str, kind: str, *arguments: Any) -> None:
        raise errors.Unavailable()

    def on_process_lost(self, listener: Any) -> None: ...

    def on_data_lost(self, listener: Any) -> None: ...

    def neighbours(self) -> list[str]:
        return []

    def traffic(self) -> dict[str, Traffic]:
        return {}

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class HeldBus(LocalBus):
    """A bus that holds messages until they are let go."""

    def __init__(self, process_id: str = "w") -> None:
        super().__init__(process_id)
        self.held: list[tuple[str, str, tuple[Any, ...]]] = []

    async def send(self, socket_id: str, kind: str, *arguments: Any) -> None:
        self.held.append((socket_id, kind, arguments))

    async def release(self) -> None:
        held, self.held = self.held, []
        for socket_id, kind, arguments in held:
            await super().send(socket_id, kind, *arguments)


async def match(one: Phone, other: Phone, **search: Any) -> dict[str, Any]:
    """Let two learners find each other; return the `match_found` of the first. What they received before is dropped."""
    search = search or {"topic": f"topic of {one.learner.username}"}
    for phone in (one, other):
        phone.received.clear()
    for phone in (one, other):
        assert await phone.send("find_partner", search) == {"ok": True}
    to_one, to_other = await one.wait_for("match_found"), await other.wait_for("match_found")
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
        assert (await phone.wait_for("peer_joined", count=joins))["role"] == "receiver"
    return room


def event_names(phone: Phone) -> list[str]:
    """Return the names of the events that a phone has received, in order."""
    return [name for name, _ in phone.received]


def candidates(phone: Phone) -> list[Any]:
    """Return the candidates that a phone has received, in order."""
    return [payload["candidate"] for name, payload in phone.received if name == "webrtc_ice"]


def ack_code(ack: dict[str, Any]) -> str:
    """Return `ok`, or the code of a refusal."""
    return "ok" if ack["ok"] else str(ack["error"]["code"])


async def negotiate(phone: Phone, room: Room) -> dict[str, str]:
    """Send each signaling event once; return the code that each was answered with."""
    payloads = {
        "webrtc_offer": {**room, "sdp": "v=0"},
        "webrtc_answer": {**room, "sdp": "v=0"},
        "webrtc_ice": {**room, "candidate": None},
    }
    return {event: ack_code(await phone.send(event, payload)) for event, payload in payloads.items()}


async def is_searching(container: Container, phone: Phone) -> bool:
    return bool(await container.redis.exists(f"{{match}}:searching:{phone.learner.id}"))


async def call_row(container: Container, room_id: str) -> CallSession | None:
    """Read the row of a room's call."""
    async with container.database.transaction() as db:
        return (await db.exec(select(CallSession).where(CallSession.room_id == room_id))).one_or_none()


async def ended_call_row(container: Container, room_id: str) -> CallSession:
    """Wait until a room's call has ended, and read its row."""

    async def ended() -> CallSession | None:
        found = await call_row(container, room_id)
        return found if found is not None and found.ended_at is not None else None

    found: CallSession = await eventually(ended)
    return found


async def make_due(container: Container, *prefixes: str) -> list[str]:
    """Move the deadlines that start with one of these to the past, as time does; return them."""
    noted: Any = await container.redis.zrange("{match}:due", 0, -1)
    found: list[str] = [entry for entry in noted if entry.startswith(prefixes)]
    if found:
        await container.redis.zadd("{match}:due", dict[Any, float].fromkeys(found, 0))
    return found


def _grace(room: Room, user_id: str) -> str:
    return f"grace:{room['roomId']}:{user_id}"


async def is_away(container: Container, room: Room, user_id: str) -> bool:
    """Whether a participant has lost the connection and may come back."""
    return await container.redis.zscore("{match}:due", _grace(room, user_id)) is not None


async def expire_grace(container: Container, room: Room, user_id: str) -> None:
    """Let the time in which an absent participant may come back be over; it was to be GRACE seconds at most."""
    seconds, micros = await container.redis.time()
    deadline: Any = await container.redis.zscore("{match}:due", _grace(room, user_id))
    assert 0 < deadline - seconds * 1000 - micros // 1000 <= GRACE * 1000
    await container.redis.hset(f"{{match}}:room:{room['roomId']}:meta", f"away:{user_id}", "1")
    assert await make_due(container, _grace(room, user_id))


async def check_grace_is_over(container: Container, room: Room, *user_ids: str) -> None:
    """Assert that participants who are back have no deadline, and that one which passes late ends nothing."""
    for user_id in user_ids:
        assert not await is_away(container, room, user_id), "a participant who is back has a deadline"
        await container.redis.zadd("{match}:due", {_grace(room, user_id): 1})
    for user_id in user_ids:

        async def is_done(user_id: str = user_id) -> bool:
            return not await is_away(container, room, user_id)

        await eventually(is_done, "a passed deadline is looked at")
    found = await call_row(container, room["roomId"])
    assert found is not None and found.ended_at is None
    assert await container.redis.exists(f"{{match}}:room:{room['roomId']}:meta"), "the room is closed"


async def backdate_call(container: Container, room: Room, seconds: float) -> None:
    """Move the beginning of a call into the past, once its row has one."""
    moved = (
        sa.update(CallSession)
        .where(col(CallSession.room_id) == room["roomId"], col(CallSession.connected_at).is_not(None))
        .values(
            started_at=col(CallSession.started_at) - timedelta(seconds=seconds),
            connected_at=col(CallSession.connected_at) - timedelta(seconds=seconds),
        )
        .returning(col(CallSession.id))
    )

    async def is_moved() -> bool:
        async with container.database.transaction() as db:
            return (await db.execute(moved)).first() is not None

    await eventually(is_moved, "the call's row has a beginning")


async def ban(container: Container, user_id: str) -> None:
    async with container.database.transaction() as db:
        await db.exec(
            sa.update(User)
            .where(col(User.id) == uuid.UUID(user_id))
            .values(is_banned=True, banned_at=sa.func.now(), ban_reason="a test")
        )
