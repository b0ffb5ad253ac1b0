"""Signaling without sockets: the services over a test's bus, stores that fail, a clock that is set forward."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import sqlalchemy as sa
import sqlalchemy.exc
from sqlmodel import col

import errors
from container import Container
from models import CallSession
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import PeerReconnected, PeerReconnecting
from services.calls.reconciliation import Reconciliation
from services.calls.recovery import RecoveryService
from services.calls.room_checks import RoomChecks
from services.calls.room_state import CallState
from services.calls.rooms import Rooms
from services.calls.signaling import SignalingService
from testing.calls import HeldBus, LocalBus

#: The ids of two users, and their room's.
Matched = tuple[str, str, str]


class UnavailableHistory(CallHistoryService):
    """Call history whose PostgreSQL is unavailable until `is_unavailable` is false."""

    is_unavailable = True

    async def connect(self, room_id: str, **times: Any) -> None:
        self._ask()
        await super().connect(room_id, **times)

    async def end(self, room_id: str, **what: Any) -> bool:
        self._ask()
        return await super().end(room_id, **what)

    def _ask(self) -> None:
        if self.is_unavailable:
            raise sqlalchemy.exc.OperationalError("UPDATE", {}, ConnectionError("away"))


class SignalingStack:
    """Signaling and recovery over a bus of the test's, on real Redis and PostgreSQL; what they emit is kept."""

    def __init__(
        self, container: Container, *, bus: LocalBus | None = None, rooms: Rooms | None = None, history: Any = None
    ) -> None:
        self.bus = bus or HeldBus()
        self.bus.on("emit", self._emit)
        self.emitted: list[tuple[str, str, Any]] = []
        self.moves: list[PeerReconnecting | PeerReconnected] = []
        rooms, history = rooms or Rooms(container.scripts), history or container.call_history
        self.rooms = rooms
        rows = CallRecords(rooms, history)
        matchmaking = MatchmakingService(
            self.bus, container.database, rooms, history, rows, container.gates, container.text_filter
        )
        self.signaling = SignalingService(self.bus, rooms, rows, matchmaking)
        self.matchmaking = matchmaking
        self.checks = RoomChecks(self.bus, rooms, rows, history, matchmaking, self.signaling)
        self.reconciliation = Reconciliation(
            rooms, history, matchmaking, self.signaling, self.checks, self.bus.process_id
        )
        self.recovery = RecoveryService(
            rooms, rows, matchmaking, self.signaling, self.reconciliation, self.checks, rejoin_seconds=0
        )
        self.signaling.on_peer_change(self._move)
        self.signaling.forwarding.on_signal(self._write)
        #: Sockets that are not connected any more; the acks that came later, by `seq`, with the code of a refusal.
        self.gone: set[str] = set()
        self.acks: dict[int, str] = {}

    async def _move(self, moved: PeerReconnecting | PeerReconnected) -> None:
        self.moves.append(moved)

    def _write(self, socket: str, name: str, content: bytes) -> bool:
        if socket in self.gone:
            return False
        self.emitted.append((socket, name, orjson.loads(content)))
        return True

    def note_ack(self, payload: Any, error: errors.ProductError | None) -> None:
        self.acks[payload["seq"]] = error.code if error else "ok"

    async def _emit(self, socket: str, name: str, payload: Any) -> None:
        self.emitted.append((socket, name, payload))


def relay(stack: SignalingStack, socket: str, room_id: str, name: str, payload: Any) -> tuple[int, str | None]:
    """Relay a signal; return its number, and the socket that it was written to at once, if any."""
    is_written = stack.signaling.relay(socket, room_id, name, payload, stack.note_ack, payload)
    return payload["seq"], stack.emitted[-1][0] if is_written else None


def offer(stack: SignalingStack, socket: str, room_id: str) -> str | None:
    return relay(stack, socket, room_id, "webrtc_offer", {"sdp": "v=0", "seq": 0})[1]


def answer(stack: SignalingStack, socket: str, room_id: str) -> str | None:
    return relay(stack, socket, room_id, "webrtc_answer", {"sdp": "v=0", "seq": 0})[1]


def candidate(stack: SignalingStack, socket: str, room_id: str) -> tuple[int, str | None]:
    return relay(stack, socket, room_id, "webrtc_ice", {"candidate": None, "seq": 0})


async def lose_room(container: Container, one: str, other: str, room_id: str) -> None:
    """Remove a room and every key of it from Redis."""
    pair = f"{{match}}:recent:{min(one, other)}:{max(one, other)}"
    names = [pair, *(f"{{match}}:room:{room_id}:{of}" for of in ("meta", "users"))]
    await container.redis.delete(*names, *(f"{{match}}:in_room:{user_id}" for user_id in (one, other)))
    due: Any = await container.redis.zrange("{match}:due", 0, -1)
    for entry in due:
        if room_id in entry:
            await container.redis.zrem("{match}:due", entry)


class OneRoomHistory(CallHistoryService):
    """Call history in which one room alone has an open call."""

    room_id = ""

    async def list_open_calls(self) -> list[CallState]:
        return [each for each in await super().list_open_calls() if each.room_id == self.room_id]


Interrupted = tuple[SignalingStack, Matched]


async def backdate_match(container: Container, room_id: str, seconds: float) -> None:
    """Move a match into the past in PostgreSQL."""
    async with container.database.transaction() as db:
        await db.execute(
            sa.update(CallSession)
            .where(col(CallSession.room_id) == room_id)
            .values(started_at=col(CallSession.started_at) - timedelta(seconds=seconds))
        )


async def age_room(container: Container, room_id: str, seconds: int) -> None:
    """Let time pass for a room in Redis: since it became a call, and since its unwritten changes were noted."""
    meta = f"{{match}}:room:{room_id}:meta"
    connected: Any = await container.redis.hget(meta, "connected")
    if connected is not None:
        await container.redis.hset(meta, "connected", str(int(connected) - seconds * 1000))
    noted: Any = await container.redis.zrange("{match}:due", 0, -1, withscores=True)
    for entry, deadline in noted:
        if entry.startswith((f"begin:{room_id}:", f"end:{room_id}:")):
            name, _, at = entry.rpartition(":")
            await container.redis.zrem("{match}:due", entry)
            await container.redis.zadd("{match}:due", {f"{name}:{int(at) - seconds * 1000}": deadline})
