"""Calls survive lost connections: a dropped participant returns on any process and misses no signal."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import col, select

from container import Container
from models import EndedBy, Profile
from testing.calls import (
    MakePhone,
    Room,
    call,
    call_row,
    check_grace_is_over,
    ended_call_row,
    event_names,
    is_away,
    match,
)
from testing.client_internals import abort_connection, ignore_events
from testing.polling import eventually
from testing.servers import Phone
from testing.time_limits import GRACE, JOIN

#: Seconds that a dropped member of a call, and a match that is not joined, have on the tests' server.


def received_numbers(*phones: Phone) -> list[str]:
    """The candidates that these sockets of one learner have received, in order."""
    return [
        payload["candidate"]["candidate"]
        for phone in phones
        for name, payload in phone.received
        if name == "webrtc_ice"
    ]


def last_seq(phone: Phone) -> int:
    return max((payload["seq"] for name, payload in phone.received if name.startswith("webrtc_")), default=0)


def drop_connection(phone: Phone) -> None:
    """Break the connection as a lost network does, without a goodbye."""
    abort_connection(phone.client)


async def send_candidates(phone: Phone, room: Room, *numbers: int) -> None:
    for number in numbers:
        ack = await phone.send("webrtc_ice", {**room, "candidate": {"candidate": str(number)}})
        assert ack == {"ok": True}


@pytest.mark.parametrize("where", ["together_with", "apart_from"])
@pytest.mark.parametrize("how", ["disconnects", "connection drops"])
async def test_dropped_participant_resumes_on_any_process(
    make_phone: MakePhone, container: Container, where: str, how: str
) -> None:
    ada = await make_phone()
    bob = await make_phone()
    room = await call(ada, bob)
    if how == "connection drops":
        drop_connection(bob)
    else:
        await bob.client.disconnect()
    assert await ada.wait_for("peer_reconnecting") == {"graceSeconds": GRACE}
    await send_candidates(ada, room, 1, 2, 3)
    again = await make_phone(learner=bob.learner, **{where: ada})
    assert await again.send("join_room", {**room, "after": 0}) == {"ok": True}
    assert await ada.wait_for("peer_reconnected") == {}
    await send_candidates(ada, room, 4)
    await again.wait_for("webrtc_ice", count=4)
    assert received_numbers(again) == ["1", "2", "3", "4"]
    # The role is what it was, and so is the call.
    assert await again.send("webrtc_answer", {**room, "sdp": "v=0"}) == {"ok": True}
    await ada.wait_for("webrtc_answer")
    await check_grace_is_over(container, room, bob.learner.id)
    assert "peer_left" not in event_names(ada) and "peer_joined" not in event_names(again)
    made = await call_row(container, room["roomId"])
    assert made is not None and made.ended_at is None
    await again.send("end_call", room)
    assert (await ended_call_row(container, room["roomId"])).ended_by is EndedBy.USER_B


async def test_repeated_drops_lose_and_repeat_no_signal(
    make_phone: MakePhone,
) -> None:
    ada = await make_phone()
    bobs = [await make_phone(apart_from=ada)]
    room = await call(ada, bobs[0])
    stop = asyncio.Event()
    sent = 0

    async def send_steadily() -> None:
        nonlocal sent
        while not stop.is_set():
            await send_candidates(ada, room, sent)
            sent += 1
            await asyncio.sleep(0.005)  # pace of the candidates

    sending = asyncio.create_task(send_steadily())
    for number in range(8):
        enough = sent + 8
        await eventually(lambda enough=enough: sent >= enough, "candidates between two drops")  # type: ignore[misc]
        if number % 2:  # else the new connection is there before the old one is known to be dead
            drop_connection(bobs[-1])
        where = {"apart_from": ada} if number % 3 else {"together_with": ada}
        new = await make_phone(learner=bobs[0].learner, **where)
        after = max(last_seq(phone) for phone in bobs)
        ignore_events(bobs[-1].client)  # what still comes to the old socket is not listened to
        assert await new.send("join_room", {**room, "after": after}) == {"ok": True}
        bobs.append(new)
    stop.set()
    await sending
    await eventually(lambda: received_numbers(*bobs)[-1:] == [str(sent - 1)], "the last candidate arrives")
    assert received_numbers(*bobs) == [str(number) for number in range(sent)]
    assert sent > 50


async def test_receiver_returning_first_gets_missed_signals(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    await send_candidates(ada, room, 1)
    await bob.wait_for("webrtc_ice")
    drop_connection(bob)
    await ada.wait_for("peer_reconnecting")
    await send_candidates(ada, room, 2, 3)
    drop_connection(ada)
    await eventually(lambda: is_away(container, room, ada.learner.id), "ada is away, too")
    bob_again = await make_phone(learner=bob.learner, apart_from=bob)
    assert await bob_again.send("join_room", {**room, "after": last_seq(bob)}) == {"ok": True}
    assert (await bob_again.wait_for("peer_reconnecting"))["graceSeconds"] in range(1, GRACE + 1)
    ada_again = await make_phone(learner=ada.learner, apart_from=ada)
    assert await ada_again.send("join_room", {**room, "after": 0}) == {"ok": True}
    await bob_again.wait_for("peer_reconnected")
    await send_candidates(ada_again, room, 4)
    await bob_again.wait_for("webrtc_ice", count=3)
    assert received_numbers(bob, bob_again) == ["1", "2", "3", "4"]
    assert event_names(ada_again).count("peer_reconnecting") == 0


async def test_both_drop_and_sender_returns_first(make_phone: MakePhone) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    await send_candidates(ada, room, 1)
    await bob.wait_for("webrtc_ice")
    drop_connection(bob)
    await ada.wait_for("peer_reconnecting")
    await send_candidates(ada, room, 2)
    drop_connection(ada)
    ada_again = await make_phone(learner=ada.learner, apart_from=ada)
    assert await ada_again.send("join_room", {**room, "after": 0}) == {"ok": True}
    assert (await ada_again.wait_for("peer_reconnecting"))["graceSeconds"] in range(1, GRACE + 1)
    await send_candidates(ada_again, room, 3)
    bob_again = await make_phone(learner=bob.learner, apart_from=bob)
    assert await bob_again.send("join_room", {**room, "after": last_seq(bob)}) == {"ok": True}
    await ada_again.wait_for("peer_reconnected")
    await send_candidates(ada_again, room, 4)
    await bob_again.wait_for("webrtc_ice", count=3)
    assert received_numbers(bob, bob_again) == ["1", "2", "3", "4"]


async def test_return_after_the_grace_finds_the_call_ended(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    drop_connection(bob)
    assert await ada.wait_for("peer_left", within=GRACE + 3) == {"reason": "disconnected"}
    assert event_names(ada).count("peer_left") == 1
    again = await make_phone(learner=bob.learner)
    assert (await again.send("join_room", room))["error"]["code"] == "not_in_room"
    ended = await ended_call_row(container, room["roomId"])
    assert ended.ended_by is EndedBy.USER_B and ended.duration_seconds is not None and ended.duration_seconds >= GRACE
    for phone in (ada, again):
        assert await phone.send("find_partner", {"topic": f"next {phone.learner.username}"}) == {"ok": True}


async def test_hang_up_while_the_peer_is_away_ends_the_call(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    drop_connection(bob)
    await ada.wait_for("peer_reconnecting")
    assert await ada.send("end_call", room) == {"ok": True}
    again = await make_phone(learner=bob.learner)
    assert (await again.send("join_room", room))["error"]["code"] == "not_in_room"
    assert (await ended_call_row(container, room["roomId"])).ended_by is EndedBy.USER_A


async def test_second_device_takes_over_the_call(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    await send_candidates(ada, room, 1)
    await bob.wait_for("webrtc_ice")
    tablet = await make_phone(learner=bob.learner, apart_from=bob)
    assert await tablet.send("join_room", room) == {"ok": True}
    assert await bob.wait_for("session_replaced") == {}
    await ada.wait_for("peer_reconnected")
    await send_candidates(ada, room, 2)
    await tablet.wait_for("webrtc_ice")
    assert (received_numbers(bob), received_numbers(tablet)) == (["1"], ["2"])
    assert (await bob.send("webrtc_ice", {**room, "candidate": None}))["error"]["code"] == "room_closed"
    replaced = str(bob.client.get_sid())
    await bob.client.disconnect()

    async def is_noted() -> bool:
        # Written after what the call has to know of the disconnect.
        return replaced not in await container.user_sockets.list_socket_ids(bob.learner.id)

    await eventually(is_noted, "the disconnect is noted")
    assert not await is_away(container, room, bob.learner.id), "the device that was replaced is no longer in the call"
    assert await tablet.send("webrtc_ice", {**room, "candidate": {"candidate": "3"}}) == {"ok": True}
    await ada.wait_for("webrtc_ice")
    assert "peer_reconnecting" not in event_names(ada)


async def test_unjoined_match_requeues_the_one_who_joined(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = {"roomId": (await match(ada, bob))["roomId"]}
    await ada.send("join_room", room)
    for phone in (ada, bob):
        assert await phone.wait_for("partner_cancelled", within=JOIN + 3) == {}
    await ada.wait_for("searching", count=2)
    assert (await bob.send("cancel_search"))["error"]["code"] == "not_searching", "bob is requeued"
    ended = await ended_call_row(container, room["roomId"])
    assert (ended.ended_by, ended.connected_at, ended.duration_seconds) == (EndedBy.TIMEOUT, None, 0)
    dave = await make_phone()
    assert await dave.send("find_partner", {"topic": f"topic of {ada.learner.username}"}) == {"ok": True}
    assert (await dave.wait_for("match_found"))["partner"]["userId"] == ada.learner.id
    async with container.database.transaction() as db:
        counted = select(Profile.total_sessions).where(col(Profile.user_id).in_([ended.user_a_id, ended.user_b_id]))
        assert (await db.exec(counted)).all() == [0, 0]


async def test_requeued_user_is_matched_at_once(make_phone: MakePhone) -> None:
    ada, bob, carol = await make_phone(), await make_phone(), await make_phone()
    room_id = (await match(ada, bob))["roomId"]
    await carol.send("find_partner", {})
    assert await bob.send("cancel_search") == {"ok": True}
    await ada.wait_for("partner_cancelled")
    found = await ada.wait_for("match_found", count=2)
    assert found["partner"]["userId"] == carol.learner.id and found["roomId"] != room_id
    assert (await carol.wait_for("match_found"))["roomId"] == found["roomId"]


async def test_turn_credentials_are_for_participants_only(make_phone: MakePhone) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    ack = await ada.send("refresh_ice", room)
    assert ack["ok"] and any("turn:" in url for server in ack["iceServers"] for url in server["urls"])
    assert {server["username"].partition(":")[2] for server in ack["iceServers"] if "username" in server} == {
        ada.learner.id
    }
    eve = await make_phone()
    assert (await eve.send("refresh_ice", room))["error"]["code"] == "not_in_room"
    await bob.send("end_call", room)
    await ada.wait_for("peer_left")
    assert (await ada.send("refresh_ice", room))["error"]["code"] == "room_closed"
