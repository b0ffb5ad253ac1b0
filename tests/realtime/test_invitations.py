"""Invitations with real sockets over two web processes: one room, one end, and nobody rings who should not."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from container import Container
from jobs import Run, announce_invitation_end, check_pairing, notify_invitee
from testing.calls import MakePhone, ack_code, ban, call, event_names, make_due, match
from testing.databases import query, rows, value
from testing.invitations import answer, expire_invitation, invite, list_calls, make_partners, read_state
from testing.polling import eventually
from testing.servers import Phone

Pair = tuple[Phone, Phone]


@pytest.fixture
async def pair(make_phone: MakePhone, container: Container) -> Pair:
    """Two partners, on two web processes."""
    one = await make_phone()
    other = await make_phone(apart_from=one)
    await make_partners(container, one.learner, other.learner)
    return one, other


async def run_announcement(container: Container, invitation_id: str) -> None:
    """Run the job that announces the end of an invitation."""
    enqueued = "SELECT args FROM procrastinate_jobs WHERE args ->> 'invitation_id' = :i AND task_name = :t"
    arguments = await value(container, enqueued, i=invitation_id, t=announce_invitation_end.name)
    await container.invitation_ends.announce_end(
        **{key: each for key, each in arguments.items() if key != "request_id"}
    )


async def run_notice(container: Container, invitation_id: str, invitee: Phone) -> None:
    """Run the job that notifies the invitee, which is enqueued once."""
    enqueued = "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'invitation_id' = :i AND task_name = :t"
    assert await value(container, enqueued, i=invitation_id, t=notify_invitee.name) == 1
    for _ in range(2):
        arguments = {"invitation_id": invitation_id, "invitee_id": invitee.learner.id}
        await notify_invitee.function(Run(container, is_last_attempt=False), **arguments)


async def check_over(phone: Phone, invitation_id: str, reason: str) -> None:
    assert await phone.wait_for("invitation_over") == {"invitationId": invitation_id, "reason": reason}


async def check_one_room(container: Container, one: Phone, other: Phone) -> str:
    """Assert that both were matched with each other, once, and can talk; return the room."""
    to_one, to_other = await one.wait_for("match_found"), await other.wait_for("match_found")
    assert to_one["roomId"] == to_other["roomId"] and to_one["sessionId"] == to_other["sessionId"]
    assert to_one["partner"]["userId"] == other.learner.id and to_other["partner"]["userId"] == one.learner.id
    room = {"roomId": to_one["roomId"]}
    for phone in (one, other):
        assert await phone.send("join_room", room) == {"ok": True}
    assert (await one.wait_for("peer_joined", count=2))["role"] == "receiver"
    assert await one.send("webrtc_offer", {**room, "sdp": "v=0"}) == {"ok": True}
    assert (await other.wait_for("webrtc_offer"))["sdp"] == "v=0"
    for phone in (one, other):
        assert event_names(phone).count("match_found") == 1
    found = await list_calls(container, one.learner.id, other.learner.id)
    assert [each.room_id for each in found] == [to_one["roomId"]]
    return str(to_one["roomId"])


# --- Answers ------------------------------------------------------------------------------------------------


async def test_acceptance_begins_a_call_that_history_counts(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben, topic="Travel")
    assert ben.received[-1][1]["topic"] == "Travel"
    assert await answer(ben, invitation, is_accepted=True) == {"ok": True}
    room = await check_one_room(container, ada, ben)
    assert (await ada.wait_for("match_found"))["invitationId"] == invitation
    assert await ada.send("end_call", {"roomId": room}) == {"ok": True}
    assert await ben.wait_for("peer_left") == {"reason": "ended"}
    [found] = await list_calls(container, ada.learner.id)
    assert (str(found.user_a_id), str(found.user_b_id)) == (ada.learner.id, ben.learner.id)
    assert found.connected_at is not None and found.origin == "invitation"
    for phone in pair:
        calls = (await phone.learner.http.get("/sessions")).json()["items"]
        assert [(each["topic"], each["endedBy"]) for each in calls] == [("Travel", "me" if phone is ada else "partner")]
        me = (await phone.learner.http.get("/users/me")).json()
        assert (me["totalCalls"], me["streakDays"]) == (1, 1)
    assert await read_state(container, invitation) == "accepted"
    assert "invitation_over" not in {*event_names(ada), *event_names(ben)}


async def test_declined_invitation_ends_for_both(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    assert await answer(ben, invitation, is_accepted=False) == {"ok": True}
    for phone in pair:
        await check_over(phone, invitation, "declined")
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == "invitation_over"
    assert ack_code(await ada.send("cancel_invitation", {"invitationId": invitation})) == "invitation_over"
    assert await list_calls(container, ada.learner.id) == []


async def test_expired_invitation_ends_for_both(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    await expire_invitation(container, invitation)
    for phone in pair:
        await check_over(phone, invitation, "expired")
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == "invitation_over"
    ada.received.clear()
    ben.received.clear()
    await invite(ada, ben)  # another one is possible then


async def test_answer_after_expiry_is_refused_before_the_deadline(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    await query(container, "UPDATE invitations SET expires_at = now() WHERE id = :id", id=uuid.UUID(invitation))
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == "invitation_over"
    assert ack_code(await answer(ben, invitation, is_accepted=False)) == "invitation_over"
    # An invitation that crosses it is a new one.
    ack = await ben.send("invite_partner", {"userId": ada.learner.id})
    assert ack["ok"] and ack["invitationId"] != invitation


async def test_stranger_is_answered_like_a_missing_invitation(
    pair: Pair, make_phone: MakePhone, container: Container
) -> None:
    ada, ben = pair
    stranger = await make_phone()
    invitation = await invite(ada, ben)
    missing = str(uuid.uuid4())
    for event, fields in (("answer_invitation", {"isAccepted": True}), ("cancel_invitation", {})):
        acks = [await stranger.send(event, {"invitationId": each, **fields}) for each in (invitation, missing)]
        assert acks[0] == acks[1] and ack_code(acks[0]) == "not_found"
    # Nor may the inviter answer, or the invitee cancel.
    assert ack_code(await answer(ada, invitation, is_accepted=True)) == "not_found"
    assert ack_code(await ben.send("cancel_invitation", {"invitationId": invitation})) == "not_found"
    unknown = [await stranger.send("invite_partner", {"userId": each}) for each in (ben.learner.id, missing)]
    assert unknown[0] == unknown[1] and ack_code(unknown[0]) == "not_found"
    assert await read_state(container, invitation) == "open"


async def test_one_sided_wish_invites_nobody(make_phone: MakePhone, container: Container) -> None:
    one, other = await make_phone(), await make_phone()
    wish = "INSERT INTO partner_wishes (user_id, wished_id) VALUES (:a, :b)"
    await query(container, wish, a=uuid.UUID(one.learner.id), b=uuid.UUID(other.learner.id))
    for me, partner in ((one, other), (other, one)):
        ack = await me.send("invite_partner", {"userId": partner.learner.id})
        assert ack_code(ack) == "not_found"
    ack = await one.send("invite_partner", {"userId": one.learner.id})
    assert ack_code(ack) == "not_found"


# --- At once ------------------------------------------------------------------------------------------------


async def test_crossing_invitations_are_one_room(make_phone: MakePhone, container: Container) -> None:
    """Both press the button at once: 12 pairs, over two web processes."""
    pairs: list[Pair] = []
    for _ in range(12):
        one = await make_phone()
        pairs.append((one, await make_phone(apart_from=one)))
        await make_partners(container, one.learner, pairs[-1][1].learner)

    async def cross(one: Phone, other: Phone) -> None:
        acks = await asyncio.gather(
            one.send("invite_partner", {"userId": other.learner.id}),
            other.send("invite_partner", {"userId": one.learner.id}),
        )
        assert all(each["ok"] for each in acks), acks
        assert acks[0]["invitationId"] == acks[1]["invitationId"]
        await check_one_room(container, one, other)

    await asyncio.gather(*(cross(*each) for each in pairs))
    for one, other in pairs:
        states = "SELECT state, count(*) FROM invitations WHERE inviter_id = ANY(:ids) GROUP BY state"
        found = await rows(container, states, ids=[uuid.UUID(each.learner.id) for each in (one, other)])
        assert [tuple(each) for each in found] == [("accepted", 1)]


async def test_three_devices_of_each_have_one_call(make_phone: MakePhone, container: Container) -> None:
    ada = [await make_phone()]
    ada += [await make_phone(learner=ada[0].learner) for _ in range(2)]
    ben = [await make_phone(apart_from=ada[0])]
    ben += [await make_phone(learner=ben[0].learner) for _ in range(2)]
    await make_partners(container, ada[0].learner, ben[0].learner)
    ack = await ada[1].send("invite_partner", {"userId": ben[0].learner.id})
    for phone in ben:
        await phone.wait_for("invitation")
    acks = await asyncio.gather(*(answer(phone, ack["invitationId"], is_accepted=True) for phone in ben))
    assert sorted(map(ack_code, acks)) == ["invitation_over", "invitation_over", "ok"], acks
    [chosen] = [phone for phone, each in zip(ben, acks, strict=True) if each["ok"]]
    await check_one_room(container, ada[1], chosen)
    for phone in (*ada, *ben):
        if phone not in (ada[1], chosen):
            await check_over(phone, ack["invitationId"], "accepted")
            assert "match_found" not in event_names(phone)
    assert not {"invitation_over"} & {*event_names(ada[1]), *event_names(chosen)}


async def test_cancel_and_accept_at_once_agree(make_phone: MakePhone, container: Container) -> None:
    """Of 10 races each has one winner, and both learners know the same one."""
    one = await make_phone()
    pairs = [(one, await make_phone(apart_from=one))]
    pairs += [(await make_phone(), await make_phone()) for _ in range(9)]
    outcomes = set()
    for ada, ben in pairs:
        await make_partners(container, ada.learner, ben.learner)
        invitation = await invite(ada, ben)
        cancelled, accepted = await asyncio.gather(
            ada.send("cancel_invitation", {"invitationId": invitation}), answer(ben, invitation, is_accepted=True)
        )
        assert cancelled["ok"] != accepted["ok"], (cancelled, accepted)
        outcomes.add("accepted" if accepted["ok"] else "cancelled")
        if accepted["ok"]:
            assert ack_code(cancelled) == "invitation_over"
            await check_one_room(container, ada, ben)
        else:
            assert ack_code(accepted) == "invitation_over"
            for phone in (ada, ben):
                await check_over(phone, invitation, "cancelled")
                assert "match_found" not in event_names(phone)
                assert not await container.redis.exists(f"{{match}}:in_room:{phone.learner.id}")
    assert outcomes


async def test_search_and_acceptance_at_once_make_one_room(make_phone: MakePhone, container: Container) -> None:
    """The inviter searches, and a stranger finds them in the moment of the acceptance."""
    for _ in range(6):
        ada, ben, eve = await make_phone(), await make_phone(), await make_phone()
        await make_partners(container, ada.learner, ben.learner)
        topic = {"topic": str(uuid.uuid4())}
        assert await ada.send("find_partner", topic) == {"ok": True}
        invitation = await invite(ada, ben)
        accepted, _found = await asyncio.gather(
            answer(ben, invitation, is_accepted=True), eve.send("find_partner", topic)
        )
        to_ada = await ada.wait_for("match_found")
        partner = ben if accepted["ok"] else eve
        assert to_ada["partner"]["userId"] == partner.learner.id
        assert (await partner.wait_for("match_found"))["roomId"] == to_ada["roomId"]
        assert event_names(ada).count("match_found") == 1
        if accepted["ok"]:
            assert "match_found" not in event_names(eve)
        else:
            # The match ends the invitation, before the acceptance or with it.
            assert ack_code(accepted) in ("partner_unavailable", "invitation_over")
            await check_over(ben, invitation, "unavailable")
        for phone in (ada, ben, eve):
            await phone.client.disconnect()


# --- Searches and calls -------------------------------------------------------------------------------------


async def test_searches_of_both_end_with_an_acceptance(pair: Pair, make_phone: MakePhone, container: Container) -> None:
    ada, ben = pair
    tablet = await make_phone(learner=ben.learner)
    # Levels that do not meet.
    searches = [{"level": "beginner"}, {"level": "advanced", "topic": str(uuid.uuid4())}]
    assert await ada.send("find_partner", searches[0]) == {"ok": True}
    assert await tablet.send("find_partner", searches[1]) == {"ok": True}
    invitation = await invite(ada, ben)
    assert await answer(ben, invitation, is_accepted=True) == {"ok": True}
    await check_one_room(container, ada, ben)
    await tablet.wait_for("search_expired")
    for phone, search in ((ada, searches[0]), (ben, searches[1])):
        assert not await container.redis.exists(f"{{match}}:searching:{phone.learner.id}")
        late = await make_phone()
        assert await late.send("find_partner", search) == {"ok": True}
        await late.wait_for("searching")
        assert await late.send("cancel_search") == {"ok": True}


async def test_invitee_in_a_call_cannot_accept_until_it_ends(
    pair: Pair, make_phone: MakePhone, container: Container
) -> None:
    ada, ben = pair
    eve = await make_phone()
    room = await call(ben, eve)
    invitation = await invite(ada, ben)
    ada.received.clear()
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == "already_in_room"
    assert await read_state(container, invitation) == "open" and ada.received == []
    assert await ben.send("end_call", room) == {"ok": True}
    ben.received.clear()
    assert await answer(ben, invitation, is_accepted=True) == {"ok": True}
    to_ada = await ada.wait_for("match_found")
    assert (await ben.wait_for("match_found"))["roomId"] == to_ada["roomId"]


async def test_inviter_in_a_call_is_refused(pair: Pair, make_phone: MakePhone) -> None:
    ada, ben = pair
    await call(ada, await make_phone())
    assert ack_code(await ada.send("invite_partner", {"userId": ben.learner.id})) == "already_in_room"


async def test_inviter_who_is_matched_meanwhile_rings_no_more(
    pair: Pair, make_phone: MakePhone, container: Container
) -> None:
    """By the match alone: nobody answers an invitation that cannot be accepted."""
    ada, ben = pair
    invitation = await invite(ada, ben)
    await match(ada, await make_phone())
    for phone in pair:
        await check_over(phone, invitation, "unavailable")
    assert await read_state(container, invitation) == "cancelled"


async def test_unjoined_invitation_resumes_no_search(pair: Pair, container: Container) -> None:
    ada, ben = pair
    assert await ada.send("find_partner", {"topic": str(uuid.uuid4())}) == {"ok": True}
    invitation = await invite(ada, ben)
    assert await answer(ben, invitation, is_accepted=True) == {"ok": True}
    room = {"roomId": (await ada.wait_for("match_found"))["roomId"]}
    assert await ada.send("join_room", room) == {"ok": True}
    ada.received.clear()
    assert await make_due(container, f"join:{room['roomId']}")
    for phone in pair:
        await phone.wait_for("partner_cancelled")
    assert [name for name in event_names(ada) if name in ("searching", "match_found")] == []
    assert not await container.redis.exists(*(f"{{match}}:searching:{each.learner.id}" for each in pair))
    [found] = await list_calls(container, ada.learner.id)
    assert found.ended_at is not None and found.connected_at is None


async def test_refused_match_of_an_invitation_ends_it(pair: Pair) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    assert await answer(ben, invitation, is_accepted=True) == {"ok": True}
    await ada.wait_for("match_found")
    assert await ada.send("cancel_search") == {"ok": True}
    await ben.wait_for("partner_cancelled")
    assert ack_code(await ben.send("cancel_search")) == "not_searching"


# --- Who may not meet any more ------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["block", "report", "wish", "ban", "deletion", "age band"])
async def test_acceptance_after_a_change_makes_no_room(pair: Pair, container: Container, change: str) -> None:
    """Between invitation and answer, by rows alone: the acceptance finds the change by itself."""
    ada, ben = pair
    invitation = await invite(ada, ben)
    one, other = uuid.UUID(ada.learner.id), uuid.UUID(ben.learner.id)
    match change:
        case "block":
            await query(container, "INSERT INTO blocks (blocker_id, blocked_id) VALUES (:a, :b)", a=one, b=other)
        case "report":
            report = "INSERT INTO reports (id, reporter_id, reported_id, reason) VALUES (:id, :a, :b, 'spam')"
            await query(container, report, id=uuid.uuid4(), a=one, b=other)
        case "wish":
            await query(container, "DELETE FROM partner_wishes WHERE user_id = :a", a=one)
        case "ban":
            await ban(container, ada.learner.id)
        case "deletion":
            await query(container, "UPDATE users SET deleted_at = now() WHERE id = :a", a=one)
        case "age band":
            band = "UPDATE users SET age_band = '16_17', age_source = 'declared', age_declared_at = now() WHERE id = :a"
            await query(container, band, a=one)
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == "partner_unavailable"
    await check_over(ben, invitation, "unavailable")
    assert await list_calls(container, ada.learner.id) == []
    assert "match_found" not in {*event_names(ada), *event_names(ben)}
    assert not await container.redis.exists(*(f"{{match}}:in_room:{each.learner.id}" for each in pair))
    assert await read_state(container, invitation) == "cancelled"


async def test_refused_acceptance_lets_searches_continue(
    pair: Pair, make_phone: MakePhone, container: Container
) -> None:
    ada, ben = pair
    topic = {"topic": str(uuid.uuid4())}
    assert await ada.send("find_partner", topic) == {"ok": True}
    invitation = await invite(ada, ben)
    await query(container, "DELETE FROM partner_wishes WHERE user_id = :a", a=uuid.UUID(ada.learner.id))
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == "partner_unavailable"
    eve = await make_phone()
    assert await eve.send("find_partner", topic) == {"ok": True}
    assert (await ada.wait_for("match_found"))["partner"]["userId"] == eve.learner.id


async def test_block_stops_the_ring_at_once(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    answered = await ben.learner.http.put(f"/users/{ada.learner.id}/block")
    assert answered.status_code == 204, answered.text
    assert await read_state(container, invitation) == "cancelled"
    await run_announcement(container, invitation)
    for phone in pair:
        await check_over(phone, invitation, "unavailable")


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("suspended_until = now() + interval '1 day'", "account_suspended"),
        ("pairing_held_until = now() + interval '1 day'", "pairing_on_hold"),
        ("age_band = '16_17', age_source = 'declared', age_declared_at = now()", "invitation_over"),
    ],
)
async def test_check_of_a_learner_ends_their_invitations(
    pair: Pair, container: Container, change: str, code: str, who: int
) -> None:
    """By the job that ends their searches and calls; who may not meet others learns why, the other does not."""
    ada, ben = pair
    invitation = await invite(ada, ben)
    changed = pair[who].learner.id
    run = Run(container, is_last_attempt=False)
    await check_pairing.function(run, user_id=changed)
    assert await read_state(container, invitation) == "open"
    await query(container, f"UPDATE users SET {change} WHERE id = :u", u=uuid.UUID(changed))
    await check_pairing.function(run, user_id=changed)
    assert await read_state(container, invitation) == "cancelled"
    await run_announcement(container, invitation)
    for phone in pair:
        await check_over(phone, invitation, "unavailable")
    expected = code if pair[who] is ben else "invitation_over"
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == expected
    assert ack_code(await answer(ben, invitation, is_accepted=False)) == "invitation_over"


# --- Sockets that come and go -------------------------------------------------------------------------------


async def test_socket_that_connects_later_receives_the_invitation(
    pair: Pair, make_phone: MakePhone, container: Container
) -> None:
    ada, ben = pair
    await ben.client.disconnect()
    ack = await ada.send("invite_partner", {"userId": ben.learner.id})
    back = await make_phone(learner=ben.learner)
    assert (await back.wait_for("invitation"))["invitationId"] == ack["invitationId"]
    assert await answer(back, ack["invitationId"], is_accepted=True) == {"ok": True}
    await check_one_room(container, ada, back)


async def test_invitation_ends_without_the_inviter(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    await ada.client.disconnect()

    async def has_deadline() -> bool:
        return bool(await make_due(container, f"inviter:{invitation}"))

    await eventually(has_deadline, "the inviter has a time to come back")
    await check_over(ben, invitation, "unavailable")
    assert await read_state(container, invitation) == "cancelled"


async def test_acceptance_without_the_inviter_ends_it(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    await ada.client.disconnect()

    async def is_gone() -> bool:
        return not await container.redis.zcard(f"user:{{match}}:{ada.learner.id}:sockets")

    await eventually(is_gone, "the socket of the inviter is gone")
    assert ack_code(await answer(ben, invitation, is_accepted=True)) == "unavailable"
    assert await read_state(container, invitation) == "open"
    assert await make_due(container, f"inviter:{invitation}")
    await check_over(ben, invitation, "unavailable")


async def test_inviter_back_on_another_process_gets_the_room(
    pair: Pair, make_phone: MakePhone, container: Container
) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    await ada.client.disconnect()
    back = await make_phone(learner=ada.learner, apart_from=ada)

    async def has_deadline() -> bool:
        return bool(await make_due(container, f"inviter:{invitation}"))

    await eventually(has_deadline, "the inviter had a time to come back")

    async def is_checked() -> bool:
        return await container.redis.zscore("{match}:due", f"inviter:{invitation}") is None

    await eventually(is_checked, "the deadline is looked at")
    assert "invitation_over" not in event_names(ben)
    assert await answer(ben, invitation, is_accepted=True) == {"ok": True}
    await check_one_room(container, back, ben)


# --- Limits -------------------------------------------------------------------------------------------------


async def test_repeated_invitation_is_the_same_one(pair: Pair) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    again = await ada.send("invite_partner", {"userId": ben.learner.id})
    assert again["ok"] and again["invitationId"] == invitation
    assert event_names(ben).count("invitation") == 1


async def test_inviter_has_one_open_invitation(pair: Pair, make_phone: MakePhone, container: Container) -> None:
    ada, ben = pair
    eve = await make_phone()
    await make_partners(container, ada.learner, eve.learner)
    invitation = await invite(ada, ben)
    assert ack_code(await ada.send("invite_partner", {"userId": eve.learner.id})) == "already_inviting"
    assert await ada.send("cancel_invitation", {"invitationId": invitation}) == {"ok": True}
    await invite(ada, eve)


async def test_invitations_to_one_partner_are_limited(pair: Pair, make_phone: MakePhone, container: Container) -> None:
    ada, ben = pair
    for _ in range(3):
        ben.received.clear()
        invitation = await invite(ada, ben)
        assert await ada.send("cancel_invitation", {"invitationId": invitation}) == {"ok": True}
    refused = await ada.send("invite_partner", {"userId": ben.learner.id})
    assert ack_code(refused) == "rate_limited" and "minutes" in refused["error"]["message"]
    # The partner may invite, and another partner be invited.
    ada.received.clear()
    await answer(ada, await invite(ben, ada), is_accepted=False)
    eve = await make_phone()
    await make_partners(container, ada.learner, eve.learner)
    await invite(ada, eve)


async def test_invitations_of_an_hour_are_limited(make_phone: MakePhone, container: Container) -> None:
    ada = await make_phone()
    for count in range(21):
        partner = await make_phone()
        await make_partners(container, ada.learner, partner.learner)
        ack = await ada.send("invite_partner", {"userId": partner.learner.id})
        assert ack_code(ack) == ("ok" if count < 20 else "rate_limited")
        if ack["ok"]:
            assert await ada.send("cancel_invitation", {"invitationId": ack["invitationId"]}) == {"ok": True}
        await partner.client.disconnect()


# --- Notifications ------------------------------------------------------------------------------------------


async def read_family(container: Container, phone: Phone) -> str:
    statement = "SELECT family_id::text FROM refresh_tokens WHERE user_id = :u LIMIT 1"
    return str(await value(container, statement, u=uuid.UUID(phone.learner.id)))


async def _list_notified(container: Container, user_id: str) -> list[Any]:
    statement = "SELECT data, read FROM notifications WHERE user_id = :u AND data ->> 'kind' = 'invitation'"
    return list(await rows(container, statement, u=uuid.UUID(user_id)))


async def test_invitee_in_the_foreground_is_not_notified(pair: Pair, container: Container) -> None:
    ada, ben = pair
    await run_notice(container, await invite(ada, ben), ben)
    assert await _list_notified(container, ben.learner.id) == []


async def test_answer_to_the_inviter_does_the_same_work_for_all(pair: Pair, container: Container) -> None:
    """How long it takes would show whether the partner is there, who may not share that."""
    ada, ben = pair
    seen = []
    for is_there in (True, False):
        if not is_there:
            await ben.client.disconnect()

            async def is_gone() -> bool:
                return not await container.redis.zcard(f"user:{{match}}:{ben.learner.id}:sockets")

            await eventually(is_gone, "the invitee has no socket")
        sent = await container.invitations.invite(
            ada.learner.id, await read_family(container, ada), ada.client.get_sid() or "", ben.learner.id, None
        )
        assert sent.outcomes == [] and sent.ring is not None
        jobs = "SELECT array_agg(task_name) FROM procrastinate_jobs WHERE args ->> 'invitation_id' = :i"
        notified = await _list_notified(container, ben.learner.id)
        seen.append((await value(container, jobs, i=sent.invitation_id), notified))
        await container.invitations.cancel(ada.learner.id, sent.invitation_id)
    assert seen == [(["invitations.notify"], [])] * 2


async def test_invitee_in_the_background_is_notified_once(pair: Pair, container: Container) -> None:
    ada, ben = pair
    assert await ben.send("app_state", {"isBackground": True}) == {"ok": True}

    async def is_hidden() -> bool:
        return bool(await container.redis.scard(f"user:{{match}}:{ben.learner.id}:background"))

    await eventually(is_hidden, "the app is in the background")
    invitation = await invite(ada, ben)
    await run_notice(container, invitation, ben)
    [found] = await _list_notified(container, ben.learner.id)
    assert found.data["invitationId"] == invitation and not found.read
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'notification_id' ="
    assert await value(
        container, jobs + " (SELECT id::text FROM notifications WHERE data ->> 'invitationId' = :i)", i=invitation
    )
    assert await answer(ben, invitation, is_accepted=False) == {"ok": True}
    [found] = await _list_notified(container, ben.learner.id)
    assert found.read
    assert await ben.send("app_state", {"isBackground": False}) == {"ok": True}

    async def is_shown() -> bool:
        return not await is_hidden()

    await eventually(is_shown, "the app is in the foreground")


async def test_missed_invitation_stays_unread(pair: Pair, container: Container) -> None:
    ada, ben = pair
    await ben.client.disconnect()

    async def is_gone() -> bool:
        return not await container.redis.zcard(f"user:{{match}}:{ben.learner.id}:sockets")

    await eventually(is_gone, "the invitee has no socket")
    ack = await ada.send("invite_partner", {"userId": ben.learner.id})
    await expire_invitation(container, ack["invitationId"])
    await check_over(ada, ack["invitationId"], "expired")
    await run_notice(container, ack["invitationId"], ben)
    [found] = await _list_notified(container, ben.learner.id)
    assert not found.read


async def test_invitation_that_was_taken_back_at_once_notifies_nobody(pair: Pair, container: Container) -> None:
    ada, ben = pair
    await ben.client.disconnect()
    ack = await ada.send("invite_partner", {"userId": ben.learner.id})
    assert await ada.send("cancel_invitation", {"invitationId": ack["invitationId"]}) == {"ok": True}
    await run_notice(container, ack["invitationId"], ben)
    assert await _list_notified(container, ben.learner.id) == []


# --- Lost data ----------------------------------------------------------------------------------------------


async def test_invitation_survives_the_loss_of_its_keys(pair: Pair, container: Container) -> None:
    """As after FLUSHALL: the row is enough for the acceptance, and the reconciliation sets the deadline again."""
    ada, ben = pair
    invitation = await invite(ada, ben)
    await container.redis.zrem("{match}:due", f"invite:{invitation}")
    await container.redis.delete(f"{{match}}:inviting:{ada.learner.id}", f"{{match}}:invited:{ben.learner.id}")
    await container.invitation_ends.restore_deadlines()
    assert await container.redis.zscore("{match}:due", f"invite:{invitation}") is not None
    assert await container.redis.get(f"{{match}}:inviting:{ada.learner.id}") == invitation
    await expire_invitation(container, invitation)
    for phone in pair:
        await check_over(phone, invitation, "expired")


async def test_overdue_invitation_without_deadline_is_ended(pair: Pair, container: Container) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    await container.redis.zrem("{match}:due", f"invite:{invitation}")
    overdue = "UPDATE invitations SET expires_at = now() - interval '1 minute' WHERE id = :id"
    await query(container, overdue, id=uuid.UUID(invitation))
    assert await container.invitation_ends.expire_overdue() >= 1
    assert await read_state(container, invitation) == "expired"
    await container.invitation_ends.announce_end(invitation, ada.learner.id, ben.learner.id, "expired")
    for phone in pair:
        await check_over(phone, invitation, "expired")
