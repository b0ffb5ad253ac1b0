"""Signed provider events that are foreign, unreadable, or fail."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

import app
import errors
from container import Container
from models import Order
from services.payments.webhooks import MAX_EVENT_FAILURES, MAX_UNREADABLE_EVENTS
from settings import Settings
from testing.accounts import make_admin
from testing.admin_rows import add_learner
from testing.containers import run_jobs
from testing.databases import rows, value
from testing.payments import (
    RAZORPAY_SECRET,
    STRIPE_SECRET,
    Webhook,
    add_course,
    completed,
    deliver,
    disputed,
    is_enrolled,
    razorpay_link,
    razorpay_webhook,
    refunded,
    selling_container,
    state_of,
    stripe_session,
    stripe_webhook,
)
from testing.servers import client, register

Path = tuple[str | int, ...]
DELETED = object()


@pytest.fixture(scope="module")
async def server(settings: Settings) -> AsyncIterator[Container]:
    async with selling_container(settings) as services:
        yield services


@pytest.fixture(scope="module")
async def http(server: Container) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app.create(server)) as anonymous:
        yield anonymous


@pytest.fixture(scope="module")
async def admin(server: Container, http: httpx.AsyncClient) -> str:
    """The id of an administrator."""
    async with client(app.create(server)) as own:
        return (await make_admin(server, (await register(own, ready=False)).http)).id


async def an_order(server: Container, provider: str = "stripe") -> Order:
    """Make an order with a page at a provider."""
    order = await server.checkout.start(await add_learner(server), await add_course(server))
    if provider != order.provider:
        await rows(server, "UPDATE orders SET provider = 'razorpay' WHERE id = :o RETURNING id", o=order.id)
    return order


def stripe_signed(body: bytes) -> Webhook:
    stamp = int(time.time())
    digest = hmac.new(STRIPE_SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return Webhook(body, {"Stripe-Signature": f"t={stamp},v1={digest}"})


def razorpay_signed(body: bytes, **headers: str) -> Webhook:
    digest = hmac.new(RAZORPAY_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return Webhook(body, {"X-Razorpay-Signature": digest, **headers})


async def send(http: httpx.AsyncClient, webhook: Webhook) -> httpx.Response:
    headers = httpx.Headers(webhook.headers, encoding="latin-1")
    return await http.post("/payments/webhook", content=webhook.body, headers=headers)


def changed(event: dict[str, Any], path: Path, to: Any) -> dict[str, Any]:
    """A copy of an event with one value replaced, or deleted."""
    event = copy.deepcopy(event)
    parent: Any = event
    for step in path[:-1]:
        parent = parent[step]
    if to is DELETED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = to
    return event


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        yield (*above, name)
        yield from paths(child, (*above, name))


async def handle_each(server: Container) -> None:
    """Handle all that waits, one after another: there are hundreds."""
    for row in await rows(server, "SELECT id FROM webhook_events WHERE handled_at IS NULL AND set_aside_at IS NULL"):
        assert await server.webhooks.handle(str(row.id))


async def notified(server: Container, admin: str) -> int:
    return int(await value(server, "SELECT count(*) FROM notifications WHERE user_id = :u", u=admin))


# --- Not ours --------------------------------------------------------------------------------------------

THIN = {"id": "evt_1", "object": "v2.core.event", "type": "v2.core.account.updated", "livemode": False}
EVENT = {"id": "evt_2", "object": "event", "livemode": False, "type": "checkout.session.completed"}
DEEP = 5_000
STRIPE_STRANGERS: dict[str, bytes] = {
    "a thin event": json.dumps(THIN).encode(),
    "a list": b"[1, 2]",
    "a list object": json.dumps({"object": "list", "data": []}).encode(),
    "no data": json.dumps(EVENT).encode(),
    "a null object": json.dumps({**EVENT, "data": {"object": None}}).encode(),
    "an array object": json.dumps({**EVENT, "data": {"object": []}}).encode(),
    "a text object": json.dumps({**EVENT, "data": {"object": "cs_1"}}).encode(),
    "no payment_status": json.dumps({**EVENT, "data": {"object": {"id": "cs_1", "metadata": {}}}}).encode(),
    "an id that is a number": json.dumps({**THIN, "object": "event", "id": 7}).encode(),
    "no id": json.dumps({"object": "event", "type": "refund.created"}).encode(),
    "no type": json.dumps({"object": "event", "id": "evt_3"}).encode(),
    "a type of 10,000 characters with NUL": json.dumps({"id": "evt_4", "type": "\0x" * 5_000}).encode(),
    "a lone surrogate": b'{"id": "evt_\\ud800", "object": "event", "type": "refund.created"}',
    "deep nesting": b'{"id": "evt_5", "data": ' + b"[" * DEEP + b"]" * DEEP + b"}",
}


@pytest.mark.parametrize("name", STRIPE_STRANGERS)
async def test_webhook_acknowledges_foreign_event(
    server: Container, http: httpx.AsyncClient, admin: str, name: str
) -> None:
    """It is counted and set aside with its bytes, and each kind is reported to administrators once."""
    body = STRIPE_STRANGERS[name]
    counted = server.webhooks.received["stripe", "unreadable"]
    answer = await send(http, stripe_signed(body))
    assert (answer.status_code, answer.json()) == (200, {"isReceived": True})
    assert server.webhooks.received["stripe", "unreadable"] == counted + 1
    before = await notified(server, admin)
    assert (await send(http, stripe_signed(body + b" "))).status_code == 200
    assert await notified(server, admin) == before > 0
    kept = await rows(
        server, "SELECT last_error, failures FROM webhook_events WHERE body = :b AND set_aside_at IS NOT NULL", b=body
    )
    assert len(kept) == 1 and kept[0].last_error and kept[0].failures == 0


RAZORPAY_STRANGERS: dict[str, bytes] = {
    "no payload": b'{"entity": "event", "event": "refund.created"}',
    "a payload that is a list": b'{"event": "payment_link.paid", "payload": []}',
    "a null entity": b'{"event": "refund.created", "payload": {"refund": {"entity": null}}}',
    "an event that is a number": b'{"event": 1, "payload": {}}',
    "a list": b"[]",
}


@pytest.mark.parametrize("name", RAZORPAY_STRANGERS)
async def test_razorpay_foreign_event_is_acknowledged(server: Container, http: httpx.AsyncClient, name: str) -> None:
    """With or without the header that has the event's id."""
    body = RAZORPAY_STRANGERS[name]
    assert (await send(http, razorpay_signed(body))).status_code == 200
    assert (await send(http, razorpay_signed(body, **{"X-Razorpay-Event-Id": "\xff" * 1000}))).status_code == 200
    assert await value(server, "SELECT count(*) FROM webhook_events WHERE body = :b", b=body) == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"1", b'"evt_1"', b"NaN", b"{", b'{"data": {}}', b"not JSON"])
