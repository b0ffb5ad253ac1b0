"""Owns in which order people hear of what happened without their asking, and what is left of whoever is gone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

import errors
from container import Container
from services.call_rows import CallRows
from services.matchmaking import MatchmakingService, PartnerCancelled
from services.recovery import RecoveryService
from services.rooms import Rooms
from services.signaling import SignalingService
from tests.calls import LocalBus, empty_queue


@pytest.fixture(autouse=True)
async def nobody_else(container: Container) -> AsyncIterator[None]:
    await empty_queue(container)
    yield
    await empty_queue(container)


class NobodyThere(LocalBus):
    """A bus on which the workers of all sockets have died."""

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        raise errors.Unavailable()


class Patient(SignalingService):
    """Drops members of rooms, but hears of whoever it saw first last."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[str] = []
        self._others = asyncio.Event()

    async def drop(self, user_id: str, room_id: str, socket: str, sent: bytes = b"") -> PartnerCancelled:
        self.seen.append(user_id)
        if len(self.seen) == 1:
            await self._others.wait()
            return PartnerCancelled(user_id, None)
        self._others.set()
        return PartnerCancelled(user_id, None)


def ticket(user_id: str, socket: str) -> dict[str, Any]:
    card = {"displayName": "Ada", "avatarUrl": None, "level": "beginner"}
    return {"userId": user_id, "socket": socket, "level": "all", "topic": "", "since": 1, "card": card}


async def test_whoever_is_seen_to_first_hears_of_it_first(container: Container) -> None:
    rooms, bus = Rooms(container.scripts), LocalBus()
    rows = CallRows(rooms, container.sessions)
    matchmaking = MatchmakingService(bus, container.database, rooms, container.sessions, rows)
    signaling = Patient(bus, rooms, rows, matchmaking)
    recovery = RecoveryService(rooms, rows, container.sessions, matchmaking, signaling)
    for _ in range(2):
        user_id = str(uuid.uuid4())
        await rooms.find(ticket(user_id, f"{container.bus.worker_id}.{user_id}"), str(uuid.uuid4()), str(uuid.uuid4()))
    told = [outcome.socket async for outcome in recovery.worker_lost("dead")]
    assert len(told) == 2 and told == [*signaling.seen[1:], signaling.seen[0]]


async def test_a_search_for_a_dead_worker_leaves_no_ticket(container: Container, make_learner: Any) -> None:
    rooms, bus = Rooms(container.scripts), NobodyThere()
    rows = CallRows(rooms, container.sessions)
    matchmaking = MatchmakingService(bus, container.database, rooms, container.sessions, rows)
    user_id = (await make_learner()).id
    await matchmaking.find_partner(user_id, "dead.one", level="all", topic=None)
    assert [each async for each in rooms.searches()] == []
