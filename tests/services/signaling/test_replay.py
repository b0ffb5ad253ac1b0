"""Signals that are kept for a participant who is away, and sent once, in order, on return."""

from __future__ import annotations

import pytest

from container import Container
from services.calls.outcomes import PeerReconnecting
from services.calls.participants import Participant
from testing.calls import (
    LocalBus,
)
from testing.signaling_stack import (
    Matched,
    SignalingStack,
)
from wire import events


@pytest.mark.parametrize("first", ["who hears", "who speaks"])
@pytest.mark.parametrize("says_what_it_heard", [True, False])
async def test_replay_after_both_dropped(
    container: Container, matched: Matched, first: str, says_what_it_heard: bool
) -> None:
    """Both drop; each signal arrives once and in order, in whichever order the two return."""
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)

    def say(socket: str) -> int:
        payload: events.CandidateMessage = {"candidate": None, "seq": 0}
        if (peer := signaling.relay(socket, room_id, "webrtc_ice", payload)) is not None:
            stack.emitted.append((peer, "webrtc_ice", payload))
        return int(payload["seq"])

    said = [say("w.one")]
    await signaling.disconnect(other, "w.other")
    said += [say("w.one"), say("w.one")]
    for turn in range(2):
        await signaling.disconnect(one, "w.one" if not turn else "w.one 0")

        async def hearer_returns(turn: int = turn) -> None:
            heard = [payload["seq"] for socket, _, payload in stack.emitted if socket.startswith("w.other")]
            after = heard[-1] if says_what_it_heard else None
            await signaling.join_room(other, f"w.other {turn}", room_id, after=after)

        if first == "who hears" and not turn:
            await hearer_returns()
        await signaling.join_room(one, f"w.one {turn}", room_id)
        if first == "who speaks" and not turn:
            await hearer_returns()
        # The second time only the one who speaks comes back: what was heard is not said again.
        said += [say(f"w.one {turn}")]
    assert [payload["seq"] for _, _, payload in stack.emitted] == said
    assert {socket for socket, _, _ in stack.emitted} == {"w.other", "w.other 0"}


async def test_replay_resends_what_was_lost_in_transit(container: Container, matched: Matched) -> None:
    """With `after`, a participant is sent again what was written to a connection that broke."""
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)
    for _ in range(5):
        payload: events.CandidateMessage = {"candidate": None, "seq": 0}
        signaling.relay("w.one", room_id, "webrtc_ice", payload)
    await signaling.disconnect(one, "w.one")
    await signaling.disconnect(other, "w.other")
    await signaling.join_room(other, "w.other again", room_id, after=payload["seq"] - 2)
    assert stack.emitted == []
    await signaling.join_room(one, "w.one again", room_id)
    assert [(socket, heard["seq"]) for socket, _, heard in stack.emitted] == [
        ("w.other again", payload["seq"] - 1),
        ("w.other again", payload["seq"]),
    ]


@pytest.mark.parametrize("says_what_it_heard", [True, False])
async def test_replay_when_both_return_with_new_sockets(
    container: Container, matched: Matched, says_what_it_heard: bool
) -> None:
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    signaling = stack.signaling
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await signaling.join_room(user_id, socket, room_id)

    heard: list[int] = []

    def say(number: int, socket: str) -> None:
        payload: events.CandidateMessage = {"candidate": {"candidate": str(number)}, "seq": 0}
        if signaling.relay(socket, room_id, "webrtc_ice", payload) is not None:
            heard.append(payload["seq"])
            stack.emitted.append(("direct", "webrtc_ice", payload))

    for number in range(10):
        say(number, "w.one")
    last_heard = heard[-1]
    await signaling.disconnect(other, "w.other")
    for number in range(10, 20):
        say(number, "w.one")
    # The sender too comes with another socket, as when its server is stopped.
    await signaling.disconnect(one, "w.one")
    joined = await signaling.join_room(one, "w.one again", room_id)
    assert joined.is_reconnect and joined.peer_socket_id is None
    assert stack.moves[-1:] == [PeerReconnecting("w.one again", 10)]
    for number in range(20, 30):
        say(number, "w.one again")
    await signaling.join_room(other, "w.other again", room_id, after=last_heard if says_what_it_heard else None)
    for number in range(30, 40):
        say(number, "w.one again")
    said = [int(payload["candidate"]["candidate"]) for _, _, payload in stack.emitted]
    assert said == list(range(40))
    numbers = [payload["seq"] for _, _, payload in stack.emitted]
    assert numbers == sorted(set(numbers))


async def test_replay_to_a_replaced_socket(container: Container, matched: Matched) -> None:
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await stack.signaling.join_room(user_id, socket, room_id)
    for _ in range(5):
        payload: events.CandidateMessage = {"candidate": None, "seq": 0}
        assert stack.signaling.relay("w.one", room_id, "webrtc_ice", payload) == "w.other"
    # Of the five the peer heard two, and came back before anybody noticed.
    joined = await stack.signaling.join_room(other, "w.new", room_id, after=payload["seq"] - 3)
    assert (joined.replaced_socket_id, joined.is_reconnect) == ("w.other", True)
    assert [(socket, heard["seq"]) for socket, _, heard in stack.emitted] == [
        ("w.new", payload["seq"] - back) for back in (2, 1, 0)
    ]


async def test_failed_signal_is_not_replayed(container: Container, matched: Matched) -> None:
    """A signal that could not be relayed was refused to its sender, who sends it again."""
    one, other, room_id = matched
    stack = SignalingStack(container, bus=LocalBus())
    for user_id, socket in ((one, "w.one"), (other, "w.other")):
        await stack.signaling.join_room(user_id, socket, room_id)
    payload: events.CandidateMessage = {"candidate": None, "seq": 0}
    stack.signaling.relay("w.one", room_id, "webrtc_ice", payload)
    stack.signaling.forget_signal("w.one", payload["seq"])
    await stack.signaling.join_room(other, "w.new", room_id, after=0)
    assert stack.emitted == []


async def test_kept_signals_are_bounded() -> None:
    """At most 512 signals, and no more than half a megabyte of them."""
    seat = Participant("room", "user")
    for number in range(1000):
        seat.record(number, "webrtc_ice", {"candidate": None, "seq": number})
    assert [signal.seq for signal in seat.signals_after(0)] == list(range(488, 1000))
    for number in range(100):
        seat.record(1000 + number, "webrtc_offer", {"sdp": "v" * 32700, "seq": number})
    assert [signal.seq for signal in seat.signals_after(0)] == list(range(1084, 1100))
