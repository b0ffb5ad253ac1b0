"""Random events of a provider, delivered badly to a product that crashes, end in the state of the provider's ledger.

PAYMENT_SEED replays a run (it is printed), PAYMENT_STREAMS makes it longer.

Two ways, both on PostgreSQL. In the first each stream takes the whole way: signed bytes, inbox, handling, several at
once, with a crash before any statement, before a commit or after it. That takes a tenth of a second a stream. In the
second, for ten thousand, what handling does is looked up where the same was done before: to settle a fact is a function
of the fact and of what the database holds about its order, so each pair of the two is settled once, in PostgreSQL, and
its outcome is used for every stream that comes by.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.payments.razorpay import RazorpayProvider
from adapters.payments.stripe import StripeProvider
from adapters.ports import Fact, PaymentProvider
from container import Container
from devtools.stand_ins import CheckoutState, Keys, Refused, StandIns
from devtools.stand_ins import running as stand_ins_running
from models import (
    AlertKind,
    Dispute,
    DisputeStatus,
    Enrollment,
    Order,
    OrderStatus,
    PaymentAlert,
    ProviderName,
    Refund,
    RefundStatus,
)
from services.payments import settlement
from settings import Settings
from testing.admin_rows import add_learner
from testing.containers import load_settings, running_container
from testing.databases import own_database, rows
from testing.payments import PRICE, add_course, state_of
from testing.shop import SUBSCRIBED, agrees

SEED = int(os.environ.get("PAYMENT_SEED", "20261123"))
WHOLE_WAY = int(os.environ.get("PAYMENT_STREAMS", "240"))
LOOKED_UP = max(10_000, WHOLE_WAY)
CONCURRENT_STREAMS = 8


class Crash(Exception):
    """The process died here: what it had not committed is gone."""


#: How many steps of the database the task that runs now has left to live; None for ever.
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


def _step(*_: Any) -> None:
    left = _left.get()
    if left is not None:
        left[0] -= 1
        if left[0] < 0:
            raise Crash


@contextmanager
def crashing(container: Container) -> Iterator[None]:
    """Let tasks that have a number of steps left die at the last, be it a statement or a commit."""
    engine = container.database.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", _step)
    sa.event.listen(engine, "commit", _step)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", _step)
        sa.event.remove(engine, "commit", _step)


def happens(stand_ins: StandIns, checkout: str, chance: random.Random) -> None:
    """Have something happen to a checkout that may happen to it now."""
    shop, standing = stand_ins.find_provider(checkout), stand_ins.get_state(checkout)
    stand_ins.pace.refund = chance.choice([0, None])
    with suppress(Refused):  # by a provider that knows better; then nothing happens
        if standing.refunds_pending and chance.random() < 0.5:
            shop.settle_refunds(checkout, succeeded=chance.random() < 0.7)
        elif standing.dispute == "open":
            shop.resolve_dispute(checkout, won=chance.random() < 0.5)
        elif standing.dispute == "inquiry" and chance.random() < 0.7:
            if chance.random() < 0.5:
                shop.escalate(checkout)
            else:
                shop.resolve_dispute(checkout, won=True)
        elif standing.paid:
            if standing.dispute is None and chance.random() < 0.35:
                chance.choice([shop.dispute, shop.inquire])(checkout)
            else:
                shop.refund(checkout, chance.choice([None, PRICE // 4, PRICE // 2]))
        elif standing.status == "processing":
            shop.settle(checkout, succeeded=chance.random() < 0.7)
        else:
            action = chance.choices(
                [shop.pay, shop.pay_later, shop.decline, shop.settle, shop.expire], [5, 2, 1, 2, 1]
            )[0]
            action(checkout)


def delivered(sent: list[Any], chance: random.Random) -> list[Any]:
    """The events that arrive: shuffled by a little or wholly, some twice, some never."""
    arriving = [each for each in sent for _ in range(chance.choice([0, 1, 1, 1, 2]))]
    reach = chance.choice([0, 2, 100])
    return [each for _, each in sorted(enumerate(arriving), key=lambda one: one[0] + chance.uniform(0, reach))]


def entitled(standing: CheckoutState) -> bool:
    return bool(standing.paid) and standing.refunded < standing.amount and standing.dispute != "lost"


# --- The whole way ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def deployment(settings: Settings, environment: dict[str, str]) -> AsyncIterator[tuple[Container, StandIns]]:
    with own_database(settings) as own, stand_ins_running() as stand_ins:
        stand_ins.webhooks.configure(enabled=SUBSCRIBED)
        variables = {**environment, **stand_ins.environment, "DB_NAME": own.db_name}
        async with running_container(load_settings(variables)) as container:
            yield container, stand_ins


async def test_event_streams_converge(
    deployment: tuple[Container, StandIns],
) -> None:
    """Events that are lost, repeated, late or interrupted by a crash lead to one final state."""
    container, stand_ins = deployment
    print(f"PAYMENT_SEED={SEED} PAYMENT_STREAMS={WHOLE_WAY}")
    other = Container(container.settings.model_copy(update={"payment_provider": "razorpay"}))
    course = await add_course(container, price=PRICE)
    turns = asyncio.Semaphore(CONCURRENT_STREAMS)
    crashes = 0

    async def stream(number: int) -> Order:
        nonlocal crashes
        async with turns:
            chance = random.Random(f"{SEED}/{number}")
            shop = chance.choice([container, other])
            order = await shop.checkout.start(await add_learner(container), course)
            checkout = order.provider_session_id or ""
            sent: list[Any] = []
            for _ in range(chance.randint(1, 5)):
                happens(stand_ins, checkout, chance)
            # Several at once: two that arrive together are received and acted upon side by side.
            about = {checkout, stand_ins.get_state(checkout).payment or checkout}
            sent = [row for row in stand_ins.webhooks.deliveries() if any(each in row["body"] for each in about)]
            arriving = delivered(sent, chance)
            while arriving:
                together = [arriving.pop(0) for _ in range(min(len(arriving), chance.randint(1, 3)))]
                outcomes = await asyncio.gather(*(_deliver(container, stand_ins, row, chance) for row in together))
                crashes += sum(outcomes)
            if chance.random() < 0.5:
                # The provider repeats until each is acknowledged.
                for row in sent:
                    while await _deliver(container, stand_ins, row, chance):
                        crashes += 1
            return order

    try:
        with crashing(container):
            orders = await asyncio.gather(*(stream(number) for number in range(WHOLE_WAY)))
            # What was lost for good, the provider is asked about.
            await _reconcile(container, random.Random(SEED))
        # Jobs whose worker died run again.
        for row in await rows(container, "SELECT id FROM webhook_events WHERE handled_at IS NULL"):
            await container.webhooks.handle(str(row.id))
        await container.reconciliation.reconcile()
    finally:
        await other.close()
    print(f"{crashes} crashes")
    assert crashes > WHOLE_WAY // 4
    for number, order in enumerate(orders):
        await _compare(container, stand_ins, order, f"stream {number}")
    assert await container.reconciliation.reconcile() == [], "nothing is left to repair"


async def _deliver(container: Container, stand_ins: StandIns, row: dict[str, Any], chance: random.Random) -> bool:
    """Receive a webhook and act upon it; say whether a crash came between."""
    crashed = False
    headers = {name.lower(): text for name, text in stand_ins.webhooks.headers(row).items()}
    deaths = [chance.randint(0, 30) if chance.random() < 0.25 else None for _ in range(3)]
    receiving = _left.set(None if deaths[0] is None else [deaths[0]])
    try:
        await container.webhooks.receive(row["body"].encode(), headers)
    except Crash:
        return True
    finally:
        _left.reset(receiving)
    event = "SELECT id FROM webhook_events WHERE event_id LIKE :e"
    (found,) = await rows(container, event, e=f"{row['event']}%")
    # The job: run again where its worker died, and sometimes although it had come to its end.
    for death in deaths[1:]:
        working = _left.set(None if death is None else [death])
        try:
            await container.webhooks.handle(str(found.id))
        except Crash:
            crashed = True
        finally:
            _left.reset(working)
    return crashed


async def _reconcile(container: Container, chance: random.Random) -> None:
    """Reconcile, dying now and then in the middle, until it comes to its end."""
    for lives in (40, 400):
        dying = _left.set([chance.randint(lives // 2, lives)])
        try:
            with suppress(Crash):
                await container.reconciliation.reconcile()
        finally:
            _left.reset(dying)


async def _compare(container: Container, stand_ins: StandIns, order: Order, what: str) -> None:
    async with container.database.transaction() as db:
        order = await db.get_one(Order, order.id)
    standing = stand_ins.get_state(order.provider_session_id or "")
    assert agrees(order, standing), (what, order, standing)
    state = await state_of(container, order)
    assert state["enrolled"] is entitled(standing), (what, state, standing)
    table = stand_ins.store.table(f"{standing.provider}.refunds").values()
    key = "payment_intent" if standing.provider == "stripe" else "payment_id"
    words = {"processed": "succeeded"}
    of_order = [row for row in table if row[key] == standing.payment]
    given = sorted((row["amount"], words.get(row["status"], row["status"])) for row in of_order)
    assert sorted(state["refunds"]) == given, (what, state, given)
    dispute = "open" if standing.dispute == "inquiry" else standing.dispute
    assert state["disputes"] == ([dispute] if dispute else []), (what, state, standing)


# --- Ten thousand ----------------------------------------------------------------------------------------

#: What the database holds about an order, its ids replaced by labels that every stream has: `r0`, `r1` and so on.
State = tuple[Any, ...]
NEW: State = ("pending", False, 0, False, False, False, (), (), ())


class Settled:
    """What settling does, found out once for each state and fact, in a transaction that is rolled back."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._known: dict[tuple[ProviderName, State, Fact], State] = {}
        #: Learners and courses, one for each transaction at a time: they hold their learner's row.
        self._free: asyncio.Queue[tuple[uuid.UUID, uuid.UUID]] = asyncio.Queue()

    async def open(self) -> None:
        for _ in range(CONCURRENT_STREAMS):
            learner, course = await add_learner(self._container), await add_course(self._container, price=PRICE)
            self._free.put_nowait((uuid.UUID(learner), uuid.UUID(course)))

    @property
    def size(self) -> int:
        return len(self._known)

    async def after(self, provider: ProviderName, state: State, fact: Fact) -> State:
        key = (provider, state, fact)
        if key not in self._known:
            pair = await self._free.get()
            try:
                self._known[key] = await self._settle(provider, state, fact, *pair)
            finally:
                self._free.put_nowait(pair)
        return self._known[key]

    async def _settle(
        self, provider: ProviderName, state: State, fact: Fact, learner: uuid.UUID, course: uuid.UUID
    ) -> State:
        async with self._container.database.transaction() as db:
            order = Order(
                user_id=learner,
                course_id=course,
                course_title="Small talk that works",
                amount=PRICE,
                currency="inr",
                provider=provider,
                live=False,
                checkout_expires_at=datetime.now(UTC) + timedelta(hours=2),
            )
            mark = f":{order.id}"
            # The order first: the others refer to it.
            first, *others = _written(state, order, mark)
            db.add(first)
            await db.flush()
            db.add_all(others)
            await db.flush()
            named: Any = {
                name: f"{label}{mark}"
                for name in ("session_id", "payment_id", "refund_id", "dispute_id")
                if (label := getattr(fact, name, None)) is not None
            }
            if getattr(fact, "order_id", None):
                named["order_id"] = str(order.id)
            await settlement.apply_fact(db, provider, dataclasses.replace(fact, **named))
            row = (await db.execute(_READ, {"o": order.id, "p": f"p{mark}"})).one()
            await db.rollback()
        text = _freeze([list(row)[:6], *list(row)[6:]], mark)
        return (*text[0], *text[1:])


