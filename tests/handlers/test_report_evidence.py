"""What a report stores and changes: block, evidence of its weight, records, idempotency, deletion, notification."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from container import Container
from settings import Settings
from testing.call_history import MakeLearner, add_call
from testing.containers import running_container
from testing.databases import query, rows, value
from testing.reports import is_held, make_proven_reporter, make_reporter, make_reviewer, report_after_call
from testing.servers import PASSWORD, Learner, send_at_once


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_reviewer(container, make_learner)


async def stored(container: Container, report_id: str) -> Any:
    (row,) = await query(container, "SELECT * FROM reports WHERE id = :i", i=report_id)
    return row


async def blocked(container: Container, one: Learner, other: Learner) -> bool:
    statement = "SELECT count(*) FROM blocks WHERE blocker_id = :a AND blocked_id = :b"
    return bool(await value(container, statement, a=one.id, b=other.id) == 1)


async def test_report_with_block_does_both(container: Container, make_learner: MakeLearner) -> None:
    ada, bob, eve = [await make_learner() for _ in range(3)]
    plain = await report_after_call(container, ada, eve)
    assert not await blocked(container, ada, eve) and not (await stored(container, plain["id"])).has_block
    report = await report_after_call(container, ada, bob, isBlocked=True)
    assert await blocked(container, ada, bob) and (await stored(container, report["id"])).has_block
    assert [each["userId"] for each in (await ada.http.get("/users/me/blocks")).json()["items"]] == [bob.id]
    assert not await blocked(container, bob, ada)


async def test_refused_report_blocks_nobody(container: Container, make_learner: MakeLearner) -> None:
    ada, bob, stranger = [await make_learner() for _ in range(3)]
    call = await add_call(container, ada, bob)
    body = {"reportedId": stranger.id, "reason": "threat", "isBlocked": True}
    assert (await ada.http.post("/reports", json=body)).status_code == 404
    assert (await ada.http.post("/reports", json={**body, "reportedId": bob.id, "reason": "rude"})).status_code == 400
    sent = {"reportedId": bob.id, "sessionId": call, "reason": "spam"}
    assert (await ada.http.post("/reports", json=sent)).status_code == 201
    assert (await ada.http.post("/reports", json={**sent, "isBlocked": True})).status_code == 409
    assert not await blocked(container, ada, stranger) and not await blocked(container, ada, bob)


async def test_fifty_reports_with_block_are_one(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    body = {"reportedId": bob.id, "reason": "threat", "isBlocked": True}
    answers = await send_at_once([lambda: ada.http.post("/reports", json=body)] * 50)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    assert await blocked(container, ada, bob)


async def test_repeated_key_repeats_the_report(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    call = await add_call(container, ada, bob)
    body = {"reportedId": bob.id, "sessionId": call, "reason": "threat", "isBlocked": True}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = await ada.http.post("/reports", json=body, headers=key)
    again = await ada.http.post("/reports", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await ada.http.post("/reports", json={**body, "reason": "spam"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    # Where Redis has forgotten the key, the constraint holds.
    await container.redis.delete(*[each async for each in container.redis.scan_iter("idempotency:*", count=1000)])
    assert (await ada.http.post("/reports", json=body, headers=key)).json()["code"] == "already_reported"


async def test_report_during_a_call_stores_its_length(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    begun = datetime.now(UTC) - timedelta(minutes=3)
    call = await add_call(container, ada, bob, ended=False, started_at=begun)
    report = await ada.http.post("/reports", json={"reportedId": bob.id, "sessionId": call, "reason": "inappropriate"})
    assert 180 <= (await stored(container, report.json()["id"])).call_seconds < 600
    # The call goes on.
    assert await value(container, "SELECT ended_at IS NULL FROM call_sessions WHERE id = :c", c=call)


async def test_short_and_old_calls_weigh_less(container: Container, make_learner: MakeLearner) -> None:
    bob = await make_learner()
    weights = []
    for started, connected in (
        (timedelta(minutes=10), True),
        (timedelta(minutes=10), False),
        (timedelta(days=9), True),
    ):
        ada = await make_reporter(container, make_learner)
        await add_call(container, ada, bob, connected=connected, started_at=datetime.now(UTC) - started)
        answer = await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})
        weights.append((await stored(container, answer.json()["id"])).weight)
    assert weights == pytest.approx([0.8, 0.4, 0.4])


async def test_report_without_a_call_counts_the_best_one(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob, started_at=datetime.now(UTC) - timedelta(hours=2))
    await add_call(container, bob, ada, connected=False)
    answer = await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})
    assert (await stored(container, answer.json()["id"])).call_seconds == 300


async def test_device_and_network_are_stored_hashed(
    container: Container, make_learner: MakeLearner, api: httpx.AsyncClient
) -> None:
    bob, ada, eve = [await make_learner() for _ in range(3)]
    device = f"device-{uuid.uuid4()}"
    hashes = []
    for who in (ada, eve):
        login = {"email": who.email, "password": PASSWORD, "deviceId": device, "platform": "ios"}
        token = (await api.post("/auth/login", json=login)).json()["accessToken"]
        call = await add_call(container, who, bob)
        body = {"reportedId": bob.id, "sessionId": call, "reason": "spam"}
        sent = await api.post("/reports", json=body, headers={"Authorization": f"Bearer {token}"})
        row = await stored(container, sent.json()["id"])
        hashes.append((row.reporter_device, row.reporter_network))
        assert device not in str(row) and "127." not in str(row)
    assert hashes[0] == hashes[1] and all(len(each) == 32 for each in hashes[0])
    assert await value(container, "SELECT flagged_at IS NULL FROM users WHERE id = :i", i=bob.id), "they count once"


async def test_reviews_make_the_record_of_a_reporter(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada = await make_reporter(container, make_learner)
    for status in ("actioned", "dismissed", "dismissed"):
        report = await report_after_call(container, ada, await make_learner(ready=False))
        await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": status})
    report = await report_after_call(container, ada, await make_learner())
    assert (await stored(container, report["id"])).weight == pytest.approx(5 / 8)


async def test_review_weighs_other_reports_again(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob, eve = await make_reporter(container, make_learner), await make_learner(), await make_learner()
    of_bob, of_eve = [await report_after_call(container, ada, each) for each in (bob, eve)]
    await admin.http.patch(f"/admin/reports/{of_bob['id']}", json={"status": "dismissed"})
    enqueued = await value(
        container,
        "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'reports.weigh' AND args->>'user_id' = :u",
        u=eve.id,
    )
    assert enqueued == 1
    await container.reports.weigh_again(eve.id)
    assert (await stored(container, of_eve["id"])).weight == pytest.approx(4 / 6)


async def test_decision_notifies_the_reporter_of_its_outcome(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    """Once of each outcome, with what to do against it, and without whom, how, or by whom."""
    ada, bob = await make_learner(), await make_learner()
    report = await report_after_call(container, ada, bob, reason="harassment", description="Shouted.")
    path = f"/admin/reports/{report['id']}"
    await admin.http.patch(path, json={"adminNote": "Asked both."})
    assert (await ada.http.get("/notifications")).json()["items"] == []
    assert report["outcome"] is None
    outcomes = []
    for body in (
        {"isBanned": True, "adminNote": "Banned for shouting."},
        {"status": "pending"},
        {"status": "dismissed"},
        {"status": "reviewed"},
    ):
        assert (await admin.http.patch(path, json=body)).status_code == 200
        (mine,) = (await ada.http.get("/reports/mine")).json()["items"]
        outcomes.append((mine["status"], mine["outcome"]))
    assert outcomes == [
        ("reviewed", "acted"),
        ("pending", None),
        ("reviewed", "no_action"),
        ("reviewed", "no_action"),
    ]
    notifications = (await ada.http.get("/notifications")).json()["items"]
    data = {"kind": "report_decided", "reportId": report["id"]}
    assert [each["data"] for each in notifications] == [
        {**data, "outcome": "no_action"},
        {**data, "outcome": "acted"},
    ]
    assert "no reason to act" in notifications[0]["body"] and "acted on it" in notifications[1]["body"]
    for notification in notifications:
        assert f"{container.settings.app_url}/contact" in notification["body"]
        for secret in (bob.id, bob.username, "ban", "dismissed", "harass", "shout", admin.id):
            assert secret.lower() not in (notification["title"] + notification["body"]).lower()


async def test_notification_names_the_contact_of_the_policy(
    settings: Settings, container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob = await make_learner(), await make_learner()
    report = await report_after_call(container, ada, bob)
    async with running_container(settings.model_copy(update={"contact_email": "trust@example.org"})) as named:
        await named.reports.review(admin.id, report["id"], status="reviewed", admin_note=None, ban=False)
    (notification,) = (await ada.http.get("/notifications")).json()["items"]
    assert "trust@example.org" in notification["body"]


async def test_reported_learner_never_learns_who(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada = await make_proven_reporter(container, make_learner, admin)
    bob = await make_learner()
    report = await report_after_call(container, ada, bob, reason="threat", description="Words of Ada.", isBlocked=True)
    assert await is_held(container, bob)
    await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": "reviewed", "adminNote": "A note."})
    seen = [
        await bob.http.get(path)
        for path in ("/users/me", "/users/me/export", "/notifications", "/reports/mine", "/users/me/blocks")
    ]
    assert all(answer.status_code == 200 for answer in seen)
    everything = " ".join(answer.text for answer in seen)
    for secret in (report["id"], "Words of Ada", "A note.", "threat", "pairingHeld", "flagged", "no_action", "acted"):
        assert secret not in everything
    # The call itself is the learner's own, with its partner.
    without_calls = {**seen[1].json(), "calls": []}
    assert ada.id not in str(without_calls)


async def test_reporter_deleted_before_the_review(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    """The report is still weighed, in the queue and decided, without a name."""
    ada, bob = await make_reporter(container, make_learner), await make_learner()
    report = await report_after_call(container, ada, bob, description="My own words.")
    assert (await ada.http.post("/users/me/deletion", json={"password": PASSWORD})).status_code == 204
    row = await stored(container, report["id"])
    assert (row.description, row.reporter_device, row.reporter_network) == (None, None, None)
    assert not await value(container, "SELECT flagged_at IS NOT NULL FROM users WHERE id = :u", u=bob.id)
    await report_after_call(container, await make_reporter(container, make_learner), bob)
    assert await value(container, "SELECT flagged_at IS NOT NULL FROM users WHERE id = :u", u=bob.id)
    answer = await admin.http.get("/admin/reports", params={"reportedId": bob.id, "order": "queue"})
    (item,) = [each for each in answer.json()["items"] if each["id"] == report["id"]]
    assert item["weight"] == pytest.approx(0.8) and item["about"]["pending"] == 2
    reporter = await admin.http.get(f"/admin/users/{item['reporterId']}")
    for secret in (ada.email, ada.username, ada.username.title(), "My own words."):
        assert secret not in answer.text + reporter.text
    answer = await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": "actioned"})
    assert answer.status_code == 200
    assert await value(container, "SELECT count(*) FROM notifications WHERE user_id = :u", u=ada.id) == 0


async def test_deleted_reporters_count_once(container: Container, make_learner: MakeLearner) -> None:
    """Their traits are erased: otherwise accounts of one device would count apart once they are deleted."""
    bob = await make_learner()
    for _ in range(3):
        ada = await make_reporter(container, make_learner)
        await report_after_call(container, ada, bob)
        assert (await ada.http.post("/users/me/deletion", json={"password": PASSWORD})).status_code == 204
    await container.reports.weigh_again(bob.id)
    assert not await value(container, "SELECT flagged_at IS NOT NULL FROM users WHERE id = :u", u=bob.id)


async def test_simultaneous_reports_of_a_call_are_one(container: Container, make_learner: MakeLearner) -> None:
    """With different reasons, with and without a block: one is stored, and only its block."""
    for _ in range(5):
        ada, bob = await make_learner(), await make_learner()
        call = await add_call(container, ada, bob)
        sent = {"reportedId": bob.id, "sessionId": call}
        bodies = [{**sent, "reason": "threat", "isBlocked": True}, {**sent, "reason": "spam"}]
        answers = await asyncio.gather(*(ada.http.post("/reports", json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        (mine,) = (await ada.http.get("/reports/mine")).json()["items"]
        assert await blocked(container, ada, bob) == (mine["reason"] == "threat")
        assert (await stored(container, mine["id"])).weight == pytest.approx(0.8)


async def test_report_with_block_where_a_block_exists(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    assert (await ada.http.put(f"/users/{bob.id}/block")).status_code == 204
    since = await value(container, "SELECT created_at FROM blocks WHERE blocker_id = :a", a=ada.id)
    report = await report_after_call(container, ada, bob, isBlocked=True)
    assert (await stored(container, report["id"])).has_block and await blocked(container, ada, bob)
    assert await value(container, "SELECT created_at FROM blocks WHERE blocker_id = :a", a=ada.id) == since
    # And at the same time.
    eve = await make_learner()
    await add_call(container, ada, eve)
    body = {"reportedId": eve.id, "reason": "spam", "isBlocked": True}
    answers = await asyncio.gather(
        ada.http.post("/reports", json=body), *(ada.http.put(f"/users/{eve.id}/block") for _ in range(3))
    )
    assert [answer.status_code for answer in answers] == [201, 204, 204, 204] and await blocked(container, ada, eve)


async def test_report_of_a_call_of_others_is_refused(container: Container, make_learner: MakeLearner) -> None:
    """Also where the two had a call of their own: it answers like one that does not exist, and stores nothing."""
    ada, bob, eve = [await make_learner() for _ in range(3)]
    await add_call(container, ada, bob)
    of_others = await add_call(container, bob, eve)
    answers = [
        await ada.http.post("/reports", json={"reportedId": bob.id, "sessionId": each, "reason": "threat"})
        for each in (of_others, str(uuid.uuid4()))
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * 2
    assert (await ada.http.get("/reports/mine")).json()["items"] == []
    assert await value(container, "SELECT count(*) FROM reports WHERE reported_id = :u", u=bob.id) == 0


async def test_reported_deleted_before_the_report(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    call = await add_call(container, ada, bob)
    assert (await bob.http.post("/users/me/deletion", json={"password": PASSWORD})).status_code == 204
    body = {"reportedId": bob.id, "sessionId": call, "reason": "threat", "isBlocked": True}
    assert (await ada.http.post("/reports", json=body)).status_code == 201
    assert not await blocked(container, ada, bob) and not await is_held(container, bob)


async def test_deletion_beside_reviews_does_not_deadlock(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    for _ in range(3):
        ada, bob = await make_learner(), await make_learner()
        reports = [await report_after_call(container, ada, bob) for _ in range(5)]
        others = [await make_reporter(container, make_learner) for _ in range(3)]
        answers = await asyncio.gather(
            ada.http.post("/users/me/deletion", json={"password": PASSWORD}),
            *(admin.http.patch(f"/admin/reports/{each['id']}", json={"status": "reviewed"}) for each in reports),
            *(report_after_call(container, each, bob) for each in others),
        )
        assert {answer.status_code for answer in answers[:6]} <= {200, 204}


async def test_traits_are_pruned(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    old, new = [await report_after_call(container, ada, bob) for _ in range(2)]
    assert (await stored(container, old["id"])).reporter_network
    age = "UPDATE reports SET created_at = now() - interval '91 days' WHERE id = :i"
    await query(container, age, i=old["id"])
    assert await container.reports.prune_traits() >= 1
    assert (await stored(container, old["id"])).reporter_network is None
    assert (await stored(container, new["id"])).reporter_network


async def test_overdue_reports_notify_administrators_once(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob = await make_learner(), await make_learner()
    late, decided, timely = [await report_after_call(container, ada, bob) for _ in range(3)]
    await admin.http.patch(f"/admin/reports/{decided['id']}", json={"status": "reviewed"})
    for each in (late, decided):
        await query(container, "UPDATE reports SET due_at = now() - interval '1 minute' WHERE id = :i", i=each["id"])
    await asyncio.gather(*(container.reports.notify_overdue() for _ in range(3)))
    await container.reports.notify_overdue()
    statement = "SELECT data->>'reportId' FROM notifications WHERE user_id = :u AND data->>'kind' = 'report_overdue'"
    about = [row[0] for row in await rows(container, statement, u=admin.id)]
    assert about.count(late["id"]) == 1 and not {decided["id"], timely["id"]} & set(about)
