"""Outcomes of matches, for every way in which one ends; and rests, as clients see them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from container import Container
from services.calls.rooms import Rooms
from testing.accounts import make_admin
from testing.calls import (
    MakePhone,
    Pair,
    Room,
    ack_code,
    call,
    empty_queue,
    ended_call_row,
    expire_grace,
    is_away,
    make_due,
    match,
)
from testing.client_internals import abort_connection, close_websocket, get_transport
from testing.databases import query, rows
from testing.polling import eventually
from testing.servers import Learner, Phone, Server, http_client, start_server, stop_server


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that counts early hang-ups, which that of the other tests does not."""
    variables = {**environment, "EARLY_LEAVE": "60s"}
    running = start_server(variables, tmp_path_factory.mktemp("server") / "server.log", workers=2)
    yield running
    stop_server(running)


@pytest.fixture
async def admin(server: Server, container: Container) -> AsyncIterator[Learner]:
    async with http_client(server.url) as http:
        yield await make_admin(container, http)


@pytest.fixture
async def pair(make_phone: MakePhone) -> Pair:
    return await make_phone(), await make_phone()


async def read_outcomes(container: Container, room: Room, *phones: Phone) -> list[str | None]:
    """Read how each learner kept the match of a room, once it has ended."""
    row = await ended_call_row(container, room["roomId"])
    by_user = {str(row.user_a_id): row.user_a_outcome, str(row.user_b_id): row.user_b_outcome}
    return [by_user[phone.learner.id] for phone in phones]


async def read_points(container: Container, phone: Phone) -> float:
    found = await rows(container, "SELECT points FROM pairing_records WHERE user_id = :u", u=phone.learner.id)
    return float(found[0][0]) if found else 0.0


async def lengthen(container: Container, room: Room, seconds: int) -> None:
    """Let a call have lasted for longer."""
    await container.redis.hincrby(f"{{match}}:room:{room['roomId']}:meta", "connected", -seconds * 1000)


async def age_match(container: Container, room: Room, seconds: int = 3) -> None:
    """Let a match have been found, and both been informed of it, some time ago."""
    for field in ("createdAt", "announced"):
        await container.redis.hincrby(f"{{match}}:room:{room['roomId']}:meta", field, -seconds * 1000)


async def talk(caller: Phone, receiver: Phone) -> Room:
    """Bring two learners into a call whose connection is negotiated."""
    room = await call(caller, receiver)
    assert await caller.send("webrtc_offer", {**room, "sdp": "v=0"}) == {"ok": True}
    assert await receiver.send("webrtc_answer", {**room, "sdp": "v=0"}) == {"ok": True}
    await caller.wait_for("webrtc_answer")
    return room


async def begin(one: Phone, other: Phone) -> Room:
    return {"roomId": (await match(one, other))["roomId"]}


async def test_cancelled_match_is_declined(container: Container, pair: Pair) -> None:
    ada, bob = pair
    room = await begin(ada, bob)
    await age_match(container, room)
    assert await ada.send("cancel_search", {}) == {"ok": True}
    assert await read_outcomes(container, room, ada, bob) == ["declined", None]
    assert await read_points(container, ada) == pytest.approx(1) and await read_points(container, bob) == 0


async def test_search_cancelled_in_the_moment_of_its_match_is_not_declined(container: Container, pair: Pair) -> None:
    """`match_found` takes its time: who cancels before it is there has seen no match."""
    ada, bob = pair
    room = await begin(ada, bob)
    # The time in which a slow machine has handled this is not the learner's.
    await age_match(container, room, -600)
    assert await ada.send("cancel_search", {}) == {"ok": True}
    assert await read_outcomes(container, room, ada, bob) == [None, None]
    assert await read_points(container, ada) == 0