async def test_webhook_refuses_what_is_no_event(server: Container, http: httpx.AsyncClient, body: bytes) -> None:
    for webhook in (stripe_signed(body), razorpay_signed(body)):
        answer = await send(http, webhook)
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert server.webhooks.received["stripe", "no_event"] > 0


async def test_webhook_refuses_odd_signature_headers(server: Container, http: httpx.AsyncClient) -> None:
    order = await an_order(server)
    good = completed(order)
    stamp, digest = good.headers["Stripe-Signature"].split(",")
    odd = ["", ",", "=", "t=,v1=", digest, f"t=x,{digest}", f"t={'9' * 5000},{digest}", f"t=-1,{digest}",
           f"{stamp},v1=\xe9", f"{stamp},v1=zz,v1=", f"t={2**70},{digest}", f"t=1e9,{digest}"]  # fmt: skip
    for header in odd:
        answer = await send(http, Webhook(good.body, {"Stripe-Signature": header}))
        assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid"), header
    # While a secret is being replaced Stripe signs with both.
    several = Webhook(good.body, {"Stripe-Signature": f"{stamp},v1={'0' * 64},{digest},v0=zz"})
    assert (await send(http, several)).status_code == 200


async def test_other_integrations_checkout_is_reported_once(
    server: Container, http: httpx.AsyncClient, admin: str
) -> None:
    order = await an_order(server)
    before = await notified(server, admin)
    for number in range(3):
        row = stripe_session(
            order, id=f"cs_of_a_shop_{number}", metadata={"basket": "7"}, payment_intent=f"pi_{number}"
        )
        assert (await send(http, stripe_webhook("checkout.session.completed", row))).status_code == 200
    await run_jobs(server)
    assert server.webhooks.received["stripe", "foreign"] == 3
    assert await notified(server, admin) <= before + 1
    assert (
        await value(
            server,
            "SELECT count(*) FROM notifications WHERE user_id = :u AND occasion = :o",
            u=admin,
            o="webhook_unknown:stripe:checkout.session.completed",
        )
        == 1
    )
    assert (await state_of(server, order))["status"] == "pending"


