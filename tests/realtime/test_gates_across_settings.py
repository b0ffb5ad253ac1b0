"""Gates of servers with different settings over one queue, as in a rolling restart, and over what older ones left."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from container import Container
from settings import Settings
from testing.calls import ack_code, event_names
from testing.containers import load_settings, running_container
from testing.databases import execute
from testing.gates import GATES_ON, pass_gates
from testing.servers import Phone, Server, dial, http_client, register, start_servers

MakeAt = Callable[..., Awaitable[Phone]]


@pytest.fixture(scope="module")
def servers(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two servers, of which the second has newer terms; each has a bus of its own, as on two hosts."""
    directory = tmp_path_factory.mktemp("settings")
    (directory / "policy").mkdir()
    (directory / "policy" / "terms.md").write_text("<!-- version: 3000-01-01 -->\n# New terms\n")
    older = {**environment, **GATES_ON}
    newer = {**older, "POLICY_DIRECTORY": str(directory / "policy")}
    with start_servers([older, newer], directory) as running:
        yield running


@pytest.fixture
async def services(environment: dict[str, str]) -> AsyncIterator[Container]:
    async with running_container(load_settings({**environment, **GATES_ON})) as made:
        yield made


@pytest.fixture
async def make_at(servers: list[Server], settings: Settings) -> AsyncIterator[MakeAt]:
    """Make learners who have what one of the servers asks for, connected to it."""
    phones: list[Phone] = []

    async def make(at: int, **options: Any) -> Phone:
        learner = await register(http_client(servers[at].url), ready=False)
        execute(settings, "UPDATE refresh_tokens SET device_id = %s WHERE user_id = %s", uuid.uuid4().hex, learner.id)
        await pass_gates(settings, learner, **options)
        phones.append(await dial(servers[at].url, learner))
        return phones[-1]

    yield make
    for phone in phones:
        if phone.client.connected:
            await phone.client.disconnect()
        await phone.learner.http.aclose()


async def test_learners_of_different_terms_wait_apart(make_at: MakeAt, services: Container) -> None:
    """Each has accepted what their own server asks for, and not what the other does: one refused match, and no more."""
    topic = {"topic": f"terms {uuid.uuid4()}"}
    old, new = await make_at(0), await make_at(1)
    for phone in (old, new):
        assert ack_code(await phone.send("find_partner", topic)) == "ok"
        await phone.wait_for("searching")

    # That of the first was refused by the second server, and goes on at its own.
    await old.wait_for("searching", count=2)
    keys = [f"{{match}}:searching:{phone.learner.id}" for phone in (old, new)]
    for _ in range(100):
        assert await services.redis.exists(*keys) == 2
        await asyncio.sleep(0.01)
    assert max(event_names(phone).count("searching") for phone in (old, new)) <= 3
    assert not {"match_found", "error"} & {*event_names(old), *event_names(new)}
    partner = await make_at(1)
    assert ack_code(await partner.send("find_partner", topic)) == "ok"
    assert (await partner.wait_for("match_found"))["partner"]["userId"] == new.learner.id
