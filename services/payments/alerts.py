"""Alerts about orders, which notify administrators."""

from __future__ import annotations

import logging
import uuid

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from models import AlertKind, Order, PaymentAlert
from services.messaging import notification_templates, notifications

log = logging.getLogger("parlance.payments")


async def raise_alert(db: AsyncSession, order: Order, kind: AlertKind, reference: str, **detail: object) -> None:
    """Raise an alert, once for each kind and `reference` (the provider's id of what it is about)."""
    raised = await db.execute(
        insert(PaymentAlert)
        .values(id=uuid.uuid4(), order_id=order.id, kind=kind, reference=reference, detail=detail)
        .on_conflict_do_nothing(constraint="payment_alerts_once_key")
        .returning(col(PaymentAlert.id))
    )
    if (alert_id := raised.scalar()) is not None:
        await notifications.notify_admins(db, notification_templates.payment_alert(alert_id, kind, order))
        line = f"payment_alert kind={kind} order_id={order.id} reference={reference}"
        # After the commit: the transaction may still fail, and be tried again.
        sa.event.listen(db.sync_session, "after_commit", lambda _: log.error(line), once=True)
