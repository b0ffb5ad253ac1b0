"""Settlement of orders: the state that follows from a provider's facts, in any order and number.

Facts only advance: the statuses of a checkout, a refund and a dispute are ordered, and an earlier one never replaces a
later one. The order's status and the enrollment follow from the facts. Everything here
runs in the caller's transaction, under one order of locks: payment, learner, order.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from adapters.database import lock_name
from adapters.ports import CheckoutFact, DisputeFact, Fact, RefundFact
from instants import utc_now
from models import (
    AlertKind,
    Dispute,
    DisputeStatus,
    Enrollment,
    Order,
    OrderStatus,
    ProviderName,
    Refund,
    RefundStatus,
    User,
)
from services.identity.user_rows import lock_user
from services.messaging import notification_templates, notifications
from services.payments.alerts import raise_alert

_UNPAID_STATUSES = (OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.EXPIRED, OrderStatus.FAILED)
_STATUS_BY_OUTCOME = {
    "processing": OrderStatus.PROCESSING,
    "expired": OrderStatus.EXPIRED,
    "failed": OrderStatus.FAILED,
}


async def apply_fact(db: AsyncSession, provider: ProviderName, fact: Fact) -> Order | None:
    """Record a fact and settle its order; return it, or None where the fact belongs to no known order."""
    if fact.payment_id:
        # A refund may come before the fact that makes its payment an order's: the two must see each other.
        await lock_name(db, f"{provider}:{fact.payment_id}")
    order_id = await _find_order_id(db, provider, fact)
    order = await lock_order(db, order_id) if order_id else None
    if order is not None and await _alert_if_mismatched(db, order, fact):
        return order
    if isinstance(fact, CheckoutFact):
        if order is not None:
            await _record_checkout(db, order, fact)
    elif isinstance(fact, RefundFact):
        await _record_refund(db, provider, order, fact)
    else:
        await _record_dispute(db, provider, order, fact)
    if order is not None:
        await settle_order(db, order)
    return order


async def apply_facts(db: AsyncSession, provider: ProviderName, facts: Iterable[Fact]) -> Order | None:
    """Record facts in turn and settle their orders; return the last order that was settled, or None."""
    settled: Order | None = None
    for fact in facts:
        settled = await apply_fact(db, provider, fact) or settled
    return settled


async def lock_order(db: AsyncSession, order_id: uuid.UUID) -> Order | None:
    """Lock an order, its learner's row first."""
    user_id = (await db.exec(select(Order.user_id).where(Order.id == order_id))).first()
    if user_id is None:
        return None
    await lock_user(db, user_id)
    statement = select(Order).where(Order.id == order_id).with_for_update()
    return (await db.exec(statement.execution_options(populate_existing=True))).one()


async def settle_order(db: AsyncSession, order: Order) -> None:
    """Update a locked order to what the facts say; enroll its learner or end the enrollment."""
    if order.paid_at is not None:
        of_order = (col(Refund.order_id) == order.id, col(Refund.status) == RefundStatus.SUCCEEDED)
        refunded = (
            await db.execute(sa.select(sa.func.coalesce(sa.func.sum(Refund.amount), 0)).where(*of_order))
        ).scalar_one()
        of_payment = select(Dispute.status, Dispute.charged_back).where(Dispute.order_id == order.id)
        disputes = {
            status
            if charged_back or status is DisputeStatus.LOST
            else "inquiry"
            if status is DisputeStatus.OPEN
            else None
            for status, charged_back in (await db.exec(of_payment)).all()
        }
        # A provider refunds no more than was paid; if it reports more, the order counts it all.
        amount_refunded = min(int(refunded), order.amount)
        status = OrderStatus.REFUNDED if amount_refunded == order.amount else OrderStatus.PAID
        disputed = bool(disputes & {DisputeStatus.OPEN, DisputeStatus.LOST})
        await db.execute(
            sa.update(Order)
            .where(col(Order.id) == order.id, col(Order.paid_at).is_not(None))
            .values(status=status, amount_refunded=amount_refunded, disputed=disputed, inquiry="inquiry" in disputes)
        )
        entitled = status is OrderStatus.PAID and DisputeStatus.LOST not in disputes
        await (_enroll if entitled else _end_enrollment)(db, order)
    await db.refresh(order)


async def _find_order_id(db: AsyncSession, provider: ProviderName, fact: Fact) -> uuid.UUID | None:
    statement = select(Order.id).where(Order.provider == provider)
    if isinstance(fact, CheckoutFact):
        order_id = _parse_uuid(fact.order_id)
        # A payment without a page has an order; without the cast PostgreSQL could not order by a null.
        of_session = col(Order.provider_session_id) == sa.cast(fact.session_id, sa.String)
        statement = statement.where(sa.or_(of_session, col(Order.id) == order_id) if order_id else of_session)
        # Where the two disagree, the stored page decides.
        statement = statement.order_by(of_session.desc().nulls_last())
    else:
        statement = statement.where(Order.provider_payment_id == fact.payment_id)
    return (await db.exec(statement.limit(1))).first()


