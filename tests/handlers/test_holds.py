"""Rules of holds: by whom, how often, how long, and what ends one."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

import app
from container import Container
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.containers import running_container
from testing.databases import query, value
from testing.reports import is_held, make_proven_reporter, make_reporter, make_reviewer, report_after_call
from testing.servers import Learner, client

END = "SELECT pairing_held_until FROM users WHERE id = :u"
HOLDER = "SELECT pairing_held_by FROM users WHERE id = :u"


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


async def test_few_new_reporters_hold_nobody(container: Container, make_learner: MakeLearner) -> None:
    bob = await make_learner()
    await meet_others(container, make_learner, bob, 4)
    for _ in range(6):
        reporter = await make_reporter(container, make_learner)
        await report_after_call(container, reporter, bob, reason="threat", isBlocked=True)
    assert not await is_held(container, bob)
    assert await value(container, "SELECT flagged_at IS NOT NULL FROM users WHERE id = :u", u=bob.id)


async def meet_others(container: Container, make_learner: MakeLearner, learner: Learner, count: int) -> None:
    """Have calls with partners who have nothing to report."""
    for _ in range(count):
        await add_call(container, learner, await make_learner(ready=False))


async def test_strong_evidence_holds_without_a_record(container: Container, make_learner: MakeLearner) -> None:
    bob, established = await make_learner(), await make_learner()
    await meet_others(container, make_learner, bob, 2)
    await meet_others(container, make_learner, established, 13)
    for about, holds in ((bob, True), (established, False)):
        for _ in range(7):
            reporter = await make_reporter(container, make_learner)
            await report_after_call(container, reporter, about, reason="harassment")
        # Until now none is urgent.
        assert not await is_held(container, about)
        urgent = await make_reporter(container, make_learner)
        await report_after_call(container, urgent, about, reason="minor_safety")
        assert await is_held(container, about) == holds
    assert await value(container, HOLDER, u=bob.id) is None


async def test_review_of_the_urgent_report_ends_a_hold_by_evidence(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    bob = await make_learner()
    reports = []
    for number in range(8):
        reporter = await make_reporter(container, make_learner)
        reason = "threat" if number == 7 else "spam"
        reports.append(await report_after_call(container, reporter, bob, reason=reason))
    for report, held in ((reports[0], True), (reports[7], False)):
        await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": "reviewed"})
        assert await is_held(container, bob) == held


async def test_report_does_not_end_a_hold(container: Container, make_learner: MakeLearner, ada: Learner) -> None:
    """Partners of a held learner lower the share of those who reported; a report among them changes nothing."""
    bob = await make_learner()
    await report_after_call(container, ada, bob, reason="threat")
    await meet_others(container, make_learner, bob, 30)
    await report_after_call(container, await make_reporter(container, make_learner), bob)
    assert await is_held(container, bob)


async def test_record_does_not_hold_established_learners(
    container: Container, make_learner: MakeLearner, ada: Learner
) -> None:
    bob = await make_learner()
    await meet_others(container, make_learner, bob, 12)
    await report_after_call(container, ada, bob, reason="threat")
    assert not await is_held(container, bob)
    # The second independent reporter makes the difference.
    await report_after_call(container, await make_reporter(container, make_learner), bob)
    assert await is_held(container, bob)


async def test_record_holds_one_learner_at_a_time(
    container: Container, make_learner: MakeLearner, ada: Learner, admin: Learner
) -> None:
    bob, eve = [await make_learner() for _ in range(2)]
    first = await report_after_call(container, ada, bob, reason="threat")
    assert await value(container, HOLDER, u=bob.id) == uuid.UUID(ada.id)
    second = await report_after_call(container, ada, eve, reason="threat")
    assert await is_held(container, bob) and not await is_held(container, eve)
    queue = (await admin.http.get("/admin/reports", params={"reportedId": eve.id})).json()["items"]
    assert [each["id"] for each in queue] == [second["id"]] and queue[0]["rank"] < 100, "only a hold comes first"
    # The review of the first sets the record free, and has the second weighed again.
    await admin.http.patch(f"/admin/reports/{first['id']}", json={"status": "actioned"})
    await container.reports.weigh_again(eve.id)
    assert not await is_held(container, bob) and await is_held(container, eve)


async def test_simultaneous_reports_by_a_record_hold_one(
    container: Container, make_learner: MakeLearner, ada: Learner
) -> None:
    others = [await make_learner() for _ in range(6)]
    await asyncio.gather(*(report_after_call(container, ada, each, reason="threat") for each in others))
    assert [await is_held(container, each) for each in others].count(True) == 1


async def test_record_holds_are_limited_in_number(
    container: Container, settings: Settings, make_learner: MakeLearner, admin: Learner
) -> None:
    """Two of three are held; the third by evidence, which is not limited, and a place is free after a review."""
    count = "SELECT count(*) FROM users WHERE pairing_held_by IS NOT NULL AND pairing_held_until > now()"
    limit = 2 + await value(container, count)
    reporters = [await make_proven_reporter(container, make_learner, admin) for _ in range(3)]
    others = [await make_learner() for _ in range(3)]
    async with running_container(settings.model_copy(update={"report_record_holds": limit})) as limited:
        async with client(app.create(limited)) as http:
            reports = []
            for ada, about in zip(reporters, others, strict=True):
                call = await add_call(container, ada, about)
                body = {"reportedId": about.id, "sessionId": call, "reason": "threat"}
                headers = {"Authorization": ada.http.headers["Authorization"]}
                reports.append((await http.post("/reports", json=body, headers=headers)).json()["id"])
        assert [await is_held(container, each) for each in others] == [True, True, False]
        await admin.http.patch(f"/admin/reports/{reports[0]}", json={"status": "dismissed"})
        await limited.reports.weigh_again(others[2].id)
        assert [await is_held(container, each) for each in others] == [False, True, True]


async def test_operator_may_list_reasons_that_hold(settings: Settings, make_learner: MakeLearner) -> None:
    listed = settings.model_copy(update={"report_hold_reasons": ["minor_safety"]})
    async with running_container(listed) as strict, client(app.create(strict)) as http:
        for reason, connected, holds in (
            ("threat", True, False),
            ("minor_safety", False, False),
            ("minor_safety", True, True),
        ):
            ada, bob = await make_learner(), await make_learner()
            call = await add_call(strict, ada, bob, connected=connected)
            body = {"reportedId": bob.id, "sessionId": call, "reason": reason}
            headers = {"Authorization": ada.http.headers["Authorization"]}
            assert (await http.post("/reports", json=body, headers=headers)).status_code == 201
            assert await is_held(strict, bob) == holds, reason


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
