"""Owns orders: buying a course, reading what was bought, giving money back."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import PaymentProvider, Purchase
from jobs import send_refund
from models import (
    AlertKind,
    Course,
    Dispute,
    DisputeStatus,
    Enrollment,
    Order,
    OrderStatus,
    PaymentAlert,
    ProviderName,
    Refund,
    RefundStatus,
)
from models.columns import now
from models.order import OPEN
from services import pagination
from services.identity.logins import lock_user
from services.operations.audit import AuditService
from services.pagination import Page
from services.payments import settlement

log = logging.getLogger("parlance.payments")

_Row = TypeVar("_Row", Order, Refund)

#: How long one process may take to have a payment page made before another tries: both tries of a provider, and more.
_ASKING = timedelta(seconds=15)
#: How long a request waits for a page that another one is having made.
_PATIENCE = 20
#: Stripe makes no page that closes within half an hour; an order without a page is given up before.
SHORTEST_CHECKOUT = timedelta(minutes=31)
#: When the job looks after a refund that was sent at once.
_RESEND = timedelta(seconds=20)
#: How often an order is read again where it turns out to be over.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class AdminOrder:
    """An order as operators see it; `alerts` are the kinds of what somebody has to look at."""

    order: Order
    alerts: list[AlertKind]


class PaymentsService:
    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        audit: AuditService,
        providers: Mapping[str, PaymentProvider],
        selling: str,
        checkout_expiry: timedelta,
    ) -> None:
        """`providers` by name, those that are configured; `selling` takes new orders."""
        self._database = database
        self._jobs = jobs
        self._audit = audit
        self._providers = providers
        self._selling = ProviderName(selling)
        self._checkout_expiry = checkout_expiry

    def provider(self, name: str) -> PaymentProvider:
        """Find a provider by its name; raise Unavailable where it is not configured."""
        try:
            return self._providers[name]
        except KeyError:
            log.error("payments by %s are not configured", name)
            raise errors.Unavailable("Payments are not configured.") from None

    # --- Buying -----------------------------------------------------------------------------------

    async def checkout(self, user_id: str, course_id: str) -> Order:
        """Open an order for a course, or find the open one; answer it with the page on which it is paid.

        Raises NotFound, CourseIsFree, AlreadyEnrolled, PaymentPending, PaymentRefused, Unavailable.
        """
        for _ in range(_ROUNDS):
            order = await self._open(uuid.UUID(user_id), uuid.UUID(course_id))
            if order.status is OrderStatus.PENDING and order.checkout_url is None:
                order = await self._with_page(order)
            if order.status not in OPEN:
                continue
            if order.status is OrderStatus.PENDING and order.checkout_expires_at > now():
                return order
            if await self._still_open(order):
                raise errors.PaymentPending()
        raise errors.Unavailable()

    async def _still_open(self, order: Order) -> bool:
        """Ask the provider how an order stands whose page has closed or was used.

        Only the provider knows whether somebody paid in a page's last minute, or what a lost webhook would have said.
        """
        try:
            facts = await self.provider(order.provider).look_up(order.provider_session_id or "")
        except errors.Unavailable:
            if order.status is OrderStatus.PROCESSING:
                return True  # as far as anybody knows
            raise
        settled: Order | None = None
        async with self._database.transaction() as db:
            for fact in facts:
                settled = await settlement.apply(db, order.provider, fact) or settled
        return (settled or order).status in OPEN

    async def _open(self, user_id: uuid.UUID, course_id: uuid.UUID) -> Order:
        try:
            async with self._database.transaction() as db:
                # Held, as by whatever enrolls: what is read below stays so until the commit.
                user = await lock_user(db, user_id)
                if user is None or user.deleted_at is not None:
                    raise errors.Unauthenticated()
                course = (await db.exec(select(Course).where(Course.id == course_id, col(Course.is_published)))).first()
                if course is None:
                    raise errors.NotFound()
                enrolled = select(Enrollment.id).where(Enrollment.user_id == user_id, Enrollment.course_id == course_id)
                if (await db.exec(enrolled)).first() is not None:
                    raise errors.AlreadyEnrolled()
                mine = (
                    col(Order.user_id) == user_id,
                    col(Order.course_id) == course_id,
                    col(Order.status).in_(OPEN),
                )
                # Nobody was ever told of its page, so nobody can have paid.
                await db.execute(
                    sa.update(Order)
                    .where(
                        *mine,
                        col(Order.status) == OrderStatus.PENDING,
                        col(Order.checkout_url).is_(None),
                        col(Order.checkout_expires_at) < now() + SHORTEST_CHECKOUT,
                    )
                    .values(status=OrderStatus.EXPIRED)
                )
                order = (await db.exec(select(Order).where(*mine))).first()
                if order is not None:
                    return order
                if course.price == 0:
                    raise errors.CourseIsFree()
                order = Order(
                    user_id=user_id,
                    course_id=course_id,
                    course_title=course.title,
                    amount=course.price,
                    currency=course.currency,
                    provider=self._selling,
                    live=self.provider(self._selling).live,
                    # Whole seconds: providers take no less.
                    checkout_expires_at=(now() + self._checkout_expiry).replace(microsecond=0),
                )
                db.add(order)
            return order
        except IntegrityError:
            # The constraint knew better; whoever asks again finds the open order.
            raise errors.Unavailable() from None

    async def _with_page(self, order: Order) -> Order:
        """Have the order's page made by one process, and wait for it in all others."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            if await self._claim(order.id):
                return await self._make_page(order)
            await asyncio.sleep(0.1)
            row = await self._database.fetch_one(
                "SELECT checkout_url IS NULL AND status = 'pending' FROM orders WHERE id = $1", str(order.id)
            )
            if row is None or not row[0]:
                async with self._database.transaction() as db:
                    return await db.get_one(Order, order.id)
        raise errors.Unavailable()

    async def _claim(self, order_id: uuid.UUID) -> bool:
        unasked = sa.or_(col(Order.checkout_asked_at).is_(None), col(Order.checkout_asked_at) < now() - _ASKING)
        statement = (
            sa.update(Order)
            .where(
                col(Order.id) == order_id,
                col(Order.status) == OrderStatus.PENDING,
                col(Order.checkout_url).is_(None),
                unasked,
            )
            .values(checkout_asked_at=now())
            .returning(col(Order.id))
        )
        async with self._database.transaction() as db:
            return (await db.execute(statement)).first() is not None

    async def _make_page(self, order: Order) -> Order:
        purchase = Purchase(
            order_id=str(order.id),
            user_id=str(order.user_id),
            course_id=str(order.course_id),
            title=order.course_title,
            amount=order.amount,
            currency=order.currency,
            expires_at=order.checkout_expires_at,
        )
        still_pageless = (
            col(Order.id) == order.id,
            col(Order.status) == OrderStatus.PENDING,
            col(Order.checkout_url).is_(None),
        )
        try:
            checkout = await self.provider(order.provider).create_checkout(purchase)
        except errors.ProductError as error:
            # Refused is refused for good: the next attempt is another order. Otherwise the next may try at once.
            outcome: dict[str, OrderStatus | None] = (
                {"status": OrderStatus.FAILED}
                if isinstance(error, errors.PaymentRefused)
                else {"checkout_asked_at": None}
            )
            async with self._database.transaction() as db:
                await db.execute(sa.update(Order).where(*still_pageless).values(**outcome))
            raise
        async with self._database.transaction() as db:
            await db.execute(
                sa.update(Order)
                .where(*still_pageless)
                .values(
                    provider_session_id=checkout.session_id,
                    checkout_url=checkout.url,
                    checkout_expires_at=checkout.expires_at,
                )
            )
            return await db.get_one(Order, order.id)

    # --- Reading ----------------------------------------------------------------------------------

    async def list_mine(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Order]:
        """Read a page of one's orders, newest first."""
        return await self._page(Order, col(Order.user_id) == uuid.UUID(user_id), limit, cursor)

    async def read(self, user_id: str, order_id: str) -> Order:
        """Read one of one's orders; raise NotFound."""
        async with self._database.transaction() as db:
            order = await db.get(Order, uuid.UUID(order_id))
        if order is None or order.user_id != uuid.UUID(user_id):
            raise errors.NotFound()
        return order

    async def list_all(
        self,
        *,
        limit: int,
        status: str | None = None,
        provider: str | None = None,
        user_id: str | None = None,
        disputed: bool | None = None,
        cursor: str | None = None,
    ) -> Page[AdminOrder]:
        """Read a page of all orders, or those of one status, provider, learner, disputed or not, newest first."""
        which: list[sa.ColumnExpressionArgument[bool]] = [sa.true()]
        if status:
            which.append(col(Order.status) == OrderStatus(status))
        if provider:
            which.append(col(Order.provider) == ProviderName(provider))
        if user_id:
            which.append(col(Order.user_id) == uuid.UUID(user_id))
        if disputed is not None:
            which.append(col(Order.disputed) if disputed else ~col(Order.disputed))
        page = await self._page(Order, sa.and_(*which), limit, cursor)
        alerts: dict[uuid.UUID, list[AlertKind]] = {order.id: [] for order in page.items}
        async with self._database.transaction() as db:
            found = await db.execute(
                sa.select(col(PaymentAlert.order_id), col(PaymentAlert.kind))
                .where(col(PaymentAlert.order_id).in_(alerts))
                .distinct()
                .order_by(PaymentAlert.kind)
            )
            for order_id, kind in found:
                alerts[order_id].append(kind)
        return Page([AdminOrder(order, alerts[order.id]) for order in page.items], page.next_cursor)

    async def list_refunds(self, *, limit: int, cursor: str | None) -> Page[Refund]:
        """Read a page of all refunds, newest first."""
        return await self._page(Refund, sa.true(), limit, cursor)

    async def _page(
        self, table: type[_Row], which: sa.ColumnElement[bool], limit: int, cursor: str | None
    ) -> Page[_Row]:
        newest = select(table).where(which).order_by(col(table.created_at).desc(), col(table.id).desc())
        if cursor:
            newest = newest.where(
                sa.tuple_(col(table.created_at), col(table.id)) < sa.tuple_(*pagination.decode(cursor))
            )
        async with self._database.transaction() as db:
            rows = list((await db.exec(newest.limit(limit + 1))).all())
        return pagination.page(rows, limit, lambda row: (row.created_at, row.id))

    # --- Giving back ------------------------------------------------------------------------------

    async def refund(self, actor_id: str | None, order_id: str, amount: int | None, reason: str | None) -> Refund:
        """Give back part of a payment, or what is left of it; `actor_id` is None at the command line.

        The refund is `pending` where the provider is away or slow; a job keeps asking. Raises NotFound,
        OrderNotRefundable, RefundPending, RefundTooLarge, PaymentRefused.
        """
        try:
            async with self._database.transaction() as db:
                order = await settlement.hold(db, uuid.UUID(order_id))
                if order is None:
                    raise errors.NotFound()
                refund = await self._new_refund(db, order, amount, reason)
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
                # Should this process die, or the provider be away. As a rule it finds the refund sent.
                await self._jobs.enqueue_later(db, _RESEND, send_refund, refund_id=str(refund.id))
        except IntegrityError:
            raise errors.RefundPending() from None
        try:
            return await self.send_refund(str(refund.id))
        except errors.Unavailable:
            return refund

    async def _new_refund(self, db: AsyncSession, order: Order, amount: int | None, reason: str | None) -> Refund:
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

    async def send_refund(self, refund_id: str) -> Refund:
        """Ask the provider for a refund that it has not taken yet; raise PaymentRefused or Unavailable."""
        async with self._database.transaction() as db:
            refund = await db.get_one(Refund, uuid.UUID(refund_id))
        if refund.provider_refund_id is not None or refund.status is not RefundStatus.PENDING:
            return refund
        provider = self.provider(refund.provider)
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
            await settlement.apply(db, refund.provider, fact)
            return await db.get_one(Refund, refund.id, populate_existing=True)
