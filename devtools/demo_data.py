"""Owns demo data: learners who could exist, the weeks they have practised, what they bought: no list is empty.

The same seed makes the same people and the same weeks, counted back from now.
"""

from __future__ import annotations

import random
import secrets
import unicodedata
import uuid
import zoneinfo
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.ffmpeg import Ffmpeg
from adapters.passwords import Passwords
from container import Container
from models import (
    Block,
    CallSession,
    Course,
    EndedBy,
    EnglishLevel,
    Enrollment,
    LearningGoal,
    Lesson,
    LessonProgress,
    Level,
    Notification,
    Order,
    OrderStatus,
    Profile,
    ProviderName,
    Refund,
    RefundStatus,
    Report,
    ReportReason,
    ReportStatus,
    Role,
    SessionRating,
    User,
)
from models.columns import now
from services.calls import streaks
from services.messaging import notification_templates
from services.messaging.notification_templates import Notice
from services.operations.audit import AuditService
from services.safety.reports import flag
from settings import Settings

_WEEKS = 6
#: By which demo accounts are known; the domain is reserved (RFC 2606) and takes no mail.
_DOMAIN = ".demo@example.com"
#: One seeding at a time.
_LOCK = 5503_0003

#: Country, language, time zone, and names that are common there.
_PLACES = [
    ("BR", "pt-BR", "America/Sao_Paulo", "Ana João Beatriz Lucas Larissa Rafael", "Silva Souza Oliveira Costa"),
    ("JP", "ja", "Asia/Tokyo", "Yuki Haruto Sakura Ren Aoi Daiki", "Sato Suzuki Tanaka Watanabe"),
    ("IN", "hi", "Asia/Kolkata", "Priya Arjun Ananya Rohan Kavya Vikram", "Sharma Patel Gupta Reddy"),
    ("ES", "es", "Europe/Madrid", "Lucía Hugo Carmen Pablo Marta Javier", "García Fernández López Romero"),
    ("MX", "es-MX", "America/Mexico_City", "Valentina Diego Ximena Emiliano Regina Mateo", "Hernández Ramírez Torres"),
    ("TR", "tr", "Europe/Istanbul", "Elif Mehmet Zeynep Emre Defne Can", "Yılmaz Kaya Demir Şahin"),
    ("PL", "pl", "Europe/Warsaw", "Zofia Jakub Maja Kacper Hanna Michał", "Nowak Kowalska Wójcik Zielińska"),
    ("VN", "vi", "Asia/Ho_Chi_Minh", "Linh Minh Trang Huy Lan Nam", "Nguyễn Trần Phạm Hoàng"),
    ("EG", "ar", "Africa/Cairo", "Mariam Omar Nour Youssef Salma Karim", "Hassan Ibrahim Mahmoud Farouk"),
    ("UA", "uk", "Europe/Kyiv", "Olena Andriy Daryna Taras Iryna Bohdan", "Shevchenko Bondarenko Kovalenko"),
    ("ID", "id", "Asia/Jakarta", "Dewi Budi Putri Agus Sari Rizky", "Wijaya Santoso Pratama Halim"),
    ("DE", "de", "Europe/Berlin", "Lena Jonas Mia Felix Emma Paul", "Müller Schmidt Fischer Weber"),
    ("NP", "ne", "Asia/Kathmandu", "Asha Bibek Sunita Prakash Maya Suraj", "Thapa Gurung Shrestha Rai"),
    ("CO", "es-CO", "America/Bogota", "Isabella Santiago Camila Andrés Daniela Felipe", "Rodríguez Gómez Vargas"),
]
_BIOS = {
    LearningGoal.FLUENCY: "I understand films but lose my words when I speak. Patient partners welcome!",
    LearningGoal.BUSINESS: "I have calls with customers abroad every week and want to sound like myself in them.",
    LearningGoal.TRAVEL: "Planning a long trip. I would love to hear about the place you live in.",
    LearningGoal.EXAM: "My speaking exam is this autumn. Ask me anything, and stop me when I make mistakes.",
}
_TOPICS = ["travel", "food", "work", "films", "music", "sport", "books", "family", "technology", "weekend"]
#: Title, description, price in the smallest unit of rupees, level. The last one is being written.
_COURSES = [
    ("Small talk that works", "Begin, keep going, and end without a pause.", 49900, EnglishLevel.BEGINNER),
    ("First words on the phone", "Spelling names, asking again, taking a number.", 0, EnglishLevel.BEGINNER),
    ("Meetings without fear", "Disagree politely, ask for the floor, sum up.", 149900, EnglishLevel.INTERMEDIATE),
    ("Travel in English", "From the check-in desk to the lost suitcase.", 79900, EnglishLevel.INTERMEDIATE),
    ("The speaking exam", "All three parts, with the examiner's questions.", 199900, EnglishLevel.ADVANCED),
    ("Telling a good story", "Tension, timing and the last line.", 99900, EnglishLevel.ADVANCED),
]
#: Titles and texts of the lessons that each course has; the first is free to try.
_LESSONS = [
    ("Where we begin", "What you can say already, and what you will be able to say."),
    ("Listen first", "Two people talk; you notice the turns they take."),
    ("Say it after me", "The sentences that carry the most, slowly, then at speed."),
    ("Your turn", "A conversation with gaps: you fill them aloud."),
]
_VIDEO_SECONDS = 4
#: What becomes of one order after the other.
_FATES = (
    [OrderStatus.PAID, OrderStatus.EXPIRED, OrderStatus.REFUNDED, OrderStatus.PAID, OrderStatus.FAILED]
    + [OrderStatus.PAID] * 5
)  # fmt: skip
_NOTES = {
    ReportStatus.REVIEWED: "Spoke to both; nothing more to do.",
    ReportStatus.ACTIONED: "Third time. Banned.",
    ReportStatus.DISMISSED: "A misunderstanding, says the reporter.",
}
_COMPLAINTS = {
    ReportReason.HARASSMENT: "Shouted at me when I did not understand.",
    ReportReason.SPAM: "Tried to sell me a course for the whole call.",
    ReportReason.INAPPROPRIATE: "Asked for my private number again and again.",
    ReportReason.OTHER: "Only played loud music.",
}


