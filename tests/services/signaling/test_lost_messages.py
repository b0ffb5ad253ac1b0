"""Messages between web processes that are lost in a cut: the checks of rooms repair what they would have changed."""

from __future__ import annotations

from services.calls.outcomes import PeerReconnected, PeerReconnecting, SocketReplaced
from services.calls.room_messages import ROOM_LEFT
from services.calls.signaling import PEER_HERE
from testing.calls import is_away
from testing.polling import eventually
from testing.signaling_stack import candidate, offer
from tests.services.test_older_copy import SOCKETS, Deployment, deployment, users

__all__ = ["deployment", "users"]


async def test_caller_learns_of_a_peer_whose_first_join_was_lost(deployment: Deployment, users: list[str]) -> None:
    """The caller sends its offer when the peer is there, and would wait for ever."""
    ada, bob, _ = users
    room_id = await deployment.match(ada, bob, SOCKETS)
    await deployment.join(ada, SOCKETS[0], room_id)
    deployment.links["two"].lost = {PEER_HERE.kind, "emit"}
    await deployment.join(bob, SOCKETS[1], room_id)
    deployment.links["two"].lost = set()
    assert deployment.processes["one"].moves == []
    await deployment.check()
    assert deployment.processes["one"].moves == [PeerReconnected(SOCKETS[0])]
    deployment.check_both_ways(room_id, SOCKETS)


async def test_replaced_socket_whose_end_was_lost_is_closed(deployment: Deployment, users: list[str]) -> None:
    ada, bob, _ = users
    room_id = await deployment.call(ada, bob, SOCKETS)
    deployment.links["one"].lost = {ROOM_LEFT.kind}
    await deployment.join(bob, "one.tablet", room_id)
    deployment.links["one"].lost = set()
    assert SocketReplaced(SOCKETS[1]) in await deployment.check()


async def test_peer_of_a_dead_process_is_away(deployment: Deployment, users: list[str]) -> None:
    """The recovery of the dead process has met an outage of Redis, and is not repeated."""
    ada, bob, _ = users
    await deployment.start("three")
    room_id = await deployment.call(ada, bob, (SOCKETS[0], "three.bob"))
    await deployment.kill("three")
    await deployment.check()
    assert await is_away(deployment.container, {"roomId": room_id}, bob)
    (move,) = deployment.processes["one"].moves
    assert isinstance(move, PeerReconnecting) and move.grace_seconds > 10


async def test_number_beyond_all_signals_stops_no_ack(deployment: Deployment, users: list[str]) -> None:
    """A client says that it has received what its peer has not sent yet: later signals are acknowledged too."""
    ada, bob, _ = users
    room_id = await deployment.call(ada, bob, SOCKETS)
    await deployment.process("two.back").signaling.join_room(bob, "two.back", room_id, after=2**53 - 1)
    one = deployment.processes["one"]
    offer(one, SOCKETS[0], room_id)
    candidate(one, SOCKETS[0], room_id)
    assert await eventually(lambda: len(one.acks) == 2), one.acks
