"""Payments from the page to the course and back: server, job worker, both providers' APIs and payment pages."""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from settings import Settings
from testing.commands import run_parlance
from testing.databases import rows, value
from testing.http_answers import count_statuses
from testing.payments import PRICE, expire_checkout
from testing.polling import eventually
from testing.purchases import buy
from testing.servers import Learner, send_at_once
from testing.shop import Shop, run_shop


@pytest.fixture(scope="module", params=["stripe", "razorpay"])
async def opened(
    request: Any, environment: dict[str, str], settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Shop]:
    async with run_shop(environment, settings, tmp_path_factory.mktemp("shop"), request.param) as shop:
        yield shop


@pytest.fixture
async def shop(opened: Shop) -> AsyncIterator[Shop]:
    """The shop on a good day; what a test lost or broke is over when it ends."""
    yield opened
    opened.stand_ins.faults.clear()
    opened.stand_ins.webhooks.configure(drop=[], hold=False)
    opened.stand_ins.pace.refund = 0


@pytest.fixture
async def ada(shop: Shop) -> AsyncIterator[Learner]:
    async with shop.learner() as learner:
        yield learner


@pytest.fixture
async def admin(shop: Shop) -> AsyncIterator[Learner]:
    async with shop.operator() as operator:
        yield operator


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def paid(shop: Shop, who: Learner) -> Any:
    order = await shop.enroll(who, await shop.course())
    await shop.press(order, "pay")
    return await shop.wait_for_order(order, "paid", enrolled=True)


async def hurry(shop: Shop, task: str) -> None:
    """Have the jobs of a name run now that were to run later."""
    await rows(
        shop.container,
        "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = :t AND status = 'todo' RETURNING id",
        t=task,
    )


# --- From the page to the course ------------------------------------------------------------------------


async def test_payment_on_the_page_enrolls(shop: Shop, ada: Learner) -> None:
    course = await shop.course()
    order = await shop.enroll(ada, course)
    await shop.wait_for_order(order, "pending", enrolled=False)
    left = await shop.press(order, "pay")
    assert left.status_code == 303 and left.headers["Location"].startswith("http://localhost:3000/payment/success")
    order = await shop.wait_for_order(order, "paid", enrolled=True)
    shown = (await ada.http.get(f"/payments/orders/{order.id}")).json()
    assert (shown["status"], shown["amount"], shown["provider"]) == ("paid", PRICE, shop.name)
    assert (await ada.http.get(f"/courses/{course}")).json()["isEnrolled"] is True
    assert problem(await ada.http.post(f"/courses/{course}/enroll")) == (409, "already_enrolled")


async def test_abandoned_or_declined_checkout_keeps_its_page(shop: Shop, ada: Learner) -> None:
    course = await shop.course()
    order = await shop.enroll(ada, course)
    assert (await shop.press(order, "abandon")).status_code == (303 if shop.name == "stripe" else 200)
    assert (await shop.enroll(ada, course)).checkout_url == order.checkout_url
    assert "declined" in (await shop.press(order, "decline")).text
    await shop.wait_for_webhooks()
    await shop.wait_for_order(order, "pending", enrolled=False)
    assert (await shop.enroll(ada, course)).id == order.id
    await shop.press(order, "pay")
    await shop.wait_for_order(order, "paid", enrolled=True)
    assert len(await shop.list_sessions(order)) == 1


async def test_delayed_payment_enrolls_once_settled(shop: Shop, ada: Learner) -> None:
    order = await shop.enroll(ada, await shop.course())
    await shop.press(order, "later")
    await shop.wait_for_webhooks()
    # Razorpay says nothing of a payment whose money it waits for.
    await shop.wait_for_order(order, "processing" if order.provider == "stripe" else "pending", enrolled=False)
    shop.provider.settle(order.provider_session_id or "")
    await shop.wait_for_order(order, "paid", enrolled=True)