@dataclass(frozen=True, slots=True)
class Demo:
    """What was made, and how to sign in: one password for all of them."""

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


@dataclass(slots=True)
class _Person:
    user: User
    profile: Profile
    #: How likely a call is on a day.
    zeal: float


class DemoData:
    """Demo data of one deployment, written through its services."""

    def __init__(self, services: Container) -> None:
        self._settings = services.settings
        self._database = services.database
        self._audit = services.audit
        self._bans = services.bans
        self._uploads = services.uploads

    async def fill(self, learners: int, seed: int) -> Demo:
        """Make demo data, all of it or none; raise Refused where there is some already."""
        chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        password = secrets.token_urlsafe(9)
        password_hash = await _hash_password(self._settings, password)
        async with self._database.transaction() as db:
            await db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            there = select(User.id).where(col(User.email).endswith(_DOMAIN, autoescape=True)).limit(1)
            if (await db.exec(there)).first() is not None:
                raise errors.Refused("the demo data is there already; seed an empty database to have it anew")
            admin, made_admin = await self._admin(db, password_hash)
            taken = {name.lower() for name in (await db.exec(select(Profile.username))).all() if name}
            people = _people(chance, learners, password_hash, taken)
            calls = _calls(chance, people)
            ratings = _ratings(chance, calls)
            reports = _reports(chance, calls)
            blocks = _blocks(ratings)
            courses = _courses(chance, admin)
            orders = _orders(chance, people, courses)
            enrollments = list(_enrollments(chance, people, courses, orders))
            lessons = _lessons(chance, courses)
            progress = list(_progress(chance, enrollments, lessons))
            groups: tuple[list[SQLModel], ...] = (
                [each.user for each in people],
                [each.profile for each in people],
                [*calls],
                [*ratings, *reports, *blocks, *courses],
                [*orders, *lessons],
                [*enrollments, *progress],
                [*_notifications(chance, people, calls, orders, reports, admin)],
            )
            for group in groups:  # rows that others refer to go first
                db.add_all(group)
                await db.flush()
            await self._settle(db, admin, reports)
            await _refund(db, chance, orders, self._audit, admin)
            for reported in {each.reported_id for each in reports}:
                await flag(db, await db.get_one(User, reported))
            filmed = _free_course_lesson(courses, lessons).id  # free, so that every learner can watch it
        video = await self._upload_video(str(admin.id), str(filmed))
        keen = _keenest_first(people)[0]
        return Demo(
            len(people),
            len(calls),
            len(ratings),
            len(reports),
            len(blocks),
            len(courses),
            len(orders),
            password,
            keen.user.email,
            admin.email if made_admin else None,
            video,
        )

    async def _upload_video(self, admin_id: str, lesson_id: str) -> bool:
        """Upload a test picture as a lesson's video, as an administrator does; return whether storage took it."""
        video = await Ffmpeg(self._settings).test_picture(_VIDEO_SECONDS)

        async def body() -> AsyncIterator[bytes]:
            yield video

        try:
            await self._uploads.put(admin_id, lesson_id, body(), len(video))
        except errors.Unavailable:
            return False
        return True

    async def _admin(self, db: AsyncSession, password_hash: str) -> tuple[User, bool]:
        there = select(User).where(User.role == Role.ADMIN).order_by(col(User.created_at)).limit(1)
        if (admin := (await db.exec(there)).first()) is not None:
            return admin, False
        admin = User(email=f"admin{_DOMAIN}", password_hash=password_hash, role=Role.ADMIN, is_verified=True)
        db.add(admin)
        await db.flush()
        db.add(Profile(user_id=admin.id))
        await self._audit.write(db, None, "admin.create", admin.id)
        return admin, True

    async def _settle(self, db: AsyncSession, admin: User, reports: list[Report]) -> None:
        """Do what an administrator did about the reports, with the entries that it leaves in the audit log."""
        for report in reports:
            if report.status is ReportStatus.PENDING:
                continue
            report.admin_note = _NOTES[report.status]
            banned = report.status is ReportStatus.ACTIONED
            if banned:
                report.actioned_at = now()
                user = await db.get_one(User, report.reported_id)
                await self._bans.ban_within(db, admin.id, user, report.admin_note)
            db.add(report)
            outcome = {"before": ReportStatus.PENDING.value, "after": report.status.value, "banned": banned}
            await self._audit.write(db, admin.id, "report.review", report.id, **outcome)


