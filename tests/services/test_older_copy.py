"""A Redis that has an older copy of its data, as a promoted replica has: what it knows too much and too little."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlmodel import col, select

import errors
from container import Container
from models import EndedBy, Profile
from services.calls.call_history import CallHistoryService
from services.calls.outcomes import Match, PeerReconnecting, SearchExpired, Searching
from services.calls.recovery import DataLost
from services.calls.room_state import CallState
from testing.calls import LocalBus, backdate_call, call_row, is_away, make_due
from testing.containers import load_settings
from testing.redis_copies import RedisCopy
from testing.signaling_stack import SignalingStack, answer, offer


class OwnHistory(CallHistoryService):
    """Call history in which only the calls of one test are open."""

    async def start(self, session_id: str, room_id: str, *arguments: Any) -> bool:
        self.room_ids.add(room_id)
        return await super().start(session_id, room_id, *arguments)

    room_ids: set[str]

    async def list_open_calls(self) -> list[CallState]:
        return [call for call in await super().list_open_calls() if call.room_id in self.room_ids]


class Link(LocalBus):
    """The bus of one of several web processes."""

    def __init__(self, process_id: str, others: dict[str, Link]) -> None:
        super().__init__(process_id)
        self._others = others
        #: Kinds of messages that are lost.
        self.lost: set[str] = set()
        others[process_id] = self

    async def send(self, socket_id: str, kind: str, *arguments: Any) -> None:
        process_id = socket_id.partition(".")[0]
        if process_id not in self._others or kind in self.lost:
            raise errors.Unavailable()
        await self._others[process_id]._handlers[kind](socket_id, *arguments)

    def post(self, socket_id: str, kind: str, *arguments: Any) -> None:
        process_id = socket_id.partition(".")[0]
        if process_id not in self._others:
            raise errors.Unavailable()
        self._others[process_id]._handlers[kind](socket_id, *orjson.loads(orjson.dumps(arguments)))


class Deployment:
    """Web processes without sockets, over a Redis of their own."""

    def __init__(self, container: Container, port: int) -> None:
        self.container = container
        self.port = port
        self.history = OwnHistory(container.database, container.gates)
        self.history.room_ids = set()
        self.links: dict[str, Link] = {}
        self.processes: dict[str, SignalingStack] = {}

    async def start(self, process_id: str) -> None:
        link = Link(process_id, self.links)
        self.processes[process_id] = SignalingStack(self.container, bus=link, history=self.history)
        await self.container.redis.set(f"worker:{{match}}:{process_id}", 1)

    async def kill(self, process_id: str) -> None:
        del self.links[process_id], self.processes[process_id]
        await self.container.redis.delete(f"worker:{{match}}:{process_id}")

    def process(self, socket_id: str) -> SignalingStack:
        return self.processes[socket_id.partition(".")[0]]

    async def search(self, user_id: str, socket_id: str) -> Any:
        matchmaking = self.process(socket_id).matchmaking
        matchmaking.connect(socket_id)
        return await matchmaking.find_partner(user_id, socket_id, level="all", topic=user_id[:0])

    async def match(self, one: str, other: str, sockets: tuple[str, str]) -> str:
        assert isinstance(await self.search(one, sockets[0]), Searching)
        found = await self.search(other, sockets[1])
        assert isinstance(found, Match)
        return found.room_id

    async def join(self, user_id: str, socket_id: str, room_id: str) -> None:
        await self.process(socket_id).signaling.join_room(user_id, socket_id, room_id)

    async def call(self, one: str, other: str, sockets: tuple[str, str]) -> str:
        room_id = await self.match(one, other, sockets)
        for user_id, socket_id in zip((one, other), sockets, strict=True):
            await self.join(user_id, socket_id, room_id)
        return room_id

    async def restore(self, copy: RedisCopy, *, last_known: timedelta | None = None) -> list[Any]:
        """Let Redis have the copy, and every process restore what it has; return the outcomes."""
        await copy.restore()
        outcomes: list[Any] = []
        for process_id in self.processes:
            await self.container.redis.set(f"worker:{{match}}:{process_id}", 1)
        for part in ("begin", "finish"):
            for process in self.processes.values():
                outcomes += [each async for each in getattr(process.reconciliation, part)(last_known)]
        return outcomes + await self.check()

    async def check(self) -> list[Any]:
        """Let every process check its rooms and searches for a few seconds."""
        rounds = [process for _ in range(4) for process in self.processes.values()]
        return [outcome for process in rounds async for outcome in process.recovery.check_rooms()]

    def check_both_ways(self, room_id: str, sockets: tuple[str, str]) -> None:
        caller, receiver = self.process(sockets[0]), self.process(sockets[1])
        offer(caller, sockets[0], room_id)
        assert receiver.emitted[-1][:2] == (sockets[1], "webrtc_offer")
        answer(receiver, sockets[1], room_id)
        assert caller.emitted[-1][:2] == (sockets[0], "webrtc_answer")


@pytest.fixture
async def deployment(environment: dict[str, str], own_valkey: dict[str, str]) -> AsyncIterator[Deployment]:
    container = Container(load_settings({**environment, **own_valkey}))
    await container.redis.flushall()
    deployed = Deployment(container, int(own_valkey["REDIS_PORT"]))
    for process_id in ("one", "two"):
        await deployed.start(process_id)
    yield deployed
    await container.redis.flushall()
    await container.close()


@pytest.fixture
async def users(make_learner: Callable[..., Awaitable[Any]]) -> list[str]:
    return [(await make_learner()).id for _ in range(3)]


SOCKETS = "one.ada", "two.bob"


async def count_calls(container: Container, *user_ids: str) -> list[tuple[int, int]]:
    async with container.database.transaction() as db:
        counted = select(Profile.total_sessions, Profile.total_practice_mins).where(col(Profile.user_id).in_(user_ids))
        return [(row[0], row[1]) for row in (await db.exec(counted)).all()]


async def test_ended_call_of_the_copy_is_neither_opened_nor_counted(deployment: Deployment, users: list[str]) -> None:
    ada, bob, carol = users
    room_id = await deployment.call(ada, bob, SOCKETS)
    await backdate_call(deployment.container, {"roomId": room_id}, 120)
    copy = await RedisCopy.take(deployment.port)
    await deployment.processes["one"].signaling.end_call(ada, SOCKETS[0], room_id)
    ended = await call_row(deployment.container, room_id)
    counted = await count_calls(deployment.container, ada, bob)
    assert counted == [(1, 2), (1, 2)]
    await deployment.restore(copy)
    assert await call_row(deployment.container, room_id) == ended
    assert await deployment.container.redis.zrange("{match}:due", 0, -1) == []
    assert await deployment.container.redis.keys("{match}:in_room:*") == []
    next_room = await deployment.call(carol, ada, ("two.carol", SOCKETS[0]))
    await deployment.check()
    deployment.check_both_ways(next_room, ("two.carol", SOCKETS[0]))
    assert await count_calls(deployment.container, ada, bob) == counted


@pytest.mark.parametrize("known", ["nothing", "search", "match", "one joined", "call before"])
async def test_call_made_since_the_copy_goes_on(deployment: Deployment, users: list[str], known: str) -> None:
    ada, bob, _ = users
    copy = await RedisCopy.take(deployment.port)
    if known == "call before":
        before = await deployment.call(ada, bob, SOCKETS)
        copy = await RedisCopy.take(deployment.port)
        await deployment.processes["two"].signaling.end_call(bob, SOCKETS[1], before)
    await deployment.search(ada, SOCKETS[0])
    if known == "search":
        copy = await RedisCopy.take(deployment.port)
    found = await deployment.search(bob, SOCKETS[1])
    room_id = found.room_id
    if known == "match":
        copy = await RedisCopy.take(deployment.port)
    await deployment.join(ada, SOCKETS[0], room_id)
    if known == "one joined":
        copy = await RedisCopy.take(deployment.port)
    await deployment.join(bob, SOCKETS[1], room_id)
    await deployment.restore(copy)
    deployment.check_both_ways(room_id, SOCKETS)
    redis = deployment.container.redis
    meta: Any = await redis.hgetall(f"{{match}}:room:{room_id}:meta")
    assert (meta[f"socket:{ada}"], meta[f"socket:{bob}"], meta["caller"]) == (*SOCKETS, ada)
    assert await redis.zrange("{match}:due", 0, -1) == [f"room:{room_id}"], "a deadline of the copy"
    assert await redis.keys("{match}:searching:*") == [], "a search beside the match it has found"
    made = await call_row(deployment.container, room_id)
    assert made is not None and made.ended_at is None and made.connected_at is not None


async def test_join_since_the_copy_leaves_no_half_open_call(deployment: Deployment, users: list[str]) -> None:
    """The copy has the peer's first socket, which is still connected; the peer has joined with another one since."""
    ada, bob, _ = users
    room_id = await deployment.call(ada, bob, SOCKETS)
    copy = await RedisCopy.take(deployment.port)
    for socket_id in ("one.tablet", "two.laptop"):
        await deployment.join(bob, socket_id, room_id)
    await deployment.restore(copy)
    deployment.check_both_ways(room_id, (SOCKETS[0], "two.laptop"))
    with pytest.raises(errors.RoomClosed):
        answer(deployment.processes["two"], SOCKETS[1], room_id)