async def test_match_is_declined_after_its_join_at_any_time(container: Container, pair: Pair) -> None:
    room = await begin(*pair)
    assert await pair[0].send("join_room", room) == {"ok": True}
    assert await pair[0].send("cancel_search", {}) == {"ok": True}
    assert await read_outcomes(container, room, *pair) == ["declined", None]


@pytest.mark.parametrize("has_joined", [False, True])
async def test_end_before_both_joined_is_declined(container: Container, pair: Pair, has_joined: bool) -> None:
    ada, bob = pair
    room = await begin(ada, bob)
    if has_joined:
        assert await ada.send("join_room", room) == {"ok": True}
    assert await ada.send("end_call", room) == {"ok": True}
    assert await read_outcomes(container, room, ada, bob) == ["declined", None]


async def test_end_after_a_wait_in_vain_is_not_declined(container: Container, pair: Pair) -> None:
    """Who has joined and waited for most of the time leaves a partner who does not come."""
    ada, bob = pair
    room = await begin(ada, bob)
    assert await ada.send("join_room", room) == {"ok": True}
    await container.redis.hincrby(f"{{match}}:room:{room['roomId']}:meta", "createdAt", -12_000)
    assert await ada.send("end_call", room) == {"ok": True}
    assert await read_outcomes(container, room, ada, bob) == [None, None]


@pytest.mark.parametrize("joined", [0, 1])
async def test_match_without_a_join_is_not_joined(container: Container, pair: Pair, joined: int) -> None:
    room = await begin(*pair)
    for phone in pair[:joined]:
        assert await phone.send("join_room", room) == {"ok": True}
    assert await make_due(container, f"join:{room['roomId']}")
    expected = [None, "not_joined"] if joined else ["not_joined"] * 2
    assert await read_outcomes(container, room, *pair) == expected


async def test_late_deadline_counts_for_nobody(container: Container, pair: Pair) -> None:
    """A deadline that is handled long after its time follows an outage, in which nobody could join."""
    room = await begin(*pair)
    await container.redis.hincrby(f"{{match}}:room:{room['roomId']}:meta", "createdAt", -60_000)
    assert await make_due(container, f"join:{room['roomId']}")
    assert await read_outcomes(container, room, *pair) == [None, None]


@pytest.mark.parametrize("leaver", [0, 1])
async def test_leaving_within_a_minute_is_early(container: Container, pair: Pair, leaver: int) -> None:
    room = await talk(*pair)
    await lengthen(container, room, 50)
    assert await pair[leaver].send("end_call", room) == {"ok": True}
    expected = ["left_early", None] if leaver == 0 else [None, "left_early"]
    assert await read_outcomes(container, room, *pair) == expected


@pytest.mark.parametrize("has_offer", [False, True])
async def test_leaving_who_does_not_answer_is_not_early(container: Container, pair: Pair, has_offer: bool) -> None:
    """A partner whose app joins and does not negotiate has no voice: nobody has to wait a minute for them."""
    ada, bob = pair
    room = await call(ada, bob)
    if has_offer:
        assert await ada.send("webrtc_offer", {**room, "sdp": "v=0"}) == {"ok": True}
        await bob.wait_for("webrtc_offer")
    assert await ada.send("end_call", room) == {"ok": True}
    assert await read_outcomes(container, room, ada, bob) == [None, None]
    assert await read_points(container, ada) == 0


async def test_leaving_who_has_blocked_one_is_not_early(container: Container, pair: Pair) -> None:
    ada, bob = pair
    room = await talk(ada, bob)
    assert (await bob.learner.http.put(f"/users/{ada.learner.id}/block")).status_code == 204
    assert await ada.send("end_call", room) == {"ok": True}
    assert await read_outcomes(container, room, ada, bob) == [None, None]
    assert await read_points(container, ada) == 0


async def test_call_of_more_than_a_minute_is_good(container: Container, pair: Pair) -> None:
    room = await call(*pair)
    await lengthen(container, room, 61)
    assert await pair[1].send("end_call", room) == {"ok": True}
    assert await read_outcomes(container, room, *pair) == ["good", "good"]