async def _alert_if_mismatched(db: AsyncSession, order: Order, fact: Fact) -> bool:
    """Return whether a fact does not match what the order sells; raise alerts if so."""
    wrong: list[tuple[AlertKind, str, object, object]] = []
    if fact.live is not None and fact.live != order.live:
        wrong.append((AlertKind.MODE_DIFFERS, "live", order.live, fact.live))
    reference = fact.payment_id or ""
    if isinstance(fact, CheckoutFact):
        reference = fact.session_id or str(order.id)
        if fact.currency != order.currency:
            wrong.append((AlertKind.CURRENCY_DIFFERS, "currency", order.currency, fact.currency))
        if not fact.once:
            wrong.append((AlertKind.MODE_DIFFERS, "once", True, False))
        if fact.amount != order.amount:
            wrong.append((AlertKind.AMOUNT_DIFFERS, "amount", order.amount, fact.amount))
        if fact.session_id is not None and order.provider_session_id not in (None, fact.session_id):
            wrong.append((AlertKind.SESSION_DIFFERS, "session", order.provider_session_id, fact.session_id))
        if order.provider_payment_id and fact.payment_id and order.provider_payment_id != fact.payment_id:
            wrong.append((AlertKind.PAID_TWICE, "payment", order.provider_payment_id, fact.payment_id))
    elif await _alert_if_not_of_order(db, order, fact, fact.payment_id):
        return True
    for kind, what, expected, found in wrong:
        await raise_alert(db, order, kind, reference, what=what, expected=expected, reported=found)
    return bool(wrong)


async def _record_checkout(db: AsyncSession, order: Order, fact: CheckoutFact) -> None:
    if order.provider_session_id is None:  # the answer that named it was lost
        await db.execute(
            sa.update(Order)
            .where(col(Order.id) == order.id, col(Order.provider_session_id).is_(None))
            .values(provider_session_id=fact.session_id)
        )
    status, before = _STATUS_BY_OUTCOME.get(fact.outcome), order.status
    if status is not None:
        moved = await db.execute(
            sa.update(Order)
            .where(col(Order.id) == order.id, col(Order.status).in_(_UNPAID_STATUSES), col(Order.status) < status)
            .values(status=status)
            .returning(col(Order.id))
        )
        # An unused page expires without a notification; a failed payment gets one.
        awaited = status is OrderStatus.FAILED or before is OrderStatus.PROCESSING
        if moved.first() is not None and awaited and status is not OrderStatus.PROCESSING:
            await notifications.notify_user(db, order.user_id, notification_templates.payment_failed(order))
    if fact.outcome == "paid" and fact.payment_id:
        paid = await db.execute(
            sa.update(Order)
            .where(col(Order.id) == order.id, col(Order.status).in_(_UNPAID_STATUSES))
            .values(status=OrderStatus.PAID, paid_at=utc_now(), provider_payment_id=fact.payment_id)
            .returning(col(Order.id))
        )
        if paid.first() is not None:
            await notifications.notify_user(db, order.user_id, notification_templates.payment_success(order))
            if await db.scalar(select(User.deleted_at).where(User.id == order.user_id)):
                await raise_alert(db, order, AlertKind.ACCOUNT_DELETED, fact.payment_id, amount=order.amount)
        await _attach_early_records(db, order, fact.payment_id)
    await db.refresh(order)


async def _attach_early_records(db: AsyncSession, order: Order, payment_id: str) -> None:
    """Attach refunds and disputes that came before their payment to the order."""
    for table in (Refund, Dispute):
        early: Any = select(table).where(
            col(table.provider) == order.provider,
            col(table.provider_payment_id) == payment_id,
            col(table.order_id).is_(None),
        )
        for row in (await db.exec(early)).all():
            if not await _alert_if_not_of_order(db, order, row, payment_id):
                row.order_id = order.id
                db.add(row)
                await _alert_on_change(db, order, row)
    await db.flush()


async def _alert_if_not_of_order(
    db: AsyncSession, order: Order, found: RefundFact | DisputeFact | Refund | Dispute, payment_id: str
) -> bool:
    """Return whether a refund or a dispute cannot belong to this order; raise an alert if so."""
    if found.currency != order.currency:
        kind, expected = AlertKind.CURRENCY_DIFFERS, order.currency
        await raise_alert(db, order, kind, payment_id, what="currency", expected=expected, reported=found.currency)
    elif isinstance(found, RefundFact | Refund) and found.amount > order.amount:
        at_most = order.amount
        await raise_alert(
            db, order, AlertKind.AMOUNT_DIFFERS, payment_id, what="refund", expected=at_most, reported=found.amount
        )
    else:
        return False
    return True


