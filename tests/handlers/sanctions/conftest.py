"""What tests of sanctions share: the app over a database of its own, its emails kept, learners and administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import app
from settings import Settings
from testing.accounts import make_admin
from testing.containers import running_container
from testing.databases import own_database
from testing.email_outbox import Outbox
from testing.logins import Deployment, Visit
from testing.sanctions import MakeMember
from testing.servers import Learner, register


@pytest.fixture(scope="package")
async def deployment(settings: Settings) -> AsyncIterator[Deployment]:
    outbox = Outbox()
    with own_database(settings) as own:
        async with running_container(own, mailer=outbox) as services:
            yield Deployment(app.create(services), services, outbox)


@pytest.fixture
def member(visit: Visit) -> MakeMember:
    """Make learners of this deployment."""

    async def make() -> Learner:
        return await register(visit())

    return make


@pytest.fixture
async def admin(deployment: Deployment, visit: Visit) -> Learner:
    return await make_admin(deployment.services, visit())


@pytest.fixture
async def colleague(deployment: Deployment, visit: Visit) -> Learner:
    """A second administrator."""
    return await make_admin(deployment.services, visit())
