"""Membership of a room in the signaling service: reordered, late and missing messages between processes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import errors
from container import Container
from models import EndedBy
from services.calls.outcomes import PeerLeft, PeerReconnected, PeerReconnecting
from services.calls.rooms import Rooms
from testing.calls import (
    HeldBus,
    call_row,
    ended_call_row,
)
from testing.signaling_stack import (
    Matched,
    SignalingStack,
    answer,
    offer,
)


async def test_peer_joining_during_own_join_is_known(container: Container, matched: Matched) -> None:
    one, other, room_id = matched
    bus = HeldBus()

    class Slow(Rooms):
        """Rooms whose answer to the first to join is late: the second has joined, and said so."""

        async def join(self, room_id: str, user_id: str, *arguments: Any, **counts: Any) -> Any:
            joined = await super().join(room_id, user_id, *arguments, **counts)
            if user_id == one:
                await signaling.join_room(other, "w.other", room_id)
                await bus.release()
            return joined

    stack = SignalingStack(container, bus=bus, rooms=Slow(container.scripts))
    signaling = stack.signaling
    joined = await signaling.join_room(one, "w.one", room_id)
    assert joined.role == "caller"
    assert offer(stack, "w.one", room_id) == "w.other"
    assert answer(stack, "w.other", room_id) == "w.one"


async def test_failed_join_keeps_the_current_room(container: Container, matched: Matched) -> None:
    one, other, room_id = matched
    bus = HeldBus()
    stack = SignalingStack(container, bus=bus)
    signaling = stack.signaling
    await signaling.join_room(one, "w.one", room_id)
    with pytest.raises(errors.NotInRoom):
        await signaling.join_room(one, "w.one", str(uuid.uuid4()))
    await signaling.join_room(other, "w.other", room_id)
    await bus.release()
    assert offer(stack, "w.one", room_id) == "w.other"


async def test_disconnect_of_another_device_is_ignored(container: Container, matched: Matched) -> None:
    one, other, room_id = matched
    bus = HeldBus()
    stack = SignalingStack(container, bus=bus)
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    await bus.release()
    for socket in ("w.tablet", f"{container.bus.process_id}.{one}"):
        assert await signaling.disconnect(one, socket) is None
    assert bus.held == [] and offer(stack, "w.one", room_id) == "w.other"
    made = await call_row(container, room_id)
    assert made is not None and made.ended_at is None
    assert await signaling.disconnect(one, "w.one") is None
    await bus.release()
    assert stack.moves == [PeerReconnecting("w.other", 10)]
    assert await signaling.end_call(other, "w.other", room_id) is None, "there is no peer to notify"
    assert (await ended_call_row(container, room_id)).ended_by is not None


@pytest.mark.parametrize("drop_arrived", [True, False])
async def test_late_away_message_is_ignored(container: Container, matched: Matched, drop_arrived: bool) -> None:
    """A peer drops and returns; a slower process's message of the drop arrives after the return."""
    one, other, room_id = matched
    bus = HeldBus()
    stack = SignalingStack(container, bus=bus)
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    await bus.release()
    # The other drops and comes back, and one worker is slower to say so than another: it goes and comes again.
    await signaling.disconnect(other, "w.other")
    if drop_arrived:
        await bus.release()
    late = [*bus.held]
    bus.held.clear()
    await signaling.join_room(other, "w.second", room_id)
    await bus.release()
    back = [*stack.moves]
    assert back == (
        [PeerReconnecting("w.one", 10), PeerReconnected("w.one")] if drop_arrived else [PeerReconnected("w.one")]
    )
    bus.held[:] = late
    await bus.release()
    assert stack.moves == back, "a present peer is reported as away"
    assert offer(stack, "w.one", room_id) == "w.second"


async def test_reordered_join_events_last_wins(container: Container, matched: Matched) -> None:
    """A user joins with three sockets, and the messages of it arrive in reverse order."""
    one, other, room_id = matched
    bus = HeldBus()
    stack = SignalingStack(container, bus=bus)
    signaling = stack.signaling
    await signaling.join_room(one, "w.one", room_id)
    for number in range(3):
        await signaling.join_room(other, f"w.{number}", room_id)
    assert [kind for _, kind, _ in bus.held] == ["peer_here", "peer_here", "unseat", "peer_here", "unseat"]
    bus.held.reverse()
    await bus.release()
    assert offer(stack, "w.one", room_id) == "w.2"
    # A late message about its earlier replacement does not remove a device that resumed the call.
    await signaling.join_room(other, "w.1", room_id)
    replaced = [("w.1", "unseat", (room_id, 3)), *bus.held]
    bus.held[:] = replaced
    await bus.release()
    assert answer(stack, "w.1", room_id) == "w.one"
    with pytest.raises(errors.RoomClosed):
        answer(stack, "w.2", room_id)


async def test_second_hang_up_ends_nothing(container: Container, matched: Matched) -> None:
    one, other, room_id = matched
    bus = HeldBus()
    stack = SignalingStack(container, bus=bus)
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    await bus.release()
    assert await signaling.end_call(one, "w.one", room_id) == PeerLeft("w.other", "ended")
    with pytest.raises(errors.RoomClosed):  # before the message of it arrives
        await signaling.end_call(other, "w.other", room_id)
    assert (await ended_call_row(container, room_id)).ended_by is EndedBy.USER_A
