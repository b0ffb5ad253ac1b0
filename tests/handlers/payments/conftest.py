"""What tests of payments share: the app over a database of its own, with fake providers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import app
from container import Container
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.payments import FakeProvider, selling_container
from testing.servers import Learner


@pytest.fixture(scope="package")
async def services(settings: Settings) -> AsyncIterator[Container]:
    async with selling_container(settings) as services:
        yield services


@pytest.fixture
def provider(services: Container) -> Any:
    """The fake of Stripe, without failures."""
    stripe = services._providers["stripe"]
    assert isinstance(stripe, FakeProvider)
    stripe.failure, stripe.loses_answers, stripe.delay_seconds, stripe.refund_calls = None, False, 0, 0
    stripe.purchases.clear()
    return stripe


@pytest.fixture(scope="package")
def asgi(services: Container) -> Any:
    return app.create(services)


@pytest.fixture
async def ada(make_learner: MakeLearner, provider: FakeProvider) -> Learner:
    return await make_learner(ready=False)


@pytest.fixture
async def admin(services: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(services, (await make_learner(ready=False)).http)