_READ = sa.text(
    "SELECT o.status::text, o.provider_payment_id IS NOT NULL, o.amount_refunded, o.disputed, o.inquiry,"
    " EXISTS (SELECT FROM enrollments WHERE order_id = o.id),"
    " (SELECT coalesce(json_agg(json_build_array(provider_refund_id, amount, status, order_id IS NOT NULL)"
    "   ORDER BY provider_refund_id), '[]') FROM refunds WHERE provider_payment_id = :p),"
    " (SELECT coalesce(json_agg(json_build_array(provider_dispute_id, status, inquired, charged_back, refundable,"
    "   order_id IS NOT NULL)"
    "   ORDER BY provider_dispute_id), '[]') FROM disputes WHERE provider_payment_id = :p),"
    " (SELECT coalesce(json_agg(json_build_array(kind, reference) ORDER BY kind, reference), '[]')"
    "   FROM payment_alerts WHERE order_id = o.id)"
    " FROM orders o WHERE o.id = :o"
)


def _freeze(found: Any, mark: str) -> Any:
    if isinstance(found, list):
        return tuple(_freeze(each, mark) for each in found)
    return found.removesuffix(mark) if isinstance(found, str) else found


def _written(state: State, order: Order, mark: str) -> list[Any]:
    """The rows of a state."""
    status, paid, refunded, disputed, inquiry, enrolled, refunds, disputes, alerts = state
    payment = f"p{mark}"
    order.status, order.amount_refunded = OrderStatus(status), refunded
    order.disputed, order.inquiry = disputed, inquiry
    order.provider_session_id = f"s{mark}"
    if paid:
        order.paid_at, order.provider_payment_id = datetime.now(UTC), payment
    money: dict[str, Any] = {"provider": order.provider, "provider_payment_id": payment, "currency": "inr"}
    written: list[Any] = [order]
    for label, amount, how, ours in refunds:
        of = {"order_id": order.id if ours else None, "status": RefundStatus(how), **money}
        written.append(Refund(provider_refund_id=f"{label}{mark}", amount=amount, **of))
    for label, how, inquired, charged_back, refundable, ours in disputes:
        of = {"order_id": order.id if ours else None, "status": DisputeStatus(how), **money}
        of |= {"inquired": inquired, "charged_back": charged_back, "refundable": refundable}
        written.append(Dispute(provider_dispute_id=f"{label}{mark}", amount=PRICE, **of))
    for kind, label in alerts:
        written.append(PaymentAlert(order_id=order.id, kind=AlertKind(kind), reference=f"{label}{mark}"))
    if enrolled:
        written.append(Enrollment(user_id=order.user_id, course_id=order.course_id, order_id=order.id))
    return written