async def test_failed_delayed_payment_does_not_enroll(shop: Shop, ada: Learner) -> None:
    course = await shop.course()
    order = await shop.enroll(ada, course)
    await shop.press(order, "later")
    shop.provider.settle(order.provider_session_id or "", succeeded=False)
    await shop.wait_for_webhooks()
    if shop.name == "stripe":  # whose page is used up; Razorpay's takes another attempt
        await shop.wait_for_order(order, "failed", enrolled=False)
    again = await shop.enroll(ada, course)
    assert (again.id == order.id) is (shop.name == "razorpay")
    await shop.press(again, "pay")
    await shop.wait_for_order(again, "paid", enrolled=True)


async def test_expired_checkout_is_replaced(shop: Shop, ada: Learner) -> None:
    course = await shop.course()
    first = await shop.enroll(ada, course)
    await shop.press(first, "expire")
    await shop.wait_for_order(first, "expired", enrolled=False)
    second = await shop.enroll(ada, course)
    assert second.id != first.id and second.checkout_url != first.checkout_url
    # The second page closes too, without a webhook: the next checkout asks the provider.
    shop.stand_ins.webhooks.configure(drop=["*.expired"])
    shop.provider.expire(second.provider_session_id or "")
    await expire_checkout(shop.container, second, datetime.now(UTC) - timedelta(seconds=1))
    third = await shop.enroll(ada, course)
    assert third.id != second.id and third.checkout_url != second.checkout_url
    await shop.wait_for_order(second, "expired", enrolled=False)
    await shop.press(third, "pay")
    await shop.wait_for_order(third, "paid", enrolled=True)


# --- Back ------------------------------------------------------------------------------------------------


async def test_endpoint_and_command_refund_alike(shop: Shop, ada: Learner, admin: Learner) -> None:
    order = await paid(shop, ada)
    part = await admin.http.post(f"/admin/orders/{order.id}/refund", json={"amount": 10000, "reason": "half missing"})
    assert part.status_code == 201 and part.json()["amount"] == 10000, part.text
    await shop.wait_for_order(order, "paid", enrolled=True, amount_refunded=10000)
    # More than is left is refused at either entry point, in the same words.
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={"amount": PRICE - 9999})
    refused = await run_parlance(shop.environment, "refunds", "issue", str(order.id), "--amount", str(PRICE - 9999))
    assert problem(answer) == (409, "refund_too_large") and answer.json()["detail"] in refused.err
    assert refused.code == 1 and "refund_too_large" in refused.err
    issued = await run_parlance(shop.environment, "refunds", "issue", str(order.id))
    assert issued.code == 0 and issued.out.endswith(f"of {PRICE - 10000} inr: succeeded\n"), issued
    order = await shop.wait_for_order(order, "refunded", enrolled=False, amount_refunded=PRICE)
    assert (await ada.http.get(f"/courses/{order.course_id}")).json()["isEnrolled"] is False
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    refused = await run_parlance(shop.environment, "refunds", "issue", str(order.id))
    assert problem(answer) == (409, "order_not_refundable") and "order_not_refundable" in refused.err
    await shop.wait_for_webhooks()
    recorded = await rows(
        shop.container, "SELECT amount, status::text FROM refunds WHERE order_id = :o ORDER BY amount", o=order.id
    )
    assert [tuple(each) for each in recorded] == [(10000, "succeeded"), (PRICE - 10000, "succeeded")]
    # Who was given their money back may buy again.
    assert (await shop.enroll(ada, str(order.course_id))).id != order.id


async def test_failed_refund_keeps_the_enrollment(shop: Shop, ada: Learner, admin: Learner) -> None:
    order = await paid(shop, ada)
    shop.stand_ins.pace.refund = None
    pending = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert (pending.status_code, pending.json()["status"]) == (201, "pending")
    assert problem(await admin.http.post(f"/admin/orders/{order.id}/refund", json={})) == (409, "refund_pending")
    shop.provider.settle_refunds(order.provider_session_id or "", succeeded=False)
    await shop.wait_for_webhooks()
    await shop.wait_for_order(order, "paid", enrolled=True, amount_refunded=0)
    # The money is still the provider's to give.
    await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    shop.provider.settle_refunds(order.provider_session_id or "")
    await shop.wait_for_order(order, "refunded", enrolled=False)


