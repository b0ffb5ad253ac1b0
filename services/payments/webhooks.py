"""Webhook inbox: events of payment providers are stored before they are acknowledged, and handled by a job.

An event that cannot be read, or fails too often, is set aside: acknowledged, reported to administrators once, and not
handled again until an operator retries it.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from redis.asyncio import Redis
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters import redis
from adapters.database import UNAVAILABLE, Database
from adapters.jobs import Jobs
from adapters.ports import CheckoutFact, DisputeFact, Fact, PaymentProvider, ProviderEvent, RefundFact
from instants import utc_now
from jobs import handle_payment_event
from models import ProviderName, WebhookEvent
from services.messaging import notification_templates, notifications
from services.operations.audit import AuditService
from services.payments import settlement

log = logging.getLogger("parlance.payments")

#: The header in which each provider signs.
_PROVIDER_BY_SIGNATURE_HEADER = {"stripe-signature": ProviderName.STRIPE, "x-razorpay-signature": ProviderName.RAZORPAY}
#: How long a repeat is acknowledged without asking PostgreSQL: providers repeat for up to three days.
WEBHOOK_CACHE_TTL = timedelta(hours=72)
#: When an event whose job is lost, or was given up, is handled again.
EVENT_OVERDUE_AFTER = timedelta(minutes=5)
#: How often handling an event may fail.
MAX_EVENT_FAILURES = 6
#: Unreadable events of a provider that are stored, with their bodies, for operators to look at.
MAX_UNREADABLE_EVENTS = 100
#: Errors of an unavailable or busy PostgreSQL, unrelated to the event.
_TRANSIENT_ERRORS = (*UNAVAILABLE, OSError)
_FACT_TYPES: dict[str, type[CheckoutFact] | type[RefundFact] | type[DisputeFact]] = {
    "checkout": CheckoutFact,
    "refund": RefundFact,
    "dispute": DisputeFact,
}


class WebhooksService:
    def __init__(
        self,
        database: Database,
        redis_client: Redis,
        jobs: Jobs,
        audit: AuditService,
        providers: Mapping[str, PaymentProvider],
    ) -> None:
        self._audit = audit
        self._database = database
        self._redis = redis_client
        self._jobs = jobs
        self._providers = providers
        #: Received events, by provider and outcome.
        self.received: defaultdict[tuple[str, str], int] = defaultdict(int)

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Store an event, once. `headers` have lower-case names.

        Raises SignatureInvalid, RequestInvalid where it is no event, Unavailable where it could not be stored.
        """
        signed = [provider for header, provider in _PROVIDER_BY_SIGNATURE_HEADER.items() if header in headers]
        outcome = "failed"
        try:
            if len(signed) != 1 or signed[0] not in self._providers:
                raise errors.SignatureInvalid()
            outcome = await self._store(signed[0], body, headers)
        except errors.SignatureInvalid:
            outcome = "signature_invalid"
            raise
        except errors.RequestInvalid:
            outcome = "no_event"
            raise
        finally:
            self.received[signed[0].value if len(signed) == 1 else "unknown", outcome] += 1

    async def _store(self, provider: ProviderName, body: bytes, headers: Mapping[str, str]) -> str:
        """Store an event that is new and has a fact; return the outcome."""
        event = self._providers[provider].parse_webhook(body, headers)
        key = f"webhook:{provider}:{event.id}"
        if event.fact is None and event.unreadable is None:
            return "ignored"
        if await self._is_cached(key):
            return "repeated"
        if event.fact is None:
            await self._store_unreadable(provider, event, body)
            await self._cache(key)
            return "unreadable"
        async with self._database.transaction() as db:
            row_id = await _insert_event(db, provider, event, fact=_serialize_fact(event.fact))
            if row_id is not None:
                await self._jobs.enqueue(db, handle_payment_event, event_id=str(row_id))
        # Only after the commit: an event that Redis has is not looked up in PostgreSQL.
        await self._cache(key)
        if row_id is None:
            return "repeated"
        # Every checkout of ours has an order's id; whether a refund's or a dispute's payment is ours is not known yet.
        return "foreign" if isinstance(event.fact, CheckoutFact) and event.fact.order_id is None else "kept"

    async def _store_unreadable(self, provider: ProviderName, event: ProviderEvent, body: bytes) -> None:
        """Set an event aside that has not the shape of the provider's events, and notify administrators."""
        of_provider = select(WebhookEvent.id).where(
            col(WebhookEvent.set_aside_at).is_not(None),
            col(WebhookEvent.fact).is_(None),
            col(WebhookEvent.provider) == provider,
        )
        async with self._database.transaction() as db:
            if len((await db.execute(of_provider.limit(MAX_UNREADABLE_EVENTS))).all()) < MAX_UNREADABLE_EVENTS:
                error = _truncate(event.unreadable)
                await _insert_event(db, provider, event, body=body, last_error=error, set_aside_at=utc_now())
            await notifications.notify_admins(db, notification_templates.webhook_unknown(provider, event.type))
        log.warning(
            "webhook_event_unreadable provider=%s provider_event_id=%s type=%r reason=%r",
            provider,
            event.id,
            event.type,
            event.unreadable,
        )

    async def _is_cached(self, key: str) -> bool:
        try:
            return bool(await self._redis.exists(key))
        except redis.UNAVAILABLE:
            return False

    async def _cache(self, key: str) -> None:
        try:
            await self._redis.set(key, "1", ex=WEBHOOK_CACHE_TTL)
        except redis.UNAVAILABLE:
            log.warning("webhook_event_not_cached key=%s", key)

    async def handle(self, event_id: str) -> bool:
        """Handle a stored event, once; return whether it was. The sixth failure sets it aside without raising."""
        try:
            return await self._handle(uuid.UUID(event_id))
        except _TRANSIENT_ERRORS:
            raise
        except Exception as error:
            if not await self._count_failure(uuid.UUID(event_id), error):
                raise
            log.exception("webhook_event_set_aside event_id=%s", event_id)
            return False

    async def _handle(self, event_id: uuid.UUID) -> bool:
        taken = (
            sa.update(WebhookEvent)
            .where(*_is_unhandled(), col(WebhookEvent.id) == event_id)
            .values(handled_at=utc_now())
            .returning(col(WebhookEvent.provider), col(WebhookEvent.fact), col(WebhookEvent.type))
        )
        async with self._database.transaction() as db:
            row = (await db.execute(taken)).first()
            if row is None:
                return False
            fact = _deserialize_fact(row.fact)
            order = await settlement.apply_fact(db, row.provider, fact)
            if order is None and isinstance(fact, CheckoutFact):
                # Another integration of the same account, or another deployment.
                await notifications.notify_admins(db, notification_templates.webhook_unknown(row.provider, row.type))
            return True

    async def _count_failure(self, event_id: uuid.UUID, error: Exception) -> bool:
        """Count a failure of an event; return whether it is set aside now."""
        failures = col(WebhookEvent.failures) + 1
        counted = (
            sa.update(WebhookEvent)
            .where(*_is_unhandled(), col(WebhookEvent.id) == event_id)
            .values(
                failures=failures,
                last_error=_truncate(type(error).__name__),
                set_aside_at=sa.case((failures >= MAX_EVENT_FAILURES, sa.func.now())),
            )
            .returning(col(WebhookEvent.set_aside_at), col(WebhookEvent.provider), col(WebhookEvent.type))
        )
        async with self._database.transaction() as db:
            row = (await db.execute(counted)).first()
            if row is None or row.set_aside_at is None:
                return False
            await notifications.notify_admins(
                db, notification_templates.webhook_set_aside(event_id, row.provider, row.type)
            )
            return True

    async def handle_overdue(self) -> int:
        """Handle events whose job is lost; return how many."""
        overdue = (
            select(WebhookEvent.id)
            .where(*_is_unhandled(), col(WebhookEvent.received_at) < utc_now() - EVENT_OVERDUE_AFTER)
            .order_by(col(WebhookEvent.received_at))
            .limit(100)
        )
        async with self._database.transaction() as db:
            found = (await db.exec(overdue)).all()
        handled = 0
        for event_id in found:
            try:
                handled += await self.handle(str(event_id))
            except Exception:
                # The other events should not wait for it.
                log.exception("webhook_event_failed event_id=%s", event_id)
        return handled

    async def list_events(self, *, set_aside: bool, limit: int) -> list[WebhookEvent]:
        """List the events that wait, or those that are set aside, the oldest first."""
        which = [col(WebhookEvent.set_aside_at).is_not(None)] if set_aside else list(_is_unhandled())
        statement = select(WebhookEvent).where(*which).order_by(col(WebhookEvent.received_at)).limit(limit)
        async with self._database.transaction() as db:
            return list((await db.exec(statement)).all())

    async def retry(self, event_id: str) -> None:
        """Retry an event that was set aside; raise NotFound, or Refused where it still cannot be read."""
        aside = select(WebhookEvent).where(
            WebhookEvent.id == uuid.UUID(event_id), col(WebhookEvent.set_aside_at).is_not(None)
        )
        async with self._database.transaction() as db:
            event = (await db.exec(aside.with_for_update())).first()
            if event is None:
                raise errors.NotFound("No event that is set aside has this id; `parlance payments events` lists them.")
            await self._audit.write(db, None, "payment_event.retry", event.id, provider=str(event.provider))
            if event.fact is None:
                self._read_again(event)
            event.set_aside_at, event.failures, event.last_error = None, 0, None
            db.add(event)
            await db.flush()
            await self._jobs.enqueue(db, handle_payment_event, event_id=event_id)

    def _read_again(self, event: WebhookEvent) -> None:
        """Read an event of which only the body is stored; its signature was checked when it came."""
        provider = self._providers.get(event.provider)
        if provider is None:
            raise errors.Refused(f"Payments by {event.provider} are not configured.")
        again = provider.read_event(event.body or b"")
        if again.fact is None:
            raise errors.Refused(f"The event cannot be read: {again.unreadable or 'its type is not known'}.")
        event.fact, event.body = _serialize_fact(again.fact), None


async def _insert_event(
    db: AsyncSession, provider: ProviderName, event: ProviderEvent, **values: object
) -> uuid.UUID | None:
    """Insert the row of an event, with other columns as `values`; return its id, or None where there is one already."""
    statement = (
        insert(WebhookEvent)
        .values(id=uuid.uuid4(), provider=provider, event_id=event.id, type=event.type, **values)
        .on_conflict_do_nothing(constraint="webhook_events_once_key")
        .returning(col(WebhookEvent.id))
    )
    return (await db.scalars(statement)).first()


def _is_unhandled() -> tuple[sa.ColumnElement[bool], ...]:
    return col(WebhookEvent.handled_at).is_(None), col(WebhookEvent.set_aside_at).is_(None)


def _truncate(text: str | None) -> str | None:
    """Cut a reason to the length of its column."""
    return text[:200] if text else None


def _serialize_fact(fact: Fact) -> dict[str, object]:
    kind = next(kind for kind, shape in _FACT_TYPES.items() if isinstance(fact, shape))
    return {"kind": kind, **dataclasses.asdict(fact)}


def _deserialize_fact(stored: dict[str, Any]) -> Fact:
    fields = dict(stored)
    return _FACT_TYPES[fields.pop("kind")](**fields)
