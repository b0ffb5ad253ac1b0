"""The review queue of administrators: its order, pages, counts and deadlines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col

from container import Container
from models import Report
from services.safety import review_queue
from testing.call_history import MakeLearner, add_call
from testing.databases import query
from testing.reports import make_proven_reporter, make_reporter, make_reviewer, report_after_call
from testing.servers import Learner


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_reviewer(container, make_learner)


async def read_queue(admin: Learner, **filters: Any) -> list[dict[str, Any]]:
    """Read the whole queue in pages of two; other tests' reports are in it too."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await admin.http.get("/admin/reports", params={"order": "queue", "limit": 2, **filters, **cursor})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if answer.json()["nextCursor"] is None:
            return found
        cursor = {"cursor": answer.json()["nextCursor"]}


async def test_queue_orders_by_rank(container: Container, make_learner: MakeLearner, admin: Learner) -> None:
    light, heavy, held = [await make_learner() for _ in range(3)]
    proven = await make_proven_reporter(container, make_learner, admin)
    made: list[str] = []
    # An urgent reason alone puts nobody first: anybody can choose it.
    for about, count, reason in ((light, 1, "threat"), (heavy, 3, "harassment"), (held, 1, "threat")):
        for _ in range(count):
            reporter = proven if about is held else await make_reporter(container, make_learner)
            made.append((await report_after_call(container, reporter, about, reason=reason))["id"])
    queue = await read_queue(admin)
    assert len({each["id"] for each in queue}) == len(queue), "no page repeats a report"
    assert queue == sorted(queue, key=lambda each: each["rank"], reverse=True)
    mine = [each for each in queue if each["id"] in made]
    assert [each["reportedId"] for each in mine] == [held.id, *[heavy.id] * 3, light.id]
    assert mine[1]["about"] == {"pending": 3, "actioned": 0, "reviewed": 0, "dismissed": 0, "heldUntil": None}
    assert mine[0]["rank"] > 100 > mine[1]["rank"] > 0 and mine[0]["about"]["heldUntil"]
    assert mine[1]["weight"] == 0.8 and not mine[1]["isBlocked"] and mine[1]["callSeconds"] == 300


async def test_deadline_depends_on_the_reason(container: Container, make_learner: MakeLearner, admin: Learner) -> None:
    ada, bob = await make_learner(), await make_learner()
    for reason, hours in (("minor_safety", 24), ("threat", 24), ("hate_speech", 72), ("other", 72)):
        report = await report_after_call(container, ada, bob, reason=reason)
        (item,) = [each for each in await read_queue(admin, reportedId=bob.id) if each["id"] == report["id"]]
        due, made = [datetime.fromisoformat(item[key]) for key in ("dueAt", "createdAt")]
        assert due - made == timedelta(hours=hours)
        assert item["isUrgent"] == (hours == 24)


async def test_queue_has_pending_reports_alone(container: Container, make_learner: MakeLearner, admin: Learner) -> None:
    ada, bob = await make_learner(), await make_learner()
    done, waits = [await report_after_call(container, ada, bob) for _ in range(2)]
    await admin.http.patch(f"/admin/reports/{done['id']}", json={"status": "dismissed"})
    assert [each["id"] for each in await read_queue(admin, reportedId=bob.id)] == [waits["id"]]
    assert await read_queue(admin, reportedId=bob.id, status="dismissed") == []
    assert [each["id"] for each in await read_queue(admin, reporterId=ada.id, status="pending")] == [waits["id"]]
    newest = (await admin.http.get("/admin/reports", params={"reportedId": bob.id})).json()["items"]
    assert [each["id"] for each in newest] == [waits["id"], done["id"]]
    decided = newest[1]
    assert decided["decidedAt"] and decided["about"] == {
        "pending": 1,
        "actioned": 0,
        "reviewed": 0,
        "dismissed": 1,
        "heldUntil": None,
    }
    assert newest[0]["decidedAt"] is None


async def test_queue_is_filtered_by_urgency_and_deadline(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob = await make_learner(), await make_learner()
    urgent, late = [(await report_after_call(container, ada, bob, reason=each))["id"] for each in ("threat", "spam")]
    await query(container, "UPDATE reports SET due_at = now() - interval '1 h' WHERE id = :i", i=late)
    for filters, found in (
        ({"isUrgent": "true"}, [urgent]),
        ({"isUrgent": "false"}, [late]),
        ({"isOverdue": "true"}, [late]),
        ({"isOverdue": "false"}, [urgent]),
        ({"isOverdue": "true", "isUrgent": "true"}, []),
    ):
        assert [each["id"] for each in await read_queue(admin, reportedId=bob.id, **filters)] == found


async def test_counts_include_overdue_reports(container: Container, make_learner: MakeLearner, admin: Learner) -> None:
    ada, bob = await make_learner(), await make_learner()
    read = "SELECT count(*) AS n, count(*) FILTER (WHERE is_urgent) AS u, count(*) FILTER (WHERE due_at < now()) AS o"
    for reason in ("threat", "spam"):
        report = await report_after_call(container, ada, bob, reason=reason)
        await query(container, "UPDATE reports SET due_at = now() - interval '1 h' WHERE id = :i", i=report["id"])
    (row,) = await query(container, f"{read} FROM reports WHERE status = 'pending'")
    counts = (await admin.http.get("/admin/reports", params={"limit": 1})).json()["counts"]
    assert counts == {"open": row.n, "urgent": row.u, "overdue": row.o} and counts["overdue"] >= 2


@pytest.mark.parametrize("cursor", ["x", "MXww", "bmFufDIwMjZ8MQ", "MHgxfDIwMjYtMDEtMDF8eA"])
async def test_invalid_cursor_of_the_queue_is_refused(admin: Learner, cursor: str) -> None:
    answer = await admin.http.get("/admin/reports", params={"order": "queue", "cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_cursor_keeps_its_position_exactly(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})
    async with container.database.transaction() as db:
        page = await review_queue.read_queue(db, col(Report.is_urgent).is_(False), limit=1, cursor=None)
    (report,) = page.items
    position = review_queue.decode_cursor(review_queue.encode_cursor(report))
    assert position == (report.rank, report.created_at, report.id)