async def _record_refund(db: AsyncSession, provider: ProviderName, order: Order | None, fact: RefundFact) -> None:
    status = RefundStatus(fact.status)
    ours = _parse_uuid(fact.our_id)
    if ours and order is not None:
        # Our refund gets the provider's id here. One recorded as refused may have been accepted after all.
        await db.execute(
            sa.update(Refund)
            .where(
                col(Refund.id) == ours,
                col(Refund.order_id) == order.id,
                col(Refund.provider_refund_id).is_(None),
            )
            .values(provider_refund_id=fact.refund_id, status=status, amount=fact.amount)
        )
    statement = insert(Refund).values(
        id=uuid.uuid4(),
        order_id=order.id if order else None,
        provider=provider,
        provider_payment_id=fact.payment_id,
        provider_refund_id=fact.refund_id,
        amount=fact.amount,
        currency=fact.currency,
        status=status,
    )
    await db.execute(
        statement.on_conflict_do_update(
            constraint="refunds_provider_key",
            set_={"status": statement.excluded.status, "updated_at": utc_now()},
            where=col(Refund.status) < statement.excluded.status,
        )
    )
    if order is not None:
        row = (
            await db.exec(
                select(Refund)
                .where(Refund.provider == provider, Refund.provider_refund_id == fact.refund_id)
                .execution_options(populate_existing=True)
            )
        ).one()
        await _alert_on_change(db, order, row)


async def _record_dispute(db: AsyncSession, provider: ProviderName, order: Order | None, fact: DisputeFact) -> None:
    statement = insert(Dispute).values(
        id=uuid.uuid4(),
        order_id=order.id if order else None,
        provider=provider,
        provider_payment_id=fact.payment_id,
        provider_dispute_id=fact.dispute_id,
        amount=fact.amount,
        currency=fact.currency,
        status=DisputeStatus(fact.status),
        reason=fact.reason,
        inquired=fact.inquiry,
        charged_back=not fact.inquiry,
        refundable=fact.refundable,
    )
    given = statement.excluded
    # Each goes one way only, so that the outcome does not depend on the order of facts.
    merged = {
        "status": sa.func.greatest(col(Dispute.status), given.status),
        "inquired": sa.or_(col(Dispute.inquired), given.inquired),
        "charged_back": sa.or_(col(Dispute.charged_back), given.charged_back),
        "refundable": sa.and_(col(Dispute.refundable), given.refundable),
    }
    row = await db.execute(
        statement.on_conflict_do_update(
            constraint="disputes_provider_key",
            set_={**merged, "updated_at": utc_now()},
            where=sa.or_(*(getattr(Dispute, name).is_distinct_from(value) for name, value in merged.items())),
        )
        .returning(Dispute)
        .execution_options(populate_existing=True)
    )
    if order is not None and (changed := row.scalars().first()) is not None:
        await _alert_on_change(db, order, changed)


async def _alert_on_change(db: AsyncSession, order: Order, row: Refund | Dispute) -> None:
    if isinstance(row, Dispute):
        for kind, happened in ((AlertKind.INQUIRY, row.inquired), (AlertKind.DISPUTED, row.charged_back)):
            if happened:
                await raise_alert(db, order, kind, row.provider_dispute_id, reason=row.reason, amount=row.amount)
    elif row.status is RefundStatus.FAILED:
        await raise_alert(db, order, AlertKind.REFUND_FAILED, row.provider_refund_id or str(row.id), amount=row.amount)


async def _enroll(db: AsyncSession, order: Order) -> None:
    enrolled = await db.execute(
        insert(Enrollment)
        .values(id=uuid.uuid4(), user_id=order.user_id, course_id=order.course_id, order_id=order.id)
        .on_conflict_do_nothing(constraint="enrollments_once_key")
        .returning(col(Enrollment.id))
    )
    if enrolled.first() is not None:
        return
    other = select(Enrollment).where(
        Enrollment.user_id == order.user_id,
        Enrollment.course_id == order.course_id,
        col(Enrollment.order_id).is_distinct_from(order.id),
    )
    if (await db.exec(other)).first() is not None and order.provider_payment_id:
        await raise_alert(db, order, AlertKind.PAID_TWICE, order.provider_payment_id, what="course")


async def _end_enrollment(db: AsyncSession, order: Order) -> None:
    ended = await db.execute(
        sa.delete(Enrollment).where(col(Enrollment.order_id) == order.id).returning(col(Enrollment.id))
    )
    if ended.first() is None:
        return
    lost = sa.exists().where(col(Dispute.order_id) == Order.id, col(Dispute.status) == DisputeStatus.LOST)
    other = select(Order).where(
        Order.user_id == order.user_id,
        Order.course_id == order.course_id,
        Order.status == OrderStatus.PAID,
        Order.id != order.id,
        ~lost,
    )
    if (paid := (await db.exec(other.limit(1))).first()) is not None:
        await _enroll(db, paid)


def _parse_uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None
