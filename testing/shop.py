"""A running deployment with payments: a server, a job worker and the providers' stand-ins on one database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from container import Container
from devtools.stand_ins import CheckoutState, StandIns
from devtools.stand_ins import running as stand_ins_running
from devtools.stand_ins.ledger import Provider
from models import Order
from settings import Settings
from testing.accounts import make_admin
from testing.containers import load_settings
from testing.databases import execute, own_database, rows
from testing.payments import PRICE, add_course, is_enrolled
from testing.polling import eventually, wait_until
from testing.servers import Learner, address, http_client, register, start_server, stop_server
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parent.parent
#: Events that an operator subscribes the endpoint to, as in the docs; others are answered with 200.
SUBSCRIBED = (
    "checkout.session.*",
    "refund.*",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "payment_link.*",
    "payment.authorized",
    "payment.dispute.*",
    "payment.failed",
)


def skip_scheduled(settings: Settings, job: str) -> None:
    """Let no job worker of this database run a job by its schedule: its times of twelve hours are taken."""
    execute(
        settings,
        "INSERT INTO procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)"
        " SELECT %s, %s, minute FROM generate_series("
        "   floor(extract(epoch FROM now()) / 60)::bigint * 60 - 3600, extract(epoch FROM now())::bigint + 43200, 60"
        " ) AS minute",
        *(job, job),  # task and periodic id
    )


@contextmanager
def run_job_worker(
    environment: dict[str, str], log: Path, *, ready: str = "job_worker_ready"
) -> Iterator[subprocess.Popen[bytes]]:
    """`parlance worker` in a process of its own, that has logged that it is `ready`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "worker"],
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return ready in log.read_text()

        wait_until(is_ready, log.read_text, within=60)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(limit(15))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Shop:
    """What a test buys in. `container` reads the database; it serves no requests."""

    name: str
    url: str
    environment: dict[str, str]
    stand_ins: StandIns
    container: Container
    #: A browser: it keeps no secret of ours, and follows no redirect to an app's page.
    browser: httpx.AsyncClient

    @property
    def provider(self) -> Provider:
        return self.stand_ins.stripe if self.name == "stripe" else self.stand_ins.razorpay

    @asynccontextmanager
    async def learner(self) -> AsyncIterator[Learner]:
        async with http_client(self.url, headers={"X-Forwarded-For": address()}) as http:
            yield await register(http, ready=False)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Learner]:
        async with http_client(self.url, headers={"X-Forwarded-For": address()}) as http:
            yield await make_admin(self.container, http)

    async def course(self) -> str:
        return await add_course(self.container, price=PRICE)

    async def enroll(self, who: Learner, course: str) -> Order:
        """Enroll, as an app does; answer the order, whose page is the provider's."""
        answer = await who.http.post(f"/courses/{course}/enroll")
        assert answer.status_code == 201 and answer.json()["isEnrolled"] is False, answer.text
        order = await self.order(answer.json()["orderId"])
        assert answer.json()["url"] == order.checkout_url and order.provider == self.name
        return order

    async def order(self, order_id: Any) -> Order:
        async with self.container.database.transaction() as db:
            return await db.get_one(Order, order_id)

    async def press(self, order: Order, button: str) -> httpx.Response:
        """Open the pay page, as a browser does, and press one of its buttons."""
        url = order.checkout_url or ""
        page = await self.browser.get(url)
        assert page.status_code == 200 and "499.00" in page.text, page.text
        return await self.browser.post(url, data={"action": button})

    def standing(self, order: Order) -> CheckoutState:
        return self.stand_ins.get_state(order.provider_session_id or "")

    async def wait_for_order(self, order: Order, status: str, *, enrolled: bool, **more: Any) -> Order:
        """Wait until an order is so, and hold it against the provider's ledger."""

        async def check() -> Order | None:
            found = await self.order(order.id)
            fits = found.status == status and all(getattr(found, name) == value for name, value in more.items())
            return found if fits and await is_enrolled(self.container, found) is enrolled else None

        found: Order = await eventually(check, within=15, what=f"{status} {more}, now {await self.order(order.id)}")
        assert agrees(found, self.standing(found)), self.standing(found)
        return found

    async def wait_for_webhooks(self) -> None:
        """Wait until every webhook is acknowledged and handled."""
        await eventually(lambda: not self.stand_ins.webhooks.deliveries(state="pending"), within=15, what="delivered")
        waiting = "SELECT id FROM webhook_events WHERE handled_at IS NULL"

        async def idle() -> bool:
            return not await rows(self.container, waiting)

        await eventually(idle, within=15, what="no unhandled webhook events")

    async def list_sessions(self, order: Order) -> list[CheckoutState]:
        """The provider's checkouts of an order."""
        return [each for each in self.stand_ins.ledger() if each.reference == str(order.id)]


def agrees(order: Order, standing: CheckoutState) -> bool:
    """Whether an order agrees with its provider; Razorpay keeps a link open while a bank processes the payment."""
    expected = {
        "open": "pending",
        "processing": "processing" if standing.provider == "stripe" else "pending",
        "cancelled": "expired",
        "paid": "refunded" if standing.refunded == standing.amount else "paid",
    }.get(standing.status, standing.status)
    return (order.status, order.amount_refunded, order.disputed, order.inquiry, order.provider_payment_id) == (
        expected,
        standing.refunded,
        standing.dispute in ("open", "lost"),
        standing.dispute == "inquiry",
        standing.payment if standing.paid else None,
    )


@asynccontextmanager
async def run_shop(
    environment: dict[str, str], settings: Settings, directory: Path, name: str, port: int | None = None
) -> AsyncIterator[Shop]:
    """Open a shop that sells through one provider; PAYMENT_PROVIDER is all that differs."""
    with own_database(settings) as own, stand_ins_running() as stand_ins:
        stand_ins.webhooks.configure(enabled=SUBSCRIBED, backoff_cap=0.5, attempts=200)
        variables = {
            **environment,
            **stand_ins.environment,
            "DB_NAME": own.db_name,
            "PAYMENT_PROVIDER": name,
        }
        # Reconciliation would repair what a test has just broken, in one minute of ten.
        skip_scheduled(own, "payments.reconcile")
        with run_job_worker(variables, directory / "worker.log"):
            server = start_server(variables, directory / "server.log", workers=1, port=port)
            container = Container(load_settings(variables))
            try:
                async with http_client() as browser, container.jobs.app.open_async():
                    stand_ins.webhooks.url = f"{server.url}/payments/webhook"
                    yield Shop(name, server.url, variables, stand_ins, container, browser)
            finally:
                stand_ins.webhooks.url = None
                await container.close()
                stop_server(server)
