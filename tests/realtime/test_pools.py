"""Pools of learners: partners and courses meet among themselves, and what a platform does not offer is refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from container import Container
from settings import Settings
from testing.calls import MakePhone, ack_code, event_names
from testing.databases import execute, query
from testing.invitations import make_partners
from testing.servers import Learner, Phone, Server, dial, http_client, register, start_servers

MakeAt = Callable[..., Awaitable[Phone]]
ANYONE: dict[str, Any] = {}


async def make_course(container: Container, *learners: Learner) -> str:
    """Make a course in which some learners are enrolled."""
    course = uuid.uuid4()
    add = """
        INSERT INTO courses (id, title, slug, description, price, currency, level)
        VALUES (:id, 'A course', :slug, 'Of a test', 0, 'usd', 'beginner')"""
    await query(container, add, id=course, slug=course.hex)
    for learner in learners:
        enroll = "INSERT INTO enrollments (id, user_id, course_id) VALUES (:id, :u, :c)"
        await query(container, enroll, id=uuid.uuid4(), u=uuid.UUID(learner.id), c=course)
    return f"course:{course}"


async def find(phone: Phone, **search: Any) -> str:
    return ack_code(await phone.send("find_partner", search))


async def test_partners_pool_finds_partners_alone(make_phone: MakePhone, container: Container) -> None:
    ada, ben, eve = [await make_phone() for _ in range(3)]
    await make_partners(container, ada.learner, ben.learner)
    for phone in (eve, ada):
        assert await find(phone, among="partners") == "ok"
        await phone.wait_for("searching")
    assert await find(ben, among="partners") == "ok"
    assert (await ben.wait_for("match_found"))["partner"]["userId"] == ada.learner.id
    assert "match_found" not in event_names(eve)


async def test_partner_who_searches_among_anyone_is_found(make_phone: MakePhone, container: Container) -> None:
    ada, ben = await make_phone(), await make_phone()
    await make_partners(container, ada.learner, ben.learner)
    assert await find(ada, level="advanced") == "ok"
    await ada.wait_for("searching")
    assert await find(ben, among="partners", level="advanced") == "ok"
    assert (await ada.wait_for("match_found"))["partner"]["userId"] == ben.learner.id


async def test_course_pool_needs_an_enrollment(make_phone: MakePhone, container: Container) -> None:
    ada, ben, eve = [await make_phone() for _ in range(3)]
    course = await make_course(container, ada.learner, ben.learner)
    assert await find(eve, among=course) == "not_enrolled"
    assert await find(eve, among=f"course:{uuid.uuid4()}") == "not_enrolled"
    assert await find(eve) == "ok"
    assert await find(ada, among=course) == "ok"
    await ada.wait_for("searching")
    assert await find(ben, among=course) == "ok"
    assert (await ben.wait_for("match_found"))["partner"]["userId"] == ada.learner.id
    assert "match_found" not in event_names(eve)


# --- Platforms, and a restart that closes a pool ------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two servers over one queue, of which the second has closed the pool of strangers on iOS."""
    closed = {**environment, "PAIRING": "ios=partners,course;*=anyone,partners,course"}
    with start_servers([environment, closed], tmp_path_factory.mktemp("pairing")) as running:
        yield running


@pytest.fixture
async def make_at(servers: list[Server], settings: Settings) -> AsyncIterator[MakeAt]:
    phones: list[Phone] = []

    async def make(at: int, platform: str) -> Phone:
        learner = await register(http_client(servers[at].url))
        set_platform = "UPDATE refresh_tokens SET platform = %s, device_id = %s WHERE user_id = %s"
        execute(settings, set_platform, platform, uuid.uuid4().hex, learner.id)
        phones.append(await dial(servers[at].url, learner))
        return phones[-1]

    yield make
    for phone in phones:
        if phone.client.connected:
            await phone.client.disconnect()
        await phone.learner.http.aclose()


async def test_closed_pool_is_refused_and_published(make_at: MakeAt, container: Container) -> None:
    phone, browser = await make_at(1, "ios"), await make_at(1, "web")
    assert await find(phone) == "pool_closed"
    assert await find(phone, among="partners") == "ok"
    assert await phone.send("cancel_search") == {"ok": True}
    assert await find(phone, among=await make_course(container, phone.learner)) == "ok"
    assert await find(browser) == "ok"
    policy = (await phone.learner.http.get("/policy")).json()
    assert policy["pairing"]["ios"] == ["partners", "course"]
    assert policy["pairing"]["web"] == policy["waysToMeet"] == ["anyone", "partners", "course"]


@pytest.mark.parametrize("first", [0, 1])
async def test_restart_that_closes_a_pool_pairs_nobody_across(
    make_at: MakeAt, container: Container, first: int
) -> None:
    """A learner on iOS searches at the old server, one in a browser at the new one, in either order."""
    topic = {"topic": str(uuid.uuid4())}
    old, new = await make_at(0, "ios"), await make_at(1, "web")
    for phone in ((old, new), (new, old))[first]:
        assert await find(phone, **topic) == "ok"
        await phone.wait_for("searching")
    keys = [f"{{match}}:searching:{phone.learner.id}" for phone in (old, new)]
    for _ in range(100):
        assert not {"match_found", "search_expired"} & {*event_names(old), *event_names(new)}
        await asyncio.sleep(0.02)
    assert await container.redis.exists(*keys) == 2
    # Those whom the new policy lets meet do.
    other = await make_at(1, "android")
    assert await find(other, **topic) == "ok"
    assert (await other.wait_for("match_found"))["partner"]["userId"] == new.learner.id