async def test_hang_up_after_a_drop_is_not_early(container: Container, make_phone: MakePhone, pair: Pair) -> None:
    """Both the one who came back and the one who had to wait may leave such a call."""
    ada, bob = pair
    room = await talk(*pair)
    abort_connection(ada.client)
    await bob.wait_for("peer_reconnecting")
    again = await make_phone(learner=ada.learner)
    assert await again.send("join_room", {**room, "after": 0}) == {"ok": True}
    await bob.wait_for("peer_reconnected")
    assert await bob.send("end_call", room) == {"ok": True}
    assert await read_outcomes(container, room, ada, bob) == [None, None]


async def test_drop_for_good_counts_for_nobody(container: Container, pair: Pair) -> None:
    ada, bob = pair
    room = await call(*pair)
    abort_connection(ada.client)

    async def away() -> bool:
        return await is_away(container, room, ada.learner.id)

    await eventually(away)
    await expire_grace(container, room, ada.learner.id)
    assert await read_outcomes(container, room, ada, bob) == [None, None]


async def test_drop_before_the_join_counts_for_nobody(container: Container, pair: Pair) -> None:
    room = await begin(*pair)
    await age_match(container, room)
    abort_connection(pair[0].client)
    assert await read_outcomes(container, room, *pair) == [None, None]
    assert await make_due(container, f"goodbye:{room['roomId']}") == []


async def is_weighed(container: Container, room: Room) -> bool:
    noted: Any = await container.redis.zrange("{match}:due", 0, -1)
    return not any(entry.startswith(f"goodbye:{room['roomId']}") for entry in noted)


@pytest.mark.parametrize("by", ["goodbye", "close frame"])
async def test_closed_app_has_not_joined(container: Container, pair: Pair, by: str) -> None:
    """The partner's search goes on at once; what is counted is decided when the time to join is over."""
    ada, bob = pair
    room = await begin(ada, bob)
    await age_match(container, room)
    await (ada.client.disconnect() if by == "goodbye" else close_websocket(ada.client))
    await bob.wait_for("partner_cancelled")
    assert await read_outcomes(container, room, ada, bob) == [None, None]
    assert await make_due(container, f"goodbye:{room['roomId']}")
    await eventually(lambda: is_weighed(container, room))
    assert await read_outcomes(container, room, ada, bob) == ["not_joined", None]
    assert await read_points(container, ada) == pytest.approx(1, abs=0.001) and await read_points(container, bob) == 0


async def test_page_that_is_loaded_again_counts_for_nobody(
    container: Container, make_phone: MakePhone, pair: Pair
) -> None:
    ada, bob = pair
    room = await begin(ada, bob)
    await age_match(container, room)
    await ada.client.disconnect()
    await bob.wait_for("partner_cancelled")
    await make_phone(learner=ada.learner)

    async def is_back() -> bool:
        return bool(await container.user_sockets.list_socket_ids(ada.learner.id))

    await eventually(is_back)
    assert await make_due(container, f"goodbye:{room['roomId']}")
    await eventually(lambda: is_weighed(container, room))
    assert await read_outcomes(container, room, ada, bob) == [None, None]
    assert await read_points(container, ada) == 0


@pytest.mark.parametrize("case", ["moment of the match", "after the join", "invitation", "late deadline"])
async def test_goodbye_that_counts_for_nobody(container: Container, pair: Pair, case: str) -> None:
    ada, bob = pair
    room = await begin(ada, bob)
    await age_match(container, room, -600 if case == "moment of the match" else 60 if case == "late deadline" else 3)
    if case == "after the join":
        assert await ada.send("join_room", room) == {"ok": True}
    elif case == "invitation":
        await container.redis.hset(f"{{match}}:room:{room['roomId']}:meta", "invitation", str(uuid.uuid4()))
    await ada.client.disconnect()
    assert await read_outcomes(container, room, ada, bob) == [None, None]
    await make_due(container, f"goodbye:{room['roomId']}")
    await eventually(lambda: is_weighed(container, room))
    assert await read_outcomes(container, room, ada, bob) == [None, None]
    assert await read_points(container, ada) == 0


