"""Screening of uploaded pictures, and the review of those that others do not see."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlmodel import col

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import ImageScreen, Verdict
from adapters.storage import Storage
from jobs import delete_object
from models import Profile
from services import pagination
from services.identity.user_rows import lock_active_user
from services.messaging import notification_templates, notifications
from services.operations.audit import AuditService
from services.pagination import Page
from services.safety.hidden_pictures import REPORT_WEIGHT, counted_reports_sql, is_shown_sql

log = logging.getLogger("parlance.pictures")

#: A verdict that takes longer is one of a person.
SCREEN_TIMEOUT_SECONDS = 6
#: `keep`: others see the picture; `remove`: it is deleted.
Outcome: TypeAlias = Literal["keep", "remove"]

# A picture that reports hide waits since the report with which they weighed enough.
_WAITING = sa.text(f"""
    WITH counted AS (
        SELECT r.reported_id, r.created_at,
               sum({REPORT_WEIGHT}) OVER (PARTITION BY r.reported_id ORDER BY r.created_at, r.id) AS weight
        FROM reports r JOIN profiles p ON {counted_reports_sql("p")}
        WHERE p.avatar_url IS NOT NULL
    ), reported AS (
        SELECT reported_id AS user_id, count(*) AS reports, max(weight) AS weight,
               min(created_at) FILTER (WHERE weight >= :minimum_weight) AS hidden_at
        FROM counted GROUP BY reported_id
    ), waiting AS (
        SELECT user_id FROM profiles WHERE avatar_held_at IS NOT NULL
        UNION SELECT user_id FROM reported WHERE hidden_at IS NOT NULL
    ), pictures AS (
        SELECT p.user_id, p.username, p.display_name, p.avatar_url, p.avatar_held_at IS NOT NULL AS is_held,
               r.hidden_at IS NOT NULL AS is_reported, coalesce(r.reports, 0) AS reports,
               coalesce(r.weight, 0) AS weight, least(p.avatar_held_at, r.hidden_at) AS waiting_since,
               p.avatar_reviewed_at, p.avatar_review_note
        FROM waiting JOIN profiles p USING (user_id) LEFT JOIN reported r USING (user_id)
    )
    SELECT * FROM pictures
    WHERE (waiting_since, user_id) > (CAST(:since AS timestamptz), CAST(:user_id AS uuid))
      AND (CAST(:url AS text) IS NULL OR avatar_url = :url)
    ORDER BY waiting_since, user_id LIMIT :limit
""")  # noqa: S608
#: Before the first row of the list.
_START = (datetime.fromisoformat("0001-01-02T00:00:00+00:00"), uuid.UUID(int=0))


class WaitingPicture(NamedTuple):
    """A picture that waits for review.

    `is_held`: the screen did not decide. `is_reported`: counted reports hide it; `reports` and `weight` are their
    number and weight, also where they are too light. `reviewed_at`, `note`: the learner's last review of a picture.
    """

    user_id: uuid.UUID
    username: str | None
    display_name: str | None
    url: str
    is_held: bool
    is_reported: bool
    reports: int
    weight: float
    waiting_since: datetime
    reviewed_at: datetime | None
    note: str | None


class PicturesService:
    def __init__(
        self,
        database: Database,
        audit: AuditService,
        jobs: Jobs,
        storage: Storage,
        screen: ImageScreen | None,
        *,
        hide_weight: float,
        contact: str,
    ) -> None:
        """`hide_weight`: weight of open reports that hides a picture. `contact`: where learners answer a removal."""
        self._database = database
        self._audit = audit
        self._jobs = jobs
        self._storage = storage
        self._screen = screen
        self._hide_weight = hide_weight
        self._contact = contact

    async def judge(self, picture: bytes) -> Verdict:
        """Return the verdict about a WebP, outside of transactions: `allow` without a screen, `review` if it fails."""
        if self._screen is None:
            return "allow"
        try:
            async with asyncio.timeout(SCREEN_TIMEOUT_SECONDS):
                return await self._screen.screen(picture)
        except Exception as error:
            # The vendor's failure is not the learner's: the picture is kept, and not shown.
            log.warning("picture_screen_failed error=%s: %s", type(error).__name__, error)
            return "review"

    async def list_waiting(self, *, limit: int, cursor: str | None = None) -> Page[WaitingPicture]:
        """Read a page of the pictures that wait for review, those that wait longest first; raise RequestInvalid."""
        rows = await self._read_waiting(limit + 1, after=pagination.decode(cursor) if cursor else _START)
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(rows[:limit], pagination.encode(last.waiting_since, last.user_id) if last else None)

    async def find_owner(self, url: str) -> uuid.UUID:
        """Find the learner whose picture has this address and waits for review; raise NotFound."""
        rows = await self._read_waiting(1, url=url)
        if not rows:
            raise errors.NotFound("No picture with this address waits for review.")
        return rows[0].user_id

    async def _read_waiting(
        self, limit: int, *, after: tuple[datetime, uuid.UUID] = _START, url: str | None = None
    ) -> list[WaitingPicture]:
        since, user_id = after
        parameters = {"minimum_weight": self._hide_weight, "since": since, "user_id": user_id, "url": url}
        async with self._database.transaction() as db:
            return [WaitingPicture(*row) for row in await db.execute(_WAITING, {**parameters, "limit": limit})]

    async def decide(
        self, actor_id: str | None, user_id: str, url: str, outcome: Outcome, note: str | None = None
    ) -> None:
        """Keep or remove the picture at an address, without an actor as an operator at the command line.

        Raises NotFound without such a learner, Forbidden for the own picture, and PictureNotWaiting where this picture
        is decided or replaced.
        """
        actor, owner = uuid.UUID(actor_id) if actor_id else None, uuid.UUID(user_id)
        values = {
            "avatar_held_at": None,
            "avatar_reviewed_at": sa.func.now(),
            "avatar_review_note": note,
            **({"avatar_url": None} if outcome == "remove" else {}),
        }
        # By its address: a picture that was replaced meanwhile is another one, which nobody has reviewed.
        waits = sa.text(f"NOT {is_shown_sql('profiles', self._hide_weight)}")
        this = sa.and_(col(Profile.user_id) == owner, col(Profile.avatar_url) == url, waits)
        async with self._database.transaction() as db:
            await lock_active_user(db, owner, absent=errors.NotFound)
            if actor == owner:
                raise errors.Forbidden("This is your own picture; another member of staff decides about it.")
            statement = sa.update(Profile).where(this).values(**values).returning(col(Profile.user_id))
            if (await db.execute(statement)).first() is None:
                raise errors.PictureNotWaiting()
            if outcome == "remove":
                if (key := self._storage.find_key(url)) is not None:
                    await self._jobs.enqueue(db, delete_object, key=key)
                await notifications.notify_user(db, owner, notification_templates.picture_removed(url, self._contact))
            await self._audit.write(db, actor, f"picture.{outcome}", owner)
