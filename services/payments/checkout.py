"""Checkout: an order for a course, and the provider's page on which it is paid."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.ports import PaymentProvider, Purchase
from instants import utc_now
from models import Course, Enrollment, Order, OrderStatus, ProviderName
from models.order import OPEN_STATUSES
from services.identity.user_rows import lock_active_user
from services.payments import settlement
from services.payments.providers import get_provider

#: How long one process may take to create a checkout page before another tries: both tries of a provider, and more.
CHECKOUT_PAGE_CLAIM_DURATION = timedelta(seconds=15)
#: How long a request waits for a page that another one creates.
CHECKOUT_PAGE_TIMEOUT_SECONDS = 20
#: Stripe creates no page that closes within half an hour; an order without a page is given up before.
MIN_CHECKOUT_DURATION = timedelta(minutes=31)
#: How often an order is read again where it turns out to be over.
MAX_CHECKOUT_ATTEMPTS = 3


class CheckoutService:
    def __init__(
        self,
        database: Database,
        providers: Mapping[str, PaymentProvider],
        default_provider: str,
        checkout_expiry: timedelta,
    ) -> None:
        """`providers` by name, those that are configured; `default_provider` takes new orders."""
        self._database = database
        self._providers = providers
        self._default_provider = ProviderName(default_provider)
        self._checkout_expiry = checkout_expiry

    async def start(self, user_id: str, course_id: str) -> Order:
        """Create an order for a course, or find the open one; return it with its checkout page.

        Raises NotFound, CourseIsFree, AlreadyEnrolled, PaymentPending, PaymentRefused, Unavailable.
        """
        for _ in range(MAX_CHECKOUT_ATTEMPTS):
            order = await self._find_or_create_order(uuid.UUID(user_id), uuid.UUID(course_id))
            if order.status is OrderStatus.PENDING and order.checkout_url is None:
                order = await self._ensure_page(order)
            if order.status not in OPEN_STATUSES:
                continue
            if order.status is OrderStatus.PENDING and order.checkout_expires_at > utc_now():
                return order
            if await self._is_still_open(order):
                raise errors.PaymentPending()
        raise errors.Unavailable()

    async def _is_still_open(self, order: Order) -> bool:
        """Query the provider for the state of an order whose page has expired or was used.

        A payment in the page's last minute, or a lost webhook, is not recorded here.
        """
        try:
            facts = await get_provider(self._providers, order.provider).look_up(order.provider_session_id or "")
        except errors.Unavailable:
            if order.status is OrderStatus.PROCESSING:
                return True  # the provider may still change it
            raise
        async with self._database.transaction() as db:
            settled = await settlement.apply_facts(db, order.provider, facts)
        return (settled or order).status in OPEN_STATUSES

    async def _find_or_create_order(self, user_id: uuid.UUID, course_id: uuid.UUID) -> Order:
        try:
            async with self._database.transaction() as db:
                # Locked, as by everything that enrolls: what is read below stays so until the commit.
                await lock_active_user(db, user_id)
                course = (await db.exec(select(Course).where(Course.id == course_id, col(Course.is_published)))).first()
                if course is None:
                    raise errors.NotFound()
                enrolled = select(Enrollment.id).where(Enrollment.user_id == user_id, Enrollment.course_id == course_id)
                if (await db.exec(enrolled)).first() is not None:
                    raise errors.AlreadyEnrolled()
                mine = (
                    col(Order.user_id) == user_id,
                    col(Order.course_id) == course_id,
                    col(Order.status).in_(OPEN_STATUSES),
                )
                await expire_without_page(db, *mine)
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
                    provider=self._default_provider,
                    live=get_provider(self._providers, self._default_provider).live,
                    # Whole seconds: providers take no less.
                    checkout_expires_at=(utc_now() + self._checkout_expiry).replace(microsecond=0),
                )
                db.add(order)
            return order
        except IntegrityError:
            # A concurrent checkout was first; the next request finds its order.
            raise errors.Unavailable() from None

    async def _ensure_page(self, order: Order) -> Order:
        """Create the order's page in one process, and wait for it in all others."""
        deadline = asyncio.get_running_loop().time() + CHECKOUT_PAGE_TIMEOUT_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            if await self._claim_page(order.id):
                return await self._create_page(order)
            await asyncio.sleep(0.1)
            row = await self._database.fetch_one(
                "SELECT checkout_url IS NULL AND status = 'pending' FROM orders WHERE id = $1", str(order.id)
            )
            if row is None or not row[0]:
                async with self._database.transaction() as db:
                    return await db.get_one(Order, order.id)
        raise errors.Unavailable()

    async def _claim_page(self, order_id: uuid.UUID) -> bool:
        expired = col(Order.checkout_asked_at) < utc_now() - CHECKOUT_PAGE_CLAIM_DURATION
        unclaimed = sa.or_(col(Order.checkout_asked_at).is_(None), expired)
        statement = (
            sa.update(Order)
            .where(col(Order.id) == order_id, *_is_without_page(), unclaimed)
            .values(checkout_asked_at=utc_now())
            .returning(col(Order.id))
        )
        async with self._database.transaction() as db:
            return (await db.execute(statement)).first() is not None

    async def _create_page(self, order: Order) -> Order:
        purchase = Purchase(
            order_id=str(order.id),
            user_id=str(order.user_id),
            course_id=str(order.course_id),
            title=order.course_title,
            amount=order.amount,
            currency=order.currency,
            expires_at=order.checkout_expires_at,
        )
        is_without_page = (col(Order.id) == order.id, *_is_without_page())
        try:
            checkout = await get_provider(self._providers, order.provider).create_checkout(purchase)
        except errors.ProductError as error:
            # A refusal is final: the next attempt is another order. Otherwise the next may try at once.
            outcome: dict[str, OrderStatus | None] = (
                {"status": OrderStatus.FAILED}
                if isinstance(error, errors.PaymentRefused)
                else {"checkout_asked_at": None}
            )
            async with self._database.transaction() as db:
                await db.execute(sa.update(Order).where(*is_without_page).values(**outcome))
            raise
        async with self._database.transaction() as db:
            await db.execute(
                sa.update(Order)
                .where(*is_without_page)
                .values(
                    provider_session_id=checkout.session_id,
                    checkout_url=checkout.url,
                    checkout_expires_at=checkout.expires_at,
                )
            )
            return await db.get_one(Order, order.id)


async def expire_without_page(db: AsyncSession, *which: sa.ColumnElement[bool]) -> None:
    """Expire those orders that have no page and are too old to get one: they cannot have been paid."""
    too_old = col(Order.checkout_expires_at) < utc_now() + MIN_CHECKOUT_DURATION
    await db.execute(sa.update(Order).where(*which, *_is_without_page(), too_old).values(status=OrderStatus.EXPIRED))


def _is_without_page() -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return col(Order.status) == OrderStatus.PENDING, col(Order.checkout_url).is_(None)
