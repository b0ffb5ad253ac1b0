"""Settlement: the same facts make the same order, in any sequence, repeated, and at once."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from container import Container
from models import Order
from settings import Settings
from testing.admin_rows import add_learner
from testing.containers import run_jobs, running_container
from testing.databases import own_database, rows, value
from testing.payments import (
    PRICE,
    Webhook,
    add_course,
    completed,
    deliver,
    disputed,
    expired,
    fake_providers,
    payment_of,
    razorpay_link,
    razorpay_webhook,
    refunded,
    selling_container,
    state_of,
    stripe_session,
    stripe_webhook,
    with_payment_accounts,
)

MakeWebhook = Callable[[Order], Webhook]
MakeOrder = Callable[..., Any]


@pytest.fixture(scope="module")
async def services(settings: Settings) -> AsyncIterator[Container]:
    """A container with a database of its own: no other test's jobs are in it."""
    async with selling_container(settings) as services:
        yield services


@pytest.fixture
def order(services: Container) -> MakeOrder:
    async def make(price: int = PRICE, learner: str | None = None, course: str | None = None) -> Order:
        learner = learner or await add_learner(services)
        return await services.checkout.start(learner, course or await add_course(services, price=price))

    return make


def full(order: Order) -> Webhook:
    return refunded(order, PRICE)


def part(status: str, kind: str) -> MakeWebhook:
    return lambda order: refunded(order, 10000, status=status, kind=kind, refund="re_part")


def rest(order: Order) -> Webhook:
    return refunded(order, PRICE - 10000, refund="re_rest")


def closed(status: str) -> MakeWebhook:
    return lambda order: disputed(order, status=status, kind="charge.dispute.closed")


def processing(order: Order) -> Webhook:
    return completed(order, payment_status="unpaid")


def arrived(order: Order) -> Webhook:
    return stripe_webhook("checkout.session.async_payment_succeeded", stripe_session(order))


def bounced(order: Order) -> Webhook:
    row = stripe_session(order, payment_status="unpaid")
    return stripe_webhook("checkout.session.async_payment_failed", row)


def inquired(order: Order) -> Webhook:
    return disputed(order, status="warning_needs_response")


def escalated(order: Order) -> Webhook:
    return disputed(order, kind="charge.dispute.updated")


