"""Lessons: their order, their attachments, and access to them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NotRequired, TypedDict

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.storage import Storage
from instants import utc_now
from jobs import delete_object
from models import Course, Enrollment, Lesson, LessonAttachment
from services.learning import courses
from services.operations.audit import AuditService

#: Limit of an attachment; equal to `x-max-bytes` of the contract.
MAX_ATTACHMENT_BYTES = 25 * 1024 * 1024
#: Equal to `maxItems` of the contract.
MAX_LESSONS_PER_COURSE, MAX_ATTACHMENTS_PER_LESSON = 1000, 100
#: How long a signed URL of an attachment is valid.
ATTACHMENT_LINK_EXPIRY = timedelta(minutes=10)
#: Content types that are declared to browsers, by the first bytes; all others are octet-stream.
_CONTENT_TYPE_BY_MAGIC = {b"%PDF-": "application/pdf", b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class NewLesson(TypedDict):
    """A lesson as administrators make it, by column name."""

    title: str
    description: NotRequired[str]
    is_free: NotRequired[bool]


class LessonChanges(TypedDict, total=False):
    """What administrators change of a lesson, by column name."""

    title: str
    description: str
    is_free: bool


@dataclass(frozen=True, slots=True)
class AttachmentDownload:
    """An attachment with a signed URL."""

    attachment: LessonAttachment
    url: str
    expires_at: datetime


class LessonsService:
    def __init__(self, database: Database, audit: AuditService, jobs: Jobs, storage: Storage) -> None:
        self._database = database
        self._audit = audit
        self._jobs = jobs
        self._storage = storage

    # --- Reading ----------------------------------------------------------------------------------

    async def list_lessons(self, user_id: str | None, course_id: str, *, drafts: bool) -> list[Lesson]:
        """List a course's lessons in their order; raise NotFound as the course does."""
        key = uuid.UUID(course_id)
        seen = courses.is_visible_to(user_id, drafts=drafts)
        async with self._database.transaction() as db:
            if (await db.exec(select(Course.id).where(Course.id == key, seen))).first() is None:
                raise errors.NotFound()
            statement = select(Lesson).where(Lesson.course_id == key).order_by(col(Lesson.order_index))
            return list((await db.exec(statement)).all())

    async def read(self, user_id: str, lesson_id: str, *, drafts: bool) -> Lesson:
        """Read a lesson; raise NotFound, also for one of a course that the user may not see."""
        async with self._database.transaction() as db:
            return await read_visible_lesson(db, lesson_id, user_id=user_id, drafts=drafts)

    # --- Administration ------------------------------------------------------------

    async def add(self, actor_id: str, course_id: str, fields: NewLesson) -> Lesson:
        """Add a lesson at the end of a course; raise NotFound, or RequestInvalid where the course is full."""
        async with self._database.transaction() as db:
            course = await courses.lock_course(db, course_id)
            there = sa.select(sa.func.count(), sa.func.max(Lesson.order_index)).where(
                col(Lesson.course_id) == course.id
            )
            count, order_index = (await db.execute(there)).one()
            if count >= MAX_LESSONS_PER_COURSE:
                raise errors.RequestInvalid(f"a course has {MAX_LESSONS_PER_COURSE} lessons at most; delete one first")
            lesson = Lesson(course_id=course.id, order_index=0 if order_index is None else order_index + 1, **fields)
            db.add(lesson)
            await db.flush()
            await self._audit.write(db, uuid.UUID(actor_id), "lesson.create", lesson.id, course=course_id)
        return lesson

    async def update(self, actor_id: str, lesson_id: str, fields: LessonChanges) -> Lesson:
        """Change the columns in `fields`; raise NotFound."""
        async with self._database.transaction() as db:
            changed = await db.execute(
                sa.update(Lesson).where(col(Lesson.id) == uuid.UUID(lesson_id)).values(**fields).returning(Lesson)
            )
            lesson: Lesson | None = changed.scalars().first()
            if lesson is None:
                raise errors.NotFound()
            await self._audit.write(
                db, uuid.UUID(actor_id), "lesson.update", lesson.id, **courses.select_audited_fields(fields)
            )
        return lesson

    async def reorder(self, actor_id: str, course_id: str, lesson_ids: list[str]) -> list[Lesson]:
        """Order a course's lessons as they are named; raise NotFound, or LessonsDiffer."""
        wanted = [uuid.UUID(each) for each in lesson_ids]
        async with self._database.transaction() as db:
            course = await courses.lock_course(db, course_id)
            there = (await db.exec(select(Lesson.id).where(Lesson.course_id == course.id))).all()
            if len(wanted) != len(there) or set(wanted) != set(there):
                raise errors.LessonsDiffer()
            if wanted:
                positions = {lesson_id: index for index, lesson_id in enumerate(wanted)}
                await db.execute(
                    sa.update(Lesson)
                    .where(col(Lesson.course_id) == course.id)
                    .values(order_index=sa.case(positions, value=col(Lesson.id)))
                )
            await self._audit.write(db, uuid.UUID(actor_id), "lesson.reorder", course.id)
        return await self.list_lessons(actor_id, course_id, drafts=True)

    async def remove(self, actor_id: str, lesson_id: str) -> None:
        """Delete a lesson with its progress, its files and its video; raise NotFound."""
        async with self._database.transaction() as db:
            deleted = await db.execute(
                sa.delete(Lesson).where(col(Lesson.id) == uuid.UUID(lesson_id)).returning(col(Lesson.course_id))
            )
            course_id = deleted.scalars().first()
            if course_id is None:
                raise errors.NotFound()
            await self._audit.write(
                db, uuid.UUID(actor_id), "lesson.delete", uuid.UUID(lesson_id), course=str(course_id)
            )
            await courses.enqueue_files_deletion(db, self._jobs, f"{course_id}/{lesson_id}/")

    # --- Attachments ----------------------------------------------------------------------------------

    async def attach(self, actor_id: str, lesson_id: str, name: str, data: bytes) -> AttachmentDownload:
        """Store a file that belongs to a lesson.

        Raises NotFound, PayloadTooLarge, Unavailable, and RequestInvalid where the lesson has no room for a file more.
        """
        if len(data) > MAX_ATTACHMENT_BYTES:
            raise errors.PayloadTooLarge(f"the file may have {MAX_ATTACHMENT_BYTES} bytes at most")
        lesson = await self.read(actor_id, lesson_id, drafts=True)
        kind = next((kind for start, kind in _CONTENT_TYPE_BY_MAGIC.items() if data.startswith(start)), None)
        row = LessonAttachment(
            lesson_id=lesson.id,
            name=name,
            content_type=kind or "application/octet-stream",
            size=len(data),
            key="",
        )
        row.key = f"attachments/courses/{lesson.course_id}/{lesson.id}/{row.id}"
        async with self._storage.put_or_undo(row.key, data, row.content_type), self._database.transaction() as db:
            # Not deleted meanwhile, and one file at a time, so that they are counted right.
            if await db.get(Lesson, lesson.id, with_for_update={"key_share": True}) is None:
                raise errors.NotFound()
            files = sa.select(sa.func.count()).where(col(LessonAttachment.lesson_id) == lesson.id)
            if (await db.execute(files)).scalar_one() >= MAX_ATTACHMENTS_PER_LESSON:
                limit = MAX_ATTACHMENTS_PER_LESSON
                raise errors.RequestInvalid(f"a lesson has {limit} attachments at most; delete one first")
            db.add(row)
            await self._audit.write(db, uuid.UUID(actor_id), "lesson.attach", lesson.id, file=str(row.id))
        return self._sign_download(row)

    async def list_attachments(self, user_id: str, lesson_id: str, *, drafts: bool) -> list[AttachmentDownload]:
        """List a lesson's attachments with signed URLs; raise NotFound or NotEnrolled."""
        async with self._database.transaction() as db:
            lesson = await read_accessible_lesson(db, user_id, lesson_id, drafts=drafts)
            statement = select(LessonAttachment).where(LessonAttachment.lesson_id == lesson.id)
            rows = (await db.exec(statement.order_by(col(LessonAttachment.created_at)))).all()
        return [self._sign_download(row) for row in rows]

    async def detach(self, actor_id: str, lesson_id: str, attachment_id: str) -> None:
        """Remove a file from a lesson; raise NotFound."""
        async with self._database.transaction() as db:
            deleted = await db.execute(
                sa.delete(LessonAttachment)
                .where(
                    col(LessonAttachment.id) == uuid.UUID(attachment_id),
                    col(LessonAttachment.lesson_id) == uuid.UUID(lesson_id),
                )
                .returning(col(LessonAttachment.key))
            )
            key = deleted.scalars().first()
            if key is None:
                raise errors.NotFound()
            await self._jobs.enqueue(db, delete_object, key=key)
            await self._audit.write(db, uuid.UUID(actor_id), "lesson.detach", uuid.UUID(lesson_id), file=attachment_id)

    def _sign_download(self, row: LessonAttachment) -> AttachmentDownload:
        url = self._storage.signed_url(row.key, ATTACHMENT_LINK_EXPIRY, download_as=row.name)
        return AttachmentDownload(row, url, utc_now() + ATTACHMENT_LINK_EXPIRY)


