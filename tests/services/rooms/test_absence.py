"""Participants whose connection or process is gone, deadlines, and rooms that Redis lost."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

from container import Container
from services.calls.room_state import CallState, ClosedRoom, ParticipantAway
from services.calls.rooms import Rooms
from testing.calls import empty_queue
from testing.rooms import MakeEntry, begin_call, find, match_entries


async def test_call_waits_for_a_dropped_participant(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(), make_entry()
    room_id = await begin_call(rooms, one, other)
    assert await rooms.drop(room_id, one["userId"], "w.another") is None
    assert await rooms.drop(room_id, one["userId"], one["socket"], b"what it sent") == ParticipantAway(
        other["socket"], 1, timedelta(seconds=10)
    )
    assert await rooms.drop(room_id, one["userId"], one["socket"]) is None, "dropped twice"
    assert await rooms.close(room_id, one["userId"], condition="away") is None, "before its time is over"
    joined = await rooms.join(room_id, one["userId"], "w.new")
    assert (joined.role, joined.was_call, joined.connected_ms, joined.joins) == ("caller", True, "", 2)
    assert (joined.saved_state, joined.replaced_socket_id, joined.peer_socket_id) == (
        "what it sent",
        "",
        other["socket"],
    )
    assert (await rooms.join(room_id, one["userId"], "w.tablet")).replaced_socket_id == "w.new"
    assert await container.redis.zrange("{match}:due", 0, -1) == [f"room:{room_id}"]


async def test_both_away_each_learns_the_others_deadline(rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(), make_entry()
    room_id = await begin_call(rooms, one, other)
    await rooms.drop(room_id, one["userId"], one["socket"])
    assert await rooms.drop(room_id, other["userId"], other["socket"]) == ParticipantAway("", 1, timedelta(seconds=10))
    joined = await rooms.join(room_id, one["userId"], "w.new")
    assert joined.peer_socket_id == "" and timedelta(seconds=8) < joined.peer_grace <= timedelta(seconds=10)


async def test_deadline_is_taken_once_and_repeats_until_done(brief: Rooms, make_entry: MakeEntry) -> None:
    alone, one, other = (make_entry(level, worker="here") for level in ("beginner", "advanced", "advanced"))
    await find(brief, alone)
    room_id = await begin_call(brief, one, other)
    await brief.drop(room_id, one["userId"], one["socket"])
    unjoined = await match_entries(brief, *(make_entry("intermediate", worker="here") for _ in range(2)))
    await asyncio.sleep(0.1)  # until all three, of milliseconds, are due
    taken = await asyncio.gather(*(brief.take_deadlines() for _ in range(5)))
    due = sorted(":".join(entry) for entries in taken for entry in entries or [])
    assert due == sorted([f"search:{alone['userId']}", f"grace:{room_id}:{one['userId']}", f"join:{unjoined}"])
    assert await brief.leave_queue(alone["userId"])
    closed = await brief.close(room_id, one["userId"], condition="away")
    assert closed is not None and closed.get_peer(one["userId"]).socket_id == other["socket"]
    closed = await brief.close(unjoined, None, condition="unjoined", by="timeout")
    assert closed is not None and not closed.was_call


async def test_dead_process_ends_matches_and_suspends_calls(rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(worker="11111111"), make_entry()
    room_id = await begin_call(rooms, other, one)
    assert await rooms.drop(room_id, other["userId"], "11111111.") is None, "lives elsewhere"
    assert await rooms.drop(room_id, one["userId"], "11111111.") == ParticipantAway(
        other["socket"], 1, timedelta(seconds=30)
    )
    one, other = make_entry(worker="11111111"), make_entry()
    room_id = await match_entries(rooms, other, one)
    closed = await rooms.drop(room_id, one["userId"], "11111111.")
    assert isinstance(closed, ClosedRoom) and closed.participants[0].user_id == other["userId"]


async def test_lost_room_is_restored_once(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(), make_entry()
    room_id = await begin_call(rooms, one, other)
    await empty_queue(container)
    hour = timedelta(hours=1)
    lost = CallState(room_id, "session", (one["userId"], other["userId"]), hour, hour, None)
    assert await rooms.restore_room(lost) == "restored"
    await rooms.join(room_id, one["userId"], "w.one", joins=1, is_restored=True)
    assert await rooms.restore_room(lost) == "restored"
    joined = await rooms.join(room_id, other["userId"], "w.other")
    assert joined.was_call and (joined.peer_socket_id, joined.peer_joins) == ("w.one", 2)
    assert await container.redis.zrange("{match}:due", 0, -1) == [f"room:{room_id}"]
    # One that was closed a moment ago stays so.
    await rooms.close(room_id, one["userId"])
    assert await rooms.restore_room(lost) == "closed"
    assert await rooms.get_room_id(one["userId"]) is None and await rooms.get_room_id(other["userId"]) is None
    # A user who is in another room by now is not put back into this one.
    await find(rooms, third := make_entry("advanced"))
    another = CallState("another", "session", (third["userId"], str(uuid.uuid4())), hour, hour, None)
    assert await rooms.restore_room(another) == "busy"
    assert await rooms.get_room_id(third["userId"]) is None