async def _hash_password(settings: Settings, password: str) -> str:
    passwords = Passwords(settings.bcrypt_rounds)
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()


def _id(chance: random.Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=4)


def _people(chance: random.Random, count: int, password_hash: str, taken: set[str]) -> list[_Person]:
    people: list[_Person] = []
    emails: set[str] = set()
    joined = now() - timedelta(weeks=_WEEKS)
    while len(people) < count:
        country, language, zone, firsts, lasts = chance.choice(_PLACES)
        first, last = chance.choice(firsts.split()), chance.choice(lasts.split())
        plain = _plain(f"{first}.{last}")
        name, number = plain, 1
        while name.replace(".", "_") in taken or name in emails:
            number += 1
            name = f"{plain}{number}"
        emails.add(name)
        taken.add(name.replace(".", "_"))
        goal = chance.choice(list(LearningGoal))
        began = joined + timedelta(days=chance.triangular(0, _WEEKS * 7 - 3, 0), hours=chance.uniform(0, 24))
        user = User(
            id=_id(chance),
            email=f"{name}{_DOMAIN}",
            password_hash=password_hash,
            is_verified=chance.random() < 0.8,
            created_at=began,
        )
        profile = Profile(
            user_id=user.id,
            username=name.replace(".", "_"),
            display_name=f"{first} {last[0]}." if chance.random() < 0.6 else first,
            bio=_BIOS[goal] if chance.random() < 0.7 else None,
            native_language=language,
            english_level=chance.choices(list(EnglishLevel), weights=[3, 5, 2])[0],
            learning_goal=goal,
            country=country,
            timezone=zone,
            created_at=began,
            last_active_at=began,
        )
        people.append(_Person(user, profile, chance.betavariate(2, 3)))
    return people


def _plain(name: str) -> str:
    """ASCII letters alone, in lower case."""
    letters = name.lower().translate(str.maketrans("ıłđ", "ild"))
    return unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode()