async def test_lost_dispute_ends_the_enrollment(shop: Shop, ada: Learner, admin: Learner) -> None:
    for won in (True, False):
        order = await paid(shop, ada)
        shop.provider.dispute(order.provider_session_id or "")
        await shop.wait_for_order(order, "paid", enrolled=True, disputed=True)
        refused = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
        assert problem(refused) == (409, "order_not_refundable")
        shop.provider.resolve_dispute(order.provider_session_id or "", won=won)
        await shop.wait_for_order(order, "paid", enrolled=won, disputed=not won)
        listed = (await admin.http.get("/admin/orders", params={"limit": 100})).json()["items"]
        assert next(each["alerts"] for each in listed if each["id"] == str(order.id)) == ["disputed"]


# --- Many at once ----------------------------------------------------------------------------------------


async def test_fifty_concurrent_checkouts_make_one_order(shop: Shop, ada: Learner) -> None:
    for keys in (["the-same"] * 50, [uuid.uuid4().hex for _ in range(50)]):
        async with shop.learner() as bob:
            course = await shop.course()
            answers = await send_at_once(functools.partial(buy, bob, course, key) for key in keys)
            good = [each for each in answers if each.status_code == 201]
            assert good and len({each.text for each in good}) == 1, count_statuses(answers)
            refusals = {problem(each) for each in answers if each.status_code != 201}
            assert refusals <= {(409, "idempotency_in_flight")}, count_statuses(answers)
            orders = await rows(shop.container, "SELECT id, status::text FROM orders WHERE course_id = :c", c=course)
            assert [(str(each.id), each.status) for each in orders] == [(good[0].json()["orderId"], "pending")]
            order = await shop.order(orders[0].id)
            assert [each.id for each in await shop.list_sessions(order)] == [order.provider_session_id]


async def test_fifty_concurrent_refunds_make_one_refund(shop: Shop, ada: Learner, admin: Learner) -> None:
    for body, key in (({}, None), ({"amount": 100}, "the-same-refund")):
        order = await paid(shop, ada)
        headers = {"Idempotency-Key": f"{key}-{order.id}"} if key else {}
        answers = await send_at_once(
            [functools.partial(admin.http.post, f"/admin/orders/{order.id}/refund", json=body, headers=headers)] * 50
        )
        good = [each for each in answers if each.status_code == 201]
        assert good and len({each.json()["id"] for each in good}) == 1, count_statuses(answers)
        refusals = {problem(each)[1] for each in answers if each.status_code != 201}
        assert refusals <= {"refund_pending", "order_not_refundable", "idempotency_in_flight"}, count_statuses(answers)
        await shop.wait_for_webhooks()
        amount = body.get("amount", PRICE)
        await shop.wait_for_order(order, "paid" if key else "refunded", enrolled=bool(key), amount_refunded=amount)
        table = shop.stand_ins.store.table(f"{shop.name}.refunds")
        payment = "payment_intent" if shop.name == "stripe" else "payment_id"
        taken = [each["amount"] for each in table.values() if each[payment] == order.provider_payment_id]
        assert taken == [amount], "one refund at the provider"


# --- A provider that fails -------------------------------------------------------------------------------

CHECKOUTS = {"stripe": "POST /v1/checkout/sessions", "razorpay": "POST /v1/payment_links"}
REFUNDS = {"stripe": "POST /v1/refunds", "razorpay": "POST /v1/payments/*/refund"}


