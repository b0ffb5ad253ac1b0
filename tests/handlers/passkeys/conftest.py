"""What tests of passkeys share: an app that requires second factors of staff, its emails kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

import app
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database
from testing.email_outbox import Outbox
from testing.logins import Deployment, Visit
from testing.servers import Learner, register

MakeUser = Callable[[], Awaitable[Learner]]


@pytest.fixture(scope="package")
async def deployment(settings: Settings) -> AsyncIterator[Deployment]:
    outbox = Outbox()
    with own_database(settings) as own:
        changed = own.model_copy(update={"staff_second_factor": "on", "second_factor_keys": SecretStr("5a" * 32)})
        async with running_container(changed, mailer=outbox) as services:
            yield Deployment(app.create(services), services, outbox)


@pytest.fixture
def make_user(visit: Visit) -> MakeUser:
    """Make learners, each on a client of its own."""

    async def make() -> Learner:
        return await register(visit(), ready=False)

    return make
