"""A match of two users without sockets, for tests of the signaling service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from container import Container
from services.calls.outcomes import Match
from testing.calls import LocalBus, empty_queue
from testing.signaling_stack import Interrupted, Matched, OneRoomHistory, SignalingStack, lose_room


@pytest.fixture(autouse=True)
async def clean_queue(container: Container) -> AsyncIterator[None]:
    await empty_queue(container)
    yield
    await empty_queue(container)


@pytest.fixture
async def matched(container: Container, make_learner: Any) -> Matched:
    """The ids of the two users, and their room."""
    one, other = [(await make_learner()).id for _ in range(2)]
    for user_id in (one, other):
        socket_id = f"{container.bus.process_id}.{user_id}"
        container.matchmaking.connect(socket_id)
        outcome = await container.matchmaking.find_partner(user_id, socket_id, level="all", topic=None)
    assert isinstance(outcome, Match)
    return one, other, outcome.room_id


@pytest.fixture
async def interrupted(container: Container, matched: Matched) -> Interrupted:
    """A call that Redis has lost, and no process has noticed."""
    history = OneRoomHistory(container.database, container.gates)
    history.room_id = matched[2]
    stack = SignalingStack(container, bus=LocalBus(), history=history)
    for user_id, socket_id in zip(matched, ("w.one", "w.other"), strict=False):
        await stack.signaling.join_room(user_id, socket_id, matched[2])
    await lose_room(container, *matched)
    return stack, matched
