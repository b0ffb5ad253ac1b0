"""Roles of a call that neither Redis nor a web process knows any more: both clients are informed of new ones."""

from __future__ import annotations

import pytest

from testing.redis_copies import RedisCopy
from tests.services.test_older_copy import SOCKETS, Deployment, deployment, users
from tests.services.test_restart_of_all import restart_all, restore_data

__all__ = ["deployment", "users"]


@pytest.mark.parametrize("known", ["nothing", "match"])
@pytest.mark.parametrize("first", ["caller", "receiver"])
async def test_both_are_informed_of_chosen_roles(
    deployment: Deployment, users: list[str], known: str, first: str
) -> None:
    """Ada was the caller. The first to come back is it from then on, also where that was Bob."""
    ada, bob, _ = users
    copy = await RedisCopy.take(deployment.port)
    room_id = await deployment.match(ada, bob, SOCKETS)
    if known == "match":
        copy = await RedisCopy.take(deployment.port)
    for user_id, socket_id in zip((ada, bob), SOCKETS, strict=True):
        await deployment.join(user_id, socket_id, room_id)
    await restart_all(deployment, copy, "three", "four")
    assert await restore_data(deployment, "three", "four") == []
    back = [(ada, "three.ada"), (bob, "four.bob")]
    if first == "receiver":
        back.reverse()
    for (user_id, socket_id), role in zip(back, ("caller", "receiver"), strict=True):
        joined = await deployment.process(socket_id).signaling.join_room(user_id, socket_id, room_id)
        assert (joined.role, joined.is_reconnect) == (role, False)
    deployment.check_both_ways(room_id, (back[0][1], back[1][1]))
    for (user_id, socket_id), role in zip(back, ("caller", "receiver"), strict=True):
        joined = await deployment.process(socket_id).signaling.join_room(user_id, f"{socket_id}.later", room_id)
        assert (joined.role, joined.is_reconnect) == (role, True), "both know their roles by now"


async def test_client_that_comes_twice_is_informed_twice(deployment: Deployment, users: list[str]) -> None:
    """Its first connection breaks before the other is back, perhaps before it was informed."""
    ada, bob, _ = users
    copy = await RedisCopy.take(deployment.port)
    room_id = await deployment.call(ada, bob, SOCKETS)
    await restart_all(deployment, copy, "three")
    assert await restore_data(deployment, "three") == []
    signaling = deployment.processes["three"].signaling
    for socket_id in ("three.bob", "three.again"):
        joined = await signaling.join_room(bob, socket_id, room_id)
        assert (joined.role, joined.is_reconnect) == ("caller", False)
        await signaling.disconnect(bob, socket_id)
    # They were not there together yet.
    joined = await signaling.join_room(ada, "three.ada", room_id)
    assert (joined.role, joined.is_reconnect) == ("receiver", False)
    joined = await signaling.join_room(bob, "three.bob", room_id)
    assert (joined.role, joined.peer_socket_id, joined.is_reconnect) == ("caller", "three.ada", False)
    deployment.check_both_ways(room_id, ("three.bob", "three.ada"))


async def test_match_that_becomes_a_call_between_joins(deployment: Deployment, users: list[str]) -> None:
    """The receiver is back in the copy's match before a process restores it as the call that it was."""
    ada, bob, _ = users
    room_id = await deployment.match(ada, bob, SOCKETS)
    copy = await RedisCopy.take(deployment.port)
    for user_id, socket_id in zip((ada, bob), SOCKETS, strict=True):
        await deployment.join(user_id, socket_id, room_id)
    await restart_all(deployment, copy, "three")
    signaling = deployment.processes["three"].signaling
    joined = await signaling.join_room(bob, "three.bob", room_id)
    assert (joined.role, joined.is_reconnect) == ("caller", False)
    assert await restore_data(deployment, "three") == []
    joined = await signaling.join_room(ada, "three.ada", room_id)
    assert (joined.role, joined.is_reconnect) == ("receiver", False)
    deployment.check_both_ways(room_id, ("three.bob", "three.ada"))
