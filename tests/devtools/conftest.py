"""Fixtures of the stand-ins' tests: running stand-ins, a receiver of webhooks, the real SDKs."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import razorpay
import stripe

from devtools.stand_ins import StandIns, running
from devtools.stand_ins.receiver import Receiver, run_receiver
from testing.time_limits import limit


@pytest.fixture
def stand_ins() -> Iterator[StandIns]:
    with running() as served:
        yield served


@pytest.fixture
def receiver(stand_ins: StandIns) -> Iterator[Receiver]:
    """An endpoint that the stand-ins send webhooks to."""
    with run_receiver() as hearing:
        stand_ins.webhooks.url = hearing.url
        yield hearing
        stand_ins.webhooks.url = None


@pytest.fixture
def browser(stand_ins: StandIns) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stand_ins.url, trust_env=False, timeout=limit(15)) as client:
        yield client


@pytest.fixture
def stripe_client(stand_ins: StandIns) -> stripe.StripeClient:
    return make_stripe_client(stand_ins)


def make_stripe_client(
    stand_ins: StandIns, *, key: str | None = None, timeout: float = 5, retries: int = 0
) -> stripe.StripeClient:
    """The SDK as the product makes it."""
    environment = stand_ins.environment
    return stripe.StripeClient(
        key or environment["STRIPE_SECRET_KEY"],
        base_addresses={"api": environment["STRIPE_API_URL"]},
        http_client=stripe.HTTPXClient(timeout=timeout),
        max_network_retries=retries,
    )


@pytest.fixture
def razorpay_client(stand_ins: StandIns) -> razorpay.Client:
    return make_razorpay_client(stand_ins)


def make_razorpay_client(stand_ins: StandIns, *, secret: str | None = None) -> razorpay.Client:
    """The SDK as the product makes it."""
    environment = stand_ins.environment
    key = (environment["RAZORPAY_KEY_ID"], secret or environment["RAZORPAY_KEY_SECRET"])
    return razorpay.Client(auth=key, base_url=environment["RAZORPAY_API_URL"])
