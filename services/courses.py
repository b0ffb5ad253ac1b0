"""Owns courses as far as they are sold: what there is, and who may take it."""

from __future__ import annotations

import uuid
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

import errors
from adapters.database import Database
from models import Course, Enrollment, Order
from services import paging
from services.paging import Page
from services.payments import PaymentsService
from services.sign_ins import lock


class Offer(NamedTuple):
    """A course, and whether the reader is enrolled in it."""

    course: Course
    enrolled: bool


class CoursesService:
    def __init__(self, database: Database, payments: PaymentsService) -> None:
        self._database = database
        self._payments = payments

    async def list_for(self, user_id: str, *, drafts: bool, limit: int, cursor: str | None) -> Page[Offer]:
        """Read a page of courses, newest first; with `drafts`, those that are not published too."""
        statement = _offers(user_id, drafts).order_by(col(Course.created_at).desc(), col(Course.id).desc())
        if cursor:
            statement = statement.where(
                sa.tuple_(col(Course.created_at), col(Course.id)) < sa.tuple_(*paging.decode(cursor))
            )
        async with self._database.transaction() as session:
            rows = [Offer(*row) for row in (await session.execute(statement.limit(limit + 1))).all()]
        return paging.page(rows, limit, lambda offer: (offer.course.created_at, offer.course.id))

    async def read_for(self, user_id: str, course_id: str, *, drafts: bool) -> Offer:
        """Read a course; raise NotFound, also for one that is not published unless `drafts` may be seen."""
        statement = _offers(user_id, drafts).where(col(Course.id) == uuid.UUID(course_id))
        async with self._database.transaction() as session:
            row = (await session.execute(statement)).first()
        if row is None:
            raise errors.NotFound()
        return Offer(*row)

    async def enroll(self, user_id: str, course_id: str) -> Order | None:
        """Enroll in a free course, answering None, or open the order of another.

        Raises NotFound, AlreadyEnrolled, and whatever `PaymentsService.checkout` does.
        """
        me, course_key = uuid.UUID(user_id), uuid.UUID(course_id)
        async with self._database.transaction() as session:
            user = await lock(session, me)
            if user is None or user.deleted_at is not None:
                raise errors.Unauthenticated()
            course = await session.get(Course, course_key)
            if course is None or not course.is_published:
                raise errors.NotFound()
            if course.price == 0:
                enrolled = await session.execute(
                    insert(Enrollment)
                    .values(id=uuid.uuid4(), user_id=me, course_id=course_key)
                    .on_conflict_do_nothing(constraint="enrollments_once_key")
                    .returning(col(Enrollment.id))
                )
                if enrolled.first() is None:
                    raise errors.AlreadyEnrolled()
                return None
        return await self._payments.checkout(user_id, course_id)


def _offers(user_id: str, drafts: bool) -> sa.Select[Course, bool]:
    enrolled = sa.exists().where(col(Enrollment.course_id) == Course.id, col(Enrollment.user_id) == uuid.UUID(user_id))
    return sa.select(Course, enrolled).where(sa.true() if drafts else col(Course.is_published))
