"""Commands about payments: the same methods as the administration's, on the same rows."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from container import Container
from models import Order
from settings import Settings
from testing.admin_rows import add_learner
from testing.commands import CommandResult, run_parlance
from testing.containers import run_jobs
from testing.databases import rows
from testing.payments import (
    PRICE,
    add_course,
    completed,
    deliver,
    expire_checkout,
    payment_of,
    selling_container,
    state_of,
    stripe_session,
)


class StripeScript(ThreadingHTTPServer):
    """As much of Stripe as one command asks: sessions by their id, refunds. `down` answers 500."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sessions: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.down = False


class _Handler(BaseHTTPRequestHandler):
    server: StripeScript

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/v1/checkout/sessions/"):
            self._answer(self.server.sessions[url.path.rpartition("/")[2]])
            return
        payment = parse_qs(url.query).get("payment_intent")
        of_refunds = url.path == "/v1/refunds"
        found = [each for each in self.server.refunds if of_refunds and payment in (None, [each["payment_intent"]])]
        self._answer({"object": "list", "data": found, "has_more": False, "url": url.path})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.keys.append(self.headers["Idempotency-Key"])
        refund = {
            "id": f"re_{uuid.uuid4().hex}",
            "object": "refund",
            "amount": int(form["amount"][0]),
            "currency": "inr",
            "payment_intent": form["payment_intent"][0],
            "metadata": {"internalRefundId": form["metadata[internalRefundId]"][0]},
            "status": "succeeded",
        }
        if not self.server.down:
            self.server.refunds.append(refund)
        self._answer(refund)

    def _answer(self, row: dict[str, Any]) -> None:
        body = json.dumps({"error": {"type": "api_error"}} if self.server.down else row).encode()
        self.send_response(500 if self.server.down else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def stripe_api() -> Iterator[StripeScript]:
    with StripeScript() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Container]:
    async with selling_container(settings) as services:
        yield services


@pytest.fixture
def run(environment: dict[str, str], services: Container, stripe_api: StripeScript) -> Any:
    accounts = {
        "DB_NAME": services.settings.db_name,
        "STRIPE_SECRET_KEY": "sk_test_of_the_tests",
        "STRIPE_WEBHOOK_SECRET": "whsec_of_the_tests",
        "STRIPE_API_URL": f"http://127.0.0.1:{stripe_api.server_address[1]}",
    }

    async def command(*arguments: str) -> CommandResult:
        return await run_parlance({**environment, **accounts}, *arguments)

    return command


async def an_order(services: Container) -> Order:
    return await services.checkout.start(await add_learner(services), await add_course(services))


async def test_refund_is_issued_and_listed(services: Container, run: Any, stripe_api: StripeScript) -> None:
    order = await an_order(services)
    refused = await run("refunds", "issue", str(order.id))
    assert (refused.code, refused.err) == (
        1,
        "parlance: order_not_refundable: This order has no payment that can be refunded.\n",
    )
    await deliver(services, completed(order))
    issued = await run("refunds", "issue", str(order.id), "--amount", "10000", "--reason", "A gesture")
    assert issued.code == 0 and issued.out.endswith("of 10000 inr: succeeded\n"), issued
    assert stripe_api.keys == [f"refund-{issued.out.split()[1]}"], "a key of our row"
    assert (await state_of(services, order))["amount_refunded"] == 10000
    entries = await rows(services, "SELECT action, actor_id FROM audit_log WHERE subject_id = :o", o=order.id)
    assert [tuple(each) for each in entries] == [("order.refund", None)]
    (listed,) = json.loads((await run("refunds", "list", "--json")).out)
    assert (listed["orderId"], listed["amount"], listed["reason"]) == (str(order.id), 10000, "A gesture")
    assert str(order.id) in (await run("refunds", "list")).out
    for wrong in (["not-an-id"], [str(order.id), "--amount", "0"]):
        assert (await run("refunds", "issue", *wrong)).code == 2
    missing = await run("refunds", "issue", str(uuid.uuid4()))
    assert missing.code == 1 and missing.err.startswith("parlance: not_found:")


async def test_refund_waits_for_an_unavailable_provider(
    services: Container, run: Any, stripe_api: StripeScript
) -> None:
    order = await an_order(services)
    await deliver(services, completed(order))
    stripe_api.down = True
    issued = await run("refunds", "issue", str(order.id))
    assert issued.code == 0 and issued.out.endswith("inr: pending\n"), issued
    stripe_api.down = False
    # The job is there; should it be given up, reconciling sends the refund too.
    jobs = await rows(services, "SELECT args FROM procrastinate_jobs WHERE task_name = 'payments.send_refund'")
    assert len(jobs) == 1
    await rows(services, "UPDATE refunds SET created_at = now() - interval '1 hour' RETURNING id")
    stripe_api.sessions[order.provider_session_id or ""] = stripe_session(order)
    reconciled = await run("payments", "reconcile")
    assert reconciled.code == 0 and "paid -> refunded" in reconciled.out, reconciled
    assert len(set(stripe_api.keys)) == 1 and len(stripe_api.refunds) == 1


