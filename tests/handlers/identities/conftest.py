"""What tests of logins at identity providers share: the app over a database of its own, and the stand-in issuers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

import app
from devtools.stand_ins.issuers import Issuers, running_issuer
from settings import Settings
from testing.containers import running_container
from testing.databases import own_database
from testing.email_outbox import Outbox
from testing.identities import IdentityDeployment, with_issuers

#: Of SECOND_FACTOR_KEYS, which seals grants.
KEY = "3c" * 32


@pytest.fixture(scope="package")
def issuers() -> Iterator[Issuers]:
    with running_issuer() as served:
        yield served


@pytest.fixture(autouse=True)
def no_faults_left(issuers: Issuers) -> Iterator[None]:
    yield
    issuers.faults.clear()


@pytest.fixture(scope="package")
async def deployment(settings: Settings, issuers: Issuers) -> AsyncIterator[IdentityDeployment]:
    outbox = Outbox()
    with own_database(settings) as own:
        changed = with_issuers(own, issuers).model_copy(update={"second_factor_keys": SecretStr(KEY)})
        async with running_container(changed, mailer=outbox) as services:
            yield IdentityDeployment(app.create(services), services, outbox, issuers)