def _calls(chance: random.Random, people: list[_Person]) -> list[CallSession]:
    """Evenings of calls; whoever is in one is in no other. Counts them for both, in the order in which they ended."""
    today = now()
    wishes: list[tuple[datetime, _Person]] = []
    for person in people:
        zone = zoneinfo.ZoneInfo(person.profile.timezone or "UTC")
        for day in range(_WEEKS * 7 + 1):
            wall = (today - timedelta(days=day)).astimezone(zone)
            at = wall.replace(hour=chance.choice([7, 12, 18, 19, 20, 21, 22]), minute=chance.randrange(60), second=0)
            if chance.random() < person.zeal and person.user.created_at < at < today - timedelta(hours=1):
                wishes.append((at.astimezone(today.tzinfo), person))
    free_from: dict[uuid.UUID, datetime] = {}
    calls: list[CallSession] = []
    by_id = {person.user.id: person for person in people}
    for began, person in sorted(wishes, key=lambda wish: (wish[0], wish[1].user.id)):
        partner = chance.choices(people, weights=[each.zeal for each in people])[0]
        both = (person, partner)
        there = all(each.user.created_at < began and free_from.get(each.user.id, began) <= began for each in both)
        if partner is person or not there:
            continue
        became_call = chance.random() < 0.92
        connected = began + timedelta(seconds=chance.uniform(2, 15)) if became_call else None
        seconds = int(min(7200, chance.lognormvariate(6.4, 0.8))) if became_call else 0
        ended = (connected or began) + timedelta(seconds=seconds or chance.uniform(5, 20))
        if ended > today:
            continue
        own_level: Level = person.profile.english_level.value if person.profile.english_level else "all"
        levels: list[Level] = ["all", "all", own_level]
        calls.append(
            CallSession(
                id=_id(chance),
                room_id=str(_id(chance)),
                user_a_id=person.user.id,
                user_b_id=partner.user.id,
                topic=chance.choice(_TOPICS) if chance.random() < 0.6 else None,
                level=chance.choice(levels),
                started_at=began,
                connected_at=connected,
                ended_at=ended,
                duration_seconds=seconds,
                ended_by=EndedBy.TIMEOUT if seconds == 7200 else chance.choice([EndedBy.USER_A, EndedBy.USER_B]),
                created_at=began,
            )
        )
        for each in both:
            free_from[each.user.id] = ended
    for call in sorted(calls, key=lambda call: call.ended_at or today):
        for user_id in (call.user_a_id, call.user_b_id):
            profile = by_id[user_id].profile
            profile.last_active_at = call.ended_at
            if call.connected_at and call.ended_at and call.duration_seconds is not None:
                streaks.add_call(profile, call.ended_at, call.duration_seconds)
    return calls


def _ratings(chance: random.Random, calls: list[CallSession]) -> list[SessionRating]:
    ratings = []
    for call in calls:
        for rater, rated in ((call.user_a_id, call.user_b_id), (call.user_b_id, call.user_a_id)):
            if call.connected_at is not None and chance.random() < 0.6:
                stars = chance.choices([1, 2, 3, 4, 5], weights=[1, 2, 6, 20, 30])[0]
                at = (call.ended_at or now()) + timedelta(seconds=20)
                ratings.append(
                    SessionRating(
                        id=_id(chance), session_id=call.id, rater_id=rater, rated_id=rated, stars=stars, created_at=at
                    )
                )
    return ratings