async def test_lost_checkout_answer_leaves_one_session(shop: Shop, ada: Learner) -> None:
    for fault, times in (("cut", 2), ("lie", 2), ("hang", 1)):
        course = await shop.course()
        shop.stand_ins.faults.add(fault, CHECKOUTS[shop.name], times=times)  # type: ignore[arg-type]
        answer = await ada.http.post(f"/courses/{course}/enroll")
        if times == 2:  # as often as the product asks; once is made good within the request
            assert problem(answer) == (503, "unavailable"), fault
            assert await value(shop.container, "SELECT checkout_url IS NULL FROM orders WHERE course_id = :c", c=course)
        order = await shop.enroll(ada, course)
        assert [each.id for each in await shop.list_sessions(order)] == [order.provider_session_id], fault
        await shop.press(order, "pay")
        await shop.wait_for_order(order, "paid", enrolled=True)


async def test_lost_refund_answer_refunds_once(shop: Shop, ada: Learner, admin: Learner) -> None:
    for fault, times in (("cut", 2), ("lie", 2), ("hang", 1)):
        order = await paid(shop, ada)
        shop.stand_ins.webhooks.configure(drop=["refund.*"])
        shop.stand_ins.faults.add(fault, REFUNDS[shop.name], times=times)  # type: ignore[arg-type]
        answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
        assert (answer.status_code, answer.json()["status"]) == (201, "pending" if times == 2 else "succeeded"), fault
        await hurry(shop, "payments.send_refund")
        await shop.wait_for_order(order, "refunded", enrolled=False)
        recorded = await rows(shop.container, "SELECT status::text FROM refunds WHERE order_id = :o", o=order.id)
        assert [each.status for each in recorded] == ["succeeded"], fault


@pytest.mark.parametrize("status", [500, 429, 409, 401])
async def test_failing_provider_is_retried_and_then_unavailable(
    shop: Shop, ada: Learner, admin: Learner, status: int
) -> None:
    course = await shop.course()
    shop.stand_ins.faults.add("refuse", CHECKOUTS[shop.name], times=2, status=status)
    assert problem(await ada.http.post(f"/courses/{course}/enroll")) == (503, "unavailable")
    shop.stand_ins.faults.clear()
    order = await shop.enroll(ada, course)
    assert await value(shop.container, "SELECT count(*) FROM orders WHERE course_id = :c", c=course) == 1
    await shop.press(order, "pay")
    await shop.wait_for_order(order, "paid", enrolled=True)
    # A refund that is only delayed stays pending: were it given up, an operator would give it a second time.
    shop.stand_ins.faults.add("refuse", REFUNDS[shop.name], times=2, status=status)
    answer = await admin.http.post(f"/admin/orders/{order.id}/refund", json={})
    assert (answer.status_code, answer.json()["status"]) == (201, "pending"), answer.text
    assert problem(await admin.http.post(f"/admin/orders/{order.id}/refund", json={})) == (409, "refund_pending")
    shop.stand_ins.faults.clear()
    await hurry(shop, "payments.send_refund")
    await shop.wait_for_order(order, "refunded", enrolled=False)
    assert await value(shop.container, "SELECT count(*) FROM refunds WHERE order_id = :o", o=order.id) == 1


# --- Webhooks that never came ----------------------------------------------------------------------------


