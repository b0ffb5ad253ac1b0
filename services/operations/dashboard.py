"""Numbers of the administrators' dashboard.

Each is read from a range of an index that does not grow with the age of the deployment, or is PostgreSQL's own estimate
(docs/decisions/0015-dashboard-from-bounded-reads.md). Redis caches them for a few seconds, for all web processes.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import Database, plan_by_values
from adapters.redis import UNAVAILABLE
from instants import utc_now
from services.calls.rooms import ROOM_SECONDS, Rooms

log = logging.getLogger("parlance.stats")

CHART_HOURS, CHART_DAYS = 24, 30
#: Rows of a table up to which they are counted.
EXACT_COUNT_LIMIT = 100_000
#: The cache, and the seconds after which Redis counts as unavailable.
_CACHE_KEY, CACHE_SECONDS, _REDIS_TIMEOUT_SECONDS = "admin:stats", 5, 1

_ESTIMATES = """
    SELECT relname, CASE WHEN relpages > 0 THEN
        reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int) ELSE 0 END
    FROM pg_class WHERE oid IN ('users'::regclass, 'call_sessions'::regclass, 'courses'::regclass, 'orders'::regclass)
"""
_COUNTS = """
    SELECT
        (SELECT count(*) FROM profiles WHERE last_active_at >= :today) AS active_today,
        (SELECT count(*) FROM users WHERE created_at >= :today) AS new_today,
        (SELECT count(*) FROM reports WHERE status = 'pending') AS open_reports,
        (SELECT count(*) FROM users WHERE flagged_at IS NOT NULL AND deleted_at IS NULL) AS flagged_users,
        (SELECT count(*) FROM disputes WHERE status = 'open') AS open_disputes,
        (SELECT count(*) FROM appeals WHERE status = 'open') AS open_appeals
"""
_APPEALS = """
    SELECT count(*) FILTER (WHERE status = 'upheld'), count(*) FILTER (WHERE status = 'overturned')
    FROM appeals WHERE decided_at >= :since
"""
_LIVE = "SELECT count(*), count(connected_at) FROM call_sessions WHERE ended_at IS NULL AND started_at > :since"
_WAIT = """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY waited_ms), count(waited_ms)
    FROM call_sessions WHERE started_at > :since
"""
_BY_HOUR = """
    SELECT date_trunc('hour', started_at), count(*) FROM call_sessions WHERE started_at >= :since GROUP BY 1
"""
_BY_DAY = """
    SELECT CAST(started_at AS date), count(*), count(connected_at), coalesce(sum(duration_seconds), 0) / 60
    FROM call_sessions WHERE started_at >= :since GROUP BY 1
"""
_PAID = """
    SELECT currency, live, count(*), sum(amount) FROM orders WHERE paid_at >= :since GROUP BY 1, 2
"""
_REFUNDED = """
    SELECT currency, live, count(*), sum(amount) FROM (
        -- No join, which might read all orders.
        SELECT currency, amount, (SELECT live FROM orders WHERE id = order_id)
        FROM refunds WHERE created_at >= :since AND status = 'succeeded' AND order_id IS NOT NULL
    ) AS given GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class TableCount:
    """Rows of a table; an estimate where not `exact`."""

    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class HourStats:
    since: datetime
    matches: int


@dataclass(frozen=True, slots=True)
class DayStats:
    """A day of UTC. `calls` are the matches that both joined."""

    day: date
    matches: int
    calls: int
    minutes: int


@dataclass(frozen=True, slots=True)
class Revenue:
    """Payments and refunds in a currency, in its smallest unit; `live` is real money."""

    currency: str
    live: bool
    orders: int
    amount: int
    refunds: int
    amount_refunded: int


@dataclass(frozen=True, slots=True)
class DashboardStats:
    """`searches` is None while Redis is unavailable; `median_wait_seconds` without a match in the last hour."""

    made_at: datetime
    users: TableCount
    sessions: TableCount
    courses: TableCount
    orders: TableCount
    active_today: int
    new_today: int
    open_reports: int
    flagged_users: int
    open_disputes: int
    open_appeals: int
    appeals_upheld: int
    appeals_overturned: int
    searches: int | None
    live_rooms: int
    live_calls: int
    median_wait_seconds: float | None
    waits: int
    hours: list[HourStats]
    days: list[DayStats]
    revenue: list[Revenue]