async def test_unreadable_events_are_kept_up_to_a_limit(server: Container, http: httpx.AsyncClient) -> None:
    for number in range(MAX_UNREADABLE_EVENTS + 5):
        body = json.dumps({**THIN, "id": f"evt_flood_{number}"}).encode()
        assert (await send(http, stripe_signed(body))).status_code == 200
    count = "SELECT count(*) FROM webhook_events WHERE fact IS NULL AND provider = 'stripe'"
    assert await value(server, count) == MAX_UNREADABLE_EVENTS
    await rows(server, "DELETE FROM webhook_events WHERE event_id LIKE 'sha256:%' RETURNING id")


async def test_long_and_odd_values_are_shortened(server: Container, http: httpx.AsyncClient) -> None:
    """A reason of 300 characters, NUL in it, and an event id of 1,000 characters keep nothing from being handled."""
    order = await an_order(server)
    await deliver(server, completed(order))
    event = json.loads(disputed(order).body)
    event["id"] = "evt_" + "x" * 1000
    event["data"]["object"]["reason"] = "\0\ud800" + "y" * 300
    assert (await send(http, stripe_signed(json.dumps(event).encode()))).status_code == 200
    await run_jobs(server)
    assert (await state_of(server, order))["disputes"] == ["open"]
    reason = await value(server, "SELECT reason FROM disputes WHERE order_id = :o", o=order.id)
    assert len(reason) == 255 and reason.startswith("\N{REPLACEMENT CHARACTER}" * 2 + "yyy")


# --- Mutations -------------------------------------------------------------------------------------------

MUTATIONS: dict[str, Any] = {
    "deleted": DELETED,
    "null": None,
    "a list": [],
    "an object": {},
    "a text": "x\0",
    "a surrogate": "\ud800",
    "a long text": "z" * 3000,
    "beyond int4": 2**31,
    "beyond int8": 2**63,
    "enormous": 10**400,
    "negative": -1,
    "a fraction": 499.5,
    "a float": 49900.0,
    "true": True,
}


def events_about(order: Order) -> dict[str, Webhook]:
    """Events about an order that is not paid, none of which may open its course once it is mutated."""
    money = {"amount": order.amount, "currency": "INR", "payment_id": f"pay_{order.id.hex[:14]}"}
    payment = {"id": money["payment_id"], "status": "captured", "amount": order.amount, "currency": "INR",
               "notes": {"internalOrderId": str(order.id)}}  # fmt: skip
    if order.provider == "stripe":
        return {
            "unpaid": completed(order, payment_status="unpaid"),
            "refund": refunded(order, order.amount),
            "dispute": disputed(order),
        }
    return {
        "expired": razorpay_webhook(
            "payment_link.expired", {"payment_link": razorpay_link(order, status="created", amount_paid=0)}
        ),
        "authorized": razorpay_webhook("payment.authorized", {"payment": payment}),
        "refund": razorpay_webhook("refund.processed", {"refund": {"id": "rfnd_1", "status": "processed", **money}}),
        "dispute": razorpay_webhook(
            "payment.dispute.created", {"dispute": {"id": "disp_1", "status": "open", "reason_code": "x", **money}}
        ),
    }


