"""kill -9 of web processes right after they acknowledged a webhook, and of job workers meanwhile: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from container import Container
from devtools.stand_ins import StandIns
from devtools.stand_ins import running as stand_ins_running
from settings import Settings
from testing.admin_rows import add_learner
from testing.containers import load_settings, run_jobs, running_container
from testing.databases import own_database, rows, value
from testing.payments import PRICE, add_course, is_enrolled
from testing.polling import eventually
from testing.servers import http_client
from testing.shop import ROOT, SUBSCRIBED, agrees
from tests.e2e.conftest import let_heartbeats_age

KILLS = 200
ORDERS = 80
SEED = int(os.environ.get("PAYMENT_SEED", "20261123"))


class Lives:
    """Servers and workers that are forked, and killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def begin(self, kind: str) -> list[int]:
        """Begin a life; answer its process id, and its port where it serves."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{kind}\n")
        self._process.stdin.flush()
        line = await asyncio.to_thread(self._process.stdout.readline)
        begun, *numbers = line.split()
        assert begun == kind, line
        return [int(each) for each in numbers]


@contextmanager
def lives(environment: dict[str, str], log: Path) -> Iterator[Lives]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "testing.payment_processes"],
            env={**os.environ, **environment, "LOG_LEVEL": "warning"},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
        try:
            yield Lives(process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
async def deployment(
    settings: Settings, environment: dict[str, str]
) -> AsyncIterator[tuple[Container, StandIns, dict[str, str]]]:
    with own_database(settings) as own, stand_ins_running() as stand_ins:
        stand_ins.webhooks.configure(enabled=SUBSCRIBED)
        variables = {**environment, **stand_ins.environment, "DB_NAME": own.db_name}
        async with running_container(load_settings(variables)) as container:
            yield container, stand_ins, variables


async def test_two_hundred_kills_lose_or_repeat_no_webhook(
    deployment: tuple[Container, StandIns, dict[str, str]], tmp_path: Path
) -> None:
    container, stand_ins, environment = deployment
    chance = random.Random(SEED)
    print(f"PAYMENT_SEED={SEED}")
    sold = await _sell(container, stand_ins, environment)
    _happen(stand_ins, chance, sold)
    webhooks = stand_ins.webhooks.deliveries()
    chance.shuffle(webhooks)
    # Some once more, as providers do after an answer that was lost on its way.
    webhooks += chance.sample(webhooks, 40)
    assert len(webhooks) >= KILLS, len(webhooks)

    acknowledged: set[str] = set()
    killed = 0
    with lives(environment, tmp_path / "lives.log") as begun:
        stop = asyncio.Event()
        workers = asyncio.create_task(_kill_workers(begun, chance, stop))
        async with http_client() as http:
            next_life = asyncio.create_task(_server(begun, http))
            for webhook in webhooks:
                pid, url = await next_life
                # Another job worker starts meanwhile.
                next_life = asyncio.create_task(_server(begun, http))
                answer = await http.post(
                    f"{url}/payments/webhook",
                    content=webhook["body"].encode(),
                    headers={**stand_ins.webhooks.headers(webhook), "Connection": "close"},
                )
                os.kill(pid, signal.SIGKILL)
                assert answer.status_code == 200, answer.text
                killed += 1
                acknowledged.add(webhook["event"])
            os.kill((await next_life)[0], signal.SIGKILL)
        stop.set()
        worker_kills = await workers
    print(f"{killed} servers and {worker_kills} workers killed")
    assert killed >= KILLS and worker_kills >= 10

    # What the killed workers held is taken up again, as every minute in production.
    let_heartbeats_age(container.settings)
    await container.jobs.retry_stalled()
    await run_jobs(container)
    await run_jobs(container)

    sent = {each["event"] for each in webhooks}
    kept = await rows(container, "SELECT event_id, handled_at FROM webhook_events")
    ids = [each.event_id.partition(":")[0] for each in kept]
    assert acknowledged == sent and sorted(ids) == sorted(sent), "each once"
    assert all(each.handled_at for each in kept), "each acted upon"
    orders = await rows(container, "SELECT id FROM orders")
    assert len(orders) == ORDERS
    for row in orders:
        async with container.database.transaction() as session:
            order = await session.get_one(type(sold[0]), row.id)
        standing = stand_ins.get_state(order.provider_session_id or "")
        assert agrees(order, standing), (order, standing)
        entitled = bool(standing.paid) and standing.refunded < PRICE and standing.dispute != "lost"
        assert await is_enrolled(container, order) is entitled, order
    refunds = await rows(container, "SELECT provider_refund_id FROM refunds")
    given = [*stand_ins.store.table("stripe.refunds"), *stand_ins.store.table("razorpay.refunds")]
    assert sorted(each.provider_refund_id for each in refunds) == sorted(given)
    assert (
        await value(container, "SELECT count(*) FROM procrastinate_jobs WHERE task_name LIKE 'payments.handle%'") == 0
    )


async def _sell(container: Container, stand_ins: StandIns, environment: dict[str, str]) -> list[Any]:
    """Half of the orders by either provider."""
    course = await add_course(container, price=PRICE)
    other = Container(load_settings({**environment, "PAYMENT_PROVIDER": "razorpay"}))
    try:
        return [
            await shop.checkout.start(await add_learner(container), course)
            for shop in (container, other)
            for _ in range(ORDERS // 2)
        ]
    finally:
        await other.close()


def _happen(stand_ins: StandIns, chance: random.Random, sold: list[Any]) -> None:
    for order in sold:
        session = order.provider_session_id
        provider = stand_ins.find_provider(session)
        if chance.random() < 0.2:
            provider.expire(session)
            continue
        provider.pay(session)
        if chance.random() < 0.7:
            provider.refund(session, chance.choice([None, 10000]))
        if chance.random() < 0.3:
            with suppress(Exception):
                provider.dispute(session)
                provider.resolve_dispute(session, won=chance.random() < 0.5)


async def _server(begun: Lives, http: httpx.AsyncClient) -> tuple[int, str]:
    async with _ONE_AT_A_TIME:
        pid, port = await begun.begin("serve")
    url = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        with suppress(httpx.HTTPError):
            return (await http.get(f"{url}/health", headers={"Connection": "close"})).status_code == 200
        return False

    await eventually(answers, within=30, what="a server that answers")
    return pid, url


async def _kill_workers(begun: Lives, chance: random.Random, stop: asyncio.Event) -> int:
    """Have workers work, each for a moment; answer how many were killed."""
    kills = 0
    while not stop.is_set():
        async with _ONE_AT_A_TIME:
            (pid,) = await begun.begin("work")
        # Long enough to begin with some jobs, as a rule not to end with all.
        await asyncio.sleep(chance.uniform(0.3, 2.5))
        os.kill(pid, signal.SIGKILL)
        kills += 1
    return kills


#: Processes report their start in the order in which they were asked for.
_ONE_AT_A_TIME = asyncio.Lock()
