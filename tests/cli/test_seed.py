"""`parlance seed`: afterwards every list of the API shows something, and the figures agree with the calls."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

import app
import errors
from cli import migrations
from container import Container
from contract import operations, schemas
from devtools.demo_data import DemoData
from settings import Settings
from testing.databases import rows, value
from testing.http_answers import read_all_pages
from testing.polling import eventually
from testing.servers import address, client
from testing.shop import run_job_worker
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parent.parent.parent
LEARNERS = 60


async def parlance(variables: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli", *arguments],
        env={**os.environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
async def scratch(settings: Settings) -> AsyncIterator[Settings]:
    with migrations._scratch(settings) as own:
        await asyncio.to_thread(migrations.upgrade_to_head, own)
        yield own


@pytest.fixture(scope="module")
async def seeded(scratch: Settings, environment: dict[str, str]) -> AsyncIterator[tuple[Container, str]]:
    """A database of its own that the command has filled, and what the command said."""
    began = time.monotonic()
    status, said, complaints = await parlance({**environment, "DB_NAME": scratch.db_name}, "seed")
    assert (status, complaints) == (0, ""), complaints
    print(f"seeded in {time.monotonic() - began:.1f} s: {said.splitlines()[0]}")
    services = Container(scratch)
    async with services.lifespan(None):
        yield services, said


SignIn = Callable[[str], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def sign_in(seeded: tuple[Container, str]) -> AsyncIterator[SignIn]:
    container, said = seeded
    asgi, clients = app.create(container), list[httpx.AsyncClient]()
    password = said.split()[-1]

    async def make(email: str) -> httpx.AsyncClient:
        clients.append(client(asgi))
        body = {"email": email, "password": password, "deviceId": uuid.uuid4().hex, "platform": "ios"}
        answer = await clients[-1].post("/auth/login", json=body, headers={"X-Forwarded-For": address()})
        assert answer.status_code == 200, answer.text
        clients[-1].headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
        return clients[-1]

    yield make
    for each in clients:
        await each.aclose()


def lists() -> set[str]:
    document = schemas.load(schemas.OPENAPI)
    return {
        operation["path"]
        for operation in operations.definitions(document).values()
        if any(each.get("$ref", "").endswith("/cursor") for each in operation.get("parameters", []))
    }


async def test_every_list_shows_something(seeded: tuple[Container, str], sign_in: SignIn) -> None:
    container, said = seeded
    names = dict(re.findall(r"^(a learner|an administrator) +(\S+)$", said, re.MULTILINE))
    ada, admin = await sign_in(names["a learner"]), await sign_in(names["an administrator"])
    reporter = await value(container, "SELECT email FROM users JOIN reports ON reporter_id = users.id LIMIT 1")
    blocker = await value(
        container, "SELECT email FROM users JOIN blocks ON blocker_id = users.id WHERE NOT is_banned LIMIT 1"
    )
    warned = await value(
        container, "SELECT email FROM users JOIN sanctions ON user_id = users.id WHERE NOT is_banned LIMIT 1"
    )
    sanctioned = await value(container, "SELECT user_id FROM sanctions LIMIT 1")
    shown = {
        "/users/me/sanctions": await sign_in(warned),
        "/admin/users/{userId}/sanctions": admin,
        "/admin/appeals": admin,
        "/admin/staff": admin,
        "/sessions": ada,
        "/reports/mine": await sign_in(reporter),
        "/users/me/blocks": await sign_in(blocker),
        "/partners": ada,
        "/appointments": ada,
        "/admin/reports": admin,
        "/admin/pictures": admin,
        "/courses": ada,
        "/my/courses": ada,
        "/payments/orders": ada,
        "/admin/orders": admin,
        "/admin/users": admin,
        "/admin/audit": admin,
        "/notifications": ada,
    }
    assert shown.keys() == lists(), "a list is missing here, and perhaps its demo data"
    for path, http in shown.items():
        assert await read_all_pages(http, path.format(userId=sanctioned), limit=100), path
    for status in ("pending", "reviewed", "actioned", "dismissed"):
        assert (await admin.get("/admin/reports", params={"status": status})).json()["items"], status
    for status in ("paid", "expired", "refunded"):
        assert (await admin.get("/admin/orders", params={"status": status})).json()["items"], status
    await container.redis.delete("admin:stats")  # other tests ask for the numbers of other databases
    stats = (await admin.get("/admin/stats")).json()
    assert sum(day["calls"] for day in stats["days"]) > 100 and stats["revenue"] and stats["openReports"]
    courses = await read_all_pages(ada, "/courses", limit=100)
    assert {each["price"] == 0 for each in courses} == {each["isEnrolled"] for each in courses} == {True, False}
    mine = await read_all_pages(ada, "/my/courses", limit=100)
    assert {each["totalLessons"] for each in mine} == {4} and any(each["completedLessons"] for each in mine)
    calls = await read_all_pages(ada, "/sessions", limit=100)
    assert len(calls) > 10 and {call["myRating"] is None for call in calls} == {True, False}
    assert {call["topic"] is None for call in calls} == {True, False}
    notifications = await read_all_pages(ada, "/notifications", limit=100)
    assert {"achievement", "payment_success"} <= {each["type"] for each in notifications}
    assert notifications[-1]["isRead"]
    assert {each["type"] for each in await read_all_pages(admin, "/notifications")} == {"admin_alert"}
    profile = (await ada.get("/users/me")).json()
    assert profile["displayName"] and profile["country"] and profile["totalCalls"] > 10
    assert (await ada.get("/users/me/export")).status_code == 200


async def test_figures_agree_with_the_calls(seeded: tuple[Container, str]) -> None:
    container, said = seeded
    assert said.startswith(f"{LEARNERS} learners, ")
    people = await rows(
        container,
        "SELECT user_id, timezone, total_sessions, total_practice_mins, streak_days, last_session_at, country,"
        " users.created_at FROM profiles JOIN users ON users.id = user_id WHERE role = 'student'",
    )
    assert len(people) == LEARNERS and len({person.country for person in people}) >= 8
    calls = await rows(container, "SELECT * FROM call_sessions ORDER BY ended_at")
    assert len(calls) > 300 and 0 < sum(call.connected_at is None for call in calls) < len(calls) / 5
    streaks = []
    for person in people:
        mine = [call for call in calls if person.user_id in (call.user_a_id, call.user_b_id)]
        assert all(call.started_at > person.created_at for call in mine)
        assert all(one.ended_at <= other.started_at for one, other in pairwise(mine)), "two at once"
        had = [call for call in mine if call.connected_at]
        assert person.total_sessions == len(had)
        assert person.total_practice_mins == sum(int(call.duration_seconds / 60 + 0.5) for call in had)
        days: set[date] = {call.ended_at.astimezone(ZoneInfo(person.timezone)).date() for call in had}
        streak, day = 0, max(days, default=None)
        while day in days:
            streak, day = streak + 1, day - timedelta(days=1)
        assert person.streak_days == streak
        assert person.last_session_at == (had[-1].ended_at if had else None)
        streaks.append(streak)
    assert max(streaks) >= 3


async def test_paid_orders_have_an_enrollment(seeded: tuple[Container, str]) -> None:
    container, _ = seeded
    orders = await rows(container, "SELECT id, status::text, amount, amount_refunded FROM orders")
    assert {"paid", "refunded"} <= {order.status for order in orders}
    for order in orders:
        found = await rows(container, "SELECT 1 FROM enrollments WHERE order_id = :o", o=order.id)
        assert bool(found) == (order.status == "paid")
        given = "SELECT coalesce(sum(amount), 0) FROM refunds WHERE order_id = :o AND status = 'succeeded'"
        assert await value(container, given, o=order.id) == order.amount_refunded
        assert (order.amount == order.amount_refunded) == (order.status == "refunded")


async def test_one_learner_is_flagged_and_one_banned(seeded: tuple[Container, str]) -> None:
    container, _ = seeded
    assert await value(container, "SELECT count(*) FROM users WHERE flagged_at IS NOT NULL") == 1
    assert await value(container, "SELECT count(*) FROM users WHERE is_banned") == 1
    pending = "SELECT count(DISTINCT reporter_id) FROM reports JOIN users ON users.id = reported_id WHERE {} AND {}"
    assert await value(container, pending.format("flagged_at IS NOT NULL", "status = 'pending'")) >= 3
    assert (await container.audit.verify()).broken_at is None
    settled = await value(container, "SELECT count(*) FROM reports WHERE status <> 'pending'")
    entries = await value(container, "SELECT count(*) FROM audit_log WHERE action = 'report.review'")
    assert entries == settled > 0


async def test_seed_refuses_a_second_run_and_production(
    seeded: tuple[Container, str], environment: dict[str, str]
) -> None:
    container, _ = seeded
    with pytest.raises(errors.Refused, match="has demo data already"):
        await DemoData(container).fill(LEARNERS, 2)
    assert await value(container, "SELECT count(*) FROM users") == LEARNERS + 1
    again = await parlance(
        {**environment, "DB_NAME": container.settings.db_name, "APP_ENV": "production"}, "seed", "--seed", "2"
    )
    assert again == (1, "", "parlance: demo data is not for production, and APP_ENV is production\n")


async def test_same_seed_makes_the_same_accounts(seeded: tuple[Container, str], settings: Settings) -> None:
    container, _ = seeded
    names = "SELECT email, username, display_name FROM users JOIN profiles ON user_id = users.id ORDER BY users.id"
    with migrations._scratch(settings) as own:
        await asyncio.to_thread(migrations.upgrade_to_head, own)
        other = Container(own)
        try:
            await DemoData(other).fill(LEARNERS, 1)
            student = names.replace("ORDER", "WHERE role = 'student' ORDER")
            assert await rows(other, student) == await rows(container, student)
        finally:
            await other.close()


async def test_lesson_plays_once_a_job_worker_has_run(
    seeded: tuple[Container, str], environment: dict[str, str], tmp_path: Path, sign_in: SignIn
) -> None:
    container, said = seeded
    ada = await sign_in(dict(re.findall(r"^(a learner) +(\S+)$", said, re.MULTILINE))["a learner"])
    with run_job_worker({**environment, "DB_NAME": container.settings.db_name}, tmp_path / "worker.log"):
        film = "SELECT id FROM lessons WHERE video_status = 'ready'"
        lesson = await eventually(lambda: rows(container, film), within=60, what="a lesson has a video")
    answer = await ada.get(f"/lessons/{lesson[0][0]}/video-url")
    assert answer.status_code == 200, answer.text
