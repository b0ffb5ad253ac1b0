"""Orders: a learner's own, and those of all learners for operators."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import col, select

import errors
from adapters.database import Database
from models import AlertKind, Order, OrderStatus, PaymentAlert, ProviderName
from services.pagination import Page, read_page


@dataclass(frozen=True, slots=True)
class AdminOrder:
    """An order as operators see it; `alerts` are the kinds of its payment alerts."""

    order: Order
    alerts: list[AlertKind]


class OrdersService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_own(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Order]:
        """Read a page of the user's orders, newest first."""
        return await self._read_page(col(Order.user_id) == uuid.UUID(user_id), limit, cursor)

    async def read(self, user_id: str, order_id: str) -> Order:
        """Read one of the user's orders; raise NotFound."""
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
        page = await self._read_page(sa.and_(*which), limit, cursor)
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

    async def _read_page(self, which: sa.ColumnElement[bool], limit: int, cursor: str | None) -> Page[Order]:
        key = (col(Order.created_at), col(Order.id))
        async with self._database.transaction() as db:
            return await read_page(db, select(Order).where(which), key, limit=limit, cursor=cursor)
