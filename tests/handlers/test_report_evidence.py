"""What a report stores and changes: block, evidence of its weight, records, idempotency, deletion, notification."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from container import Container
from testing.call_history import MakeLearner, add_call
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


async def test_decision_notifies_the_reporter_once(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob = await make_learner(), await make_learner()
    report = await report_after_call(container, ada, bob, reason="harassment", description="Shouted.")
    path = f"/admin/reports/{report['id']}"
    await admin.http.patch(path, json={"adminNote": "Asked both."})
    assert (await ada.http.get("/notifications")).json()["items"] == []
    for body in (
        {"isBanned": True, "adminNote": "Banned for shouting."},
        {"status": "pending"},
        {"status": "dismissed"},
    ):
        assert (await admin.http.patch(path, json=body)).status_code == 200
    (notification,) = (await ada.http.get("/notifications")).json()["items"]
    assert notification["data"] == {"kind": "report_decided", "reportId": report["id"]}
    # Neither whom, nor how, nor by whom.
    for secret in (bob.id, bob.username, bob.username.title(), "ban", "dismissed", "harass", "shout", admin.id):
        assert secret.lower() not in (notification["title"] + notification["body"]).lower()
    assert (await ada.http.get("/reports/mine")).json()["items"][0]["status"] == "reviewed"


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
    for secret in (report["id"], "Words of Ada", "A note.", "threat", "pairingHeld", "flagged"):
        assert secret not in everything
    # The call itself is the learner's own, with its partner.
    without_calls = {**seen[1].json(), "calls": []}
    assert ada.id not in str(without_calls)


async def test_reporter_deleted_before_the_review(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob = await make_learner(), await make_learner()
    report = await report_after_call(container, ada, bob, description="My own words.")
    assert (await ada.http.post("/users/me/deletion", json={"password": PASSWORD})).status_code == 204
    row = await stored(container, report["id"])
    assert (row.description, row.reporter_device, row.reporter_network) == (None, None, None)
    answer = await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": "actioned"})
    assert answer.status_code == 200
    assert await value(container, "SELECT count(*) FROM notifications WHERE user_id = :u", u=ada.id) == 0


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
    ada, bob = await make_learner(), await make_learner()
    reports = [await report_after_call(container, ada, bob) for _ in range(4)]
    others = [await make_reporter(container, make_learner) for _ in range(3)]
    answers = await asyncio.gather(
        ada.http.post("/users/me/deletion", json={"password": PASSWORD}),
        *(admin.http.patch(f"/admin/reports/{each['id']}", json={"status": "reviewed"}) for each in reports),
        *(report_after_call(container, each, bob) for each in others),
    )
    assert {answer.status_code for answer in answers[:5]} <= {200, 204}


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
