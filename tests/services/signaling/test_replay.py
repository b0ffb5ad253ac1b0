"""Signals that are kept for a participant who is away, and sent once, in order, on return."""

from __future__ import annotations

import pytest

from container import Container
from services.calls.outcomes import PeerReconnecting
from services.calls.participants import Participant, read_seq
from testing.calls import (
    LocalBus,
)
from testing.signaling_stack import (
    Matched,
    SignalingStack,
    candidate,
    relay,
)
from wire import events


@pytest.mark.parametrize("first", ["receiver", "sender"])
@pytest.mark.parametrize("reports_last_seq", [True, False])
async def test_replay_after_both_dropped(
    container: Container, matched: Matched, first: str, reports_last_seq: bool
) -> None:
    """Both drop; each signal arrives once and in order, in either order of return."""
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)

    def signal(socket: str) -> int:
        return candidate(stack, socket, room_id)[0]

    sent = [signal("w.one")]
    await signaling.disconnect(other, "w.other")
    sent += [signal("w.one"), signal("w.one")]
    for turn in range(2):
        await signaling.disconnect(one, "w.one" if not turn else "w.one 0")

        async def receiver_returns(turn: int = turn) -> None:
            received = [payload["seq"] for socket, _, payload in stack.emitted if socket.startswith("w.other")]
            after = received[-1] if reports_last_seq else None
            await signaling.join_room(other, f"w.other {turn}", room_id, after=after)

        if first == "receiver" and not turn:
            await receiver_returns()
        await signaling.join_room(one, f"w.one {turn}", room_id)
        if first == "sender" and not turn:
            await receiver_returns()
        # The second time only the one who speaks comes back: what was received is not sent again.
        sent += [signal(f"w.one {turn}")]
    assert [payload["seq"] for _, _, payload in stack.emitted] == sent
    assert {socket for socket, _, _ in stack.emitted} == {"w.other", "w.other 0"}


async def test_replay_resends_what_was_lost_in_transit(container: Container, matched: Matched) -> None:
    """With `after`, a participant is sent again what was written to a connection that broke."""
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    for _ in range(5):
        last, _ = candidate(stack, "w.one", room_id)
    stack.emitted.clear()
    await signaling.disconnect(one, "w.one")
    await signaling.disconnect(other, "w.other")
    await signaling.join_room(other, "w.other again", room_id, after=last - 2)
    assert stack.emitted == []
    await signaling.join_room(one, "w.one again", room_id)
    assert [(socket, received["seq"]) for socket, _, received in stack.emitted] == [
        ("w.other again", last - 1),
        ("w.other again", last),
    ]


@pytest.mark.parametrize("reports_last_seq", [True, False])
async def test_replay_when_both_return_with_new_sockets(
    container: Container, matched: Matched, reports_last_seq: bool
) -> None:
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)

    received: list[int] = []

    def signal(number: int, socket: str) -> None:
        payload: events.RemoteCandidate = {"candidate": {"candidate": str(number)}, "seq": 0}
        seq, written_to = relay(stack, socket, room_id, "webrtc_ice", payload)
        if written_to is not None:
            received.append(seq)

    for number in range(10):
        signal(number, "w.one")
    last_received = received[-1]
    await signaling.disconnect(other, "w.other")
    for number in range(10, 20):
        signal(number, "w.one")
    # The sender too comes with another socket, as when its server is stopped.
    await signaling.disconnect(one, "w.one")
    joined = await signaling.join_room(one, "w.one again", room_id)
    assert joined.is_reconnect and joined.peer_socket_id is None
    assert stack.moves[-1:] == [PeerReconnecting("w.one again", 10)]
    for number in range(20, 30):
        signal(number, "w.one again")
    await signaling.join_room(other, "w.other again", room_id, after=last_received if reports_last_seq else None)
    for number in range(30, 40):
        signal(number, "w.one again")
    sent = [int(payload["candidate"]["candidate"]) for _, _, payload in stack.emitted]
    assert sent == list(range(40))
    numbers = [payload["seq"] for _, _, payload in stack.emitted]
    assert numbers == sorted(set(numbers))


async def test_replay_to_a_replaced_socket(container: Container, matched: Matched) -> None:
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await stack.signaling.join_room(user_id, socket, room_id)
    for _ in range(5):
        last, written_to = candidate(stack, "w.one", room_id)
        assert written_to == "w.other"
    stack.emitted.clear()
    # Of the five the peer received two, and returned before the drop was noticed.
    joined = await stack.signaling.join_room(other, "w.new", room_id, after=last - 3)
    assert (joined.replaced_socket_id, joined.is_reconnect) == ("w.other", True)
    assert [(socket, received["seq"]) for socket, _, received in stack.emitted] == [
        ("w.new", last - back) for back in (2, 1, 0)
    ]


async def test_kept_signals_are_bounded() -> None:
    """At most 1,024 signals, and no more than half a megabyte of them: the oldest that the peer has are dropped."""
    kept = Participant("room", "user", "w.one")

    def numbers() -> list[int]:
        return [read_seq(signal) for signal in kept.signals_after(0)]

    for number in range(2000):
        kept.record("webrtc_ice", {"candidate": None, "seq": 0})
        kept.confirmed_seq = number + 1
    assert numbers() == list(range(977, 2001)) and not kept.is_full
    for number in range(2000, 2100):
        kept.record("webrtc_offer", {"sdp": "v" * 32700, "seq": 0})
        kept.confirmed_seq = number + 1
    assert numbers() == list(range(2085, 2101)) and not kept.is_full


@pytest.mark.parametrize(("size", "count"), [(0, 1024), (32700, 17)])
async def test_signals_that_the_peer_lacks_are_not_dropped(size: int, count: int) -> None:
    kept = Participant("room", "user", "w.one")
    while not kept.is_full:
        kept.record("webrtc_offer", {"sdp": "v" * size, "seq": 0})
    assert [read_seq(signal) for signal in kept.signals_after(0)] == list(range(1, count + 1))
    kept.confirmed_seq = 1
    assert not kept.is_full
