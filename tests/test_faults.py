"""`make faults` detects violations: each invariant is broken by hand, and reported."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import redis

from adapters.buckets import make_bucket
from container import Container
from devtools import stand_ins
from faults.invariants import INVARIANTS, Stores, broken
from faults.load import Claims
from instants import utc_now
from models import (
    CallSession,
    EndedBy,
    Enrollment,
    Order,
    OrderStatus,
    Profile,
    ProviderName,
    User,
    WebhookEvent,
)
from settings import Settings
from testing.databases import own_database
from testing.payments import add_course
from testing.pictures import bucket

NOBODY = str(uuid.uuid4())


@dataclass
class Ruin:
    """Breaks one invariant, by its name, in a system whose invariants hold."""

    stores: Stores
    container: Container
    one: str
    other: str
    course: str

    async def add(self, *rows: object) -> None:
        async with self.container.database.transaction() as db:
            for row in rows:
                db.add(row)
                await db.flush()

    def order(self, **more: object) -> Order:
        now = "2026-03-14T09:26:53Z"
        order: Order = Order.model_validate(
            {
                "user_id": self.one,
                "course_id": self.course,
                "course_title": "Small talk",
                "amount": 49900,
                "currency": "inr",
                "provider": ProviderName.STRIPE,
                "live": False,
                "checkout_expires_at": now,
                **more,
            }
        )
        return order

    def call(self) -> CallSession:
        ids: dict[str, Any] = {"user_a_id": uuid.UUID(self.one), "user_b_id": uuid.UUID(self.other)}
        return CallSession(room_id=str(uuid.uuid4()), level="all", **ids)

    async def accounts(self) -> None:
        self.stores.claims.registered.append("nobody@example.com")

    async def logins(self) -> None:
        self.stores.claims.signed_out.append("refresh_token_reused")

    async def calls(self) -> None:
        self.stores.claims.calls.append((NOBODY, self.one, self.other))

    async def open_calls(self) -> None:
        await self.add(self.call())

    async def statistics(self) -> None:
        self.stores.database.execute("UPDATE profiles SET total_sessions = 1 WHERE user_id = %s", (self.one,))

    async def ratings(self) -> None:
        self.stores.claims.ratings.append((NOBODY, self.one))

    async def one_call_each(self) -> None:
        calls = [self.call(), self.call()]
        for call in calls:
            call.connected_at, call.ended_at, call.ended_by = (
                utc_now() - timedelta(minutes=1),
                utc_now(),
                EndedBy.USER_A,
            )
        await self.add(*calls)
        self.stores.database.execute("UPDATE profiles SET total_sessions = 2")

    async def reports(self) -> None:
        self.stores.claims.reports.append((self.one, self.other))

    async def orders(self) -> None:
        order = self.order(status=OrderStatus.PENDING)
        enrolled: dict[str, Any] = {"user_id": uuid.UUID(self.one), "course_id": uuid.UUID(self.course)}
        await self.add(order, Enrollment(order_id=order.id, **enrolled))

    async def refunds(self) -> None:
        self.stores.claims.refunds.append((NOBODY, 100))

    async def notifications(self) -> None:
        order = self.order(status=OrderStatus.PAID, provider_payment_id="pi_1", paid_at="2026-03-14T09:26:53Z")
        enrolled: dict[str, Any] = {"user_id": uuid.UUID(self.one), "course_id": uuid.UUID(self.course)}
        await self.add(order, Enrollment(order_id=order.id, **enrolled))

    async def jobs(self) -> None:
        job = "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('q', 't', 'failed')"
        self.stores.database.execute(job)

    async def webhooks(self) -> None:
        await self.add(WebhookEvent(provider=ProviderName.STRIPE, event_id="evt_1", type="any", fact={}))

    async def pictures(self) -> None:
        self.stores.claims.pictures[self.one] = "https://pictures.example/1.webp"

    async def videos(self) -> None:
        self.stores.claims.videos.append(NOBODY)

    async def uploads(self) -> None:
        self.stores.bucket._create_multipart_upload(self.stores.settings.storage_bucket_name, "videos/left", {})


@pytest.fixture
def own(settings: Settings, own_valkey: dict[str, str]) -> Iterator[Settings]:
    with own_database(settings) as found:
        name = f"faults-{uuid.uuid4().hex}"
        yield found.model_copy(update={"redis_port": int(own_valkey["REDIS_PORT"]), "storage_bucket_name": name})


@pytest.fixture
async def ruin(own: Settings) -> AsyncIterator[Ruin]:
    container = Container(own)
    users = [User(email=f"{uuid.uuid4().hex}@example.com", password_hash="x") for _ in range(2)]
    with (
        stand_ins.running() as vendors,
        psycopg.connect(own.database_url, autocommit=True) as database,
        redis.Redis("127.0.0.1", own.redis_port, decode_responses=True) as cache,
    ):
        cache.flushall()
        store = bucket(own)
        make_bucket(store, own.storage_bucket_name)
        stores = Stores(database, cache, Claims(), own, store, vendors)
        made = Ruin(stores, container, str(users[0].id), str(users[1].id), await add_course(container))
        await made.add(*users, *(Profile(user_id=user.id) for user in users))
        yield made
    await container.close()


async def test_each_invariant_holds_until_it_is_broken(ruin: Ruin) -> None:
    assert broken(ruin.stores, INVARIANTS) == {}


@pytest.mark.parametrize("name", [each.__name__ for each in INVARIANTS])
async def test_broken_invariant_is_named(ruin: Ruin, name: str) -> None:
    await getattr(ruin, name)()
    found = broken(ruin.stores, INVARIANTS)
    assert found.keys() == {name} and found[name][0]


async def test_leftover_redis_keys_are_named(ruin: Ruin) -> None:
    ruin.stores.redis.set(f"{{match}}:in_room:{NOBODY}", NOBODY)
    assert broken(ruin.stores, INVARIANTS).keys() == {"open_calls"}
