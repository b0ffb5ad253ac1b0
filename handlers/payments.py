"""Checkout, orders and provider webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

import errors
from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container

#: Maximum bytes of an event; Stripe's and Razorpay's have a few thousand.
_MAX_WEBHOOK_BYTES = 1024 * 1024


async def create_checkout_session(services: Container, identity: Identity, body: rest.CheckoutRequest) -> rest.Checkout:
    return shapes.checkout(await services.checkout.start(identity.user_id, body["courseId"]))


async def list_orders(services: Container, identity: Identity, limit: int, cursor: str | None = None) -> rest.OrderPage:
    return shapes.page(await services.orders.list_own(identity.user_id, limit=limit, cursor=cursor), shapes.order)


async def get_order(services: Container, identity: Identity, order_id: str) -> rest.Order:
    return shapes.order(await services.orders.read(identity.user_id, order_id))


async def receive_payment_webhook(services: Container, request: Request) -> rest.WebhookReceipt:
    # The raw bytes: the signature is of them, and re-encoded JSON differs.
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_WEBHOOK_BYTES:
                raise errors.PayloadTooLarge(f"an event may have {_MAX_WEBHOOK_BYTES} bytes at most")
    except ClientDisconnect:
        raise errors.RequestInvalid("the body is incomplete; send the request again") from None
    await services.webhooks.receive(body, request.headers)
    return {"isReceived": True}