async def test_ten_thousand_event_streams_converge(deployment: tuple[Container, StandIns], settings: Settings) -> None:
    container, _ = deployment
    print(f"PAYMENT_SEED={SEED} PAYMENT_STREAMS={LOOKED_UP}")
    keys = Keys()
    accounts = StandIns("http://127.0.0.1:9", keys=keys).environment
    own = settings.model_copy(update=load_settings(accounts).model_dump(include={name.lower() for name in accounts}))
    readers: dict[str, PaymentProvider] = {"stripe": StripeProvider(own), "razorpay": RazorpayProvider(own)}
    settled = Settled(container)
    await settled.open()
    numbers = iter(range(LOOKED_UP))
    facts_sent = 0

    async def walk() -> None:
        nonlocal facts_sent
        for number in numbers:
            chance = random.Random(f"{SEED}/{number}")
            name = ProviderName(chance.choice(["stripe", "razorpay"]))
            stand_ins = StandIns("http://127.0.0.1:9", keys=keys)
            checkout = _checkout_at(stand_ins, name)
            stand_ins.webhooks.configure(enabled=SUBSCRIBED)
            for _ in range(chance.randint(1, 5)):
                happens(stand_ins, checkout, chance)
            sent = [
                fact for row in stand_ins.webhooks.deliveries() if (fact := _read_fact(readers[name], stand_ins, row))
            ]
            labels = _labels(sent)
            sent = [_labelled(fact, labels) for fact in sent]
            state = NEW
            again = chance.sample(sent, len(sent))
            # As it arrives, badly; then what was lost comes after all, in any order.
            for fact in (*delivered(sent, chance), *again):
                state = await settled.after(name, state, fact)
            facts_sent += len(sent)
            assert state[:7] == _expected(stand_ins, checkout, labels), (number, sent, again)
            disputes = stand_ins.store.table(f"{name}.disputes")
            assert [each[:2] for each in state[7]] == [
                (labels[key], "open" if standing == "inquiry" else standing)
                for key in disputes
                for standing in [stand_ins.get_state(checkout).dispute]
            ], (number, sent, again)

    await asyncio.gather(*(walk() for _ in range(CONCURRENT_STREAMS)))
    for reader in readers.values():
        await reader.close()
    print(f"{LOOKED_UP} streams, {facts_sent} facts, {settled.size} settlements in PostgreSQL")
    assert next(numbers, None) is None and settled.size > 200