@pytest.mark.parametrize("provider", ["stripe", "razorpay"])
async def test_mutated_events_fail_nothing(
    server: Container, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, provider: str
) -> None:
    """Each value of each event deleted or replaced: never a 500, never an open course, never a job that fails."""
    order = await an_order(server, provider)
    order = order.model_copy(update={"provider": provider})
    sign = stripe_signed if provider == "stripe" else razorpay_signed
    sent = 0
    for webhook in events_about(order).values():
        event = json.loads(webhook.body)
        for path in paths(event):
            for mutation in MUTATIONS.values():
                body = json.dumps(changed(event, path, mutation)).encode()
                answer = await send(http, sign(body))
                # Still JSON with a field of an event: acknowledged, for repeating it would change nothing.
                assert answer.status_code == 200, (path, mutation, answer.text)
                sent += 1
        await handle_each(server)
        await rows(server, "DELETE FROM webhook_events WHERE set_aside_at IS NOT NULL RETURNING id")
    assert sent > 300
    assert not await is_enrolled(server, order)
    assert (await state_of(server, order))["status"] in ("pending", "processing")
    assert await value(server, "SELECT count(*) FROM webhook_events WHERE failures > 0") == 0


#: Where a paid session says that it is the payment of this order; everything else is decoration.
DECISIVE = {
    (*path, name)
    for path, names in {
        (): ("id", "object", "type", "data"),
        ("data",): ("object",),
        ("data", "object"): ("payment_status", "amount_total", "currency", "mode", "status", "livemode"),
    }.items()
    for name in names
}


async def test_mutated_payment_opens_no_course(server: Container, http: httpx.AsyncClient) -> None:
    order = await an_order(server)
    event = json.loads(completed(order).body)
    for path in sorted(DECISIVE):
        for number, mutation in enumerate(MUTATIONS.values()):
            # An id of its own: repeats of an event are not looked at.
            own = {**event, "id": f"evt_{'_'.join(path)}_{number}_{order.id.hex}"}
            body = json.dumps(changed(own, path, mutation)).encode()
            if path == ("id",) and mutation == MUTATIONS["a long text"]:
                continue  # an id may be long
            assert (await send(http, stripe_signed(body))).status_code == 200
    await handle_each(server)
    assert not await is_enrolled(server, order), "a payment that is not known to be one"
    assert (await send(http, stripe_signed(json.dumps({**event, "id": "evt_good"}).encode()))).status_code == 200
    await handle_each(server)
    assert await is_enrolled(server, order)


# --- Set aside -------------------------------------------------------------------------------------------


async def a_poisoned_event(server: Container, order: Order) -> str:
    """Keep an event whose handling fails as long as its fact is of no kind that is known; answer its row's id."""
    webhook = completed(order)
    await server.webhooks.receive(webhook.body, {name.lower(): text for name, text in webhook.headers.items()})
    (row,) = await rows(
        server,
        "UPDATE webhook_events SET fact = jsonb_set(fact, '{kind}', '\"nonsense\"')"
        " WHERE fact->>'order_id' = :o RETURNING id",
        o=str(order.id),
    )
    return str(row.id)


async def test_event_is_set_aside_after_six_failures(server: Container, admin: str) -> None:
    order = await an_order(server)
    event = await a_poisoned_event(server, order)
    before = await notified(server, admin)
    for _ in range(MAX_EVENT_FAILURES - 1):
        with pytest.raises(KeyError):
            await server.webhooks.handle(event)
        assert await notified(server, admin) == before
    assert await server.webhooks.handle(event) is False
    assert await notified(server, admin) == before + 1
    (row,) = await rows(server, "SELECT * FROM webhook_events WHERE id = :e", e=event)
    assert (row.failures, row.last_error) == (MAX_EVENT_FAILURES, "KeyError") and row.set_aside_at
    # From then on nothing handles it.
    assert await server.webhooks.handle(event) is False and await notified(server, admin) == before + 1


