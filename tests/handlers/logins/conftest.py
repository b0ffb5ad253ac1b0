"""What tests of logins share: the app over a database of its own, its emails kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import app
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database
from testing.email_outbox import Outbox
from testing.logins import ALLOWED_ORIGINS, Deployment


@pytest.fixture(scope="package")
async def deployment(settings: Settings) -> AsyncIterator[Deployment]:
    outbox = Outbox()
    with own_database(settings) as own:
        changed = own.model_copy(update={"cors_origins": ALLOWED_ORIGINS[1:]})
        async with running_container(changed, mailer=outbox) as services:
            yield Deployment(app.create(services), services, outbox)