def _reports(chance: random.Random, calls: list[CallSession]) -> list[Report]:
    """Reports in each status: three pending about the one who is flagged, an actioned one about the banned."""
    met: dict[uuid.UUID, dict[uuid.UUID, CallSession]] = {}
    for call in calls:
        for one, other in ((call.user_a_id, call.user_b_id), (call.user_b_id, call.user_a_id)):
            if call.connected_at is not None:
                met.setdefault(one, {})[other] = call
    # Few partners, so that those who practise most stay out of trouble.
    known = sorted((each for each in met if len(met[each]) >= 3), key=lambda each: (len(met[each]), each))
    if len(known) < 4:
        raise errors.Refused("so few learners have not met often enough; ask for more of them")
    flagged, banned, dismissed, reviewed = known[:4]
    wanted = [
        (flagged, [ReportStatus.PENDING] * 3),
        (banned, [ReportStatus.ACTIONED]),
        (dismissed, [ReportStatus.DISMISSED, ReportStatus.PENDING]),
        (reviewed, [ReportStatus.REVIEWED, ReportStatus.DISMISSED]),
    ]
    reports = []
    for reported, statuses in wanted:
        for status, (reporter, call) in zip(statuses, met[reported].items(), strict=False):
            reason = chance.choice(list(_COMPLAINTS))
            reports.append(
                Report(
                    id=_id(chance),
                    reporter_id=reporter,
                    reported_id=reported,
                    session_id=call.id,
                    reason=reason,
                    description=_COMPLAINTS[reason],
                    status=status,
                    created_at=(call.ended_at or now()) + timedelta(minutes=2),
                )
            )
    return reports


def _blocks(ratings: list[SessionRating]) -> list[Block]:
    """Who gave one star does not want to meet again."""
    pairs = {(each.rater_id, each.rated_id): each.created_at for each in ratings if each.stars == 1}
    return [Block(blocker_id=one, blocked_id=other, created_at=at) for (one, other), at in pairs.items()]


def _courses(chance: random.Random, admin: User) -> list[Course]:
    """A small catalogue: most have a price, one is free, one is being written."""
    began = now() - timedelta(weeks=_WEEKS)
    courses = []
    for index, (title, description, price, level) in enumerate(_COURSES):
        courses.append(
            Course(
                id=_id(chance),
                title=title,
                slug="demo-" + title.lower().replace(" ", "-"),
                description=description,
                price=price,
                currency="inr",
                level=level,
                is_published=index < len(_COURSES) - 1,
                created_by=admin.id,
                created_at=began + timedelta(days=index),
            )
        )
    return courses


def _keenest_first(people: list[_Person]) -> list[_Person]:
    """By the number of their calls. The first, whom no report is about, is the one that visitors sign in as."""
    return sorted(people, key=lambda each: (-each.profile.total_sessions, each.user.id))


def _orders(chance: random.Random, people: list[_Person], courses: list[Course]) -> list[Order]:
    """Orders that came to an end, in each way."""
    priced = [course for course in courses if course.is_published and course.price]
    today = now()
    orders: list[Order] = []
    for rank, person in enumerate(_keenest_first(people)):
        if rank and chance.random() > 0.4:
            continue
        for course in chance.sample(priced, k=3 if rank == 0 else 1):
            at = max(person.user.created_at, course.created_at)
            at += (today - at) * chance.uniform(0.1, 0.9)
            order = Order(
                id=_id(chance),
                user_id=person.user.id,
                course_id=course.id,
                course_title=course.title,
                amount=course.price,
                currency=course.currency,
                provider=chance.choice([ProviderName.STRIPE, ProviderName.STRIPE, ProviderName.RAZORPAY]),
                live=False,
                checkout_expires_at=at + timedelta(hours=2),
                created_at=at,
            )
            order.provider_session_id = f"demo_session_{order.id.hex}"
            # The keenest has three, and has paid them all.
            order.status = _FATES[(len(orders) - 3) % len(_FATES)] if rank else OrderStatus.PAID
            if order.status in (OrderStatus.PAID, OrderStatus.REFUNDED):
                order.paid_at = at + timedelta(minutes=3)
                order.provider_payment_id = f"demo_payment_{order.id.hex}"
            if order.status is OrderStatus.REFUNDED:
                order.amount_refunded = order.amount
            orders.append(order)
    return orders


def _enrollments(
    chance: random.Random, people: list[_Person], courses: list[Course], orders: list[Order]
) -> Iterator[Enrollment]:
    for order in orders:
        if order.status is OrderStatus.PAID and order.paid_at:
            yield Enrollment(
                id=_id(chance),
                user_id=order.user_id,
                course_id=order.course_id,
                order_id=order.id,
                enrolled_at=order.paid_at,
            )
    for course in courses:
        if course.is_published and course.price == 0:
            for person in people:
                if chance.random() < 0.5:
                    at = max(person.user.created_at, course.created_at)
                    yield Enrollment(id=_id(chance), user_id=person.user.id, course_id=course.id, enrolled_at=at)


