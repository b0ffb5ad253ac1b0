"""What tests of the account operations share: the app over a database of its own, its emails kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import app
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database
from testing.email_outbox import Outbox
from testing.logins import Deployment


@pytest.fixture(scope="package")
async def deployment(settings: Settings) -> AsyncIterator[Deployment]:
    outbox = Outbox()
    with own_database(settings) as own:
        async with running_container(own, mailer=outbox) as services:
            yield Deployment(app.create(services), services, outbox)