async def test_hang_up_after_an_ice_restart_is_not_early(container: Container, pair: Pair) -> None:
    room = await talk(*pair)
    assert ack_code(await pair[0].send("refresh_ice", room)) == "ok"
    assert await pair[1].send("end_call", room) == {"ok": True}
    assert await read_outcomes(container, room, *pair) == [None, None]


async def test_hang_up_on_a_silent_partner_is_not_early(container: Container, pair: Pair) -> None:
    """A partner whose line died is noticed some seconds later; who has hung up by then is excused."""
    ada, bob = pair
    room = await talk(*pair)
    get_transport(bob.client).pause_reading()
    assert await ada.send("end_call", room) == {"ok": True}
    row = await ended_call_row(container, room["roomId"])
    assert row.user_a_outcome or row.user_b_outcome

    async def is_excused() -> bool:
        return await read_outcomes(container, room, ada, bob) == [None, None]

    await eventually(is_excused, within=20)
    assert await read_points(container, ada) == pytest.approx(0, abs=0.001)


async def test_ban_in_a_call_counts_for_nobody(container: Container, admin: Learner, pair: Pair) -> None:
    ada, bob = pair
    room = await call(*pair)
    answer = await admin.http.patch(f"/admin/users/{ada.learner.id}/ban", json={"reason": "Spam."})
    assert answer.status_code == 204
    assert await read_outcomes(container, room, ada, bob) == [None, None]


async def test_invited_match_counts_for_nobody(container: Container, pair: Pair) -> None:
    room = await begin(*pair)
    await query(container, "UPDATE call_sessions SET origin = 'invitation' WHERE room_id = :r", r=room["roomId"])
    await age_match(container, room)
    assert await pair[0].send("cancel_search", {}) == {"ok": True}
    assert await read_outcomes(container, room, *pair) == [None, None]
    assert await read_points(container, pair[0]) == 0


@pytest.mark.parametrize("is_of_older_release", [False, True])
async def test_end_of_a_dead_process_is_counted(container: Container, pair: Pair, is_of_older_release: bool) -> None:
    """Another web process writes the row, with the outcomes where the one that died had noted them."""
    room = await call(*pair)
    by = pair[0].learner.id
    closed = await Rooms(container.scripts).close(room["roomId"], by, why="left")
    assert closed is not None and "l" in closed.end.outcomes
    if is_of_older_release:
        assert await container.redis.delete(f"{{match}}:outcomes:{room['roomId']}")
    assert await make_due(container, f"end:{room['roomId']}")
    expected = [None, None] if is_of_older_release else ["left_early", None]
    assert await read_outcomes(container, room, *pair) == expected

    async def is_noted() -> bool:
        return bool(await container.redis.exists(f"{{match}}:outcomes:{room['roomId']}"))

    async def is_forgotten() -> bool:
        return not await is_noted()

    await eventually(is_forgotten, "the outcomes of a written row are not kept")


async def test_call_restored_after_data_loss_counts_for_nobody(container: Container, pair: Pair) -> None:
    room = await call(*pair)

    async def has_begun() -> bool:
        found = "SELECT connected_at IS NOT NULL FROM call_sessions WHERE room_id = :r"
        return bool((await rows(container, found, r=room["roomId"]))[0][0])

    await eventually(has_begun)
    (state,) = await container.call_history.list_calls_of_rooms([room["roomId"]])
    both = [phone.learner.id for phone in pair]
    meta = f"{{match}}:room:{room['roomId']}"
    await container.redis.delete(f"{meta}:meta", f"{meta}:users", *(f"{{match}}:in_room:{each}" for each in both))
    rooms = Rooms(container.scripts)
    assert await rooms.restore_room(state) == "restored"
    closed = await rooms.close(room["roomId"], both[0], why="left")
    assert closed is not None and closed.was_call and closed.end.outcomes == "--"


