"""Webhooks over HTTP: signatures, repeats, PostgreSQL or Redis away."""

from __future__ import annotations

import json
import time

import httpx
import pytest

import app
from container import Container
from testing.containers import run_jobs
from testing.databases import value
from testing.lessons import problem
from testing.payments import (
    STRIPE_SECRET,
    Webhook,
    add_course,
    completed,
    disputed,
    is_enrolled,
    payment_of,
    razorpay_link,
    razorpay_webhook,
    stripe_session,
    stripe_webhook,
)
from testing.purchases import buy, post_webhook, read_order
from testing.servers import Learner, client


@pytest.mark.rest_paths
async def test_webhook_without_a_fresh_signature_is_refused(
    services: Container, ada: Learner, api: httpx.AsyncClient
) -> None:
    order = await read_order(services, await buy(ada, await add_course(services)))
    good = completed(order)
    row = stripe_session(order)
    kind = "checkout.session.completed"
    signature = good.headers["Stripe-Signature"]
    stamp, digest = signature.split(",")
    paid_link = {"payment_link": razorpay_link(order), "payment": {"id": "pay_1"}}
    razorpays = razorpay_webhook("payment_link.paid", paid_link)
    bad = {
        "no signature": Webhook(good.body, {}),
        "another secret": stripe_webhook(kind, row, secret="whsec_of_another"),
        "an old one": stripe_webhook(kind, row, stamp=time.time() - 301),
        "one from the future": stripe_webhook(kind, row, stamp=time.time() + 120),
        "one for next year": stripe_webhook(kind, row, stamp=time.time() + 31_536_000),
        "written again": Webhook(json.dumps(json.loads(good.body)).encode(), good.headers),
        "a space more": Webhook(good.body + b" ", good.headers),
        "another time": Webhook(good.body, {"Stripe-Signature": f"t={int(time.time()) + 1},{digest}"}),
        "two times": Webhook(good.body, {"Stripe-Signature": f"t={int(time.time()) + 2},{stamp},{digest}"}),
        "no digest": Webhook(good.body, {"Stripe-Signature": stamp}),
        "an old scheme": Webhook(good.body, {"Stripe-Signature": f"{stamp},{digest.replace('v1', 'v0')}"}),
        "nonsense": Webhook(good.body, {"Stripe-Signature": "nonsense"}),
        "not UTF-8": Webhook(b"\xff" + good.body, good.headers),
        "nothing": Webhook(b"", good.headers),
        "both providers": Webhook(good.body, {**good.headers, **razorpays.headers}),
        "Razorpay by Stripe's": Webhook(razorpays.body, good.headers),
        "Razorpay by another": razorpay_webhook("payment_link.paid", paid_link, secret=STRIPE_SECRET),
        "Razorpay, changed": Webhook(razorpays.body.replace(b"49900", b"49901"), razorpays.headers),
        "Razorpay, not ASCII": Webhook(razorpays.body, {"X-Razorpay-Signature": "\xff"}),
    }
    for what, webhook in bad.items():
        answer = await post_webhook(api, webhook)
        assert problem(answer) == (400, "signature_invalid"), what
    assert (
        await value(services, "SELECT count(*) FROM webhook_events WHERE fact->>'order_id' = :o", o=str(order.id)) == 0
    )
    assert (await post_webhook(api, Webhook(b"x" * (1024 * 1024 + 1), good.headers))).status_code == 413
    assert (await post_webhook(api, good)).status_code == 200
    # A clock may be a little ahead of ours.
    assert (await post_webhook(api, stripe_webhook(kind, row, stamp=time.time() + 30))).status_code == 200
    await run_jobs(services)
    assert await is_enrolled(services, order)


async def test_repeated_webhook_needs_no_postgresql(services: Container, ada: Learner, api: httpx.AsyncClient) -> None:
    order = await read_order(services, await buy(ada, await add_course(services)))
    webhook = completed(order)
    key = f"webhook:stripe:{json.loads(webhook.body)['id']}"
    assert not await services.redis.exists(key)
    assert (await post_webhook(api, webhook)).status_code == 200
    assert await services.redis.get(key) == "1" and 259_000 < await services.redis.ttl(key) <= 259_200
    away = Container(services.settings.model_copy(update={"db_port": 1}), payment_providers=services._providers)
    try:
        async with client(app.create(away)) as elsewhere:
            assert (await post_webhook(elsewhere, webhook)).status_code == 200
            # What is new cannot be kept: the provider has to send it again.
            answer = await post_webhook(elsewhere, disputed(order))
            assert problem(answer) == (503, "unavailable") and answer.headers["Retry-After"]
    finally:
        await away.redis.aclose()
    assert (
        await value(services, "SELECT count(*) FROM disputes WHERE provider_payment_id = :p", p=payment_of(order)) == 0
    )


async def test_webhooks_and_checkouts_work_without_redis(services: Container, ada: Learner) -> None:
    bare = services.settings.model_copy(update={"redis_port": 1})
    away = Container(bare, payment_providers=services._providers)
    try:
        order = await away.checkout.start(ada.id, await add_course(services))
        webhook = completed(order)
        headers = {name.lower(): text for name, text in webhook.headers.items()}
        for _ in range(2):
            await away.webhooks.receive(webhook.body, headers)
        attempt = await away.idempotency.begin(ada.id, "createCheckoutSession", "k", {})
        assert attempt.answer is None
        await away.idempotency.finish(attempt, "{}")
    finally:
        await away.database.close()
    await run_jobs(services)
    assert await is_enrolled(services, order)
