"""Demo data of one deployment, written in one transaction."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import sqlalchemy as sa
from PIL import Image
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.ffmpeg import Ffmpeg
from adapters.passwords import Passwords
from container import Container
from devtools.demo_data.calls import make_blocks, make_calls, make_ratings, make_skills
from devtools.demo_data.courses import get_free_lesson, make_courses, make_enrollments, make_lessons, make_progress
from devtools.demo_data.notifications import make_notifications
from devtools.demo_data.orders import add_refunds, make_orders
from devtools.demo_data.people import EMAIL_DOMAIN, make_people, sort_by_calls
from devtools.demo_data.reports import ADMIN_NOTES, APPEAL_TEXT, WARNING_FACTS, make_reports
from instants import utc_now
from models import (
    Appeal,
    Profile,
    Report,
    ReportStatus,
    Role,
    SanctionGround,
    SanctionKind,
    User,
)
from services.safety.report_evidence import read_pending, store_weights
from services.safety.report_weights import assess
from services.safety.reports import set_flag
from services.safety.sanctions import SanctionOrder
from settings import Settings

#: One seeding at a time.
ADVISORY_LOCK_ID = 5503_0003
VIDEO_SECONDS = 4


@dataclass(frozen=True, slots=True)
class Demo:
    """Counts of what was made, and the credentials: one password for all accounts."""

    learners: int
    calls: int
    ratings: int
    reports: int
    blocks: int
    courses: int
    orders: int
    password: str
    learner_email: str
    #: None where there was an administrator already.
    admin_email: str | None
    #: Whether the free lesson's video was uploaded; False where storage does not answer.
    has_video: bool


class DemoData:
    """Demo data of one deployment, written through its services."""

    def __init__(self, services: Container) -> None:
        self._settings = services.settings
        self._database = services.database
        self._audit = services.audit
        self._sanctions = services.sanctions
        self._uploads = services.uploads
        self._profiles = services.profiles

    async def fill(self, learners: int, seed: int) -> Demo:
        """Make demo data, all of it or none; raise Refused where there is some already."""
        rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
        password = secrets.token_urlsafe(9)
        password_hash = await _hash_password(self._settings, password)
        async with self._database.transaction() as db:
            await db.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK_ID)))
            there = select(User.id).where(col(User.email).endswith(EMAIL_DOMAIN, autoescape=True)).limit(1)
            if (await db.exec(there)).first() is not None:
                raise errors.Refused("the database has demo data already; seed an empty database")
            admin, made_admin = await self._find_or_create_admin(db, password_hash)
            taken = {name.lower() for name in (await db.exec(select(Profile.username))).all() if name}
            people = make_people(rng, learners, password_hash, taken)
            calls = make_calls(rng, people)
            ratings = make_ratings(rng, calls)
            reports = make_reports(rng, calls)
            blocks = make_blocks(ratings)
            courses = make_courses(rng, admin)
            orders = make_orders(rng, people, courses)
            enrollments = list(make_enrollments(rng, people, courses, orders))
            lessons = make_lessons(rng, courses)
            progress = list(make_progress(rng, enrollments, lessons))
            groups: tuple[list[SQLModel], ...] = (
                [each.user for each in people],
                [each.profile for each in people],
                [*calls],
                [*ratings, *make_skills(people, ratings), *reports, *blocks, *courses],
                [*orders, *lessons],
                [*enrollments, *progress],
                [*make_notifications(rng, people, calls, orders, reports, admin)],
            )
            for group in groups:  # rows that others refer to go first
                db.add_all(group)
                await db.flush()
            await self._review_reports(db, admin, reports)
            await add_refunds(db, rng, orders, self._audit, admin)
            for reported in {each.reported_id for each in reports}:
                pending = await read_pending(db, reported)
                assessment = assess(pending.evidence, pending.partners)
                await store_weights(db, pending, assessment.rank)
                is_flagged = assessment.total >= self._settings.report_flag_weight
                await set_flag(db, await db.get_one(User, reported), is_flagged=is_flagged)
            lesson_id = get_free_lesson(courses, lessons).id  # free, so that every learner can watch it
        video = await self._upload_video(str(admin.id), str(lesson_id))
        most_active, second, *_ = sort_by_calls(people)
        await self._upload_picture(second.user)
        return Demo(
            len(people),
            len(calls),
            len(ratings),
            len(reports),
            len(blocks),
            len(courses),
            len(orders),
            password,
            most_active.user.email,
            admin.email if made_admin else None,
            video,
        )

    async def _upload_video(self, admin_id: str, lesson_id: str) -> bool:
        """Upload a test picture as a lesson's video, as an administrator does; return whether storage was reachable."""
        video = await Ffmpeg(self._settings).test_picture(VIDEO_SECONDS)

        async def body() -> AsyncIterator[bytes]:
            yield video

        try:
            await self._uploads.put(admin_id, lesson_id, body(), len(video))
        except errors.Unavailable:
            return False
        return True

    async def _upload_picture(self, user: User) -> None:
        """Upload a picture, as its owner does, and let it wait for review, where storage answers and no gate is on."""
        picture = BytesIO()
        Image.new("RGB", (400, 400), "#2457c5").save(picture, "PNG")
        with suppress(errors.Unavailable, errors.GateClosed):
            await self._profiles.set_avatar(str(user.id), picture.getvalue())
            async with self._database.transaction() as db:
                profile = await db.get_one(Profile, user.id)
                profile.avatar_held_at = utc_now()

    async def _find_or_create_admin(self, db: AsyncSession, password_hash: str) -> tuple[User, bool]:
        there = select(User).where(User.role == Role.ADMIN).order_by(col(User.created_at)).limit(1)
        if (admin := (await db.exec(there)).first()) is not None:
            return admin, False
        admin = User(email=f"admin{EMAIL_DOMAIN}", password_hash=password_hash, role=Role.ADMIN, is_verified=True)
        db.add(admin)
        await db.flush()
        db.add(Profile(user_id=admin.id))
        await self._audit.write(db, None, "admin.create", admin.id)
        return admin, True

    async def _review_reports(self, db: AsyncSession, admin: User, reports: list[Report]) -> None:
        """Review the reports as an administrator does, with the entries of the audit log."""
        for report in reports:
            if report.status is ReportStatus.PENDING:
                continue
            report.admin_note = ADMIN_NOTES[report.status]
            banned = report.status is ReportStatus.ACTIONED
            if banned:
                report.actioned_at = utc_now()
                user = await db.get_one(User, report.reported_id)
                order = SanctionOrder(
                    SanctionKind.BAN, SanctionGround(report.reason.value), report.admin_note, report_id=report.id
                )
                await self._sanctions.ban_within(db, admin.id, user, order)
            elif report.status is ReportStatus.REVIEWED:
                await self._warn(db, admin, report)
            db.add(report)
            outcome = {"before": ReportStatus.PENDING.value, "after": report.status.value, "banned": banned}
            await self._audit.write(db, admin.id, "report.review", report.id, **outcome)

    async def _warn(self, db: AsyncSession, admin: User, report: Report) -> None:
        """Warn the reported learner, who appeals."""
        user = await db.get_one(User, report.reported_id)
        order = SanctionOrder(
            SanctionKind.WARNING, SanctionGround(report.reason.value), WARNING_FACTS, report_id=report.id
        )
        warning, _ = await self._sanctions.issue_within(db, admin.id, user, order)
        db.add(Appeal(sanction_id=warning.id, issued_by=admin.id, text=APPEAL_TEXT))


async def _hash_password(settings: Settings, password: str) -> str:
    passwords = Passwords(settings.bcrypt_rounds)
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()
