"""Rooms in Redis: who joins, who closes them, and once only."""

from __future__ import annotations

import asyncio
import uuid

import pytest

import errors
from container import Container
from services.calls.rooms import Rooms
from testing.rooms import MakeEntry, list_keys, match_entries


async def test_first_to_join_stays_the_caller(rooms: Rooms, make_entry: MakeEntry) -> None:
    for first_is_waiting in (True, False):
        one, other = make_entry(), make_entry()
        room_id = await match_entries(rooms, one, other)
        first, second = (one, other) if first_is_waiting else (other, one)
        alone = await rooms.join(room_id, first["userId"], "w.first")
        assert (alone.role, alone.peer_id, alone.peer_socket_id) == ("caller", second["userId"], "")
        both = await rooms.join(room_id, second["userId"], "w.second")
        assert (both.role, both.peer_id, both.peer_socket_id) == ("receiver", first["userId"], "w.first")
        again = await rooms.join(room_id, first["userId"], "w.again")
        assert (again.role, again.peer_socket_id) == ("caller", "w.second")
        assert (await rooms.join(room_id, second["userId"], "w.second")).peer_socket_id == "w.again"


async def test_numbers_of_signals_rise_where_the_clock_goes_back(
    container: Container, rooms: Rooms, make_entry: MakeEntry
) -> None:
    """The primary that is promoted is 20 s behind: it has an earlier time, and the join before."""
    one, other = make_entry(), make_entry()
    room_id = await match_entries(rooms, one, other)
    before = await rooms.join(room_id, one["userId"], "w.first")
    ahead = before.first_seq + 20_000_000
    await container.redis.hset(f"{{match}}:room:{room_id}:meta", f"first:{one['userId']}", ahead)
    after = await rooms.join(room_id, one["userId"], "w.second")
    assert ahead < after.first_seq < 2**53
    assert (await rooms.join(room_id, one["userId"], "w.second", joins=after.joins)).first_seq == after.first_seq


async def test_concurrent_joins_make_one_caller(rooms: Rooms, make_entry: MakeEntry) -> None:
    for _ in range(50):
        one, other = make_entry(), make_entry()
        room_id = await match_entries(rooms, one, other)
        joins = await asyncio.gather(
            rooms.join(room_id, one["userId"], "w.one"), rooms.join(room_id, other["userId"], "w.other")
        )
        assert {(joined.role, bool(joined.peer_socket_id)) for joined in joins} == {
            ("caller", False),
            ("receiver", True),
        }


async def test_room_is_closed_once(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    for _ in range(20):
        one, other = make_entry(), make_entry()
        room_id = await match_entries(rooms, one, other)
        for each in (one, other):
            await rooms.join(room_id, each["userId"], each["socket"])
        ends = [rooms.close(room_id, each["userId"]) for each in (one, other) for _ in range(5)]
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        closed = [outcome for outcome in outcomes if outcome is not None]
        assert len(closed) == 1
        assert await rooms.get_room_id(one["userId"]) is await rooms.get_room_id(other["userId"]) is None
    assert await list_keys(container, "{match}:room:*") == set()


async def test_room_refuses_other_users(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other, stranger = make_entry(), make_entry(), make_entry()
    room_id = await match_entries(rooms, one, other)
    before = await container.redis.hgetall(f"{{match}}:room:{room_id}:meta")
    for room in (room_id, str(uuid.uuid4())):
        with pytest.raises(errors.NotInRoom):
            await rooms.join(room, stranger["userId"], stranger["socket"])
        assert await rooms.close(room, stranger["userId"]) is None
    assert await container.redis.hgetall(f"{{match}}:room:{room_id}:meta") == before


async def test_room_closes_only_for_its_own_socket(rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(), make_entry()
    room_id = await match_entries(rooms, one, other)
    assert await rooms.close(room_id, one["userId"], condition="socket:w.tablet") is None
    await rooms.join(room_id, one["userId"], "w.phone")
    # The socket that searched was replaced by the one that joined.
    assert await rooms.close(room_id, one["userId"], condition=f"socket:{one['socket']}") is None
    closed = await rooms.close(room_id, one["userId"], condition="socket:w.phone")
    assert closed is not None and not closed.was_call
    peer = closed.get_peer(one["userId"])
    assert (peer.user_id, peer.socket_id) == (other["userId"], "") and peer.queue_entry is not None
    assert peer.queue_entry["socket"] == other["socket"]


async def test_match_can_be_refused_until_both_joined(rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(), make_entry()
    room_id = await match_entries(rooms, one, other)
    for each in (one, other):
        await rooms.join(room_id, each["userId"], each["socket"])
    assert await rooms.close(room_id, one["userId"], condition="unjoined") is None
    closed = await rooms.close(room_id, one["userId"])
    assert closed is not None and closed.was_call


async def test_match_is_announced_once(rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(), make_entry()
    room_id = await match_entries(rooms, one, other)
    assert await rooms.announce(room_id)
    assert await rooms.close(room_id, one["userId"])
    assert not await rooms.announce(room_id)
    assert await rooms.get_room_id(one["userId"]) is None