def _checkout_at(stand_ins: StandIns, name: str) -> str:
    if name == "razorpay":
        return str(stand_ins.razorpay.create_link({"amount": PRICE, "currency": "INR", "reference_id": "o"})["id"])
    price = {"currency": "inr", "unit_amount": str(PRICE), "product_data": {"name": "Small talk that works"}}
    params = {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": "1"}],
        "success_url": "http://localhost:3000/payment/success",
        "metadata": {"internalOrderId": "o"},
    }
    return str(stand_ins.stripe.create_session(params)["id"])


def _read_fact(reader: PaymentProvider, stand_ins: StandIns, row: dict[str, Any]) -> Fact | None:
    headers = {name.lower(): text for name, text in stand_ins.webhooks.headers(row).items()}
    return reader.parse_webhook(row["body"].encode(), headers).fact


def _labels(sent: list[Fact]) -> dict[str, str]:
    """A label for each id of a stream, in the order of its first mention."""
    labels: dict[str, str] = {}
    for name, letter in (("session_id", "s"), ("payment_id", "p"), ("refund_id", "r"), ("dispute_id", "d")):
        ids = dict.fromkeys(found for fact in sent if (found := getattr(fact, name, None)))
        labels |= {each: letter if letter in "sp" else f"{letter}{number}" for number, each in enumerate(ids)}
    return labels


def _labelled(fact: Fact, labels: dict[str, str]) -> Fact:
    names = ("session_id", "payment_id", "refund_id", "dispute_id")
    ids: Any = {name: labels[found] for name in names if (found := getattr(fact, name, None))}
    return dataclasses.replace(fact, **ids)


def _expected(stand_ins: StandIns, checkout: str, labels: dict[str, str]) -> State:
    """The state that the ledger says, without disputes and alerts."""
    standing = stand_ins.get_state(checkout)
    statuses = {"open": "pending", "processing": "processing" if standing.provider == "stripe" else "pending"}
    status = statuses.get(standing.status, standing.status)
    if standing.refunded == standing.amount:
        status = "refunded"
    words = {"processed": "succeeded"}
    table = stand_ins.store.table(f"{standing.provider}.refunds")
    refunds = [
        (labels[key], row["amount"], words.get(row["status"], row["status"]), True) for key, row in table.items()
    ]
    return (
        status,
        bool(standing.paid),
        standing.refunded,
        standing.dispute in ("open", "lost"),
        standing.dispute == "inquiry",
        entitled(standing),
        tuple(sorted(refunds)),
    )
