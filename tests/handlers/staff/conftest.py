"""What tests of staff share: an app that requires second factors, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

import app
from models import Role
from settings import Settings
from testing.authenticators import Staff, enroll, make_staff
from testing.containers import running_container
from testing.databases import own_database
from testing.email_outbox import Outbox
from testing.logins import Deployment, Visit
from testing.payments import fake_providers, with_payment_accounts

MakeStaff = Callable[..., Awaitable[Staff]]
#: Of SECOND_FACTOR_KEYS.
KEY = "5a" * 32


@pytest.fixture(scope="package")
async def deployment(settings: Settings) -> AsyncIterator[Deployment]:
    outbox = Outbox()
    with own_database(settings) as own:
        changed = own.model_copy(update={"staff_second_factor": "on", "second_factor_keys": SecretStr(KEY)})
        providers = fake_providers(with_payment_accounts(changed))
        async with running_container(changed, mailer=outbox, payment_providers=providers) as services:
            yield Deployment(app.create(services), services, outbox)


@pytest.fixture
def make_enrolled(deployment: Deployment, visit: Visit) -> MakeStaff:
    """Make accounts of staff with a second factor, each logged in."""

    async def make(role: Role = Role.ADMIN) -> Staff:
        http = visit()
        return await enroll(deployment.services, http, *await make_staff(deployment.services, http, role))

    return make
