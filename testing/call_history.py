"""Rows of past calls."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from container import Container
from models import CallSession, EndedBy, EnglishLevel, Profile, User
from testing.servers import Learner

MakeLearner = Callable[..., Awaitable[Learner]]


async def add_call(
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


async def add_users(container: Container, count: int, level: EnglishLevel | None = None) -> list[str]:
    """Write the rows of accounts that nobody logs in to, which cost no password; answer their ids."""
    users = [uuid.uuid4() for _ in range(count)]
    async with container.database.transaction() as db:
        for each in users:
            email = f"{each}@example.com"
            db.add(User(id=each, email=email, email_canonical=email, password_hash="", is_verified=True))
        await db.flush()
        db.add_all(Profile(user_id=each, english_level=level) for each in users)
    return [str(each) for each in users]
