"""Demo courses, their lessons, and progress of learners."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

from devtools.demo_data.people import WEEKS, Person, make_id
from instants import utc_now
from models import (
    Course,
    EnglishLevel,
    Enrollment,
    Lesson,
    LessonProgress,
    Order,
    OrderStatus,
    User,
)

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


def make_courses(rng: random.Random, admin: User) -> list[Course]:
    """Make a small catalogue: most have a price, one is free, one is a draft."""
    began = utc_now() - timedelta(weeks=WEEKS)
    courses = []
    for index, (title, description, price, level) in enumerate(_COURSES):
        courses.append(
            Course(
                id=make_id(rng),
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


def make_lessons(rng: random.Random, courses: list[Course]) -> list[Lesson]:
    return [
        Lesson(
            id=make_id(rng),
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


def get_free_lesson(courses: list[Course], lessons: list[Lesson]) -> Lesson:
    free = next(course for course in courses if course.is_published and course.price == 0)
    return next(lesson for lesson in lessons if lesson.course_id == free.id)


def make_enrollments(
    rng: random.Random, people: list[Person], courses: list[Course], orders: list[Order]
) -> Iterator[Enrollment]:
    for order in orders:
        if order.status is OrderStatus.PAID and order.paid_at:
            yield Enrollment(
                id=make_id(rng),
                user_id=order.user_id,
                course_id=order.course_id,
                order_id=order.id,
                enrolled_at=order.paid_at,
            )
    for course in courses:
        if course.is_published and course.price == 0:
            for person in people:
                if rng.random() < 0.5:
                    at = max(person.user.created_at, course.created_at)
                    yield Enrollment(id=make_id(rng), user_id=person.user.id, course_id=course.id, enrolled_at=at)


def make_progress(rng: random.Random, enrollments: list[Enrollment], lessons: list[Lesson]) -> Iterator[LessonProgress]:
    """Make progress, one lesson after the other: the first is completed, the last one begun is not."""
    for enrollment in enrollments:
        of_course = [each for each in lessons if each.course_id == enrollment.course_id]
        begun = rng.randint(2, len(of_course))
        for index, lesson in enumerate(of_course[:begun]):
            at = enrollment.enrolled_at + timedelta(minutes=20 * (index + 1))
            completed = index < begun - 1
            yield LessonProgress(
                id=make_id(rng),
                user_id=enrollment.user_id,
                lesson_id=lesson.id,
                watch_seconds=rng.randint(30, 600),
                completed=completed,
                completed_at=at if completed else None,
                updated_at=at,
            )