NOTHING: dict[str, Any] = {"inquiry": False, "refunds": [], "disputes": [], "alerts": []}
PAID = {"status": "paid", "paid": True, "amount_refunded": 0, "disputed": False, "enrolled": True, **NOTHING}
UNPAID = {"paid": False, "amount_refunded": 0, "disputed": False, "enrolled": False, **NOTHING}
CASES: dict[str, tuple[list[MakeWebhook], dict[str, Any]]] = {
    "paid, expired, refunded, disputed": (
        [completed, expired, full, disputed],
        {
            **PAID,
            "status": "refunded",
            "amount_refunded": PRICE,
            "disputed": True,
            "enrolled": False,
            "refunds": [(PRICE, "succeeded")],
            "disputes": ["open"],
            "alerts": ["disputed"],
        },
    ),
    "refunded in two parts": (
        [completed, part("succeeded", "refund.updated"), rest, part("pending", "refund.created")],
        {
            **PAID,
            "status": "refunded",
            "amount_refunded": PRICE,
            "enrolled": False,
            "refunds": [(10000, "succeeded"), (PRICE - 10000, "succeeded")],
        },
    ),
    "a refund that came back": (
        [
            completed,
            part("pending", "refund.created"),
            part("succeeded", "refund.updated"),
            part("failed", "refund.failed"),
        ],
        {**PAID, "refunds": [(10000, "failed")], "alerts": ["refund_failed"]},
    ),
    "a dispute that is won": (
        [completed, disputed, closed("won"), expired],
        {**PAID, "disputes": ["won"], "alerts": ["disputed"]},
    ),
    "a dispute that is lost": (
        [completed, disputed, closed("lost"), part("succeeded", "refund.created")],
        {
            **PAID,
            "amount_refunded": 10000,
            "disputed": True,
            "enrolled": False,
            "refunds": [(10000, "succeeded")],
            "disputes": ["lost"],
            "alerts": ["disputed"],
        },
    ),
    "money that takes days": ([processing, arrived, expired], PAID),
    "money that never comes": ([processing, bounced, expired], {**UNPAID, "status": "failed"}),
    "unpaid": ([expired], {**UNPAID, "status": "expired"}),
    "a completed checkout that is not paid": ([processing], {**UNPAID, "status": "processing"}),
    "an inquiry": ([completed, inquired], {**PAID, "inquiry": True, "disputes": ["open"], "alerts": ["inquiry"]}),
    "an inquiry that is closed": (
        [completed, inquired, closed("warning_closed")],
        {**PAID, "disputes": ["won"], "alerts": ["inquiry"]},
    ),
    "an inquiry that becomes a dispute and is lost": (
        [completed, inquired, escalated, closed("lost")],
        {
            **PAID,
            "disputed": True,
            "enrolled": False,
            "disputes": ["lost"],
            "alerts": ["disputed", "inquiry"],
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_event_order_and_repeats_do_not_matter(services: Container, order: MakeOrder, name: str) -> None:
    events, expected = CASES[name]
    for permutation in itertools.permutations(events):
        made = await order()
        webhooks = [each(made) for each in permutation]
        # Each again by its id, and at the end all of them as events of other ids.
        for each in webhooks:
            await deliver(services, each, each)
        await deliver(services, *(each(made) for each in permutation))
        assert await state_of(services, made) == expected, [each.__name__ for each in permutation]


@pytest.mark.parametrize("name", CASES)
async def test_concurrent_events_end_the_same(services: Container, order: MakeOrder, name: str) -> None:
    events, expected = CASES[name]
    for _ in range(5):
        made = await order()
        webhooks = [each(made) for each, _ in zip(itertools.cycle(events), range(8), strict=False)]
        await asyncio.gather(
            *(
                services.webhooks.receive(each.body, {name.lower(): text for name, text in each.headers.items()})
                for each in webhooks
            )
        )
        await services.jobs.app.run_worker_async(
            wait=False, install_signal_handlers=False, concurrency=8, delete_jobs="successful"
        )
        assert await state_of(services, made) == expected


async def test_event_id_is_stored_and_handled_once(services: Container, order: MakeOrder) -> None:
    made = await order()
    webhook = completed(made)
    headers = {name.lower(): text for name, text in webhook.headers.items()}
    await asyncio.gather(*(services.webhooks.receive(webhook.body, headers) for _ in range(20)))
    count = "SELECT count(*) FROM webhook_events WHERE fact->>'order_id' = :o"
    assert await value(services, count, o=str(made.id)) == 1
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'payments.handle_event' AND status = 'todo'"
    assert await value(services, jobs) == 1
    await run_jobs(services)
    assert (await state_of(services, made))["enrolled"]
    # The inbox holds where Redis has lost its key.
    assert await services.redis.delete(*[key async for key in services.redis.scan_iter("webhook:stripe:*")])
    await services.webhooks.receive(webhook.body, headers)
    assert await value(services, count, o=str(made.id)) == 1 and await value(services, jobs) == 0


async def test_stored_events_hold_no_personal_data(services: Container, order: MakeOrder) -> None:
    made = await order()
    await deliver(services, completed(made))
    kept = await rows(services, "SELECT fact::text FROM webhook_events WHERE fact->>'order_id' = :o", o=str(made.id))
    assert len(kept) == 1 and "@" not in kept[0].fact


async def test_sweeper_handles_an_event_without_a_job(services: Container, order: MakeOrder) -> None:
    made = await order()
    webhook = completed(made)
    await services.webhooks.receive(webhook.body, {name.lower(): text for name, text in webhook.headers.items()})
    await rows(services, "DELETE FROM procrastinate_jobs WHERE status = 'todo' RETURNING id")
    assert await services.webhooks.handle_overdue() == 0, "it is not overdue yet"
    await rows(
        services,
        "UPDATE webhook_events SET received_at = now() - interval '6 minutes' WHERE handled_at IS NULL RETURNING id",
    )
    assert await services.webhooks.handle_overdue() == 1
    assert (await state_of(services, made))["status"] == "paid"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "less": ({"amount_total": PRICE - 1}, "amount_differs"),
    "more": ({"amount_total": PRICE + 1}, "amount_differs"),
    "another currency": ({"currency": "usd"}, "currency_differs"),
    "real money": ({"livemode": True}, "mode_differs"),
    "a subscription": ({"mode": "subscription"}, "mode_differs"),
    "another session": ({"id": "cs_test_of_another_order"}, "session_differs"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_mismatched_payment_is_refused_and_reported(services: Container, order: MakeOrder, name: str) -> None:
    changes, alert = WRONG[name]
    made = await order()
    for _ in range(2):
        await deliver(services, completed(made, **changes))
    assert await state_of(services, made) == {**UNPAID, "status": "pending", "alerts": [alert]}
    # The right one still does.
    await deliver(services, completed(made))
    assert await state_of(services, made) == {**PAID, "alerts": [alert]}


async def test_checkout_with_a_lost_id_is_found_by_metadata(services: Container, order: MakeOrder) -> None:
    made = await order()
    await rows(
        services,
        "UPDATE orders SET provider_session_id = NULL, checkout_url = NULL WHERE id = :o RETURNING id",
        o=made.id,
    )
    await deliver(services, completed(made))
    assert await state_of(services, made) == PAID


async def test_foreign_event_is_acknowledged_without_effect(services: Container, order: MakeOrder) -> None:
    made = await order()
    before = await value(services, "SELECT count(*) FROM orders WHERE status <> 'pending'")
    stranger = made.model_copy(update={"id": uuid.uuid4(), "provider_session_id": "cs_test_of_a_shop"})
    row = stripe_session(stranger, metadata={})
    await deliver(
        services, stripe_webhook("checkout.session.completed", row), refunded(stranger, 100), disputed(stranger)
    )
    await deliver(services, stripe_webhook("invoice.paid", {"id": "in_1"}))
    assert await value(services, "SELECT count(*) FROM orders WHERE status <> 'pending'") == before
    assert await value(services, "SELECT count(*) FROM webhook_events WHERE type = 'invoice.paid'") == 0


async def test_double_payment_enrolls_once_and_alerts(services: Container, order: MakeOrder) -> None:
    learner, course = await add_learner(services), await add_course(services, price=PRICE)
    first = await order(learner=learner, course=course)
    await deliver(services, expired(first))
    second = await order(learner=learner, course=course)
    assert second.id != first.id
    # The first was paid in its last minute, and the webhook came late.
    await deliver(services, completed(second), completed(first))
    assert await state_of(services, second) == PAID
    assert await state_of(services, first) == {**PAID, "alerts": ["paid_twice"]}
    # Giving back either one leaves the other.
    await deliver(services, refunded(second, PRICE))
    assert (await state_of(services, second))["status"] == "refunded"
    assert (await state_of(services, first))["enrolled"]
    await deliver(services, refunded(first, PRICE))
    assert not (await state_of(services, first))["enrolled"]


async def test_razorpay_events_end_the_same(settings: Settings) -> None:
    with own_database(settings) as own:
        own = with_payment_accounts(own, payment_provider="razorpay")
        async with running_container(own, payment_providers=fake_providers(own)) as services:
            for permutation in itertools.permutations(range(4)):
                made = await services.checkout.start(
                    await add_learner(services), await add_course(services, price=PRICE)
                )
                assert made.provider == "razorpay"
                payment = {"id": f"pay_{made.id.hex[:14]}", "amount": PRICE, "currency": "INR", "status": "captured"}
                money = {"payment_id": payment["id"], "amount": PRICE, "currency": "INR"}
                refund = {"id": f"rfnd_{made.id.hex[:14]}", "status": "processed", "notes": [], **money}
                dispute = {"id": f"disp_{made.id.hex[:13]}", "status": "open", "reason_code": "fraud", **money}
                expiry = razorpay_link(made, status="expired", amount_paid=0)
                events = [
                    razorpay_webhook("payment_link.paid", {"payment_link": razorpay_link(made), "payment": payment}),
                    razorpay_webhook("payment_link.expired", {"payment_link": expiry}),
                    razorpay_webhook("refund.processed", {"refund": refund, "payment": payment}),
                    razorpay_webhook("payment.dispute.created", {"payment": payment, "dispute": dispute}),
                ]
                attempt = {**payment, "id": "pay_declined", "status": "failed"}
                await deliver(services, razorpay_webhook("payment.failed", {"payment": attempt}))
                for index in permutation:
                    await deliver(services, events[index], events[index])
                assert await state_of(services, made) == CASES["paid, expired, refunded, disputed"][1]


async def test_refunds_never_exceed_the_payment(services: Container, order: MakeOrder) -> None:
    for too_much_first in (True, False):
        made = await order()
        events = [completed(made), refunded(made, PRICE + 1)]
        await deliver(services, *(reversed(events) if too_much_first else events))
        assert await state_of(services, made) == {**PAID, "alerts": ["amount_differs"]}
    await deliver(services, refunded(made, 40000, refund="re_a"), refunded(made, 40000, refund="re_b"))
    state = await state_of(services, made)
    assert (state["status"], state["amount_refunded"], state["enrolled"]) == ("refunded", PRICE, False)
    assert payment_of(made) == await value(services, "SELECT provider_payment_id FROM orders WHERE id = :o", o=made.id)