async def test_reconcile_repairs_every_lost_webhook(shop: Shop, admin: Learner) -> None:
    """Every webhook of a provider is lost once: before the payment was known, and after."""

    async def bought() -> Any:
        async with shop.learner() as learner:
            return await shop.enroll(learner, await shop.course())

    async def known() -> Any:
        order = await bought()
        await shop.press(order, "pay")
        return await shop.wait_for_order(order, "paid", enrolled=True)

    late: dict[str, Any] = {name: await known() for name in ("refunded", "in part", "disputed", "lost", "untouched")}
    early: dict[str, Any] = {
        name: await bought() for name in ("paid", "expired", "refunded outside", "charged back", "open")
    }
    await shop.wait_for_webhooks()
    shop.stand_ins.webhooks.configure(drop=["*"])

    def session(order: Any) -> str:
        return order.provider_session_id or ""

    for name in ("paid", "refunded outside", "charged back"):
        shop.provider.pay(session(early[name]))
    shop.provider.expire(session(early["expired"]))
    for order in (late["refunded"], early["refunded outside"]):
        shop.provider.refund(session(order))
    shop.provider.refund(session(late["in part"]), 10000)
    for order in (late["disputed"], late["lost"], early["charged back"]):
        shop.provider.dispute(session(order))
    for order in (late["lost"], early["charged back"]):
        shop.provider.resolve_dispute(session(order), won=False)

    orders = [*late.values(), *early.values()]
    expected = {
        late["refunded"].id: "paid -> refunded",
        late["in part"].id: "paid -> paid, 10000 refunded",
        late["disputed"].id: "paid -> paid, disputed",
        late["lost"].id: "paid -> paid, disputed",
        early["paid"].id: "pending -> paid",
        early["expired"].id: "pending -> expired",
        early["refunded outside"].id: "pending -> refunded",
        early["charged back"].id: "pending -> paid, disputed",
    }

    async def reconcile(*options: str) -> str:
        ran = await run_parlance(shop.environment, "payments", "reconcile", *options)
        assert ran.code == 0, ran
        return ran.out

    async def everything() -> list[Any]:
        tables = ("orders", "refunds", "disputes", "enrollments", "payment_alerts", "webhook_events")
        return [await rows(shop.container, f"SELECT * FROM {table} ORDER BY id") for table in tables]

    before = await everything()
    dry = await reconcile("--dry-run")
    for order_id, change in expected.items():
        assert f"{order_id}  {change}\n" in dry
    assert str(early["open"].id) not in dry and str(late["untouched"].id) not in dry
    assert await everything() == before, "a dry run changes nothing"
    done = await reconcile()
    for order_id, change in expected.items():
        assert f"{order_id}  {change}\n" in done
    assert done.splitlines()[:-1] == dry.splitlines()[:-1]
    for order in orders:
        standing = shop.standing(order)
        ended = standing.refunded == PRICE or standing.dispute == "lost" or not standing.paid
        await shop.wait_for_order(order, (await shop.order(order.id)).status, enrolled=not ended)
    # What was lost may come after all, and there is nothing left to repair.
    for each in shop.stand_ins.webhooks.deliveries(state="dropped"):
        shop.stand_ins.webhooks.resend(each["event"])
    before_tables = (await everything())[:5]
    await shop.wait_for_webhooks()
    assert [len(table) for table in (await everything())[:5]] == [len(table) for table in before_tables]
    nothing = await reconcile()
    assert not [order for order in orders if str(order.id) in nothing]


async def test_orders_agree_with_the_provider(shop: Shop) -> None:
    """All that the tests above did, held against the ledger once more."""
    await shop.wait_for_webhooks()

    async def pending() -> bool:
        found = await rows(shop.container, "SELECT id FROM refunds WHERE status = 'pending'")
        return not found

    await eventually(pending, within=15, what="no refund under way")
    ledger = {each.id: each for each in shop.stand_ins.ledger()}
    kept = await rows(
        shop.container,
        "SELECT provider_session_id AS id, status::text, amount_refunded, disputed FROM orders"
        " WHERE provider_session_id IS NOT NULL",
    )
    assert {each.id for each in kept} == set(ledger), "no session without an order, no order without a session"
    assert await value(
        shop.container,
        "SELECT coalesce(sum(amount_refunded), 0) FROM orders",
    ) == sum(each.refunded for each in ledger.values())
    enrolled = await value(shop.container, "SELECT count(*) FROM enrollments")
    entitled = [
        each for each in ledger.values() if each.paid and each.refunded < each.amount and each.dispute != "lost"
    ]
    assert enrolled == len(entitled)
