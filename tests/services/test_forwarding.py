"""Forwarding of signals between two web processes whose bus loses, delays and repeats messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

import errors
from adapters.redis_pipeline import RedisPipeline
from container import Container
from services.calls.outcomes import Match
from services.calls.participants import MAX_RECORDED_SIGNALS
from services.calls.rooms import LUA_DIRECTORY, Rooms
from testing.calls import LocalBus, empty_queue
from testing.polling import eventually
from testing.ports import free_port
from testing.signaling_stack import SignalingStack, candidate


class Network:
    """Two buses, `a` and `b`. Messages wait until they are delivered, or are lost."""

    def __init__(self) -> None:
        self.buses = {name: NetworkBus(name, self) for name in "ab"}
        self.waiting: list[tuple[str, bytes]] = []
        #: Whether a message is refused, as by a process that is known to be dead.
        self.is_refusing = False

    def deliver(self, *, loses: Callable[[int], bool] = lambda index: False) -> int:
        """Deliver what waits, and what follows from it; return how many messages there were."""
        count = 0
        while self.waiting:
            (process, message), *self.waiting = self.waiting
            if not loses(count):
                kind, socket_id, *arguments = orjson.loads(message)
                assert self.buses[process].call(kind, socket_id, *arguments) is None
            count += 1
        return count

    async def settle(self) -> None:
        """Deliver until nothing more is sent in the next iterations of the event loop."""
        quiet = 0
        while quiet < 3:
            quiet = 0 if self.deliver() else quiet + 1
            await asyncio.sleep(0)

    async def deliver_until(self, check: Callable[[], bool]) -> None:
        """Deliver what comes until a condition holds."""

        def holds() -> bool:
            self.deliver()
            return check()

        await eventually(holds)


class NetworkBus(LocalBus):
    def __init__(self, process_id: str, network: Network) -> None:
        super().__init__(process_id)
        self._network = network

    def call(self, kind: str, socket_id: str, *arguments: Any) -> Any:
        return self._handlers[kind](socket_id, *arguments)

    async def send(self, socket_id: str, kind: str, *arguments: Any) -> None:
        unfinished = self._network.buses[socket_id[0]].call(kind, socket_id, *arguments)
        if unfinished is not None:
            await unfinished

    def post(self, socket_id: str, kind: str, *arguments: Any) -> None:
        if self._network.is_refusing:
            raise errors.Unavailable()
        self._network.waiting.append((socket_id[0], orjson.dumps((kind, socket_id, *arguments))))


class Call:
    """A call of two learners on two processes; the first sends."""

    def __init__(self, container: Container, network: Network, matched: tuple[str, str, str], rooms: Rooms) -> None:
        self.network = network
        self.sender_id, self.receiver_id, self.room_id = matched
        self.sending, self.receiving = (
            SignalingStack(container, bus=network.buses[name], rooms=rooms) for name in "ab"
        )
        self.sent: list[int] = []

    async def join(self) -> None:
        await self.sending.signaling.join_room(self.sender_id, "a.one", self.room_id)
        await self.receiving.signaling.join_room(self.receiver_id, "b.other", self.room_id)

    def send(self, count: int = 1) -> None:
        self.sent += [candidate(self.sending, "a.one", self.room_id)[0] for _ in range(count)]

    def received(self, socket: str = "b.other") -> list[int]:
        return [payload["seq"] for to, _, payload in self.receiving.emitted if to == socket]

    @property
    def acks(self) -> dict[int, str]:
        return self.sending.acks

    async def all_are(self, code: str) -> None:
        await eventually(
            lambda: list(self.acks.values()) == [code] * len(self.sent), lambda: f"{len(self.sent)} sent, {self.acks}"
        )


@pytest.fixture
async def matched(container: Container, make_learner: Any) -> AsyncIterator[tuple[str, str, str]]:
    await empty_queue(container)
    one, other = [(await make_learner()).id for _ in range(2)]
    for user_id in (one, other):
        socket_id = f"{container.bus.process_id}.{user_id}"
        container.matchmaking.connect(socket_id)
        outcome = await container.matchmaking.find_partner(user_id, socket_id, level="all", topic=None)
    assert isinstance(outcome, Match)
    yield one, other, outcome.room_id
    await empty_queue(container)


@pytest.fixture
async def network() -> Network:
    return Network()


@pytest.fixture
async def call(container: Container, network: Network, matched: tuple[str, str, str]) -> AsyncIterator[Call]:
    made = Call(container, network, matched, Rooms(container.scripts))
    await made.join()
    yield made
    for stack in (made.sending, made.receiving):
        await stack.signaling.forwarding.stop()


@pytest.fixture
async def unreachable(container: Container) -> AsyncIterator[RedisPipeline]:
    """A connection to a Redis that is not there."""
    pipeline = RedisPipeline(container.settings.model_copy(update={"redis_port": free_port()}), LUA_DIRECTORY)
    yield pipeline
    await pipeline.close()


@pytest.fixture
async def unstored_call(
    container: Container, network: Network, matched: tuple[str, str, str], unreachable: RedisPipeline
) -> AsyncIterator[Call]:
    """A call whose Redis is out of reach when signals are to be stored."""

    class Leaving(Rooms):
        async def store_signals(self, *arguments: Any, **options: Any) -> bool:
            return await Rooms(unreachable).store_signals(*arguments, **options)

    made = Call(container, network, matched, Leaving(container.scripts))
    await made.join()
    yield made
    for stack in (made.sending, made.receiving):
        await stack.signaling.forwarding.stop()


async def stored(container: Container, call: Call) -> list[int]:
    key = f"{{match}}:room:{call.room_id}:signals:{call.sender_id}"
    found: Any = await container.redis.lrange(key, 0, -1)
    return [orjson.loads(each)[0] for each in found]


async def test_ack_waits_for_the_other_process(call: Call, network: Network) -> None:
    call.send(3)
    assert call.acks == {} and call.received() == []
    await network.settle()
    assert call.received() == call.sent and call.acks == dict.fromkeys(call.sent, "ok")


async def test_confirmation_is_one_message_for_many_signals(call: Call, network: Network) -> None:
    call.send(50)
    assert network.deliver() == 50
    await eventually(lambda: network.waiting)
    assert [orjson.loads(message)[0] for _, message in network.waiting] == ["signals_written"]
    await network.settle()
    assert call.acks == dict.fromkeys(call.sent, "ok")


@pytest.mark.parametrize("lost", [0, 2, 4])
async def test_lost_signal_is_sent_again_before_those_after_it(call: Call, network: Network, lost: int) -> None:
    call.send(5)
    network.deliver(loses=lambda index: index == lost)
    assert call.received() == call.sent[:lost], "delivered before one that is missing"
    await network.deliver_until(lambda: call.received() == call.sent)
    await network.settle()
    assert call.received() == call.sent
    await call.all_are("ok")


async def test_gap_is_filled_without_waiting(call: Call, container: Container, network: Network) -> None:
    """The receiver reports what is missing, so nothing has to be stored."""
    call.send(5)
    network.deliver(loses=lambda index: index == 1)
    await network.settle()
    assert call.received() == call.sent and call.acks == dict.fromkeys(call.sent, "ok")
    assert await stored(container, call) == []


async def test_lost_confirmation_delivers_nothing_twice(call: Call, network: Network) -> None:
    call.send(5)
    network.deliver()
    await eventually(lambda: network.waiting)
    network.waiting.clear()
    await network.deliver_until(lambda: len(call.acks) == 5)
    await network.settle()
    assert call.received() == call.sent
    await call.all_are("ok")


async def test_unconfirmed_signals_are_stored_and_acknowledged(
    call: Call, container: Container, network: Network
) -> None:
    call.send(5)
    lost = [*network.waiting]
    network.waiting.clear()
    await call.all_are("ok")
    assert await stored(container, call) == call.sent and call.received() == []
    # They come late, and again: each is delivered once, and is no longer stored.
    network.waiting += lost + lost
    await network.settle()
    assert call.received() == call.sent

    async def is_discarded() -> bool:
        return await stored(container, call) == []

    await eventually(is_discarded)


async def test_signal_that_cannot_be_sent_is_stored_at_once(call: Call, container: Container, network: Network) -> None:
    call.send()
    await network.settle()
    network.is_refusing = True
    call.send(3)
    await call.all_are("ok")
    assert await stored(container, call) == call.sent[1:]
    network.is_refusing = False
    call.send(2)
    await network.deliver_until(lambda: len(call.received()) >= len(call.sent))
    assert call.received() == call.sent


async def test_signals_for_a_partner_who_is_away_are_stored(call: Call, container: Container, network: Network) -> None:
    call.send(2)
    await network.settle()
    await call.receiving.signaling.disconnect(call.receiver_id, "b.other")
    call.send(3)
    await call.all_are("ok")
    assert await stored(container, call) == call.sent[2:]
    await call.receiving.signaling.join_room(call.receiver_id, "b.again", call.room_id, after=call.sent[1])
    await network.settle()
    assert call.received("b.again") == call.sent[2:]


async def test_signals_on_their_way_to_a_lost_connection_are_stored(
    call: Call, container: Container, network: Network
) -> None:
    """The receiving process has no connection any more: it confirms nothing, and the partner gets them on return."""
    call.receiving.gone.add("b.other")
    call.send(3)
    await network.settle()
    assert call.acks == {}
    await call.receiving.signaling.disconnect(call.receiver_id, "b.other")
    await call.all_are("ok")
    assert await stored(container, call) == call.sent
    await call.receiving.signaling.join_room(call.receiver_id, "b.again", call.room_id)
    await network.settle()
    assert call.received("b.again") == call.sent, "without `after`, from the last that was confirmed"


async def test_stored_signals_outlive_the_senders_process(call: Call, container: Container, network: Network) -> None:
    await call.receiving.signaling.disconnect(call.receiver_id, "b.other")
    call.send(3)
    await call.all_are("ok")
    await call.sending.signaling.drop(call.sender_id, call.room_id, "a.")
    again = Call(container, network, (call.sender_id, call.receiver_id, call.room_id), Rooms(container.scripts))
    await again.sending.signaling.join_room(call.sender_id, "a.new", call.room_id)
    await again.receiving.signaling.join_room(call.receiver_id, "b.again", call.room_id, after=0)
    await network.settle()
    assert again.received("b.again") == call.sent
    for stack in (again.sending, again.receiving):
        await stack.signaling.forwarding.stop()


async def test_repeated_join_returns_the_stored_signals_again(call: Call, container: Container) -> None:
    """The answer of a join may be lost with the connection to Redis, which then runs it again."""
    await call.receiving.signaling.disconnect(call.receiver_id, "b.other")
    call.send(3)
    await call.all_are("ok")
    rooms = Rooms(container.scripts)
    for _ in range(2):
        join = await rooms.join(call.room_id, call.sender_id, "a.new")
        assert [orjson.loads(each)[0] for each in join.stored_signals] == call.sent
    await rooms.close(call.room_id, call.sender_id)
    assert await stored(container, call) == []


async def test_signal_is_refused_where_nothing_works(unstored_call: Call, network: Network) -> None:
    """Neither the bus nor Redis: its sender may send it again, and the refused one is not delivered later."""
    call = unstored_call
    network.is_refusing = True
    call.send(2)
    await call.all_are("unavailable")
    network.is_refusing = False
    call.send()
    await network.deliver_until(lambda: call.sent[2] in call.acks)
    assert call.acks[call.sent[2]] == "ok" and call.received() == call.sent[2:]


async def test_refusal_forgets_no_acknowledged_signal(unstored_call: Call, network: Network) -> None:
    """The partner comes back without a signal that was acknowledged, while neither the bus nor Redis works."""
    call = unstored_call
    call.send(3)
    await network.settle()
    await call.all_are("ok")
    network.is_refusing = True
    await call.receiving.signaling.join_room(call.receiver_id, "b.new", call.room_id, after=call.sent[1])
    call.send()
    await eventually(lambda: call.acks.get(call.sent[3]) == "unavailable")
    network.is_refusing = False
    await network.deliver_until(lambda: call.received("b.new") != [])
    call.send()
    await network.deliver_until(lambda: call.sent[4] in call.received("b.new"))
    assert call.received("b.new") == [call.sent[2], call.sent[4]]


async def test_signals_beyond_the_record_are_refused(call: Call, network: Network) -> None:
    """What is acknowledged is not dropped: too much for a partner who is away is refused instead."""
    await call.receiving.signaling.disconnect(call.receiver_id, "b.other")
    call.send(MAX_RECORDED_SIGNALS)
    with pytest.raises(errors.Unavailable):
        call.send()
    await call.all_are("ok")
    await call.receiving.signaling.join_room(call.receiver_id, "b.again", call.room_id, after=0)
    await network.settle()
    assert call.received("b.again") == call.sent
    call.send()
    await network.settle()
    assert call.received("b.again") == call.sent


async def test_signals_are_refused_when_the_room_closes(call: Call, network: Network) -> None:
    call.send(2)
    await call.receiving.signaling.end_call(call.receiver_id, "b.other", call.room_id)
    assert call.acks == dict.fromkeys(call.sent, "room_closed")
    await network.settle()
    assert call.received() == []


async def test_late_confirmation_of_an_earlier_socket_is_ignored(call: Call, network: Network) -> None:
    """What the old connection was written may be lost with it: only the confirmation of the new one counts."""
    call.send(3)
    network.deliver()
    await eventually(lambda: network.waiting)
    (late,), network.waiting = network.waiting, []
    await call.receiving.signaling.join_room(call.receiver_id, "b.new", call.room_id, after=0)
    again, network.waiting = network.waiting, [late]
    network.deliver()
    assert call.acks == {}
    network.waiting = again
    await network.settle()
    assert call.received("b.new") == call.sent
    await call.all_are("ok")