async def read_visible_lesson(
    db: AsyncSession, lesson_id: str, *, user_id: str | None = None, drafts: bool, lock: bool = False
) -> Lesson:
    """Read a lesson; raise NotFound, also for one of a course that is not visible to the user."""
    statement = (
        select(Lesson)
        .join(Course, col(Course.id) == col(Lesson.course_id))
        .where(Lesson.id == uuid.UUID(lesson_id), courses.is_visible_to(user_id, drafts=drafts))
    )
    if lock:  # it may change meanwhile, but not be deleted
        statement = statement.with_for_update(read=True, key_share=True, of=Lesson)
    lesson = (await db.exec(statement)).first()
    if lesson is None:
        raise errors.NotFound()
    return lesson


async def read_accessible_lesson(
    db: AsyncSession, user_id: str, lesson_id: str, *, drafts: bool, lock: bool = False
) -> Lesson:
    """Read a lesson that is free, or of a course that the user is enrolled in; raise NotFound, NotEnrolled."""
    lesson = await read_visible_lesson(db, lesson_id, user_id=user_id, drafts=drafts, lock=lock)
    if not (drafts or lesson.is_free):
        enrolled = select(Enrollment.id).where(
            Enrollment.user_id == uuid.UUID(user_id), Enrollment.course_id == lesson.course_id
        )
        if (await db.exec(enrolled)).first() is None:
            raise errors.NotEnrolled()
    return lesson
