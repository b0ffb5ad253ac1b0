"""Outcomes of rooms in which something went wrong that is nobody's fault: none of them is bad."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from services.calls.match_outcomes import read_letters
from services.calls.rooms import Rooms
from testing.rooms import MakeEntry, begin_call, match_entries

MISHAPS = ("drop", "process dies", "restart of ICE", "back on another device", "both drop")
ENDS = ("hang up", "other hangs up", "both hang up", "grace is over", "longest time", "ban")
BAD = set("dnl")


async def end_room(rooms: Rooms, room_id: str, users: list[str], end: str) -> str:
    """End a room; answer the letters of its outcomes."""
    one, other = users
    match end:
        case "hang up" | "both hang up":
            closed = await rooms.close(room_id, one, why="left")
            if end == "both hang up":
                assert await rooms.close(room_id, other, why="left") is None, "a room is over once"
        case "other hangs up":
            closed = await rooms.close(room_id, other, why="left")
        case "grace is over":
            closed = await rooms.close(room_id, one)
        case "longest time":
            closed = await rooms.close(room_id, None, by="timeout")
        case _:
            closed = await rooms.close(room_id, one, by="error")
    assert closed is not None
    await rooms.remove_end(closed.end)
    return closed.end.outcomes


async def suffer(rooms: Rooms, room_id: str, users: list[str], mishap: str, chance: random.Random) -> None:
    """Let something go wrong in a call."""
    for user in users if mishap == "both drop" else [chance.choice(users)]:
        socket = f"w{chance.random()}.phone"
        await rooms.join(room_id, user, socket)
        match mishap:
            case "restart of ICE":
                await rooms.note_trouble(room_id)
            case "process dies":
                await rooms.drop(room_id, user, socket.partition(".")[0] + ".")
            case _:
                await rooms.drop(room_id, user, socket)
        if mishap == "back on another device":
            await rooms.join(room_id, user, "w2.tablet")


@given(st.text(alphabet="gdnl-x", max_size=3))
def test_letters_that_are_not_known_are_no_outcome(letters: str) -> None:
    known = [letters[place : place + 1] in ("g", "d", "n", "l") for place in (0, 1)]
    assert [outcome is not None for outcome in read_letters(letters)] == known


async def test_no_mishap_leads_to_a_bad_outcome(rooms: Rooms, make_entry: MakeEntry) -> None:
    """Two hundred calls of less than a minute, with one to four mishaps each, however they end."""
    chance = random.Random(20261201)
    for _ in range(200):
        one, other = make_entry(), make_entry()
        room_id = await begin_call(rooms, one, other)
        await rooms.announce(room_id)
        users = [one["userId"], other["userId"]]
        mishaps = chance.choices(MISHAPS, k=chance.randint(1, 4))
        for mishap in mishaps:
            await suffer(rooms, room_id, users, mishap, chance)
        chance.shuffle(users)
        end = chance.choice(ENDS)
        assert not BAD & set(await end_room(rooms, room_id, users, end)), (mishaps, end)


async def test_same_calls_without_a_mishap_have_one(rooms: Rooms, make_entry: MakeEntry) -> None:
    for end, expected in (("hang up", "l-"), ("other hangs up", "-l"), ("longest time", "--"), ("ban", "--")):
        one, other = make_entry(), make_entry()
        room_id = await begin_call(rooms, one, other)
        await rooms.announce(room_id)
        assert await end_room(rooms, room_id, [one["userId"], other["userId"]], end) == expected


async def test_match_that_was_not_announced_is_not_declined(rooms: Rooms, make_entry: MakeEntry) -> None:
    """Whose match is not announced has seen none."""
    one, other = make_entry(), make_entry()
    room_id = await match_entries(rooms, one, other)
    closed = await rooms.close(room_id, one["userId"], condition="unjoined", why="left")
    assert closed is not None and closed.end.outcomes == "--"


async def test_outcomes_wait_until_their_row_has_them(rooms: Rooms, make_entry: MakeEntry) -> None:
    one, other = make_entry(), make_entry()
    room_id = await begin_call(rooms, one, other)
    await rooms.announce(room_id)
    closed = await rooms.close(room_id, other["userId"], why="left")
    assert closed is not None and closed.end.outcomes == "-l"
    assert await rooms.read_outcomes(room_id) == "-l"
    await rooms.remove_end(closed.end)
    assert await rooms.read_outcomes(room_id) == ""
