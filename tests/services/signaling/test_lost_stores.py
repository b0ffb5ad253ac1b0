"""Calls during an outage of a store: rows that are written later, rooms that Redis has lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import errors
from container import Container
from models import EndedBy
from services.calls.outcomes import PeerLeft, PeerReconnected
from testing.calls import (
    LocalBus,
    call_row,
    make_due,
)
from testing.polling import eventually
from testing.signaling_stack import (
    Interrupted,
    Matched,
    SignalingStack,
    UnavailableHistory,
    age_room,
    answer,
    backdate_match,
    lose_room,
    offer,
)


async def test_join_row_is_written_with_its_own_time(container: Container, matched: Matched) -> None:
    """PostgreSQL is unavailable when both join: the row is written a minute later, with the time of the join."""
    one, other, room_id = matched
    history = UnavailableHistory(container.database, container.gates)
    stack = SignalingStack(container, history=history)
    await backdate_match(container, room_id, 3600)
    await stack.signaling.join_room(one, "w.one", room_id)
    joined = await stack.signaling.join_room(other, "w.other", room_id)
    assert (joined.role, joined.peer_socket_id, joined.is_reconnect) == ("receiver", "w.one", False)
    began = datetime.now(UTC)
    await age_room(container, room_id, 60)
    history.is_unavailable = False
    assert len(await make_due(container, f"begin:{room_id}")) == 1
    assert [outcome async for outcome in stack.recovery.handle_deadlines()] == []
    made = await call_row(container, room_id)
    assert made is not None and made.connected_at is not None
    assert abs(began - made.connected_at - timedelta(seconds=60)) < timedelta(seconds=50), "the time of the writing"
    assert await make_due(container, f"begin:{room_id}") == []


async def test_call_during_an_outage_is_recorded_as_it_was(container: Container, matched: Matched) -> None:
    """A call starts, lasts 90 seconds and ends during an outage of PostgreSQL; its row is written a minute later."""
    one, other, room_id = matched
    history = UnavailableHistory(container.database, container.gates)
    stack = SignalingStack(container, history=history)
    await backdate_match(container, room_id, 3600)
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await stack.signaling.join_room(user_id, socket, room_id)
    await age_room(container, room_id, 90)
    await stack.signaling.end_call(one, "w.one", room_id)
    ended = datetime.now(UTC)
    await age_room(container, room_id, 60)
    history.is_unavailable = False
    # The end is written before the beginning.
    assert len(await make_due(container, f"end:{room_id}")) == 1
    assert [outcome async for outcome in stack.recovery.handle_deadlines()] == []
    await make_due(container, f"begin:{room_id}")
    assert [outcome async for outcome in stack.recovery.handle_deadlines()] == []
    made = await call_row(container, room_id)
    assert made is not None and made.connected_at is not None and made.ended_at is not None
    assert 90 <= (made.duration_seconds or 0) < 150
    assert abs(ended - made.ended_at - timedelta(seconds=60)) < timedelta(seconds=50)
    assert await make_due(container, f"end:{room_id}", f"begin:{room_id}") == []


async def test_peer_returning_to_a_restored_room_is_known(
    container: Container, matched: Matched, interrupted: Interrupted
) -> None:
    stack, (_, other, room_id) = interrupted
    assert [outcome async for outcome in stack.recovery.restore_data()] == []
    for number in range(3):
        await stack.signaling.join_room(other, f"w.other {number}", room_id)
    await lose_room(container, *matched)
    await stack.signaling.disconnect(other, "w.other 2")
    assert [outcome async for outcome in stack.recovery.restore_data()] == []
    await stack.signaling.join_room(other, "w.back", room_id)
    assert stack.moves[-1] == PeerReconnected("w.one")
    assert offer(stack, "w.one", room_id) == "w.back"


async def test_hang_up_of_a_lost_room_ends_the_call(container: Container, interrupted: Interrupted) -> None:
    stack, (one, other, room_id) = interrupted
    assert await stack.signaling.end_call(other, "w.other", room_id) == PeerLeft("w.one", "ended")
    ended = await call_row(container, room_id)
    assert ended is not None and ended.ended_by is EndedBy.USER_B and ended.connected_at is not None
    with pytest.raises(errors.RoomClosed):
        await stack.signaling.end_call(one, "w.one", room_id)
    assert [outcome async for outcome in stack.recovery.restore_data()] == []
    assert not await container.redis.exists(f"{{match}}:room:{room_id}:meta")
    assert await make_due(container, f"end:{room_id}") == []


async def test_lost_room_ends_when_a_member_searches_again(container: Container, interrupted: Interrupted) -> None:
    stack, (one, other, room_id) = interrupted
    await stack.signaling.disconnect(other, "w.other")
    container.matchmaking.connect(socket := f"{container.bus.process_id}.again")
    await container.matchmaking.find_partner(other, socket, level="all", topic=None)
    assert [outcome async for outcome in stack.recovery.restore_data()] == [PeerLeft("w.one", "disconnected")]
    ended = await call_row(container, room_id)
    assert ended is not None and ended.ended_by is EndedBy.ERROR
    with pytest.raises(errors.RoomClosed):
        offer(stack, "w.one", room_id)
    with pytest.raises(errors.NotInRoom):
        await stack.signaling.join_room(one, "w.one", room_id)


async def test_join_before_the_restore_keeps_signals(container: Container, matched: Matched) -> None:
    """The process of the sender is declared dead; the client joins again before the process finds out."""
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    for user_id, socket_id in ((one, "w.one"), (other, "w.other")):
        await stack.signaling.join_room(user_id, socket_id, room_id)
    await stack.signaling.disconnect(other, "w.other")
    assert offer(stack, "w.one", room_id) is None
    assert await eventually(lambda: list(stack.acks.values())) == ["ok"]
    await stack.signaling.drop(one, room_id, "w.")
    await stack.signaling.join_room(one, "w.one", room_id)
    await stack.signaling.join_room(other, "w.back", room_id)
    assert [(socket_id, name) for socket_id, name, _ in stack.emitted] == [("w.back", "webrtc_offer")]
    assert offer(stack, "w.one", room_id) == "w.back"
    assert answer(stack, "w.back", room_id) == "w.one"
