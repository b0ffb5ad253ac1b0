"""Owns the inbox: what payment providers tell is kept before they are thanked, and acted upon afterwards."""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import redis.exceptions
import sqlalchemy as sa
from redis.asyncio import Redis
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import CheckoutFact, DisputeFact, Fact, PaymentProvider, RefundFact
from models import ProviderName, WebhookEvent
from models.columns import now
from services import settlement

log = logging.getLogger("parlance.payments")

#: Who signs in which header.
_SIGNATURES = {"stripe-signature": ProviderName.STRIPE, "x-razorpay-signature": ProviderName.RAZORPAY}
#: How long a repeat is answered without asking PostgreSQL: providers repeat for up to three days.
_REMEMBERED = timedelta(hours=72)
#: When an event whose job is lost, or was given up, is taken up again.
_OVERDUE = timedelta(minutes=5)
_FACTS: dict[str, type[CheckoutFact] | type[RefundFact] | type[DisputeFact]] = {
    "checkout": CheckoutFact,
    "refund": RefundFact,
    "dispute": DisputeFact,
}


class WebhooksService:
    def __init__(self, database: Database, redis: Redis, jobs: Jobs, providers: Mapping[str, PaymentProvider]) -> None:
        self._database = database
        self._redis = redis
        self._jobs = jobs
        self._providers = providers
        #: What came in, by provider and what became of it.
        self.received: defaultdict[tuple[str, str], int] = defaultdict(int)

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Keep an event, once; raise SignatureInvalid, or Unavailable where it could not be kept.

        `headers` have lower-case names.
        """
        signed = [provider for header, provider in _SIGNATURES.items() if header in headers]
        outcome = "failed"
        try:
            if len(signed) != 1 or signed[0] not in self._providers:
                raise errors.SignatureInvalid()
            outcome = await self._keep(signed[0], body, headers)
        except errors.SignatureInvalid:
            outcome = "signature_invalid"
            raise
        finally:
            self.received[signed[0].value if len(signed) == 1 else "unknown", outcome] += 1

    async def _keep(self, provider: ProviderName, body: bytes, headers: Mapping[str, str]) -> str:
        """Keep an event that is new and says something; answer what became of it."""
        event = self._providers[provider].parse_webhook(body, headers)
        key = f"webhook:{provider}:{event.id}"
        if event.fact is None:
            return "ignored"
        if await self._known(key):
            return "repeated"
        async with self._database.transaction() as session:
            added = await session.execute(
                insert(WebhookEvent)
                .values(
                    id=uuid.uuid4(), provider=provider, event_id=event.id, type=event.type, fact=_stored(event.fact)
                )
                .on_conflict_do_nothing(constraint="webhook_events_once_key")
                .returning(col(WebhookEvent.id))
            )
            row_id = added.scalar()
            if row_id is not None:
                await self._jobs.enqueue(session, "payments.handle_event", event_id=str(row_id))
        # Only now: what Redis remembers is never asked about again.
        await self._remember(key)
        return "repeated" if row_id is None else "kept"

    async def _known(self, key: str) -> bool:
        try:
            return bool(await self._redis.exists(key))
        except (redis.exceptions.RedisError, OSError):
            return False

    async def _remember(self, key: str) -> None:
        try:
            await self._redis.set(key, "1", ex=_REMEMBERED)
        except (redis.exceptions.RedisError, OSError):
            log.warning("Redis is away; PostgreSQL alone knows %s", key)

    async def handle(self, event_id: str) -> None:
        """Act upon an event of the inbox, once."""
        taken = (
            sa.update(WebhookEvent)
            .where(col(WebhookEvent.id) == uuid.UUID(event_id), col(WebhookEvent.handled_at).is_(None))
            .values(handled_at=now())
            .returning(col(WebhookEvent.provider), col(WebhookEvent.fact))
        )
        async with self._database.transaction() as session:
            row = (await session.execute(taken)).first()
            if row is not None:
                await settlement.apply(session, row.provider, _fact(row.fact))

    async def handle_overdue(self) -> int:
        """Act upon events whose job is gone; say how many."""
        overdue = (
            select(WebhookEvent.id)
            .where(col(WebhookEvent.handled_at).is_(None), col(WebhookEvent.received_at) < now() - _OVERDUE)
            .order_by(col(WebhookEvent.received_at))
            .limit(100)
        )
        async with self._database.transaction() as session:
            found = (await session.exec(overdue)).all()
        handled = 0
        for event_id in found:
            try:
                await self.handle(str(event_id))
                handled += 1
            except Exception:
                # The others should not wait for it.
                log.exception("event %s cannot be handled", event_id)
        return handled


def _stored(fact: Fact) -> dict[str, Any]:
    kind = next(kind for kind, shape in _FACTS.items() if isinstance(fact, shape))
    return {"kind": kind, **dataclasses.asdict(fact)}


def _fact(stored: dict[str, Any]) -> Fact:
    fields = dict(stored)
    return _FACTS[fields.pop("kind")](**fields)