def _notifications(
    chance: random.Random,
    people: list[_Person],
    calls: list[CallSession],
    orders: list[Order],
    reports: list[Report],
    admin: User,
) -> Iterator[Notification]:
    """What they were told on the way, which they have read but for the last days'."""
    told: list[tuple[datetime, uuid.UUID, Notice]] = []
    profiles = {each.user.id: Profile(user_id=each.user.id, timezone=each.profile.timezone) for each in people}
    ended = [(call.ended_at, call) for call in calls if call.connected_at and call.ended_at]
    for at, call in sorted(ended, key=lambda each: each[0]):
        for user_id in (call.user_a_id, call.user_b_id):
            streaks.add_call(profiles[user_id], at, call.duration_seconds or 0)
            told += [
                (at, user_id, notification_templates.achievement(each))
                for each in streaks.achievements(profiles[user_id])
            ]
    told += [
        (order.paid_at, order.user_id, notification_templates.payment_success(order))
        for order in orders
        if order.paid_at
    ]
    told += [(report.created_at, admin.id, notification_templates.new_report(report)) for report in reports]
    occasions = set()
    for at, user_id, notice in told:
        if (user_id, notice.occasion) in occasions:
            continue
        occasions.add((user_id, notice.occasion))
        read_at = at + timedelta(hours=chance.uniform(0, 48))
        yield Notification(
            id=_id(chance),
            user_id=user_id,
            type=notice.type,
            title=notice.title,
            body=notice.body,
            data=dict(notice.data or {}),
            occasion=notice.occasion,
            read=read_at < now(),
            read_at=read_at if read_at < now() else None,
            created_at=at,
        )


def _lessons(chance: random.Random, courses: list[Course]) -> list[Lesson]:
    return [
        Lesson(
            id=_id(chance),
            course_id=course.id,
            title=title,
            description=description,
            order_index=index,
            is_free=index == 0,
            created_at=course.created_at,
        )
        for course in courses
        for index, (title, description) in enumerate(_LESSONS)
    ]


def _free_course_lesson(courses: list[Course], lessons: list[Lesson]) -> Lesson:
    free = next(course for course in courses if course.is_published and course.price == 0)
    return next(lesson for lesson in lessons if lesson.course_id == free.id)


def _progress(chance: random.Random, enrollments: list[Enrollment], lessons: list[Lesson]) -> Iterator[LessonProgress]:
    """Learners come as far as they come, one lesson after the other; the last one they began is not completed."""
    for enrollment in enrollments:
        of_course = [each for each in lessons if each.course_id == enrollment.course_id]
        begun = chance.randint(1, len(of_course))
        for index, lesson in enumerate(of_course[:begun]):
            at = enrollment.enrolled_at + timedelta(minutes=20 * (index + 1))
            completed = index < begun - 1
            yield LessonProgress(
                id=_id(chance),
                user_id=enrollment.user_id,
                lesson_id=lesson.id,
                watch_seconds=chance.randint(30, 600),
                completed=completed,
                completed_at=at if completed else None,
                updated_at=at,
            )


async def _refund(
    db: AsyncSession, chance: random.Random, orders: list[Order], audit: AuditService, admin: User
) -> None:
    """Write the refunds of the orders that say so, with the entries that they leave in the audit log."""
    for order in orders:
        if order.status is OrderStatus.REFUNDED and order.provider_payment_id:
            refund = Refund(
                id=_id(chance),
                order_id=order.id,
                provider=order.provider,
                provider_payment_id=order.provider_payment_id,
                provider_refund_id=f"demo_refund_{order.id.hex}",
                amount=order.amount,
                currency=order.currency,
                status=RefundStatus.SUCCEEDED,
                issued_here=True,
                reason="Asked within a week",
                created_at=(order.paid_at or order.created_at) + timedelta(days=1),
            )
            db.add(refund)
            entry = {"refund": str(refund.id), "amount": refund.amount, "currency": refund.currency}
            await audit.write(db, admin.id, "order.refund", order.id, **entry)
