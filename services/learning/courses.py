"""Courses: the catalogue, enrollment, and their administration."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
import uuid
from collections.abc import Mapping
from typing import NamedTuple, NotRequired, TypedDict

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters import images
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.storage import Storage
from jobs import delete_folder, delete_object
from models import Course, EnglishLevel, Enrollment, Lesson, Order
from services.identity.user_rows import lock_active_user
from services.operations.audit import AuditService
from services.pagination import Page, read_page
from services.payments.checkout import CheckoutService
from wire import rest

#: Pixels of a thumbnail.
THUMBNAIL_PIXELS = (1280, 720)
#: Limit of an uploaded picture; equal to `x-max-bytes` of the contract.
MAX_THUMBNAIL_BYTES = 5 * 1024 * 1024
MAX_SLUG_LENGTH = 100


class NewCourse(TypedDict):
    """A course as administrators make it, by column name."""

    title: str
    price: int
    level: rest.Level
    slug: NotRequired[str]
    description: NotRequired[str]
    currency: NotRequired[str]
    is_published: NotRequired[bool]


class CourseChanges(TypedDict, total=False):
    """What administrators change of a course, by column name."""

    title: str
    price: int
    level: rest.Level
    slug: str
    description: str
    currency: str
    is_published: bool


class CourseListing(NamedTuple):
    """A course, and whether the reader is enrolled in it."""

    course: Course
    enrolled: bool


class CoursesService:
    def __init__(
        self, database: Database, checkout: CheckoutService, audit: AuditService, jobs: Jobs, storage: Storage
    ) -> None:
        self._database = database
        self._checkout = checkout
        self._audit = audit
        self._jobs = jobs
        self._storage = storage

    # --- Reading and enrolling ----------------------------------------------------------------------------

    async def list_courses(
        self, user_id: str | None, *, drafts: bool, limit: int, cursor: str | None
    ) -> Page[CourseListing]:
        """List a page of published courses, newest first; with `drafts`, unpublished ones too."""
        for_sale = sa.true() if drafts else col(Course.is_published)
        statement = _select_listings(user_id).where(for_sale)
        key = (col(Course.created_at), col(Course.id))
        async with self._database.transaction() as db:
            return await read_page(db, statement, key, limit=limit, cursor=cursor, build=CourseListing)

    async def read_course(self, user_id: str | None, course_id: str, *, drafts: bool) -> CourseListing:
        """Read a course; raise NotFound, also for one that is not visible to the user (None without a login)."""
        statement = _select_listings(user_id).where(
            col(Course.id) == uuid.UUID(course_id), is_visible_to(user_id, drafts=drafts)
        )
        async with self._database.transaction() as db:
            row = (await db.execute(statement)).first()
        if row is None:
            raise errors.NotFound()
        return CourseListing(*row)

    async def enroll(self, user_id: str, course_id: str) -> Order | None:
        """Enroll in a free course, answering None, or open the order of another.

        Raises NotFound, AlreadyEnrolled, and what `CheckoutService.start` raises.
        """
        me, course_key = uuid.UUID(user_id), uuid.UUID(course_id)
        async with self._database.transaction() as db:
            await lock_active_user(db, me)
            # Locked, so that it is not deleted meanwhile.
            course = await db.get(Course, course_key, with_for_update={"read": True, "key_share": True})
            if course is None or not course.is_published:
                raise errors.NotFound()
            if course.price == 0:
                enrolled = await db.execute(
                    insert(Enrollment)
                    .values(id=uuid.uuid4(), user_id=me, course_id=course_key)
                    .on_conflict_do_nothing(constraint="enrollments_once_key")
                    .returning(col(Enrollment.id))
                )
                if enrolled.first() is None:
                    raise errors.AlreadyEnrolled()
                return None
        return await self._checkout.start(user_id, course_id)

    # --- Administration -------------------------------------------------------------

    async def create(self, actor_id: str, fields: NewCourse) -> CourseListing:
        """Create a course of `fields` (by column name), which stays hidden until it is published; raise SlugTaken."""
        title, level = fields["title"], EnglishLevel(fields["level"])
        actor = uuid.UUID(actor_id)
        course = Course(title=title, slug=_make_slug(title), price=fields["price"], level=level, created_by=actor)
        course.sqlmodel_update({**fields, "level": level})
        try:
            async with self._database.transaction() as db:
                db.add(course)
                await db.flush()
                await self._audit.write(db, actor, "course.create", course.id, **select_audited_fields(fields))
        except IntegrityError:
            raise errors.SlugTaken() from None
        return CourseListing(course, False)

    async def update(self, actor_id: str, course_id: str, fields: CourseChanges) -> CourseListing:
        """Change the columns in `fields`; raise NotFound or SlugTaken. Orders keep their price."""
        changes: dict[str, object] = {**fields}
        if "level" in fields:
            changes["level"] = EnglishLevel(fields["level"])
        try:
            async with self._database.transaction() as db:
                changed = await db.execute(
                    sa.update(Course)
                    .where(col(Course.id) == uuid.UUID(course_id))
                    .values(**changes)
                    .returning(col(Course.id))
                )
                if changed.first() is None:
                    raise errors.NotFound()
                await self._audit.write(
                    db, uuid.UUID(actor_id), "course.update", uuid.UUID(course_id), **select_audited_fields(fields)
                )
        except IntegrityError:
            raise errors.SlugTaken() from None
        return await self.read_course(actor_id, course_id, drafts=True)

    async def remove(self, actor_id: str, course_id: str) -> None:
        """Delete a course without enrollments and orders, with its lessons; raise NotFound or CourseInUse."""
        async with self._database.transaction() as db:
            course = await lock_course(db, course_id)
            # Enrollments and orders refer to the locked row, so none is added after this check.
            for table in (Enrollment, Order):
                if (await db.exec(select(table.id).where(table.course_id == course.id).limit(1))).first():
                    raise errors.CourseInUse()
            await db.execute(sa.delete(Lesson).where(col(Lesson.course_id) == course.id))
            await db.execute(sa.delete(Course).where(col(Course.id) == course.id))
            await self._audit.write(db, uuid.UUID(actor_id), "course.delete", course.id)
            await self._enqueue_thumbnail_deletion(db, course)
            await enqueue_files_deletion(db, self._jobs, f"{course.id}/")

    async def set_thumbnail(self, actor_id: str, course_id: str, data: bytes) -> str:
        """Store a course's picture and return its URL; raise NotFound, UnsupportedMediaType, PayloadTooLarge.

        As with avatars, the new one is there before the course names it, and the old one goes after.
        """
        if len(data) > MAX_THUMBNAIL_BYTES:
            raise errors.PayloadTooLarge(f"the file may have {MAX_THUMBNAIL_BYTES} bytes at most")
        await self.read_course(actor_id, course_id, drafts=True)
        picture = await images.cover_webp(data, *THUMBNAIL_PIXELS)
        key = f"thumbnails/courses/{course_id}/{time.time_ns()}.webp"
        url = self._storage.public_url(key)
        async with self._storage.put_or_undo(key, picture, "image/webp"), self._database.transaction() as db:
            course = await lock_course(db, course_id)
            await self._enqueue_thumbnail_deletion(db, course)
            course.thumbnail_url = url
            db.add(course)
            await self._audit.write(db, uuid.UUID(actor_id), "course.thumbnail", course.id)
        return url

    async def _enqueue_thumbnail_deletion(self, db: AsyncSession, course: Course) -> None:
        key = self._storage.find_key(course.thumbnail_url) if course.thumbnail_url else None
        if key is not None:
            await self._jobs.enqueue(db, delete_object, key=key)


async def lock_course(db: AsyncSession, course_id: str) -> Course:
    """Lock a course; raise NotFound. Everything that changes its lessons, or their order, locks it."""
    statement = select(Course).where(Course.id == uuid.UUID(course_id)).with_for_update()
    course = (await db.exec(statement)).first()
    if course is None:
        raise errors.NotFound()
    return course


async def enqueue_files_deletion(db: AsyncSession, jobs: Jobs, below: str) -> None:
    """Enqueue the deletion of all videos and attachments of a course (`{course}/`) or lesson (`{course}/{lesson}/`)."""
    for folder in ("videos/courses", "attachments/courses"):
        await jobs.enqueue(db, delete_folder, prefix=f"{folder}/{below}")


def _make_slug(title: str) -> str:
    """Make a unique slug of a title."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.sub("[^a-z0-9]+", "-", plain).strip("-")[: MAX_SLUG_LENGTH - 7].rstrip("-")
    return "-".join(filter(None, (words, secrets.token_hex(3))))


def select_audited_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Select the fields that the audit log keeps of a change: all but the long texts."""
    return {name: value for name, value in fields.items() if name != "description"}


def is_visible_to(user_id: str | None, *, drafts: bool) -> sa.ColumnElement[bool]:
    """Return the condition under which a user may see a course and its lessons.

    It is published, or they are enrolled: unpublishing ends the sale of a course, not enrollments. With
    `drafts`, as administrators read, every course is visible.
    """
    return sa.true() if drafts else sa.or_(col(Course.is_published), _is_enrolled(user_id))


def _is_enrolled(user_id: str | None) -> sa.ColumnElement[bool]:
    if user_id is None:
        return sa.false()
    return sa.exists().where(col(Enrollment.course_id) == Course.id, col(Enrollment.user_id) == uuid.UUID(user_id))


def _select_listings(user_id: str | None) -> sa.Select[Course, bool]:
    return sa.select(Course, _is_enrolled(user_id))
