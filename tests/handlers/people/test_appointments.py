"""Appointments: proposed, answered, cancelled, and what ends them."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import ANY

import pytest

import app
from container import Container
from services.people.appointments import MAX_PROPOSALS, MAX_WITHDRAWN
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.databases import execute, query, value
from testing.gates import GATES_ON
from testing.http_answers import count_statuses, read_all_pages, read_code
from testing.lessons import MISSING_ID
from testing.people import in_days, list_notices, make_pair, make_partners, propose
from testing.servers import PASSWORD, Learner, client, send_at_once


async def made(learner: Learner, partner: Learner, local_time: str = "", **more: Any) -> dict[str, Any]:
    answer = await propose(learner, partner, local_time or in_days(2), **more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def list_ids(learner: Learner) -> list[str]:
    return [each["id"] for each in (await learner.http.get("/appointments")).json()["items"]]


async def titles(container: Container, learner: Learner) -> list[str]:
    return [notice.title for notice in await list_notices(container, learner, "appointment")]


@pytest.mark.rest_paths
async def test_proposal_is_accepted(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    await bob.http.patch("/users/me", json={"timezone": "Asia/Kathmandu"})
    proposal = await made(ada, bob, "2026-12-24T18:00", timezone="Europe/Berlin", note="Bring\r\ntea.")
    assert proposal | {"id": "", "createdAt": ""} == {
        "id": "",
        "partner": {"userId": bob.id, "displayName": bob.username.title(), "avatarUrl": None, "level": "intermediate"},
        "isProposer": True,
        "startsAt": "2026-12-24T17:00:00.000Z",
        "localTime": "2026-12-24T18:00",
        "timezone": "Europe/Berlin",
        "utcOffset": "+01:00",
        "durationMinutes": 30,
        "note": "Bring\ntea.",
        "state": "proposed",
        "createdAt": "",
        "answeredAt": None,
    }
    (notice,) = await list_notices(container, bob, "appointment")
    assert notice.data == {"kind": "appointment", "appointmentId": proposal["id"], "userId": ada.id}
    # 17:00 UTC where it is 5 hours 45 later; and not the note, which pushes would show on locked screens.
    assert "Thursday, 24 December 2026 at 22:45 (Asia/Kathmandu)" in notice.body and "tea" not in notice.body
    accepted = await bob.http.post(f"/appointments/{proposal['id']}/accept")
    assert accepted.status_code == 200 and accepted.json()["state"] == "accepted"
    assert accepted.json()["isProposer"] is False and accepted.json()["partner"]["userId"] == ada.id
    (notice,) = await list_notices(container, ada, "appointment")
    # Without a zone in the profile: that of the appointment.
    assert "Thursday, 24 December 2026 at 18:00 (Europe/Berlin)" in notice.body
    assert await list_ids(ada) == await list_ids(bob) == [proposal["id"]]


@pytest.mark.rest_paths
@pytest.mark.parametrize(
    ("local_time", "zone", "offset", "start"),
    [
        ("2026-12-01T18:00", "Asia/Kathmandu", "+05:45", "2026-12-01T12:15"),
        ("2026-12-01T18:00", "Asia/Calcutta", "+05:30", "2026-12-01T12:30"),
        ("2026-12-01T18:00", "Asia/Kolkata", "+05:30", "2026-12-01T12:30"),
        ("2026-12-01T18:00", "Europe/Kiev", "+02:00", "2026-12-01T16:00"),
        ("2026-12-01T18:00", "Pacific/Kiritimati", "+14:00", "2026-12-01T04:00"),
        ("2026-12-01T18:00", "Australia/Lord_Howe", "+11:00", "2026-12-01T07:00"),
        ("2026-12-31T23:30", "America/St_Johns", "-03:30", "2027-01-01T03:00"),
        # Twice: 01:30 in the hour that is repeated.
        ("2027-04-04T01:45", "Australia/Lord_Howe", "+11:00", "2027-04-03T14:45"),
        ("2027-10-31T02:30", "Europe/Berlin", "+02:00", "2027-10-31T00:30"),
    ],
)
async def test_local_time_names_an_instant(
    container: Container, make_learner: MakeLearner, local_time: str, zone: str, offset: str, start: str
) -> None:
    ada, bob = await make_pair(container, make_learner)
    appointment = await made(ada, bob, local_time, timezone=zone)
    assert appointment["startsAt"] == f"{start}:00.000Z"
    assert (appointment["localTime"], appointment["timezone"], appointment["utcOffset"]) == (local_time, zone, offset)


async def test_offset_chooses_one_of_two_instants(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    berlin = {"timezone": "Europe/Berlin"}
    first = await made(ada, bob, "2027-10-31T02:30", **berlin, utcOffset="+02:00")
    second = await made(ada, bob, "2027-10-31T02:30", **berlin, utcOffset="+01:00")
    assert (first["startsAt"], second["startsAt"]) == ("2027-10-31T00:30:00.000Z", "2027-10-31T01:30:00.000Z")
    lord_howe = {"timezone": "Australia/Lord_Howe", "utcOffset": "+10:30"}
    assert (await made(ada, bob, "2027-04-04T01:45", **lord_howe))["startsAt"] == "2027-04-03T15:15:00.000Z"
    wrong = await propose(ada, bob, "2027-10-31T02:30", **berlin, utcOffset="+03:00")
    assert read_code(wrong) == (400, "request_invalid") and "+02:00 or +01:00" in wrong.json()["detail"]


@pytest.mark.rest_paths
@pytest.mark.parametrize(
    ("local_time", "zone", "word"),
    [
        ("2027-03-28T02:30", "Europe/Berlin", "clocks"),
        ("2027-03-14T02:30", "America/New_York", "clocks"),
        ("2026-10-04T02:15", "Australia/Lord_Howe", "clocks"),
        ("2027-02-29T18:00", "UTC", "calendar"),
        ("2026-12-01T24:00", "UTC", "calendar"),
        ("2026-12-01T18:60", "UTC", "calendar"),
        ("0001-01-01T00:00", "UTC", "past"),
        ("0001-01-01T00:00", "Pacific/Kiritimati", "past"),
        ("9999-12-31T23:59", "America/New_York", "year"),
        ("2020-12-01T18:00", "UTC", "past"),
        ("2029-12-01T18:00", "UTC", "year"),
        ("2026-12-01T18:00", "India Standard Time", "timezone"),
        ("2026-12-01T18:00", "Europe/Nowhere", "timezone"),
        ("2026-12-01T18:00", "Factory", "timezone"),
        ("2026-12-01T18:00", "localtime", "timezone"),
        ("2026-12-01T18:00", "posixrules", "timezone"),
        ("2026-12-01T18:00", "europe/berlin", "timezone"),
        ("2026-12-01T18:00", "../../etc/passwd", "timezone"),
        ("2026-12-01T18:00:00", "UTC", "localTime"),
        ("2026-12-01T18:00Z", "UTC", "localTime"),
        ("2026-12-01 18:00", "UTC", "localTime"),
    ],
)
async def test_impossible_times_are_refused(
    container: Container, make_learner: MakeLearner, local_time: str, zone: str, word: str
) -> None:
    ada, bob = await make_pair(container, make_learner)
    answer = await propose(ada, bob, local_time, timezone=zone)
    assert read_code(answer) == (400, "request_invalid"), answer.text
    assert word in answer.json()["detail"], answer.text
    assert await list_ids(ada) == []


async def test_limits_of_time_are_exact(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for ahead, status in (
        (timedelta(), 400),
        (timedelta(minutes=2), 201),
        (timedelta(days=366, minutes=-2), 201),
        (timedelta(days=366, minutes=2), 400),
    ):
        answer = await propose(ada, bob, (now + ahead).strftime("%Y-%m-%dT%H:%M"))
        assert answer.status_code == status, (ahead, answer.text)


async def test_leap_day_is_a_day(container: Container, make_learner: MakeLearner) -> None:
    """2028 has one, more than a year ahead: the time is refused as that, and not as impossible."""
    ada, bob = await make_pair(container, make_learner)
    assert "year ahead" in (await propose(ada, bob, "2028-02-29T18:00")).json()["detail"]


async def test_both_who_propose_the_same_time_have_one_appointment(
    container: Container, make_learner: MakeLearner
) -> None:
    ada, bob = await make_pair(container, make_learner)
    first = await made(ada, bob, "2026-12-24T18:00", timezone="Europe/Berlin", note="Hello.")
    second = await made(bob, ada, "2026-12-24T22:45", timezone="Asia/Kathmandu")
    assert second["id"] == first["id"] and second["state"] == "accepted" and second["isProposer"] is False
    again = await made(ada, bob, "2026-12-24T18:00", timezone="Europe/Berlin", note="Hello.")
    assert again == {**second, "isProposer": True, "partner": first["partner"]}
    assert [title.split()[-1] for title in await titles(container, ada)] == ["accepted"]


@pytest.mark.rest_paths
@pytest.mark.parametrize(
    "other",
    [
        {"durationMinutes": 45},
        {"note": "Bring coffee."},
        {"note": None},
        {"local_time": "2026-12-24T17:00", "timezone": "UTC"},
        {"timezone": "Europe/Paris"},
    ],
)
async def test_another_proposal_of_the_same_instant_is_refused(
    container: Container, make_learner: MakeLearner, other: dict[str, Any]
) -> None:
    """Also once it is accepted: what the two have agreed on does not change, and nothing is lost without a word."""
    ada, bob = await make_pair(container, make_learner)
    first_sent = {"local_time": "2026-12-24T18:00", "timezone": "Europe/Berlin", "note": "Bring tea."}
    first = await made(ada, bob, **first_sent)
    for state in ("proposed", "accepted"):
        assert await made(ada, bob, **first_sent) == {**first, "state": state, "answeredAt": ANY}
        sent = {key: value for key, value in {**first_sent, **other}.items() if value is not None}
        answer = await propose(ada, bob, **sent)
        assert read_code(answer) == (409, "appointment_exists"), answer.text
        await bob.http.post(f"/appointments/{first['id']}/accept")
    (listed,) = (await bob.http.get("/appointments")).json()["items"]
    assert (listed["note"], listed["durationMinutes"]) == ("Bring tea.", 30)


@pytest.mark.parametrize(
    ("theirs", "status"),
    [({}, 201), ({"note": "Bring tea."}, 201), ({"note": "Bring coffee."}, 409), ({"durationMinutes": 45}, 409)],
)
async def test_partner_accepts_by_the_same_proposal_alone(
    container: Container, make_learner: MakeLearner, theirs: dict[str, Any], status: int
) -> None:
    ada, bob = await make_pair(container, make_learner)
    time = in_days(2)
    first = await made(ada, bob, time, note="Bring tea.")
    answer = await propose(bob, ada, time, **theirs)
    assert answer.status_code == status, answer.text
    (listed,) = (await bob.http.get("/appointments")).json()["items"]
    assert listed["id"] == first["id"] and listed["state"] == ("accepted" if status == 201 else "proposed")


async def test_proposals_that_are_cancelled_at_once_notify_seldom(
    container: Container, make_learner: MakeLearner
) -> None:
    ada, bob = await make_pair(container, make_learner)
    for number in range(MAX_WITHDRAWN + 4):
        await ada.http.delete(f"/appointments/{(await made(ada, bob, in_days(2 + number)))['id']}")
    assert len(await list_notices(container, bob, "appointment")) == MAX_WITHDRAWN
    # It is listed all the same, and one of the other side notifies.
    silent = await made(ada, bob, in_days(20))
    assert await list_ids(bob) == [silent["id"]] and len(await titles(container, bob)) == MAX_WITHDRAWN
    await made(bob, ada, in_days(21))
    assert len(await titles(container, ada)) == 1
    later = "UPDATE appointments SET created_at = created_at - interval '61 minutes' WHERE proposer_id = :a"
    await query(container, later, a=ada.id)
    await made(ada, bob, in_days(22))
    assert len(await titles(container, bob)) == MAX_WITHDRAWN + 1


async def test_crossing_proposals_are_one_appointment(container: Container, make_learner: MakeLearner) -> None:
    for number in range(5):
        ada, bob = await make_pair(container, make_learner)
        time = in_days(2 + number)
        answers = await send_at_once(
            [partial(propose, one, other, time) for one, other in [(ada, bob), (bob, ada)] * 3]
        )
        assert count_statuses(answers) == {201: 6}
        assert len({answer.json()["id"] for answer in answers}) == 1
        (appointment,) = (await ada.http.get("/appointments")).json()["items"]
        assert appointment["state"] == "accepted"


async def test_many_answers_at_once_are_one(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    for _ in range(5):
        path = f"/appointments/{(await made(ada, bob))['id']}"
        answers = await send_at_once([partial(bob.http.post, f"{path}/{word}") for word in ("accept", "decline") * 4])
        statuses = count_statuses(answers)
        assert statuses == {200: 4, 409: 4}, statuses
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"appointment_closed"}
        (state,) = {answer.json()["state"] for answer in answers if answer.status_code == 200}
        row = "SELECT state FROM appointments WHERE id = :i"
        assert await value(container, row, i=path.rpartition("/")[2]) == state
        await ada.http.delete(path)
    assert len(await list_notices(container, ada, "appointment")) == 5


async def test_answer_and_cancel_at_once_leave_one_state(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    for _ in range(8):
        path = f"/appointments/{(await made(ada, bob))['id']}"
        accepted, cancelled = await asyncio.gather(bob.http.post(f"{path}/accept"), ada.http.delete(path))
        assert cancelled.status_code == 204
        assert accepted.status_code in (200, 409)
        assert await list_ids(bob) == []


async def test_proposer_cannot_accept_and_strangers_see_nothing(
    container: Container, make_learner: MakeLearner
) -> None:
    ada, bob = await make_pair(container, make_learner)
    eve = await make_learner()
    appointment = (await made(ada, bob))["id"]
    for learner, verb in ((ada, "accept"), (ada, "decline"), (eve, "accept"), (eve, "decline")):
        answer = await learner.http.post(f"/appointments/{appointment}/{verb}")
        assert read_code(answer) == (404, "not_found"), (verb, answer.text)
    theirs, none = [await eve.http.delete(f"/appointments/{each}") for each in (appointment, MISSING_ID)]
    assert theirs.status_code == none.status_code == 404 and theirs.content == none.content
    assert await list_ids(eve) == [] and await list_ids(bob) == [appointment]


async def test_declined_and_cancelled_ones_stay_so(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    declined = (await made(ada, bob))["id"]
    for _ in range(2):
        answer = await bob.http.post(f"/appointments/{declined}/decline")
        assert answer.status_code == 200 and answer.json()["state"] == "declined"
    assert read_code(await bob.http.post(f"/appointments/{declined}/accept")) == (409, "appointment_closed")
    assert (await ada.http.delete(f"/appointments/{declined}")).status_code == 204
    assert (await titles(container, ada))[-1].endswith("has declined")
    # The same time again is another proposal.
    again = (await made(ada, bob))["id"]
    assert again != declined
    await bob.http.post(f"/appointments/{again}/accept")
    for _ in range(2):
        assert (await bob.http.delete(f"/appointments/{again}")).status_code == 204
    assert (await titles(container, ada))[-1] == "An appointment was cancelled"
    assert read_code(await bob.http.post(f"/appointments/{again}/accept")) == (409, "appointment_closed")
    assert await list_ids(ada) == await list_ids(bob) == []


async def test_withdrawn_proposal_is_not_pushed(container: Container, make_learner: MakeLearner) -> None:
    """Its notice is read before a push of it is sent, and no other one follows."""
    ada, bob = await make_pair(container, make_learner)
    await ada.http.delete(f"/appointments/{(await made(ada, bob))['id']}")
    (notice,) = await list_notices(container, bob, "appointment")
    assert notice.read and notice.title.endswith("proposes a call")


async def test_nothing_is_answered_after_the_beginning(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    proposed, accepted = (await made(ada, bob, in_days(2)))["id"], (await made(ada, bob, in_days(3)))["id"]
    await bob.http.post(f"/appointments/{accepted}/accept")
    await query(
        container,
        "UPDATE appointments SET starts_at = now() - interval '1 minute' * position"
        " FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS given(id, position) WHERE appointments.id = given.id",
        ids=[proposed, accepted],
    )
    for verb in ("accept", "decline"):
        assert read_code(await bob.http.post(f"/appointments/{proposed}/{verb}")) == (409, "appointment_closed")
    for each in (proposed, accepted):
        assert read_code(await ada.http.delete(f"/appointments/{each}")) == (409, "appointment_closed")
    # One that lasts is listed, and a proposal that nobody can answer any more is not.
    assert await list_ids(ada) == [accepted]


async def test_proposals_are_limited_in_each_direction(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    for number in range(MAX_PROPOSALS):
        made_ = await made(ada, bob, in_days(1 + number))
        if number % 2:
            # Cancelled ones of today count: nobody is called by proposing and cancelling.
            await ada.http.delete(f"/appointments/{made_['id']}")
    assert read_code(await propose(ada, bob, in_days(40))) == (409, "too_many_appointments")
    await made(bob, ada, in_days(41))
    # One that is proposed by the other can be accepted all the same.
    assert (await made(ada, bob, in_days(41)))["state"] == "accepted"
    await query(
        container,
        "UPDATE appointments SET created_at = created_at - interval '25 hours' WHERE proposer_id = :a",
        a=ada.id,
    )
    await made(ada, bob, in_days(42))


async def test_appointment_needs_a_partner(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    eve = await make_learner()
    for partner in (eve.id, ada.id, MISSING_ID):
        answer = await propose(ada, bob, in_days(2), partnerId=partner)
        assert read_code(answer) == (404, "not_found"), partner


@pytest.mark.parametrize("act", ["remove", "block", "be blocked", "report", "ban", "delete"])
async def test_end_of_the_partnership_cancels(container: Container, make_learner: MakeLearner, act: str) -> None:
    """The other is notified in the same words for each cause."""
    ada, bob = await make_pair(container, make_learner)
    proposed, accepted = await made(ada, bob, in_days(2)), await made(bob, ada, in_days(3))
    assert (await ada.http.post(f"/appointments/{accepted['id']}/accept")).status_code == 200
    actor, other = (bob, ada) if act in ("be blocked", "ban", "delete") else (ada, bob)
    if act == "remove":
        await ada.http.delete(f"/partners/{bob.id}")
    elif act in ("block", "be blocked"):
        await actor.http.put(f"/users/{other.id}/block")
    elif act == "report":
        await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})
    elif act == "ban":
        admin = await make_admin(container, (await make_learner()).http)
        await container.sanctions.ban(admin.id, bob.id, "Spam.")
    else:
        assert (await bob.http.post("/users/me/deletion", json={"password": PASSWORD})).status_code == 204
    assert await list_ids(ada) == []
    notices = await list_notices(container, other, "appointment")
    assert notices[-1].title == "An appointment was cancelled"
    assert notices[-1].data["appointmentId"] == accepted["id"]
    if act == "delete":
        assert await value(container, "SELECT count(*) FROM appointments WHERE partner_id = :b", b=bob.id) == 0
    else:
        states = "SELECT count(*) FROM appointments WHERE id IN (:a, :b) AND state = 'cancelled'"
        assert await value(container, states, a=proposed["id"], b=accepted["id"]) == 2
    assert read_code(await ada.http.post(f"/appointments/{accepted['id']}/accept"))[0] == 404


async def test_appointments_across_age_bands_are_refused(
    container: Container, settings: Settings, make_learner: MakeLearner
) -> None:
    ada, bob = await make_pair(container, make_learner)
    proposed = (await made(ada, bob))["id"]
    statement = "UPDATE users SET age_band = %s, age_source = 'operator', age_declared_at = now() WHERE id = %s"
    execute(settings, statement, "16_17", bob.id)
    assert read_code(await propose(ada, bob, in_days(5))) == (404, "not_found")
    assert read_code(await bob.http.post(f"/appointments/{proposed}/accept")) == (404, "not_found")
    for learner, hidden in ((ada, bob), (bob, ada)):
        answer = await learner.http.get("/appointments")
        assert answer.json()["items"] == [] and hidden.id not in answer.text
    # Either can still withdraw.
    assert (await ada.http.delete(f"/appointments/{proposed}")).status_code == 204


async def test_gates_and_text_filter_hold_for_appointments(settings: Settings, make_learner: MakeLearner) -> None:
    strict = settings.model_copy(
        update={name.lower(): value for name, value in GATES_ON.items() if name != "MINIMUM_AGE"}
    )
    gated = Container(strict)
    filtering = Container(settings.model_copy(update={"text_filter": "on"}))
    async with gated.lifespan(None), filtering.lifespan(None):
        ada, bob = await make_pair(gated, make_learner)
        for services, note, code in (
            (gated, "Hello.", "email_unverified"),
            (filtering, "Send n.u.d.e.s", "text_refused"),
        ):
            async with client(app.create(services)) as http:
                http.headers["Authorization"] = f"Bearer {ada.access_token}"
                body = {"partnerId": bob.id, "localTime": in_days(2), "timezone": "UTC", "durationMinutes": 30}
                answer = await http.post("/appointments", json={**body, "note": note})
                assert answer.json()["code"] == code, answer.text
        await gated.close()
        await filtering.close()


@pytest.mark.parametrize("note", ["", "   ", "a\u202eb", "a\x00b", "x" * 501, "\u200b"])
async def test_note_is_a_text(container: Container, make_learner: MakeLearner, note: str) -> None:
    ada, bob = await make_pair(container, make_learner)
    assert read_code(await propose(ada, bob, in_days(2), note=note)) == (400, "request_invalid")


async def test_repeated_request_with_a_key_is_one_proposal(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"partnerId": bob.id, "localTime": in_days(2), "timezone": "UTC", "durationMinutes": 30}
    first, second = [await ada.http.post("/appointments", json=body, headers=headers) for _ in range(2)]
    assert first.json() == second.json() and len(await list_ids(ada)) == 1


async def test_appointments_are_listed_by_pages_the_next_first(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    cyd = await make_learner()
    await query(
        container,
        "INSERT INTO partner_wishes (user_id, wished_id) VALUES (:a, :c), (:c, :a)",
        a=ada.id,
        c=cyd.id,
    )
    expected = []
    for day in (5, 2, 4, 3, 6):
        expected.append((day, (await made(ada, bob if day % 2 else cyd, in_days(day)))["id"]))
    listed = await read_all_pages(ada.http, "/appointments", limit=2)
    assert [each["id"] for each in listed] == [appointment for _, appointment in sorted(expected)]
    assert read_code(await ada.http.get("/appointments", params={"cursor": "a"})) == (400, "request_invalid")


async def test_export_has_appointments_and_the_own_wishes(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    appointment = await made(ada, bob, note="Tea?")
    export = (await bob.http.get("/users/me/export")).json()
    assert [each["userId"] for each in export["partnerWishes"]] == [ada.id]
    (exported,) = export["appointments"]
    assert (exported["id"], exported["partnerId"], exported["isProposer"]) == (appointment["id"], ada.id, False)
    assert exported["note"] == "Tea?"
    await make_partners(ada, bob)
