"""Reports of a learner, and flags for review."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from container import Container
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.databases import value
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID
from testing.reports import make_reporter
from testing.servers import Learner, send_at_once

Pair = tuple[Learner, Learner]


@pytest.fixture
async def pair(container: Container, make_learner: MakeLearner) -> Pair:
    """Two who have been in a call."""
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    return ada, bob


def about(reported: Learner | str, **more: Any) -> dict[str, Any]:
    return {"reportedId": reported if isinstance(reported, str) else reported.id, "reason": "spam", **more}


async def flagged(container: Container, learner: Learner) -> bool:
    return bool(await value(container, "SELECT flagged_at IS NOT NULL FROM users WHERE id = :i", i=learner.id))


async def test_report_is_listed_for_its_reporter(container: Container, pair: Pair) -> None:
    ada, bob = pair
    call = await add_call(container, bob, ada)
    answer = await ada.http.post("/reports", json=about(bob, sessionId=call, reason="other", description="Rude."))
    assert answer.status_code == 201
    report = answer.json()
    assert report | {"id": "", "createdAt": ""} == {
        "id": "",
        "reportedId": bob.id,
        "sessionId": call,
        "reason": "other",
        "description": "Rude.",
        "status": "pending",
        "outcome": None,
        "createdAt": "",
    }
    assert (await ada.http.get("/reports/mine")).json() == {"items": [report], "nextCursor": None}
    assert (await bob.http.get("/reports/mine")).json()["items"] == []


async def test_fifty_concurrent_reports_of_a_call_are_one(container: Container, pair: Pair) -> None:
    ada, bob = pair
    call = await add_call(container, ada, bob)
    answers = await send_at_once([lambda: ada.http.post("/reports", json=about(bob, sessionId=call))] * 50)
    assert count_statuses(answers) == {201: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_reported"}
    # The partner, and the same reporter for another call, are free to report.
    assert (await bob.http.post("/reports", json=about(ada, sessionId=call))).status_code == 201
    other = await add_call(container, ada, bob)
    assert (await ada.http.post("/reports", json=about(bob, sessionId=other))).status_code == 201


async def test_one_report_without_a_call_is_pending_at_a_time(
    container: Container, pair: Pair, make_learner: MakeLearner
) -> None:
    ada, bob = pair
    answers = await send_at_once([lambda: ada.http.post("/reports", json=about(bob))] * 50)
    assert count_statuses(answers) == {201: 1, 409: 49}
    (first,) = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    admin = await make_admin(container, (await make_learner()).http)
    assert (await admin.http.patch(f"/admin/reports/{first}", json={"status": "dismissed"})).status_code == 200
    second = await ada.http.post("/reports", json=about(bob))
    assert second.status_code == 201
    # Taken up again, the first would be a second one pending.
    again = await admin.http.patch(f"/admin/reports/{first}", json={"status": "pending"})
    assert (again.status_code, again.json()["code"]) == (409, "already_reported")
    await admin.http.patch(f"/admin/reports/{second.json()['id']}", json={"status": "reviewed"})
    assert (await admin.http.patch(f"/admin/reports/{first}", json={"status": "pending"})).status_code == 200


async def test_report_needs_a_shared_call(container: Container, pair: Pair, make_learner: MakeLearner) -> None:
    ada, bob = pair
    stranger = await make_learner()
    between_others = await add_call(container, bob, stranger)
    refused = [
        await ada.http.post("/reports", json=body)
        for body in (
            about(stranger),
            about(MISSING_ID),
            about(stranger, sessionId=between_others),
            about(bob, sessionId=between_others),
            about(bob, sessionId=MISSING_ID),
        )
    ]
    assert {answer.status_code for answer in refused} == {404}
    assert len({answer.content for answer in refused}) == 1


async def test_reporting_the_own_account_is_refused(pair: Pair) -> None:
    answer = await pair[0].http.post("/reports", json=about(pair[0]))
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    upper = await pair[0].http.post("/reports", json=about(pair[0].id.upper()))
    assert upper.status_code == 400


async def test_two_independent_reporters_flag_a_learner(container: Container, make_learner: MakeLearner) -> None:
    bob = await make_learner()
    reporters = [await make_reporter(container, make_learner) for _ in range(3)]
    calls = [await add_call(container, each, bob) for each in reporters]
    # One who reports three calls is one.
    for call in (calls[0], await add_call(container, reporters[0], bob), await add_call(container, reporters[0], bob)):
        answer = await reporters[0].http.post("/reports", json=about(bob, sessionId=call))
        assert answer.status_code == 201
    assert not await flagged(container, bob)
    last = (await reporters[1].http.post("/reports", json=about(bob))).json()["id"]
    assert await flagged(container, bob)

    admin = await make_admin(container, (await make_learner()).http)
    await admin.http.patch(f"/admin/reports/{last}", json={"adminNote": "Looking into it."})
    assert await flagged(container, bob)
    await admin.http.patch(f"/admin/reports/{last}", json={"status": "dismissed"})
    assert not await flagged(container, bob)
    await admin.http.patch(f"/admin/reports/{last}", json={"status": "pending"})
    assert await flagged(container, bob)


async def test_two_concurrent_reports_flag_a_learner(container: Container, make_learner: MakeLearner) -> None:
    for _ in range(5):
        # New ones each time: reporters who have targets in common count once.
        reporters = [await make_reporter(container, make_learner) for _ in range(2)]
        bob = await make_learner(ready=False)
        for each in reporters:
            await add_call(container, each, bob)
        answers = await asyncio.gather(*(each.http.post("/reports", json=about(bob)) for each in reporters))
        assert count_statuses(answers) == {201: 2}
        assert await flagged(container, bob)


async def test_list_is_paged_to_its_end(container: Container, pair: Pair) -> None:
    ada, bob = pair
    made = []
    for _ in range(5):
        call = await add_call(container, ada, bob)
        made.append((await ada.http.post("/reports", json=about(bob, sessionId=call))).json()["id"])
    assert [each["id"] for each in await read_all_pages(ada.http, "/reports/mine")] == made[::-1]