async def test_reconcile_repairs_lost_webhooks(services: Container, run: Any, stripe_api: StripeScript) -> None:
    paid, given_back, gone, still_open, pageless = [await an_order(services) for _ in range(5)]
    for order, changes in (
        (paid, {}),
        (given_back, {}),
        (gone, {"status": "expired", "payment_status": "unpaid", "payment_intent": None}),
        (still_open, {"status": "open", "payment_status": "unpaid", "payment_intent": None}),
    ):
        stripe_api.sessions[order.provider_session_id or ""] = stripe_session(order, **changes)
    stripe_api.refunds.append(
        {
            "id": "re_made_by_hand",
            "object": "refund",
            "amount": PRICE,
            "currency": "inr",
            "payment_intent": payment_of(given_back),
            "metadata": {},
            "status": "succeeded",
        }
    )
    await rows(
        services,
        "UPDATE orders SET provider_session_id = NULL, checkout_url = NULL WHERE id = :o RETURNING id",
        o=pageless.id,
    )
    await expire_checkout(services, pageless, datetime.now(UTC) + timedelta(minutes=5))
    expected = {
        str(paid.id): "pending -> paid",
        str(given_back.id): "pending -> refunded",
        str(gone.id): "pending -> expired",
        str(pageless.id): "pending -> expired",
    }

    async def reconcile(*options: str) -> dict[str, str]:
        ran = await run("payments", "reconcile", "--json", *options)
        assert ran.code == 0, ran
        return {each["orderId"]: f"{each['before']} -> {each['after']}" for each in json.loads(ran.out)}

    assert await reconcile("--dry-run") == expected
    statuses = await rows(services, "SELECT DISTINCT status::text FROM orders")
    assert [each.status for each in statuses] == ["pending"], "a dry run changes nothing"
    assert await reconcile() == expected
    assert await reconcile() == {}
    assert (await state_of(services, paid))["enrolled"] and not (await state_of(services, given_back))["enrolled"]
    # One refunded on the provider's pages, without a refund here.
    stripe_api.refunds.append({**stripe_api.refunds[0], "id": "re_later", "payment_intent": payment_of(paid)})
    assert await reconcile() == {str(paid.id): "paid -> refunded"}
    stripe_api.down = True
    away = await run("payments", "reconcile")
    assert away.code == 1 and "2 requests to a provider failed" in away.err
    assert "paid by stripe  any order  Stripe is unavailable" in away.out
    assert str(still_open.id) in away.out and "Stripe is unavailable" in away.out


async def test_eight_reconcilers_and_the_webhook_agree(services: Container, stripe_api: StripeScript) -> None:
    order = await an_order(services)
    till = services._providers["stripe"]
    webhook = completed(order)
    fact = till.parse_webhook(webhook.body, {name.lower(): text for name, text in webhook.headers.items()}).fact
    till.known[order.provider_session_id] = [fact]  # type: ignore[attr-defined]
    outcomes = await asyncio.gather(
        *(services.reconciliation.reconcile() for _ in range(8)), deliver(services, webhook)
    )
    assert sum(bool(each) for each in outcomes) >= 1
    state = await state_of(services, order)
    assert (state["status"], state["enrolled"], state["alerts"]) == ("paid", True, [])


async def test_events_lists_and_retries_failed_webhooks(services: Container, run: Any) -> None:
    order = await an_order(services)
    webhook = completed(order)
    await services.webhooks.receive(webhook.body, {name.lower(): text for name, text in webhook.headers.items()})
    (event,) = await rows(
        services,
        "UPDATE webhook_events SET failures = 6, last_error = 'KeyError', set_aside_at = now() RETURNING id, event_id",
    )
    assert (await run("payments", "events")).out == "0 events wait\n"
    listed = await run("payments", "events", "--set-aside", "--json")
    (row,) = json.loads(listed.out)
    assert (row["id"], row["eventId"], row["failures"]) == (str(event.id), event.event_id, 6), listed
    assert (await run("payments", "events", "--set-aside")).out.endswith("KeyError\n1 events are set aside\n")
    retried = await run("payments", "events", "--retry", str(event.id))
    assert (retried.code, retried.out) == (0, f"event {event.id} is enqueued again\n"), retried
    await run_jobs(services)
    assert (await state_of(services, order))["status"] == "paid"
    again = await run("payments", "events", "--retry", str(event.id))
    assert again.code == 1 and again.err.startswith("parlance: not_found: No event that is set aside has this id"), (
        again
    )