async def test_dead_process_of_a_participant_excuses_both(container: Container, pair: Pair) -> None:
    room = await call(*pair)
    ada, bob = (phone.learner.id for phone in pair)
    socket = await container.redis.hget(f"{{match}}:room:{room['roomId']}:meta", f"socket:{ada}")
    await Rooms(container.scripts).drop(room["roomId"], ada, f"{str(socket).partition('.')[0]}.")
    closed = await Rooms(container.scripts).close(room["roomId"], bob, why="left")
    assert closed is not None and closed.end.outcomes == "--"


async def test_both_who_hang_up_at_once_have_one_outcome(container: Container, pair: Pair) -> None:
    room = await talk(*pair)
    await asyncio.gather(*(phone.send("end_call", room) for phone in pair))
    assert sorted(map(str, await read_outcomes(container, room, *pair))) == ["None", "left_early"]


async def decline(container: Container, one: Phone, other: Phone) -> None:
    # A record of matches waits for its like, where many have been matched.
    await empty_queue(container)
    room = await begin(one, other)
    await age_match(container, room)
    assert await one.send("cancel_search", {}) == {"ok": True}
    assert await read_outcomes(container, room, one) == ["declined"]
    await other.wait_for("partner_cancelled")
    await other.send("cancel_search", {})


async def test_third_declined_match_leads_to_a_rest(container: Container, make_phone: MakePhone) -> None:
    """A warning comes first, once; the rest refuses searches until its time, and its end needs no job."""
    ada = await make_phone()
    await decline(container, ada, await make_phone())
    await decline(container, ada, await make_phone())
    warning = await find_notification(container, ada, "pairing_warning")
    assert warning["count"] == 1
    assert ack_code(await ada.send("find_partner", {"topic": f"after a warning {ada.learner.id}"})) == "ok"
    assert await ada.send("cancel_search", {}) == {"ok": True}
    await decline(container, ada, await make_phone())
    assert (await find_notification(container, ada, "pairing_warning"))["count"] == 1
    rest = await find_notification(container, ada, "pairing_rest")
    refused = await ada.send("find_partner", {})
    assert ack_code(refused) == "resting"
    assert (await ada.wait_for("resting"))["until"] in refused["error"]["message"]
    assert rest["count"] == 1
    await query(
        container,
        "UPDATE pairing_records SET resting_until = now() - interval '1 second' WHERE user_id = :u",
        u=ada.learner.id,
    )
    assert ack_code(await ada.send("find_partner", {"topic": f"rested {ada.learner.id}"})) == "ok"


async def find_notification(container: Container, phone: Phone, kind: str) -> dict[str, Any]:
    statement = "SELECT count(*), max(body) FROM notifications WHERE user_id = :u AND data->>'kind' = :k"
    ((count, body),) = await rows(container, statement, u=uuid.UUID(phone.learner.id), k=kind)
    return {"count": count, "body": body}


async def test_search_that_continues_is_refused_by_a_rest(container: Container, pair: Pair) -> None:
    """A learner whose rest began on another device is informed where the partner cancels."""
    ada, bob = pair
    await begin(ada, bob)
    columns = "user_id, points, rests, resting_until"
    rest = f"INSERT INTO pairing_records ({columns}) VALUES (:u, 3, 1, now() + interval '5 minutes')"
    await query(container, rest, u=ada.learner.id)
    assert await bob.send("cancel_search", {}) == {"ok": True}
    await ada.wait_for("partner_cancelled")
    await ada.wait_for("resting")
    assert (await ada.wait_for("error"))["code"] == "resting"
    await ada.wait_for("search_expired")
