"""Purchases of learners over HTTP, and webhooks as the providers post them."""

from __future__ import annotations

import uuid

import httpx

from container import Container
from models import Order
from testing.payments import Webhook, add_course, completed, deliver
from testing.servers import Learner


async def buy(who: Learner, course: str, key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await who.http.post("/payments/create-checkout-session", json={"courseId": course}, headers=headers)


async def read_order(services: Container, answer: httpx.Response) -> Order:
    assert answer.status_code == 201, answer.text
    async with services.database.transaction() as session:
        return await session.get_one(Order, uuid.UUID(answer.json()["orderId"]))


async def buy_and_pay(services: Container, who: Learner, course: str | None = None) -> Order:
    order = await read_order(services, await buy(who, course or await add_course(services)))
    await deliver(services, completed(order))
    return order


async def post_webhook(http: httpx.AsyncClient, webhook: Webhook) -> httpx.Response:
    return await http.post(
        "/payments/webhook", content=webhook.body, headers=httpx.Headers(webhook.headers, encoding="latin-1")
    )
