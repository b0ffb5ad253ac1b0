"""Partners and appointments of tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from container import Container
from testing.call_history import MakeLearner, add_call
from testing.databases import rows
from testing.servers import Learner


async def make_partners(one: Learner, other: Learner) -> None:
    """Let two learners, who have talked, ask each other."""
    for learner, partner in ((one, other), (other, one)):
        answer = await learner.http.put(f"/partners/{partner.id}")
        assert answer.status_code == 204, answer.text


async def make_pair(container: Container, make_learner: MakeLearner) -> tuple[Learner, Learner]:
    """Make two learners who are partners."""
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    await make_partners(ada, bob)
    return ada, bob


def in_days(days: float, *, minute: int = 0) -> str:
    """Return a local time in UTC that many days ahead, at a full hour."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime(f"%Y-%m-%dT%H:{minute:02}")


async def propose(learner: Learner, partner: Learner, local_time: str, **more: Any) -> httpx.Response:
    """Propose a time to a partner; in UTC and for half an hour, unless `more` says otherwise."""
    body = {"partnerId": partner.id, "localTime": local_time, "timezone": "UTC", "durationMinutes": 30, **more}
    return await learner.http.post("/appointments", json=body)


async def list_partners(learner: Learner) -> list[str]:
    """List the ids of a learner's partners."""
    answer = await learner.http.get("/partners", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    return [each["userId"] for each in answer.json()["items"]]


async def list_notices(container: Container, learner: Learner, kind: str) -> list[Any]:
    """List the notifications of a kind that a learner has, the oldest first: title, body and data."""
    return list(
        await rows(
            container,
            "SELECT title, body, data, occasion, read FROM notifications"
            " WHERE user_id = :u AND data->>'kind' = :k ORDER BY created_at, id",
            u=learner.id,
            k=kind,
        )
    )
