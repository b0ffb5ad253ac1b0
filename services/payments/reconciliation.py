"""Owns asking the providers what a lost webhook would have said, and the repair of what that left."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from adapters.ports import Fact, PaymentProvider
from models import Dispute, DisputeStatus, Order, OrderStatus, ProviderName, Refund, RefundStatus
from models.columns import now
from models.order import OPEN
from services.payments import settlement
from services.payments.checkout import SHORTEST_CHECKOUT, PaymentsService

#: When a refund of which the provider has not heard is sent again.
_OVERDUE = timedelta(minutes=5)
#: How far back refunds and disputes are asked for: the providers repeat a webhook for days, people look after weeks.
_LOOK_BACK = timedelta(days=30)
#: How many orders are asked about at once.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What asking the provider about an order did, or would do; `error` where it could not be asked.

    Without an order it is about all paid ones of a provider, by whose name it goes.
    """

    order_id: uuid.UUID | None
    receipt_id: str
    before: str
    after: str
    error: str | None = None


class _DryRun(Exception):
    """Rolls back what was only tried."""


class ReconciliationService:
    def __init__(self, database: Database, payments: PaymentsService, providers: Mapping[str, PaymentProvider]) -> None:
        """`providers` by name, those that are configured."""
        self._database = database
        self._payments = payments
        self._providers = providers

    async def reconcile(self, *, dry_run: bool = False, before: timedelta = timedelta()) -> list[Reconciled]:
        """Ask the providers about every order that waits for news, made `before` that long ago or earlier.

        Those are orders that are pending or processing, or whose refund or dispute is open. For paid ones nothing
        waits; the providers are asked for the refunds and disputes of the last month, which others may have made.
        Answers for each order that changed, or would, and for each that could not be asked about.
        """
        refunding = sa.exists().where(col(Refund.order_id) == Order.id, col(Refund.status) == RefundStatus.PENDING)
        disputing = sa.exists().where(col(Dispute.order_id) == Order.id, col(Dispute.status) == DisputeStatus.OPEN)
        waiting = sa.or_(col(Order.status).in_(OPEN), refunding, disputing)
        async with self._database.transaction() as db:
            orders = (
                await db.exec(
                    select(Order)
                    .where(waiting, col(Order.created_at) <= now() - before)
                    .order_by(col(Order.created_at), col(Order.id))
                )
            ).all()
        some = asyncio.Semaphore(_AT_ONCE)

        async def ask(order: Order) -> Reconciled:
            async with some:
                return await self._reconcile(order, dry_run)

        outcomes = list(await asyncio.gather(*(ask(order) for order in orders)))
        asked = {order.id for order in orders}
        for name in self._providers:
            outcomes += await self._reconcile_paid(ProviderName(name), asked, dry_run)
        return [outcome for outcome in outcomes if outcome.error or outcome.before != outcome.after]

    async def _reconcile_paid(self, provider: ProviderName, asked: set[uuid.UUID], dry_run: bool) -> list[Reconciled]:
        """Record refunds and disputes that were made at the provider, of orders that were not asked about."""
        try:
            facts = await self._providers[provider].changes(now() - _LOOK_BACK)
        except (errors.Unavailable, errors.PaymentRefused) as error:
            return [Reconciled(None, f"paid by {provider}", "", "", error.detail)]
        told: dict[str, list[Fact]] = {}
        for fact in facts:
            told.setdefault(fact.payment_id, []).append(fact)
        async with self._database.transaction() as db:
            orders = (
                await db.exec(
                    select(Order)
                    .where(Order.provider == provider, col(Order.provider_payment_id).in_(told))
                    .order_by(col(Order.created_at), col(Order.id))
                )
            ).all()
        outcomes = []
        for order in orders:
            if order.id not in asked:
                settled = await self._apply(order, told[order.provider_payment_id or ""], dry_run)
                outcomes.append(Reconciled(order.id, order.receipt_id, _state(order), _state(settled or order)))
        return outcomes

    async def _reconcile(self, order: Order, dry_run: bool) -> Reconciled:
        before = _state(order)
        try:
            if order.provider_session_id is None:
                settled: Order | None = await self._give_up(order, dry_run)
            else:
                facts = await self._payments.provider(order.provider).look_up(order.provider_session_id)
                settled = await self._apply(order, facts, dry_run)
                if not dry_run:
                    settled = await self._send_unsent(order) or settled
        except (errors.Unavailable, errors.PaymentRefused) as error:
            return Reconciled(order.id, order.receipt_id, before, before, error.detail)
        return Reconciled(order.id, order.receipt_id, before, _state(settled or order))

    async def _send_unsent(self, order: Order) -> Order | None:
        """Send refunds that the provider has not heard of, now that it has told of those it has."""
        unsent = select(Refund.id).where(
            Refund.order_id == order.id,
            Refund.status == RefundStatus.PENDING,
            col(Refund.provider_refund_id).is_(None),
            Refund.created_at < now() - _OVERDUE,
        )
        async with self._database.transaction() as db:
            refunds = (await db.exec(unsent)).all()
        if not refunds:
            return None
        for refund_id in refunds:
            await self._payments.send_refund(str(refund_id))
        async with self._database.transaction() as db:
            return await db.get_one(Order, order.id)

    async def _give_up(self, order: Order, dry_run: bool) -> Order | None:
        """Expire an order that never had a page and is too old to get one."""
        settled: Order | None = None
        try:
            async with self._database.transaction() as db:
                await db.execute(
                    sa.update(Order)
                    .where(
                        col(Order.id) == order.id,
                        col(Order.status) == OrderStatus.PENDING,
                        col(Order.checkout_url).is_(None),
                        col(Order.checkout_expires_at) < now() + SHORTEST_CHECKOUT,
                    )
                    .values(status=OrderStatus.EXPIRED)
                )
                settled = await db.get_one(Order, order.id)
                if dry_run:
                    db.expunge_all()  # or the rollback would take what was found out along
                    raise _DryRun
        except _DryRun:
            pass
        return settled

    async def _apply(self, order: Order, facts: list[Fact], dry_run: bool = False) -> Order | None:
        settled: Order | None = None
        try:
            async with self._database.transaction() as db:
                for fact in facts:
                    settled = await settlement.apply(db, order.provider, fact) or settled
                if dry_run:
                    db.expunge_all()  # or the rollback would take what was found out along
                    raise _DryRun
        except _DryRun:
            pass
        return settled


def _state(order: Order) -> str:
    """An order in a few words, for operators."""
    words = [order.status.value]
    if 0 < order.amount_refunded < order.amount:
        words.append(f"{order.amount_refunded} given back")
    if order.disputed:
        words.append("disputed")
    if order.inquiry:
        words.append("inquired about")
    return ", ".join(words)
