"""Admin lists and dashboard numbers: no query scans a whole table that grows with the product's use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from container import Container
from settings import Settings
from testing import load_users
from testing.containers import running_container
from testing.databases import own_database

USERS = 30_000


@pytest.fixture(scope="module")
async def container(settings: Settings) -> AsyncIterator[Container]:
    with own_database(settings) as own:
        load_users.fill_tables(own, users=USERS, sessions=100_000, orders=20_000, reports=20_000, entries=20_000)
        async with running_container(own) as services:
            yield services


async def test_admin_queries_use_indexes(container: Container) -> None:
    await container.redis.delete("admin:stats")
    whole = {}
    for name, question in load_users.questions(container, USERS).items():
        explained = await load_users.explain(container, question)
        assert explained, f"{name}: nothing was asked"
        for statement, plan in explained.items():
            if load_users.sequential_scans(plan):
                whole[name] = "\n".join([statement, *plan])
    assert not whole, "\n\n".join(f"{name}\n{plan}" for name, plan in whole.items())


@pytest.mark.parametrize(
    ("name", "indexes"),
    [
        ("users: all", ["users_newest_idx"]),
        ("users: banned", ["users_banned_idx"]),
        ("users: flagged", ["users_flagged_idx"]),
        ("users: administrators", ["users_admins_idx"]),
        ("users: not verified, midway", ["users_by_verified_idx"]),
        ("users: search, three letters", ["users_email_", "profiles_username_"]),
        ("users: search, an id", ["users_email_", "profiles_username_", "users_pkey"]),
        ("orders: disputed", ["orders_disputed_idx"]),
        ("orders: pending", ["orders_by_status_idx"]),
        ("orders: by razorpay", ["orders_by_provider_idx"]),
        ("reports: about one learner", ["reports_about_idx"]),
        ("audit: of an action that never was", ["audit_log_by_action_idx"]),
        ("audit: about one", ["audit_log_by_subject_idx"]),
        ("calls that have not ended", ["call_sessions_open_idx"]),
        ("calls that outlived their room", ["call_sessions_open_idx"]),
    ],
)
async def test_each_filter_has_its_index(container: Container, name: str, indexes: list[str]) -> None:
    # Where the database compares by bytes, as here, an index without `text_pattern_ops` knows prefixes, too.
    explained = await load_users.explain(container, load_users.questions(container, USERS)[name])
    lines = "\n".join(line for plan in explained.values() for line in plan)
    for index in indexes:
        assert index in lines, lines
