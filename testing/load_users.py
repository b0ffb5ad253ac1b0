"""A database with many users, calls, orders, reports and audit entries, and the queries over it.

`questions` is all that admin operations, and the jobs that look after calls, ask of tables that grow with
the product's use; `explain` shows how PostgreSQL answers one. The test of the suite and `make bench-admin` share them.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from container import Container
from services import pagination
from settings import Settings

Question = Callable[[], Awaitable[Any]]

#: Tables that grow with the product's use.
BIG = ("users", "profiles", "call_sessions", "orders", "reports", "audit_log")


def fill_tables(settings: Settings, **sizes: int) -> None:
    """Fill an empty database, and vacuum it as autovacuum would have."""
    text = re.sub(r"(?<!:):(\w+)", lambda size: str(sizes[size[1]]), Path(__file__).with_suffix(".sql").read_text())
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        # Rows that refer to each other are right by what they are made of; checking millions of them is not needed.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '512MB'")
        with connection.transaction():
            indexes = connection.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY(%s)"
                " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
                [list(BIG)],
            ).fetchall()
            # Made afterwards, at once: by the million that is several times as fast.
            for name, _ in indexes:
                connection.execute(f'DROP INDEX "{name}"'.encode())
            connection.execute(text.encode())
            for _, definition in indexes:
                connection.execute(definition.encode())
        connection.execute("VACUUM ANALYZE")


def user_id(number: int) -> str:
    """Return the id of the account of this number."""
    return str(uuid.UUID(bytes=hashlib.md5(f"user{number}".encode()).digest()))


def questions(container: Container, users: int) -> dict[str, Question]:
    """Queries of administrators, by name."""
    accounts, orders, reports, audit = container.user_directory, container.orders, container.reports, container.audit
    some_user, limit = user_id(users // 2), 20
    # A page from the middle of the list: it must not cost more than the first.
    midway = pagination.encode(datetime.now(UTC) - timedelta(days=180), uuid.UUID(some_user))
    asked: dict[str, Question] = {"stats, not kept": lambda: container.dashboard.read()}
    which: dict[str, dict[str, Any]] = {
        "all": {},
        "banned": {"banned": True},
        "not banned": {"banned": False},
        "flagged": {"flagged": True},
        "administrators": {"role": "admin"},
        "verified": {"verified": True},
        "not verified": {"verified": False},
        "not verified, banned": {"verified": False, "banned": True},
        "search, a letter": {"search": "a"},
        "search, three letters": {"search": "ab1"},
        "search, an address": {"search": f"{_email(users // 2)}"},
        "search, a percent sign": {"search": "%"},
        "search, an id": {"search": some_user},
        "search, a letter, banned": {"search": "a", "banned": True},
        "search, no match": {"search": "no such user"},
    }
    for name, filters in which.items():
        for page, cursor in (("", None), (", midway", midway)):
            asked[f"users: {name}{page}"] = _bind(accounts.list_all, limit=limit, cursor=cursor, **filters)
    asked["user, in detail"] = lambda: accounts.read(some_user)
    which = {
        "all": {},
        "paid": {"status": "paid"},
        "pending": {"status": "pending"},
        "by razorpay": {"provider": "razorpay"},
        "paid by razorpay": {"provider": "razorpay", "status": "paid"},
        "of one learner": {"user_id": some_user},
        "disputed": {"disputed": True},
        "not disputed": {"disputed": False},
        "disputed by razorpay": {"disputed": True, "provider": "razorpay"},
    }
    for name, filters in which.items():
        for page, cursor in (("", None), (", midway", midway)):
            asked[f"orders: {name}{page}"] = _bind(orders.list_all, limit=limit, cursor=cursor, **filters)
    which = {
        "all": {},
        "pending": {"status": "pending"},
        "by one learner": {"reporter_id": some_user},
        "about one learner": {"reported_id": user_id(7)},
        "pending about one learner": {"reported_id": user_id(7), "status": "pending"},
    }
    for name, filters in which.items():
        asked[f"reports: {name}"] = _bind(reports.list_all, limit=limit, **filters)
    which = {
        "all": {},
        "by one": {"actor_id": user_id(3)},
        "of one action": {"actions": ("user.ban",)},
        "of an action that never was": {"actions": ("no.such",)},
        "about one": {"target_id": some_user},
        "by one, of one action": {"actor_id": user_id(3), "actions": ("order.refund",)},
    }
    for name, filters in which.items():
        asked[f"audit: {name}"] = _bind(audit.list_all, limit=limit, **filters)
    asked["audit: all, midway"] = lambda: audit.list_all(limit=limit, cursor="1000")
    asked["calls that have not ended"] = container.call_history.list_open_calls
    asked["calls that outlived their room"] = container.call_history.end_stale
    return asked


async def explain(container: Container, question: Question, options: str = "") -> dict[str, list[str]]:
    """Run a query, and explain each of its statements with the same values."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        asked.append((statement, parameters))

    engine = container.database.engine
    sa.event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        await question()
    finally:
        sa.event.remove(engine.sync_engine, "before_cursor_execute", note)
    explained = {}
    async with engine.connect() as connection:
        for statement, parameters in asked:
            if statement.lstrip().upper().startswith(("SELECT", "WITH")):
                lines = await connection.exec_driver_sql(f"EXPLAIN ({options or 'COSTS'}) {statement}", parameters)
                explained[statement] = [line for (line,) in lines]
        await connection.rollback()
    return explained


def sequential_scans(plan: list[str]) -> list[str]:
    """The lines of a plan by which a big table is read from its beginning to its end.

    A scan right below a limit that takes each row it meets stops there: so are small tables counted.
    """
    return [
        line
        for before, line, after in zip(["", *plan], plan, [*plan[1:], ""], strict=False)
        if re.search(rf"Seq Scan on ({'|'.join(BIG)})\b", line) and not ("Limit " in before and "Filter:" not in after)
    ]


def _bind(function: Any, **arguments: Any) -> Question:
    return lambda: function(**arguments)


def _email(number: int) -> str:
    letter = "abcdefghijklmnoprstuvwz"[number % 23]
    return f"{letter}{hashlib.md5(f'mail{number}'.encode()).hexdigest()[:5]}.{number}@example.com"
