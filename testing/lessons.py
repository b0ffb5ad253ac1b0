"""Courses with lessons, made by an administrator over HTTP."""

from __future__ import annotations

from typing import Any

import httpx

from container import Container
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.servers import Learner

MISSING_ID = "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0"


async def new_admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(container, (await make_learner(ready=False)).http)


async def new_course(admin: httpx.AsyncClient, *, price: int = 0, published: bool = True, **more: Any) -> str:
    """Make a course; answer its id."""
    body = {"title": "Small talk", "price": price, "level": "beginner", "isPublished": published, **more}
    answer = await admin.post("/courses", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def new_lesson(admin: httpx.AsyncClient, course: str, title: str = "Where we begin", **more: Any) -> str:
    """Add a lesson; answer its id."""
    answer = await admin.post(f"/courses/{course}/lessons", json={"title": title, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]
