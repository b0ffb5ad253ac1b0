"""What tests of notifications share: a container over a database of its own, and Firebase's stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from container import Container
from devtools.stand_ins import StandIns, running
from settings import Settings
from testing.containers import load_settings, running_container
from testing.databases import own_database, query
from testing.email_outbox import Outbox


@pytest.fixture(scope="package")
def stand_ins() -> Iterator[StandIns]:
    with running() as found:
        yield found


@pytest.fixture(scope="package")
def variables(environment: dict[str, str], settings: Settings, stand_ins: StandIns) -> Iterator[dict[str, str]]:
    """The variables of a deployment with a database of its own, and the stand-in of Firebase."""
    with own_database(settings) as own:
        yield {**environment, **stand_ins.fcm.environment, "DB_NAME": own.db_name}


@pytest.fixture
async def services(variables: dict[str, str], stand_ins: StandIns) -> AsyncIterator[Container]:
    async with running_container(load_settings(variables), mailer=Outbox()) as made:
        await query(made, "DELETE FROM procrastinate_jobs")
        yield made
    stand_ins.faults.clear()