async def test_peer_lost_since_the_copy_is_away(deployment: Deployment, users: list[str]) -> None:
    """The copy has the socket of the peer, and the process of it has died since, or died before it was taken."""
    ada, bob, _ = users
    await deployment.start("three")
    sockets = "one.ada", "three.bob"
    room_id = await deployment.call(ada, bob, sockets)
    copy = await RedisCopy.take(deployment.port)
    await deployment.kill("three")
    copy.keys.pop(b"worker:{match}:three")  # a heartbeat lasts for seconds
    await deployment.restore(copy)
    assert await is_away(deployment.container, {"roomId": room_id}, bob)
    assert deployment.processes["one"].moves == [PeerReconnecting(sockets[0], 30)]
    assert offer(deployment.processes["one"], sockets[0], room_id) is None, "it is kept for the peer"


async def test_socket_that_left_since_the_copy_is_away(deployment: Deployment, users: list[str]) -> None:
    ada, bob, carol = users
    room_id = await deployment.call(ada, bob, SOCKETS)
    await deployment.search(carol, "one.carol")
    copy = await RedisCopy.take(deployment.port)
    await deployment.processes["two"].signaling.disconnect(bob, SOCKETS[1])
    await deployment.processes["one"].signaling.disconnect(carol, "one.carol")
    await deployment.restore(copy)
    assert await is_away(deployment.container, {"roomId": room_id}, bob)
    assert not await is_away(deployment.container, {"roomId": room_id}, ada)
    assert await deployment.container.redis.keys("{match}:searching:*") == []


