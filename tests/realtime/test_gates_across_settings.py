"""Gates of servers with different settings over one queue, as in a rolling restart, and over what older ones left."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest

import errors
from container import Container
from contract import problems
from models import AgeBand
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Match, PartnerCancelled, Searching, SearchRefused
from services.calls.pairing_checks import PairingChecks
from services.calls.rooms import Rooms
from services.safety.gates import Gates
from settings import Settings
from testing.calls import LocalBus, ack_code, empty_queue, event_names
from testing.containers import load_settings, running_container
from testing.databases import execute, query, value
from testing.gates import GATES_ON, pass_gates
from testing.ports import free_port
from testing.servers import Learner, Phone, Server, dial, http_client, register, start_servers

MakeLearner = Callable[..., Awaitable[Learner]]
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


# --- Web processes in this one, each with settings of its own ------------------------------------------------


class HostBus(LocalBus):
    """The bus of one process, which reaches the sockets of the others."""

    def __init__(self, hosts: dict[str, HostBus], process_id: str) -> None:
        super().__init__(process_id)
        self._hosts = hosts
        hosts[process_id] = self

    async def send(self, socket_id: str, kind: str, *arguments: Any) -> None:
        await LocalBus.send(self._hosts[socket_id.partition(".")[0]], socket_id, kind, *arguments)


class Hosts:
    """Web processes that share Redis and PostgreSQL, and learners on them."""

    def __init__(self, container: Container, make_learner: MakeLearner) -> None:
        self._container = container
        self._make_learner = make_learner
        self._buses: dict[str, HostBus] = {}

    async def start(self, database: Any = None, **own: Any) -> MatchmakingService:
        """Start a process with all gates, or as `own` says, and with a `database` of its own."""
        bus = HostBus(self._buses, f"host{uuid.uuid4().hex[:8]}")
        await self._container.redis.set(f"worker:{{match}}:{bus.process_id}", "1", ex=600)
        every = {name.lower(): text for name, text in GATES_ON.items() if name != "MINIMUM_AGE"}
        settings = self._container.settings.model_copy(update={**every, "minimum_age": 13, **own})
        policies, rooms = self._container.policies.values(), Rooms(self._container.scripts)
        gates = Gates(settings, {each.name: each.version for each in policies})
        database = database or self._container.database
        history = CallHistoryService(database, gates)
        records, texts = CallRecords(rooms, history), self._container.text_filter
        made = MatchmakingService(bus, database, rooms, history, records, gates, texts)
        PairingChecks(bus, rooms, records, history, made)
        return made

    async def find(self, at: MatchmakingService, band: AgeBand | None, user_id: str = "") -> Any:
        """Search at a process, as a new learner of a band who has what the gates ask for."""
        user_id = user_id or await self.admit(band)
        socket = f"{at._bus.process_id}.{user_id}"
        at.connect(socket)
        return await at.find_partner(user_id, socket, level="all", topic=None)

    async def admit(self, band: AgeBand | None) -> str:
        learner = await self._make_learner()
        await set_band(self._container, learner.id, band)
        for each in self._container.policies.values():
            await self._container.consents.give(learner.id, each.name, each.version)
        return learner.id

    async def list_waiting(self, pool: str) -> list[str]:
        return [str(each) for each in await self._container.redis.zrange(f"{{match}}:queue:{pool}:all", 0, -1)]


async def set_band(container: Container, user_id: str, band: AgeBand | None) -> None:
    """Set the band of an account with a verified address, without the job of a declaration."""
    age = f"'{band}', 'declared', now()" if band else "NULL, NULL, NULL"
    columns = "(age_band, age_source, age_declared_at)"
    await query(container, f"UPDATE users SET is_verified = true, {columns} = ({age}) WHERE id = :id", id=user_id)


@pytest.fixture
async def hosts(container: Container, make_learner: MakeLearner) -> Hosts:
    await empty_queue(container)
    return Hosts(container, make_learner)


async def test_switched_off_pools_pair_no_minors(hosts: Hosts) -> None:
    """During a restart that switches them off, and with what the queue has from before; and on again."""
    on, off = await hosts.start(), await hosts.start(minor_pools="off")
    waiting = await hosts.admit(AgeBand.FROM_16)
    assert isinstance(await hosts.find(on, None, waiting), Searching)
    with pytest.raises(errors.TooYoung):
        await hosts.find(off, AgeBand.FROM_16)
    for at in (on, off):
        adult = await hosts.find(at, AgeBand.ADULT)
        assert isinstance(adult, Searching | Match)
        assert not isinstance(adult, Match) or waiting not in (adult.waiting.user_id, adult.seeker.user_id)
    assert await hosts.list_waiting("16_17") == [waiting]
    found = await hosts.find(on, AgeBand.FROM_16)
    assert isinstance(found, Match) and found.waiting.user_id == waiting


async def test_raised_minimum_age_pairs_no_younger(hosts: Hosts, container: Container) -> None:
    """Who is too young by then waits on at a process of before, and is found by nobody at one of after."""
    before, after = await hosts.start(), await hosts.start(minimum_age=16)
    waiting = await hosts.admit(AgeBand.FROM_13)
    assert isinstance(await hosts.find(before, None, waiting), Searching)
    with pytest.raises(errors.TooYoung):
        await hosts.find(after, AgeBand.FROM_13)
    assert isinstance(await hosts.find(after, AgeBand.FROM_16), Searching)
    calls = "SELECT count(*) FROM call_sessions WHERE :u IN (user_a_id, user_b_id)"
    assert await value(container, calls, u=uuid.UUID(waiting)) == 0


async def test_search_without_age_is_not_found_where_the_gate_is_on(hosts: Hosts) -> None:
    strict, lax = await hosts.start(), await hosts.start(age_gate="off")
    assert isinstance(await hosts.find(lax, None), Searching)
    assert isinstance(await hosts.find(strict, AgeBand.ADULT), Searching)
    found = await hosts.find(strict, AgeBand.ADULT)
    assert isinstance(found, Match), "the two with an age meet"


@pytest.mark.parametrize("loss", ["band", "consent", "address"])
async def test_lost_search_is_restored_by_the_new_standing(hosts: Hosts, container: Container, loss: str) -> None:
    """Redis loses all while a learner of 17 waits, whose right to be there has changed meanwhile."""
    at = await hosts.start()
    waiting = await hosts.admit(AgeBand.FROM_16)
    assert isinstance(await hosts.find(at, None, waiting), Searching)
    await empty_queue(container)
    if loss == "band":
        await set_band(container, waiting, AgeBand.ADULT)
    elif loss == "consent":
        await container.consents.withdraw(waiting, "terms")
    else:
        await query(container, "UPDATE users SET is_verified = false WHERE id = :id", id=waiting)
    peer, adult = await hosts.admit(AgeBand.FROM_16), await hosts.admit(AgeBand.ADULT)
    for each in (peer, adult):
        assert isinstance(await hosts.find(at, None, each), Searching)
    restored = [outcome async for outcome in at.restore_searches() if waiting in repr(outcome)]
    if loss == "band":
        assert [{each.waiting.user_id, each.seeker.user_id} for each in restored if isinstance(each, Match)] == [
            {waiting, adult}
        ]
    else:
        code = {"consent": "terms_required", "address": "email_unverified"}[loss]
        assert [each.error.code for each in restored if isinstance(each, SearchRefused)] == [code]
    assert peer in await hosts.list_waiting("16_17")


async def test_search_continues_in_its_band_after_an_older_release(hosts: Hosts, container: Container) -> None:
    """The room is of a process that knows no bands: its queue entries have none."""
    at = await hosts.start()
    one, other = await hosts.admit(AgeBand.FROM_16), await hosts.admit(AgeBand.FROM_16)
    assert isinstance(await hosts.find(at, None, one), Searching)
    found = await hosts.find(at, None, other)
    assert isinstance(found, Match)
    for each in (one, other):
        key = f"{{match}}:in_room:{each}"
        room, _, entry = str(await container.redis.get(key)).partition("\n")
        older = {name: field for name, field in orjson.loads(entry).items() if name != "pool"}
        await container.redis.set(key, f"{room}\n{orjson.dumps(older).decode()}", keepttl=True)
    cancelled = await at.cancel_search(one, found.waiting.socket_id)
    assert isinstance(cancelled, PartnerCancelled) and isinstance(cancelled.then, Searching)
    assert await hosts.list_waiting("16_17") == [other]
    assert await hosts.list_waiting("18_plus") == []


async def test_find_without_postgresql_is_unavailable(hosts: Hosts, container: Container) -> None:
    """Nobody is let through whose age, consents and address cannot be read."""
    nowhere = Container(container.settings.model_copy(update={"db_port": free_port()}))
    at = await hosts.start(nowhere.database)
    user_id = await hosts.admit(AgeBand.ADULT)
    with pytest.raises(Exception) as failure:
        await hosts.find(at, None, user_id)
    assert problems.socket_problem(failure.value)["code"] == "unavailable"
    assert not await container.redis.exists(f"{{match}}:searching:{user_id}")
    assert await hosts.list_waiting("18_plus") == []
    await nowhere.close()
