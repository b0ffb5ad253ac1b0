"""Round trips: each input field of a hand-written body is stored and returned."""

from __future__ import annotations

from typing import Any

import pytest

from container import Container
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.servers import Learner

pytestmark = pytest.mark.rest_paths

PROFILE: dict[str, Any] = {
    "displayName": "Ada",
    "bio": "I like trains.",
    "nativeLanguage": "pt-BR",
    "englishLevel": "advanced",
    "learningGoal": "exam",
    "country": "BR",
    "timezone": "America/Sao_Paulo",
}
COURSE: dict[str, Any] = {
    "title": "Idioms",
    "description": "A piece of cake.",
    "price": 1900,
    "currency": "eur",
    "level": "beginner",
    "isPublished": False,
}
LESSON: dict[str, Any] = {"title": "Under the weather", "description": "Not quite well.", "isFree": True}


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(container, (await make_learner(ready=False)).http)


@pytest.mark.parametrize("name", PROFILE)
async def test_profile_field_is_stored(make_learner: MakeLearner, name: str) -> None:
    learner = await make_learner()
    answer = await learner.http.patch("/users/me", json={name: PROFILE[name]})
    assert answer.status_code == 200, answer.text
    assert (await learner.http.get("/users/me")).json()[name] == PROFILE[name]


async def test_course_fields_are_stored(admin: Learner) -> None:
    made = await admin.http.post("/courses", json=COURSE)
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in COURSE} == COURSE
    for name, value in {"description": "As easy as pie.", "currency": "usd", "level": "advanced", "price": 0}.items():
        changed = await admin.http.patch(f"/courses/{made.json()['id']}", json={name: value})
        assert changed.status_code == 200 and changed.json()[name] == value, changed.text


async def test_lesson_fields_are_stored(admin: Learner) -> None:
    course = (await admin.http.post("/courses", json=COURSE)).json()["id"]
    made = await admin.http.post(f"/courses/{course}/lessons", json=LESSON)
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in LESSON} == LESSON
    for name, value in {"title": "Over the moon", "description": "Very happy.", "isFree": False}.items():
        changed = await admin.http.patch(f"/lessons/{made.json()['id']}", json={name: value})
        assert changed.status_code == 200 and changed.json()[name] == value, changed.text
