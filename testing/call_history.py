"""Owns a past for the learners of tests: calls they have had, administrators, what the tables then say."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import sqlalchemy as sa

from container import Container
from models import CallSession, EndedBy
from testing.servers import PASSWORD, Learner, address
from testing.time_limits import limit

MakeLearner = Callable[..., Awaitable[Learner]]


async def had_call(
    container: Container,
    one: Learner | str,
    other: Learner | str,
    *,
    connected: bool = True,
    ended: bool = True,
    started_at: datetime | None = None,
    topic: str | None = None,
) -> str:
    """Write the row of a call of five minutes between two learners; answer its id."""
    started = started_at or datetime.now(UTC) - timedelta(minutes=10)
    row = CallSession(
        room_id=str(uuid.uuid4()),
        user_a_id=uuid.UUID(one if isinstance(one, str) else one.id),
        user_b_id=uuid.UUID(other if isinstance(other, str) else other.id),
        topic=topic,
        level="all",
        started_at=started,
        connected_at=started if connected else None,
        ended_at=started + timedelta(minutes=5) if ended else None,
        duration_seconds=300 * connected if ended else None,
        ended_by=EndedBy.USER_A if ended else None,
    )
    async with container.database.transaction() as db:
        db.add(row)
    return str(row.id)


async def make_admin(container: Container, http: httpx.AsyncClient) -> Learner:
    """Make an administrator and sign them in on `http`."""
    name = f"a{uuid.uuid4().hex[:20]}"
    email = f"{name}@example.com"
    user = await container.administrators.create(email, PASSWORD)
    body = {"email": email, "password": PASSWORD, "deviceId": "desk", "platform": "ios"}
    answer = await http.post("/auth/login", json=body, headers={"X-Forwarded-For": address()})
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    http.headers["Authorization"] = f"Bearer {tokens['accessToken']}"
    return Learner(str(user.id), email, name, tokens["accessToken"], tokens["refreshToken"], http)


async def rows(container: Container, statement: str, **values: Any) -> Sequence[Any]:
    """Ask the database."""
    async with container.database.transaction() as db:
        return (await db.execute(sa.text(statement), values)).all()


async def value(container: Container, statement: str, **values: Any) -> Any:
    """Ask the database for one value."""
    return (await rows(container, statement, **values))[0][0]


def codes(answers: Sequence[httpx.Response]) -> dict[int, int]:
    """How many answers had which status."""
    found = sorted(answer.status_code for answer in answers)
    return {status: found.count(status) for status in dict.fromkeys(found)}


async def every_page(http: httpx.AsyncClient, path: str, *, limit: int = 2, **query: Any) -> list[dict[str, Any]]:
    """Read a list to its end, page by page."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await http.get(path, params={"limit": limit, **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["nextCursor"] is None:
            return items
        cursor = {"cursor": page["nextCursor"]}


async def until(condition: Callable[[], Awaitable[bool]], what: str, *, within: float = 10) -> None:
    """Wait for a condition."""
    deadline = asyncio.get_running_loop().time() + limit(within)
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.02)
