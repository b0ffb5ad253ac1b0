"""Reconciliation of orders with the payment providers, which repairs what a lost webhook left."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.ports import Fact, PaymentProvider
from instants import utc_now
from models import Dispute, DisputeStatus, Order, ProviderName, Refund, RefundStatus
from models.order import OPEN_STATUSES
from services.payments import settlement
from services.payments.checkout import expire_without_page
from services.payments.providers import get_provider
from services.payments.refunds import RefundsService

#: When a refund that the provider does not know is sent again.
REFUND_RESEND_AFTER = timedelta(minutes=5)
#: How far back refunds and disputes are read: the providers repeat a webhook for days, people check after weeks.
PROVIDER_CHANGES_WINDOW = timedelta(days=30)
#: Orders that are looked up at once.
MAX_CONCURRENT_LOOKUPS = 4


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The state of an order before and after its reconciliation; `error` if the query failed.

    `order_id` is None for all paid orders of a provider; `receipt_id` then names the provider.
    """

    order_id: uuid.UUID | None
    receipt_id: str
    before: str
    after: str
    error: str | None = None


class _DryRun(Exception):
    """Rolls back a dry run."""


class ReconciliationService:
    def __init__(self, database: Database, refunds: RefundsService, providers: Mapping[str, PaymentProvider]) -> None:
        """`providers` by name, those that are configured."""
        self._database = database
        self._refunds = refunds
        self._providers = providers

    async def reconcile(self, *, dry_run: bool = False, before: timedelta = timedelta()) -> list[Reconciled]:
        """Look up every order with an open state, created `before` that long ago or earlier.

        Those are orders that are pending or processing, or whose refund or dispute is open. For paid orders, the
        refunds and disputes of the last month are read, which may have been made on the provider's pages.
        Returns the orders that changed, or would change, and those that could not be looked up.
        """
        refunding = sa.exists().where(col(Refund.order_id) == Order.id, col(Refund.status) == RefundStatus.PENDING)
        disputing = sa.exists().where(col(Dispute.order_id) == Order.id, col(Dispute.status) == DisputeStatus.OPEN)
        waiting = sa.or_(col(Order.status).in_(OPEN_STATUSES), refunding, disputing)
        async with self._database.transaction() as db:
            orders = (
                await db.exec(
                    select(Order)
                    .where(waiting, col(Order.created_at) <= utc_now() - before)
                    .order_by(col(Order.created_at), col(Order.id))
                )
            ).all()
        semaphore = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)

        async def reconcile_one(order: Order) -> Reconciled:
            async with semaphore:
                return await self._reconcile(order, dry_run)

        outcomes = list(await asyncio.gather(*(reconcile_one(order) for order in orders)))
        seen = {order.id for order in orders}
        for name in self._providers:
            outcomes += await self._reconcile_paid(ProviderName(name), seen, dry_run)
        return [outcome for outcome in outcomes if outcome.error or outcome.before != outcome.after]

    async def _reconcile_paid(self, provider: ProviderName, seen: set[uuid.UUID], dry_run: bool) -> list[Reconciled]:
        """Record refunds and disputes that were made on the provider's pages, of orders that were not looked up."""
        try:
            facts = await self._providers[provider].list_changes(utc_now() - PROVIDER_CHANGES_WINDOW)
        except (errors.Unavailable, errors.PaymentRefused) as error:
            return [Reconciled(None, f"paid by {provider}", "", "", error.detail)]
        by_payment: dict[str, list[Fact]] = {}
        for fact in facts:
            by_payment.setdefault(fact.payment_id, []).append(fact)
        async with self._database.transaction() as db:
            orders = (
                await db.exec(
                    select(Order)
                    .where(Order.provider == provider, col(Order.provider_payment_id).in_(by_payment))
                    .order_by(col(Order.created_at), col(Order.id))
                )
            ).all()
        outcomes = []
        for order in orders:
            if order.id not in seen:
                settled = await self._apply(order, by_payment[order.provider_payment_id or ""], dry_run)
                outcomes.append(
                    Reconciled(order.id, order.receipt_id, _describe_state(order), _describe_state(settled or order))
                )
        return outcomes

    async def _reconcile(self, order: Order, dry_run: bool) -> Reconciled:
        before = _describe_state(order)
        try:
            if order.provider_session_id is None:
                settled: Order | None = await self._give_up(order, dry_run)
            else:
                facts = await get_provider(self._providers, order.provider).look_up(order.provider_session_id)
                settled = await self._apply(order, facts, dry_run)
                if not dry_run:
                    settled = await self._send_unsent(order) or settled
        except (errors.Unavailable, errors.PaymentRefused) as error:
            return Reconciled(order.id, order.receipt_id, before, before, error.detail)
        return Reconciled(order.id, order.receipt_id, before, _describe_state(settled or order))

    async def _send_unsent(self, order: Order) -> Order | None:
        """Send refunds that the provider does not know, now that those it knows are recorded."""
        unsent = select(Refund.id).where(
            Refund.order_id == order.id,
            Refund.status == RefundStatus.PENDING,
            col(Refund.provider_refund_id).is_(None),
            Refund.created_at < utc_now() - REFUND_RESEND_AFTER,
        )
        async with self._database.transaction() as db:
            refunds = (await db.exec(unsent)).all()
        if not refunds:
            return None
        for refund_id in refunds:
            await self._refunds.send(str(refund_id))
        async with self._database.transaction() as db:
            return await db.get_one(Order, order.id)

    async def _give_up(self, order: Order, dry_run: bool) -> Order:
        """Expire an order that never had a page and is too old to get one."""
        async with self._transaction(dry_run) as db:
            await expire_without_page(db, col(Order.id) == order.id)
            return await db.get_one(Order, order.id)

    async def _apply(self, order: Order, facts: list[Fact], dry_run: bool) -> Order | None:
        async with self._transaction(dry_run) as db:
            return await settlement.apply_facts(db, order.provider, facts)

    @asynccontextmanager
    async def _transaction(self, dry_run: bool) -> AsyncIterator[AsyncSession]:
        """Open a transaction that a dry run rolls back at its end; rows read in it stay readable."""
        with suppress(_DryRun):
            async with self._database.transaction() as db:
                yield db
                if dry_run:
                    db.expunge_all()  # or the rollback would expire what was read
                    raise _DryRun


def _describe_state(order: Order) -> str:
    """Describe an order in a few words, for operators."""
    words = [order.status.value]
    if 0 < order.amount_refunded < order.amount:
        words.append(f"{order.amount_refunded} refunded")
    if order.disputed:
        words.append("disputed")
    if order.inquiry:
        words.append("inquired about")
    return ", ".join(words)