async def test_set_aside_event_hides_no_others(server: Container) -> None:
    """The sweeper takes a hundred at a time: a hundred that always fail must not be all that it takes."""
    poisoned = [await a_poisoned_event(server, await an_order(server)) for _ in range(100)]
    order = await an_order(server)
    webhook = completed(order)
    await server.webhooks.receive(webhook.body, {name.lower(): text for name, text in webhook.headers.items()})
    age = "UPDATE webhook_events SET received_at = now() - interval '1 hour' * :h WHERE {} RETURNING id"
    await rows(server, age.format("handled_at IS NULL AND fact->>'kind' = 'nonsense'"), h=2)
    await rows(server, age.format("handled_at IS NULL AND fact->>'order_id' = :o"), h=1, o=str(order.id))
    for _ in range(MAX_EVENT_FAILURES + 1):
        await server.webhooks.handle_overdue()
    assert await is_enrolled(server, order)
    await rows(server, "DELETE FROM webhook_events WHERE id = ANY(:ids) RETURNING id", ids=poisoned)


async def test_retry_handles_an_event_that_was_set_aside(server: Container) -> None:
    order = await an_order(server)
    event = await a_poisoned_event(server, order)
    with pytest.raises(errors.NotFound):
        await server.webhooks.retry(event)
    for _ in range(MAX_EVENT_FAILURES - 1):
        with pytest.raises(KeyError):
            await server.webhooks.handle(event)
    await server.webhooks.handle(event)
    assert event in {str(each.id) for each in await server.webhooks.list_events(set_aside=True, limit=1000)}
    # The cause is fixed.
    await rows(
        server,
        "UPDATE webhook_events SET fact = jsonb_set(fact, '{kind}', '\"checkout\"') WHERE id = :e RETURNING id",
        e=event,
    )
    await server.webhooks.retry(event)
    await run_jobs(server)
    assert await is_enrolled(server, order)
    (row,) = await rows(server, "SELECT * FROM webhook_events WHERE id = :e", e=event)
    assert row.handled_at and row.set_aside_at is None and row.failures == 0


async def test_retry_reads_a_body_again(server: Container, http: httpx.AsyncClient) -> None:
    """What this version can read, an older one may have set aside."""
    # Earlier tests may have left as many as are kept.
    await rows(server, "DELETE FROM webhook_events WHERE fact IS NULL RETURNING id")
    order = await an_order(server)
    good = completed(order)
    (row,) = await rows(
        server,
        "INSERT INTO webhook_events (id, provider, event_id, type, body, last_error, set_aside_at)"
        " VALUES (gen_random_uuid(), 'stripe', :e, 'checkout.session.completed', :b, 'object', now()) RETURNING id",
        e=uuid.uuid4().hex,
        b=good.body,
    )
    await server.webhooks.retry(str(row.id))
    await run_jobs(server)
    assert await is_enrolled(server, order)
    assert await value(server, "SELECT body IS NULL FROM webhook_events WHERE id = :e", e=row.id)
    await send(http, stripe_signed(json.dumps({**THIN, "id": "evt_still"}).encode()))
    (row,) = await rows(server, "SELECT id FROM webhook_events WHERE type = :t ORDER BY received_at DESC LIMIT 1",
                        t=THIN["type"])  # fmt: skip
    with pytest.raises(errors.Refused, match="object is not event"):
        await server.webhooks.retry(str(row.id))


async def test_postgresql_away_counts_as_no_failure(server: Container) -> None:
    order = await an_order(server)
    webhook = completed(order)
    await server.webhooks.receive(webhook.body, {name.lower(): text for name, text in webhook.headers.items()})
    (row,) = await rows(server, "SELECT id FROM webhook_events WHERE fact->>'order_id' = :o", o=str(order.id))
    away = Container(server.settings.model_copy(update={"db_port": 1}), payment_providers=server._providers)
    try:
        for _ in range(MAX_EVENT_FAILURES):
            with pytest.raises(Exception, match="connection"):
                await away.webhooks.handle(str(row.id))
    finally:
        await away.redis.aclose()
    await run_jobs(server)
    assert await is_enrolled(server, order)
