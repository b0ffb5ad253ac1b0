"""Rules of holds: by whom, how often, how long, and what ends one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from container import Container
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.databases import query, value
from testing.reports import is_held, make_proven_reporter, make_reporter, make_reviewer, report_after_call
from testing.servers import Learner

END = "SELECT pairing_held_until FROM users WHERE id = :u"


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_reviewer(container, make_learner)


@pytest.fixture
async def ada(container: Container, make_learner: MakeLearner, admin: Learner) -> Learner:
    """A reporter with a proven record."""
    return await make_proven_reporter(container, make_learner, admin)


async def test_proven_urgent_report_holds_pairing(
    container: Container, make_learner: MakeLearner, ada: Learner
) -> None:
    bob, eve = await make_learner(), await make_learner()
    await report_after_call(container, ada, eve, reason="harassment")
    assert not await is_held(container, eve)
    before = datetime.now(UTC)
    await report_after_call(container, ada, bob, reason="minor_safety")
    end = await value(container, END, u=bob.id)
    # At most a day, to a full hour, so that the end does not name the moment of the report.
    assert timedelta(hours=22, minutes=59) < end - before <= timedelta(hours=24)
    assert (end.minute, end.second, end.microsecond) == (0, 0, 0)
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'calls.check_pairing' AND args->>'user_id' = :u"
    assert await value(container, jobs, u=bob.id) == 1


async def test_many_new_reporters_hold_nobody(container: Container, make_learner: MakeLearner) -> None:
    bob = await make_learner()
    for _ in range(6):
        reporter = await make_reporter(container, make_learner)
        await report_after_call(container, reporter, bob, reason="threat", isBlocked=True)
    assert not await is_held(container, bob)
    assert await value(container, "SELECT flagged_at IS NOT NULL FROM users WHERE id = :u", u=bob.id)


async def test_dismissed_report_ends_the_record(
    container: Container, make_learner: MakeLearner, ada: Learner, admin: Learner
) -> None:
    bob, eve = await make_learner(), await make_learner()
    report = await report_after_call(container, ada, bob, reason="threat")
    assert await is_held(container, bob)
    await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": "dismissed"})
    assert not await is_held(container, bob) and await value(container, END, u=bob.id) is None
    await report_after_call(container, ada, eve, reason="threat")
    assert not await is_held(container, eve)


async def test_staff_are_never_held(container: Container, make_learner: MakeLearner, ada: Learner) -> None:
    colleague = await make_admin(container, (await make_learner(ready=False)).http)
    await report_after_call(container, ada, colleague, reason="threat")
    assert await value(container, END, u=colleague.id) is None


async def test_hold_does_not_repeat_before_a_review(
    container: Container, make_learner: MakeLearner, ada: Learner, admin: Learner
) -> None:
    bob = await make_learner()
    await report_after_call(container, ada, bob, reason="threat")
    end = await value(container, END, u=bob.id)
    other = await make_proven_reporter(container, make_learner, admin)
    await report_after_call(container, other, bob, reason="threat")
    assert await value(container, END, u=bob.id) == end, "a hold is not extended"
    for days, held in ((1, False), (29, False), (31, True)):
        ended = "UPDATE users SET pairing_held_until = now() - make_interval(days => :d) WHERE id = :u"
        await query(container, ended, d=days, u=bob.id)
        await report_after_call(container, other, bob, reason="threat")
        assert await is_held(container, bob) == held, days


async def test_hold_stays_until_each_urgent_report_is_reviewed(
    container: Container, make_learner: MakeLearner, ada: Learner, admin: Learner
) -> None:
    bob, other = await make_learner(), await make_proven_reporter(container, make_learner, admin)
    urgent = [await report_after_call(container, each, bob, reason="threat") for each in (ada, other)]
    spam = await report_after_call(container, await make_reporter(container, make_learner), bob)
    for report, held in ((spam, True), (urgent[0], True), (urgent[1], False)):
        await admin.http.patch(f"/admin/reports/{report['id']}", json={"adminNote": "Asking."})
        answer = await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": "reviewed"})
        assert (answer.json()["about"]["heldUntil"] is not None) == held == await is_held(container, bob)


async def test_simultaneous_urgent_reports_are_one_hold(
    container: Container, make_learner: MakeLearner, ada: Learner, admin: Learner
) -> None:
    bob = await make_learner()
    calls = [await add_call(container, ada, bob) for _ in range(5)]
    bodies = [{"reportedId": bob.id, "sessionId": each, "reason": "threat"} for each in calls]
    answers = await asyncio.gather(*(ada.http.post("/reports", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {201}
    statement = "SELECT count(*) FROM notifications WHERE user_id = :a AND data->>'userId' = :u AND data->>'kind' = :k"
    assert await value(container, statement, a=admin.id, u=bob.id, k="pairing_held") == 1