_STATS_TYPE = TypeAdapter(DashboardStats)


class DashboardService:
    def __init__(self, database: Database, redis: Redis, rooms: Rooms) -> None:
        self._database = database
        self._redis = redis
        self._rooms = rooms
        self._one_at_a_time = asyncio.Lock()

    async def read(self) -> DashboardStats:
        """Return the numbers, at most a few seconds old; without Redis they are computed each time."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(_REDIS_TIMEOUT_SECONDS):
                    cached = await self._redis.get(_CACHE_KEY)
                    searches = await self._rooms.count_searches()
            except UNAVAILABLE:
                log.warning("redis_unavailable subject=dashboard_cache")
                return await self._compute(None)
            # Another release may have cached another shape.
            with suppress(ValidationError):
                if cached is not None:
                    return _STATS_TYPE.validate_json(cached)
            stats = await self._compute(searches)
            with suppress(*UNAVAILABLE):
                async with asyncio.timeout(_REDIS_TIMEOUT_SECONDS):
                    await self._redis.set(_CACHE_KEY, _STATS_TYPE.dump_json(stats), ex=CACHE_SECONDS)
            return stats

    async def _compute(self, searches: int | None) -> DashboardStats:
        at = utc_now()
        today = at.replace(hour=0, minute=0, second=0, microsecond=0)
        first_hour = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=CHART_HOURS - 1)
        first_day = today - timedelta(days=CHART_DAYS - 1)
        async with self._database.transaction() as db:
            # One snapshot, so that the numbers fit each other.
            await db.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            await plan_by_values(db)

            async def ask(statement: str, **values: datetime) -> list[sa.Row[*tuple[Any, ...]]]:
                return list((await db.execute(sa.text(statement), values)).all())

            totals = await _read_totals(db)
            (counts,) = await ask(_COUNTS, today=today)
            (appeals,) = await ask(_APPEALS, since=first_day)
            (live,) = await ask(_LIVE, since=at - timedelta(seconds=ROOM_SECONDS))
            (wait,) = await ask(_WAIT, since=at - timedelta(hours=1))
            by_hour = dict(map(tuple, await ask(_BY_HOUR, since=first_hour)))
            by_day = {day: numbers for day, *numbers in await ask(_BY_DAY, since=first_day)}
            paid = {(currency, live): numbers for currency, live, *numbers in await ask(_PAID, since=first_day)}
            refunded = {(currency, live): numbers for currency, live, *numbers in await ask(_REFUNDED, since=first_day)}
        hours = [first_hour + timedelta(hours=number) for number in range(CHART_HOURS)]
        days = [(first_day + timedelta(days=number)).date() for number in range(CHART_DAYS)]
        return DashboardStats(
            made_at=at,
            users=totals["users"],
            sessions=totals["sessions"],
            courses=totals["courses"],
            orders=totals["orders"],
            **counts._mapping,
            appeals_upheld=appeals[0],
            appeals_overturned=appeals[1],
            searches=searches,
            live_rooms=live[0],
            live_calls=live[1],
            median_wait_seconds=None if wait[0] is None else round(wait[0] / 1000, 3),
            waits=wait[1],
            hours=[HourStats(hour, by_hour.get(hour, 0)) for hour in hours],
            days=[DayStats(day, *by_day.get(day, (0, 0, 0))) for day in days],
            revenue=[
                Revenue(*which, *paid.get(which, (0, 0)), *refunded.get(which, (0, 0)))
                for which in sorted(paid.keys() | refunded.keys())
            ],
        )


async def _read_totals(db: AsyncSession) -> dict[str, TableCount]:
    """Count small tables; estimate others: rows a page at the last ANALYZE, times the present pages."""
    totals = {}
    for table, estimate in (await db.execute(sa.text(_ESTIMATES))).all():
        name = "sessions" if table == "call_sessions" else table
        counted = EXACT_COUNT_LIMIT + 1
        if estimate <= 2 * EXACT_COUNT_LIMIT:
            rows = sa.select(sa.column("id", sa.Uuid)).select_from(sa.table(table)).limit(counted)
            counted = await db.scalar(sa.select(sa.func.count()).select_from(rows.subquery())) or 0
        exact = counted <= EXACT_COUNT_LIMIT
        totals[name] = TableCount(counted if exact else max(counted, round(estimate)), exact)
    return totals
