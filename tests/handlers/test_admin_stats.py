"""Numbers of the dashboard, compared with rows that a test has written."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import app
from container import Container
from devtools.embedded import EmbeddedServices
from models import (
    CallSession,
    Dispute,
    DisputeStatus,
    EndedBy,
    Level,
    OrderStatus,
    ProviderName,
    Refund,
    RefundStatus,
    Report,
)
from models import ReportReason as Reason
from models import ReportStatus as Status
from services.operations.dashboard import CACHE_SECONDS, EXACT_COUNT_LIMIT
from settings import Settings
from testing.accounts import make_admin
from testing.admin_rows import add_account, add_course, add_order, add_rows
from testing.containers import running_container
from testing.databases import own_database, rows
from testing.http_answers import read_all_pages
from testing.servers import Learner, client

DAY = timedelta(days=1)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedServices]:
    """A Valkey that the test may stop."""
    services = EmbeddedServices(tmp_path, durable=False, only=("valkey",))
    yield services
    services.stop()


@pytest.fixture
async def services(settings: Settings, valkey: EmbeddedServices) -> AsyncIterator[Container]:
    """A services without anybody."""
    own = settings.model_copy(update={"redis_port": int(valkey.start()["REDIS_PORT"])})
    with own_database(own) as empty:
        async with running_container(empty) as services:
            yield services


@pytest.fixture
async def admin(services: Container) -> AsyncIterator[Learner]:
    async with client(app.create(services)) as http:
        yield await make_admin(services, http)


async def read(admin: Learner) -> dict[str, Any]:
    answer = await admin.http.get("/admin/stats")
    assert answer.status_code == 200, answer.text
    stats: dict[str, Any] = answer.json()
    return stats


def a_call(one: str, other: str, at: datetime, *, minutes: float | None = None, **columns: Any) -> CallSession:
    """A call that began then; without `minutes` it has not ended, with 0 it never connected."""
    call = CallSession(
        room_id=str(uuid.uuid4()), user_a_id=uuid.UUID(one), user_b_id=uuid.UUID(other), level="all", started_at=at
    )
    if minutes is not None:
        call.ended_at, call.ended_by = at + timedelta(minutes=minutes), EndedBy.USER_A
        call.connected_at = at if minutes else None
        call.duration_seconds = int(minutes * 60)
    for name, value in columns.items():
        setattr(call, name, value)
    return call


async def test_stats_of_an_empty_deployment(admin: Learner) -> None:
    stats = await read(admin)
    made_at = datetime.fromisoformat(stats.pop("computedAt"))
    assert timedelta() <= datetime.now(UTC) - made_at < timedelta(seconds=30)
    hours, days = stats.pop("hours"), stats.pop("days")
    assert [each["matches"] for each in hours] == [0] * 24 and len({each["since"] for each in hours}) == 24
    this_hour = made_at.replace(minute=0, second=0, microsecond=0)
    assert datetime.fromisoformat(hours[-1]["since"]) == this_hour
    assert datetime.fromisoformat(hours[0]["since"]) == this_hour - timedelta(hours=23)
    assert days[-1] == {"day": made_at.date().isoformat(), "matches": 0, "calls": 0, "callMinutes": 0}
    assert days[0]["day"] == (made_at.date() - 29 * DAY).isoformat() and len(days) == 30
    none = {"count": 0, "isExact": True}
    assert stats == {
        # The administrator, made by the command line, who has just signed in.
        "totals": {"users": {"count": 1, "isExact": True}, "calls": none, "courses": none, "orders": none},
        "activeToday": 1,
        "newToday": 1,
        "openReports": 0,
        "flaggedUsers": 0,
        "openDisputes": 0,
        "appeals": {"open": 0, "upheld": 0, "overturned": 0},
        "live": {"searches": 0, "rooms": 0, "calls": 0},
        "wait": {"medianSeconds": None, "matches": 0},
        "revenue": [],
    }


async def test_stats_match_the_rows(services: Container, admin: Learner) -> None:
    at = datetime.now(UTC)
    today = at.replace(hour=0, minute=0, second=0, microsecond=0)
    ada = await add_account(services, "ada@example.com", created_at=at - 40 * DAY, last_active_at=today)
    bob = await add_account(services, "bob@example.com", created_at=today, last_active_at=today - timedelta(seconds=1))
    eve = await add_account(services, "eve@example.com", created_at=at - DAY, flagged_at=at)

    # Calls of today's last second to come, of this hour, of the first counted moments, and of those before.
    first_hour = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    first_day = today - 29 * DAY
    calls = [
        a_call(ada, bob, at - timedelta(minutes=1), waited_ms=1000),
        a_call(bob, ada, at - timedelta(minutes=2), connected_at=at, waited_ms=4000),
        a_call(ada, eve, at - timedelta(minutes=59), minutes=0, waited_ms=2500),
        a_call(ada, eve, at - timedelta(minutes=58), minutes=3.5),
        a_call(ada, eve, at - timedelta(minutes=61), minutes=2, waited_ms=99_000),
        a_call(eve, bob, first_hour, minutes=1),
        a_call(eve, bob, first_hour - timedelta(milliseconds=1), minutes=1),
        a_call(ada, bob, first_day, minutes=10),
        a_call(ada, bob, first_day, minutes=10.5),
        a_call(ada, bob, first_day - timedelta(milliseconds=1), minutes=10),
        # Forgotten: nothing is live that a room has not outlived.
        a_call(ada, bob, at - timedelta(hours=3)),
    ]
    await add_rows(services, *calls)

    def report(by: str, about: str, status: Status) -> Report:
        who: dict[str, Any] = {"reporter_id": uuid.UUID(by), "reported_id": uuid.UUID(about)}
        return Report(**who, reason=Reason.SPAM, status=status)

    await add_rows(
        services, report(ada, bob, Status.PENDING), report(eve, bob, Status.PENDING), report(bob, eve, Status.DISMISSED)
    )

    course = await add_course(services)
    paid = OrderStatus.PAID
    recent = [
        await add_order(services, ada, course, status=paid, paid_at=at, amount=100),
        await add_order(services, ada, course, status=paid, paid_at=first_day, amount=250),
        await add_order(services, ada, course, status=paid, paid_at=at, amount=7, live=True),
        await add_order(services, ada, course, status=paid, paid_at=at, amount=30, currency="usd"),
    ]
    old = await add_order(
        services,
        ada,
        course,
        status=OrderStatus.REFUNDED,
        amount=900,
        paid_at=first_day - DAY,
        created_at=first_day - DAY,
    )
    await add_order(services, bob, course, status=OrderStatus.EXPIRED)

    def refund(order: str, amount: int, **columns: Any) -> Refund:
        what = {"provider": ProviderName.STRIPE, "provider_payment_id": "pi", "provider_refund_id": uuid.uuid4().hex}
        status = {"status": RefundStatus.SUCCEEDED, "currency": "inr"}
        return Refund(order_id=uuid.UUID(order), amount=amount, **{**what, **status, **columns})

    await add_rows(
        services,
        refund(old, 900),
        refund(recent[0], 40),
        refund(recent[0], 5, status=RefundStatus.PENDING),
        refund(recent[0], 6, status=RefundStatus.FAILED),
        refund(recent[1], 9, created_at=first_day - timedelta(seconds=1)),
    )
    for status in (DisputeStatus.OPEN, DisputeStatus.LOST):
        name = f"du_{status.value}"
        what: dict[str, Any] = {
            "provider_payment_id": "pi",
            "provider_dispute_id": name,
            "amount": 1,
            "currency": "inr",
        }
        await add_rows(services, Dispute(provider=ProviderName.STRIPE, status=status, **what))

    stats = await read(admin)
    assert stats["totals"] == {
        name: {"count": count, "isExact": True}
        for name, count in {"users": 4, "calls": 11, "courses": 1, "orders": 6}.items()
    }
    assert (stats["activeToday"], stats["newToday"]) == (2, 2), "ada and the administrator; bob and the administrator"
    assert (stats["openReports"], stats["flaggedUsers"], stats["openDisputes"]) == (2, 1, 1)
    assert stats["live"] == {"searches": 0, "rooms": 2, "calls": 1}
    assert stats["wait"] == {"medianSeconds": 2.5, "matches": 3}

    hours = {datetime.fromisoformat(each["since"]): each["matches"] for each in stats["hours"]}
    for hour in hours:
        assert hours[hour] == sum(hour <= each.started_at < hour + timedelta(hours=1) for each in calls), hour
    for each in stats["days"]:
        of_day = [call for call in calls if call.started_at.date().isoformat() == each["day"]]
        assert each["matches"] == len(of_day)
        assert each["calls"] == sum(call.connected_at is not None for call in of_day)
        assert each["callMinutes"] == sum(call.duration_seconds or 0 for call in of_day) // 60
    assert stats["days"][0] == {"day": first_day.date().isoformat(), "matches": 2, "calls": 2, "callMinutes": 20}
    assert stats["revenue"] == [
        {"currency": "inr", "isLive": False, "orders": 2, "amount": 350, "refunds": 2, "amountRefunded": 940},
        {"currency": "inr", "isLive": True, "orders": 1, "amount": 7, "refunds": 0, "amountRefunded": 0},
        {"currency": "usd", "isLive": False, "orders": 1, "amount": 30, "refunds": 0, "amountRefunded": 0},
    ]


async def test_stats_count_searches_and_wait_times(services: Container, admin: Learner) -> None:
    began = time.monotonic()
    people = [
        await add_account(services, f"{n}@example.com", username=n, english_level="beginner") for n in ("ada", "bob")
    ]
    ada, bob = people
    searches: list[tuple[Level, str]] = [("beginner", ada), ("advanced", bob)]
    for level, user in searches:
        socket = f"{services.bus.process_id}.{user}"
        services.matchmaking.connect(socket)
        await services.matchmaking.find_partner(user, socket, level=level, topic=None)
    assert (await read(admin))["live"] == {"searches": 2, "rooms": 0, "calls": 0}
    await services.matchmaking.cancel_search(bob, f"{services.bus.process_id}.{bob}")
    # As if the search of ada had begun three seconds earlier.
    key = f"{{match}}:searching:{ada}"
    *place, since, entry = str(await services.redis.get(key)).split("\n", 4)
    await services.redis.set(key, "\n".join((*place, str(int(since) - 3_000_000), entry)), keepttl=True)
    match = await services.matchmaking.find_partner(bob, f"{services.bus.process_id}.{bob}", level="all", topic=None)
    assert type(match).__name__ == "Match"
    ((waited,),) = await rows(services, "SELECT waited_ms FROM call_sessions")
    assert 3000 <= waited < 3000 + 1000 * (time.monotonic() - began)
    await services.redis.delete("admin:stats")
    stats = await read(admin)
    assert stats["live"] == {"searches": 0, "rooms": 1, "calls": 0}
    assert stats["wait"] == {"medianSeconds": round(waited / 1000, 3), "matches": 1}


async def test_requeued_search_has_no_wait_time(services: Container, admin: Learner) -> None:
    ada, bob, eve = [
        await add_account(services, f"{n}@example.com", username=n, english_level="beginner")
        for n in ("ada", "bob", "eve")
    ]
    for user in (ada, bob):
        services.matchmaking.connect(f"{services.bus.process_id}.{user}")
        await services.matchmaking.find_partner(user, f"{services.bus.process_id}.{user}", level="all", topic=None)
    await services.matchmaking.cancel_search(
        bob, f"{services.bus.process_id}.{bob}"
    )  # refuses the match, so ada searches on
    services.matchmaking.connect(f"{services.bus.process_id}.{eve}")
    await services.matchmaking.find_partner(eve, f"{services.bus.process_id}.{eve}", level="all", topic=None)
    found = await rows(
        services, "SELECT user_a_id, user_b_id, waited_ms IS NULL FROM call_sessions ORDER BY started_at"
    )
    assert [(str(a), str(b), unknown) for a, b, unknown in found] == [(ada, bob, False), (ada, eve, True)]
    assert (await read(admin))["wait"]["matches"] == 1


async def test_stats_are_cached_for_all_processes(services: Container, admin: Learner, settings: Settings) -> None:
    first = await read(admin)
    await add_account(services, "ada@example.com")
    other = Container(services.settings)
    try:
        assert (await other.dashboard.read()).users.count == first["totals"]["users"]["count"] == 1
    finally:
        await other.close()
    assert await read(admin) == first
    assert 0 < await services.redis.pttl("admin:stats") <= CACHE_SECONDS * 1000
    # What another release has left there is not read.
    await services.redis.set("admin:stats", '{"users": 7}')
    assert (await read(admin))["totals"]["users"]["count"] == 2


async def test_stats_without_redis_lack_searches_alone(
    services: Container, admin: Learner, valkey: EmbeddedServices
) -> None:
    assert (await read(admin))["live"]["searches"] == 0
    valkey.stop()
    await add_account(services, "ada@example.com")
    stats = await read(admin)
    assert stats["live"] == {"searches": None, "rooms": 0, "calls": 0}
    assert stats["totals"]["users"]["count"] == 2, "nothing is kept"
    assert len(await read_all_pages(admin.http, "/admin/users")) == 2


async def test_large_table_is_estimated(services: Container) -> None:
    # As many pages as `users` has, each as full as before: the estimate follows the table without an ANALYZE.
    many = """
        INSERT INTO users (id, email, email_canonical, password_hash)
        SELECT gen_random_uuid(), number || '@example.com', number || '@example.com', ''
        FROM generate_series(1, :count) AS number RETURNING 1
    """
    # Autovacuum, were it to look while rows are on their way in, would note their pages and not yet the rows.
    async with services.database.engine.connect() as connection:
        await connection.exec_driver_sql("ALTER TABLE users SET (autovacuum_enabled = false)")
        await connection.commit()
    await rows(services, many, count=EXACT_COUNT_LIMIT + 1000)
    total = (await services.dashboard.read()).users
    assert not total.exact and total.count >= EXACT_COUNT_LIMIT
    async with services.database.engine.connect() as connection:
        await connection.exec_driver_sql("ANALYZE users")
        await connection.commit()
    await rows(services, many.replace("number ||", "'x' || number ||"), count=150_000)
    await services.redis.delete("admin:stats")
    total = (await services.dashboard.read()).users
    assert not total.exact and abs(total.count - 251_000) < 12_550, "within five in a hundred"
