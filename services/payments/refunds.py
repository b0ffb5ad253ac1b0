"""Refunds of a payment or part of it, one at a time per order."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import PaymentProvider
from jobs import send_refund
from models import Dispute, DisputeStatus, Order, OrderStatus, Refund, RefundStatus
from services.operations.audit import AuditService
from services.pagination import Page, read_page
from services.payments import settlement
from services.payments.providers import get_provider

#: When the job checks a refund that was sent at once.
REFUND_JOB_DELAY = timedelta(seconds=20)


class RefundsService:
    def __init__(
        self, database: Database, jobs: Jobs, audit: AuditService, providers: Mapping[str, PaymentProvider]
    ) -> None:
        """`providers` by name, those that are configured."""
        self._database = database
        self._jobs = jobs
        self._audit = audit
        self._providers = providers

    async def create(self, actor_id: str | None, order_id: str, amount: int | None, reason: str | None) -> Refund:
        """Refund part of a payment, or what is left of it; `actor_id` is None at the command line.

        The refund is `pending` where the provider is unreachable or slow; a job retries it. Raises NotFound,
        OrderNotRefundable, RefundPending, RefundTooLarge, PaymentRefused.
        """
        try:
            async with self._database.transaction() as db:
                order = await settlement.lock_order(db, uuid.UUID(order_id))
                if order is None:
                    raise errors.NotFound()
                refund = await self._build_refund(db, order, amount, reason)
                db.add(refund)
                await db.flush()
                await self._audit.write(
                    db,
                    uuid.UUID(actor_id) if actor_id else None,
                    "order.refund",
                    order.id,
                    refund=str(refund.id),
                    amount=refund.amount,
                    currency=refund.currency,
                )
                # In case the process dies or the provider is unavailable; usually the refund is sent already.
                await self._jobs.enqueue_later(db, REFUND_JOB_DELAY, send_refund, refund_id=str(refund.id))
        except IntegrityError:
            raise errors.RefundPending() from None
        try:
            return await self.send(str(refund.id))
        except errors.Unavailable:
            return refund

    async def _build_refund(self, db: AsyncSession, order: Order, amount: int | None, reason: str | None) -> Refund:
        if order.status is not OrderStatus.PAID or order.provider_payment_id is None:
            raise errors.OrderNotRefundable()
        if order.disputed:
            raise errors.OrderNotRefundable("The payment is disputed: the bank decides who keeps it.")
        refused = select(Dispute.id).where(
            Dispute.order_id == order.id, Dispute.status == DisputeStatus.OPEN, ~col(Dispute.refundable)
        )
        if (await db.exec(refused)).first() is not None:
            raise errors.OrderNotRefundable("A bank inquires about the payment, and the provider holds it.")
        of_order = select(Refund).where(Refund.order_id == order.id, Refund.status == RefundStatus.PENDING)
        if (await db.exec(of_order)).first() is not None:
            raise errors.RefundPending()
        left = order.amount - order.amount_refunded
        if amount is not None and amount > left:
            raise errors.RefundTooLarge(f"{left} is left of the payment.")
        return Refund(
            order_id=order.id,
            provider=order.provider,
            provider_payment_id=order.provider_payment_id,
            amount=left if amount is None else amount,
            currency=order.currency,
            issued_here=True,
            reason=reason,
        )

    async def send(self, refund_id: str) -> Refund:
        """Send a refund to the provider that it has not accepted yet; raise PaymentRefused or Unavailable."""
        async with self._database.transaction() as db:
            refund = await db.get_one(Refund, uuid.UUID(refund_id))
        if refund.provider_refund_id is not None or refund.status is not RefundStatus.PENDING:
            return refund
        provider = get_provider(self._providers, refund.provider)
        try:
            fact = await provider.refund(str(refund.id), refund.provider_payment_id, refund.amount)
        except errors.PaymentRefused:
            async with self._database.transaction() as db:
                await db.execute(
                    sa.update(Refund)
                    .where(
                        col(Refund.id) == refund.id,
                        col(Refund.status) == RefundStatus.PENDING,
                        col(Refund.provider_refund_id).is_(None),
                    )
                    .values(status=RefundStatus.FAILED)
                )
            raise
        async with self._database.transaction() as db:
            await settlement.apply_fact(db, refund.provider, fact)
            return await db.get_one(Refund, refund.id, populate_existing=True)

    async def list_refunds(self, *, limit: int, cursor: str | None) -> Page[Refund]:
        """Read a page of all refunds, newest first."""
        key = (col(Refund.created_at), col(Refund.id))
        async with self._database.transaction() as db:
            return await read_page(db, select(Refund), key, limit=limit, cursor=cursor)