async def test_search_since_the_copy_waits_or_expires(deployment: Deployment, users: list[str]) -> None:
    ada, bob, _ = users
    copy = await RedisCopy.take(deployment.port)
    await deployment.search(ada, SOCKETS[0])
    assert await deployment.restore(copy) == []
    assert await deployment.container.redis.keys("{match}:searching:*") == [f"{{match}}:searching:{ada}"]
    # Also where no process has noticed a loss.
    await copy.restore()
    assert [type(each) for each in await deployment.check()] == [Searching]
    assert await deployment.container.redis.zrange("{match}:queue:18_plus:all", 0, -1) == [ada]
    # Where the user's other device is in a call by now, the search is over, and its client informed.
    await copy.restore()
    for process_id in deployment.processes:
        await deployment.container.redis.set(f"worker:{{match}}:{process_id}", 1)
    await deployment.match(bob, ada, (SOCKETS[1], "two.tablet"))
    assert await deployment.check() == [SearchExpired(SOCKETS[0])]
    with pytest.raises(errors.AlreadyInRoom):
        await deployment.search(ada, SOCKETS[0])


@pytest.mark.parametrize("known", ["nothing", "match", "call"])
async def test_outage_is_not_counted_as_practice(deployment: Deployment, users: list[str], known: str) -> None:
    """A call of two seconds, then 680 without Redis, in which both leave."""
    ada, bob, _ = users
    await deployment.start("three")
    copy = await RedisCopy.take(deployment.port)
    sockets = "three.ada", "three.bob"
    room_id = await deployment.match(ada, bob, sockets)
    if known == "match":
        copy = await RedisCopy.take(deployment.port)
    for user_id, socket_id in zip((ada, bob), sockets, strict=True):
        await deployment.join(user_id, socket_id, room_id)
    await backdate_call(deployment.container, {"roomId": room_id}, 682)
    if known == "call":
        meta = f"{{match}}:room:{room_id}:meta"
        began: Any = await deployment.container.redis.hget(meta, "connected")
        await deployment.container.redis.hset(meta, "connected", int(began) - 682_000)
        copy = await RedisCopy.take(deployment.port)
    await deployment.kill("three")
    copy.keys.pop(b"worker:{match}:three")
    await deployment.restore(copy, last_known=timedelta(seconds=680))
    for user_id in (ada, bob):
        assert await is_away(deployment.container, {"roomId": room_id}, user_id)
        await deployment.container.redis.hset(f"{{match}}:room:{room_id}:meta", f"away:{user_id}", "1")
    await make_due(deployment.container, "grace:")
    async for _ in deployment.processes["one"].recovery.handle_deadlines():
        pass
    ended = await call_row(deployment.container, room_id)
    assert ended is not None and ended.connected_at is not None and ended.ended_at is not None
    assert ended.duration_seconds is not None and 2 <= ended.duration_seconds < 60
    assert await count_calls(deployment.container, ada, bob) in ([(1, 0)] * 2, [(1, 1)] * 2)


