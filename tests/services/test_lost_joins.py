"""Joins that an older copy of Redis lacks: one caller, and signals that flow both ways."""

from __future__ import annotations

import pytest

from services.calls.participants import Participant
from services.calls.room_messages import JOIN_AGAIN
from testing.redis_copies import RedisCopy
from testing.signaling_stack import answer, candidate, offer
from tests.services.test_older_copy import SOCKETS, Deployment, deployment, users

__all__ = ["deployment", "users"]


def get_participant(deployment: Deployment, socket_id: str) -> Participant:
    found = deployment.process(socket_id).signaling.find_participant(socket_id)
    assert found is not None
    return found


async def restore_heartbeats(deployment: Deployment) -> None:
    for process_id in deployment.processes:
        await deployment.container.redis.set(f"worker:{{match}}:{process_id}", 1)


@pytest.mark.parametrize("first", ["one", "two"])
async def test_lost_joins_leave_the_roles(deployment: Deployment, users: list[str], first: str) -> None:
    """The copy has the match without a join; the process of either learner is the first to join again."""
    ada, bob, _ = users
    room_id = await deployment.match(ada, bob, SOCKETS)
    copy = await RedisCopy.take(deployment.port)
    await deployment.join(ada, SOCKETS[0], room_id)
    await deployment.join(bob, SOCKETS[1], room_id)
    deployment.processes = {first: deployment.processes.pop(first), **deployment.processes}
    await deployment.restore(copy)
    roles = [get_participant(deployment, each).role for each in SOCKETS]
    assert roles == ["caller", "receiver"]
    for user_id, socket_id, role in ((ada, "one.back", "caller"), (bob, "two.back", "receiver")):
        joined = await deployment.process(socket_id).signaling.join_room(user_id, socket_id, room_id)
        assert joined.role == role
    deployment.check_both_ways(room_id, ("one.back", "two.back"))


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_new_socket_before_a_lost_join_has_one_caller(
    deployment: Deployment, users: list[str], is_noticed: bool
) -> None:
    """The receiver comes back with a new socket, and is the caller, before the other process joins again."""
    ada, bob, _ = users
    room_id = await deployment.match(ada, bob, SOCKETS)
    copy = await RedisCopy.take(deployment.port)
    await deployment.join(ada, SOCKETS[0], room_id)
    await deployment.join(bob, SOCKETS[1], room_id)
    await copy.restore()
    await restore_heartbeats(deployment)
    back = await deployment.process("two.back").signaling.join_room(bob, "two.back", room_id)
    assert back.role == "caller"
    if is_noticed:
        await deployment.restore(await RedisCopy.take(deployment.port))
    else:
        await deployment.check()
    assert get_participant(deployment, SOCKETS[0]).role == "receiver"
    deployment.check_both_ways(room_id, ("two.back", SOCKETS[0]))
    # Its client joins again after `resync`, and is informed of its new role, once.
    for is_reconnect in (False, True):
        joined = await deployment.process(SOCKETS[0]).signaling.join_room(ada, SOCKETS[0], room_id)
        assert (joined.role, joined.is_reconnect) == ("receiver", is_reconnect)


async def join_with_a_known_count(deployment: Deployment, ada: str, bob: str, *, extra: int) -> str:
    """Let Bob join with a count that Ada's process knows of a join that the copy lacks; return the room."""
    room_id = await deployment.call(ada, bob, SOCKETS)
    copy = await RedisCopy.take(deployment.port)
    for number in range(1 + extra):
        last = f"two.bob-{number}"
        await deployment.join(bob, last, room_id)
    answer(deployment.processes["two"], last, room_id)
    candidate(deployment.processes["two"], last, room_id)
    await deployment.kill("two")
    await deployment.start("three")
    await copy.restore()
    await restore_heartbeats(deployment)
    await deployment.join(bob, "three.bob", room_id)
    here, there = get_participant(deployment, SOCKETS[0]), get_participant(deployment, "three.bob")
    assert here.peer_joins == there.joins + extra
    return room_id


@pytest.mark.parametrize("extra", [0, 2])
async def test_join_whose_count_repeats_loses_no_signal(deployment: Deployment, users: list[str], extra: int) -> None:
    ada, bob, _ = users
    room_id = await join_with_a_known_count(deployment, ada, bob, extra=extra)
    one, three = deployment.processes["one"], deployment.processes["three"]
    before = len(one.emitted)
    answer(three, "three.bob", room_id)
    assert [name for _, name, _ in one.emitted[before:]] == ["webrtc_answer"], "it has a number that was used"
    offer(one, SOCKETS[0], room_id)
    assert [each async for each in three.recovery.check_rooms()], "it is asked to join again with the next check"
    assert [(socket_id, name) for socket_id, name, _ in three.emitted] == [("three.bob", "webrtc_offer")]
    deployment.check_both_ways(room_id, (SOCKETS[0], "three.bob"))


async def test_without_join_again_no_signal_arrives(deployment: Deployment, users: list[str]) -> None:
    ada, bob, _ = users
    deployment.links["one"].lost = {JOIN_AGAIN.kind}
    room_id = await join_with_a_known_count(deployment, ada, bob, extra=2)
    offer(deployment.processes["one"], SOCKETS[0], room_id)
    for _ in range(5):
        await deployment.check()
    three = deployment.processes["three"]
    assert three.emitted == []
    deployment.links["one"].lost = set()
    await deployment.check()
    assert [(socket_id, name) for socket_id, name, _ in three.emitted] == [("three.bob", "webrtc_offer")]
    deployment.check_both_ways(room_id, (SOCKETS[0], "three.bob"))


async def test_rooms_that_are_busy_are_forgotten_with_their_sockets(deployment: Deployment, users: list[str]) -> None:
    """The call cannot be restored, because one of the learners searches; the other's socket goes."""
    ada, bob, _ = users
    copy = await RedisCopy.take(deployment.port)
    room_id = await deployment.call(ada, bob, SOCKETS)
    await copy.restore()
    await restore_heartbeats(deployment)
    await deployment.processes["two"].signaling.disconnect(bob, SOCKETS[1])
    await deployment.search(bob, "two.again")
    one = deployment.processes["one"]
    [each async for each in one.recovery.check_rooms()]
    assert list(one.checks._busy_checks) == [room_id]
    await one.signaling.disconnect(ada, SOCKETS[0])
    [each async for each in one.recovery.check_rooms()]
    assert not one.checks._busy_checks
