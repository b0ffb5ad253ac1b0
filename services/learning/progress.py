"""Progress of learners: enrollments, and positions in each course."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

import errors
from adapters.database import Database
from instants import utc_now
from models import Course, Enrollment, Lesson, LessonProgress
from services.identity.user_rows import lock_active_user
from services.learning.courses import is_visible_to
from services.learning.lessons import read_accessible_lesson
from services.pagination import Page, read_page


class CourseEnrollment(NamedTuple):
    """An enrollment with its course, and how many of its lessons are completed."""

    course: Course
    enrollment_id: uuid.UUID
    enrolled_at: datetime
    lessons: int
    completed: int


@dataclass(frozen=True, slots=True)
class CourseProgress:
    """Progress in a course: each lesson in order, with its row, which exists once the lesson was begun."""

    course_id: uuid.UUID
    lessons: list[tuple[Lesson, LessonProgress | None]]

    @property
    def completed(self) -> int:
        return sum(1 for _, row in self.lessons if row is not None and row.completed)

    @property
    def resume_lesson_id(self) -> uuid.UUID | None:
        """Return the lesson to resume: the last one watched, or the next one if that is completed."""
        begun = [(row.updated_at, index) for index, (_, row) in enumerate(self.lessons) if row is not None]
        start = max(begun)[1] if begun else 0
        for lesson, row in [*self.lessons[start:], *self.lessons[:start]]:
            if row is None or not row.completed:
                return lesson.id
        return None


class ProgressService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_enrollments(self, user_id: str, *, limit: int, cursor: str | None) -> Page[CourseEnrollment]:
        """List a page of a user's enrollments, newest first, also of courses unpublished since."""
        me = uuid.UUID(user_id)
        lessons = sa.select(sa.func.count()).select_from(Lesson).where(col(Lesson.course_id) == Course.id)
        done = sa.exists().where(
            col(LessonProgress.lesson_id) == Lesson.id, col(LessonProgress.user_id) == me, col(LessonProgress.completed)
        )
        statement = (
            sa.select(
                Course,
                col(Enrollment.id),
                col(Enrollment.enrolled_at),
                lessons.scalar_subquery(),
                lessons.where(done).scalar_subquery(),
            )
            .join(Enrollment, col(Enrollment.course_id) == Course.id)
            .where(col(Enrollment.user_id) == me)
        )
        key = (col(Enrollment.enrolled_at), col(Enrollment.id))
        async with self._database.transaction() as db:
            return await read_page(db, statement, key, limit=limit, cursor=cursor, build=CourseEnrollment)

    async def get_progress(self, user_id: str, course_id: str) -> CourseProgress:
        """Read a user's progress in a course; raise NotFound, also for one that they may not see."""
        key = uuid.UUID(course_id)
        mine = sa.and_(
            col(LessonProgress.lesson_id) == col(Lesson.id), col(LessonProgress.user_id) == uuid.UUID(user_id)
        )
        async with self._database.transaction() as db:
            visible = select(Course.id).where(Course.id == key, is_visible_to(user_id, drafts=False))
            if (await db.exec(visible)).first() is None:
                raise errors.NotFound()
            found = await db.execute(
                sa.select(Lesson, LessonProgress)
                .join(LessonProgress, mine, isouter=True)
                .where(col(Lesson.course_id) == key)
                .order_by(col(Lesson.order_index))
            )
            return CourseProgress(key, [(lesson, row) for lesson, row in found.all()])

    async def record_position(self, user_id: str, lesson_id: str, seconds: int) -> LessonProgress:
        """Record how far a lesson was watched: never less than before, nor more than its length.

        Raises as `read_accessible_lesson` does.
        """
        return await self._write(user_id, lesson_id, seconds=seconds)

    async def complete(self, user_id: str, lesson_id: str) -> LessonProgress:
        """Record that a lesson is completed, once; raise as `read_accessible_lesson` does."""
        return await self._write(user_id, lesson_id, completed_at=utc_now())

    async def _write(
        self, user_id: str, lesson_id: str, *, seconds: int = 0, completed_at: datetime | None = None
    ) -> LessonProgress:
        me = uuid.UUID(user_id)
        async with self._database.transaction() as db:
            # Locked, so that nothing is written about an account that is being deleted.
            await lock_active_user(db, me)
            lesson = await read_accessible_lesson(db, user_id, lesson_id, drafts=False, lock=True)
            if lesson.duration_secs is not None:
                seconds = min(seconds, lesson.duration_secs)
            new = insert(LessonProgress).values(
                id=uuid.uuid4(),
                user_id=me,
                lesson_id=lesson.id,
                watch_seconds=seconds,
                completed=completed_at is not None,
                completed_at=completed_at,
            )
            completed = sa.func.coalesce(LessonProgress.completed_at, new.excluded.completed_at)
            written = await db.execute(
                new.on_conflict_do_update(
                    constraint="lesson_progress_once_key",
                    set_={
                        "watch_seconds": sa.func.greatest(LessonProgress.watch_seconds, new.excluded.watch_seconds),
                        "completed_at": completed,
                        "completed": completed.is_not(None),
                        "updated_at": utc_now(),
                    },
                ).returning(LessonProgress)
            )
            progress: LessonProgress = written.scalars().one()
        return progress