async def test_deadlines_of_an_older_copy_are_not_handled(deployment: Deployment, users: list[str]) -> None:
    """In the copy a participant is away whose grace has passed; really they came back."""
    ada, bob, _ = users
    room_id = await deployment.call(ada, bob, SOCKETS)
    recovery = deployment.processes["one"].recovery
    await deployment.processes["two"].signaling.disconnect(bob, SOCKETS[1])
    assert [each async for each in recovery.handle_deadlines()] == []
    copy = await RedisCopy.take(deployment.port)
    await deployment.join(bob, SOCKETS[1], room_id)
    assert [each async for each in recovery.handle_deadlines()] == []
    await copy.restore()
    await deployment.container.redis.hset(f"{{match}}:room:{room_id}:meta", f"away:{bob}", "1")
    await make_due(deployment.container, "grace:")
    with pytest.raises(DataLost):
        [each async for each in recovery.handle_deadlines()]
    await deployment.restore(await RedisCopy.take(deployment.port))
    async for _ in recovery.restore_data():
        pass
    assert [each async for each in recovery.handle_deadlines()] == []
    made = await call_row(deployment.container, room_id)
    assert made is not None and made.ended_at is None
    deployment.check_both_ways(room_id, SOCKETS)


async def test_call_that_a_participant_left_ends_once(deployment: Deployment, users: list[str]) -> None:
    """The copy lacks a call; before the loss is noticed, one participant leaves it and searches again."""
    ada, bob, _ = users
    copy = await RedisCopy.take(deployment.port)
    room_id = await deployment.call(ada, bob, SOCKETS)
    await copy.restore()
    await deployment.processes["two"].signaling.disconnect(bob, SOCKETS[1])
    await deployment.search(bob, "two.again")
    later = await RedisCopy.take(deployment.port)
    outcomes = await deployment.restore(later)
    ended = await call_row(deployment.container, room_id)
    assert ended is not None and ended.ended_by is EndedBy.ERROR
    assert [each.socket_id for each in outcomes] == [SOCKETS[0]]
