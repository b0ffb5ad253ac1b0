"""Hostile and broken clients do not affect others: each test misbehaves during a call of two regular clients."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from container import Container
from testing.calls import MakePhone, Room, call
from testing.client_internals import get_transport, is_open
from testing.polling import eventually
from testing.raw_websockets import BareSocket, dial_bare, event
from testing.servers import Learner, Phone, Server, dial, start_server, stop_server
from testing.time_limits import limit

#: How long, in seconds, what a good phone sends may take while others misbehave; both cores are shared with them.
BOUND = limit(1.5)
#: Limits of the contract: events a socket may send at once, and a second; seconds that a handshake may take here.
BURST, PER_SECOND, HANDSHAKE_TIMEOUT = 60, 30, 2
#: How much, in MB, the server may grow over an abuse that does not last.
GROWTH = 60

Dial = Callable[..., Awaitable[BareSocket]]


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one worker with the limits of the contract, so that all share one process."""
    limits = ("SOCKET_EVENTS_PER_SECOND", "SOCKET_EVENT_BURST", "SOCKETS_PER_USER")
    variables = {name: value for name, value in environment.items() if name not in limits}
    variables["SOCKET_HANDSHAKE_TIMEOUT"] = f"{HANDSHAKE_TIMEOUT}s"
    running = start_server(variables, tmp_path_factory.mktemp("strict") / "server.log", workers=1)
    yield running
    stop_server(running)


@pytest.fixture
async def bare(server: Server) -> AsyncIterator[Dial]:
    opened: list[BareSocket] = []

    async def make(learner: Learner | None = None) -> BareSocket:
        opened.append(await dial_bare(server, learner))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


@asynccontextmanager
async def good_call(caller: Phone, receiver: Phone, *, bound: float = BOUND) -> AsyncIterator[Room]:
    """Bring two into a call in which, while this is open, each event arrives once, in order and in time."""
    room = await call(caller, receiver)
    is_over = False
    slowest = 0.0
    sent = 0

    async def talk() -> None:
        nonlocal slowest, sent
        while not is_over:
            candidate = {"candidate": f"candidate:{sent}"}
            began = time.perf_counter()
            assert await caller.send("webrtc_ice", {**room, "candidate": candidate}) == {"ok": True}
            sent += 1
            await receiver.wait_for("webrtc_ice", count=sent)
            slowest = max(slowest, time.perf_counter() - began)
            await asyncio.sleep(0.05)

    talking = asyncio.create_task(talk())
    try:
        yield room
    finally:
        is_over = True
        await talking
    arrived = [payload["candidate"]["candidate"] for name, payload in receiver.received if name == "webrtc_ice"]
    assert arrived == [f"candidate:{number}" for number in range(sent)] and sent > 0
    assert slowest < bound, f"an event took {slowest:.2f} s"


def resident(server: Server) -> float:
    """Megabytes of the server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.fixture
async def good(make_phone: MakePhone) -> tuple[Phone, Phone]:
    return await make_phone(), await make_phone()


async def test_oversized_frames_close_their_connection_alone(
    good: tuple[Phone, Phone], bare: Dial, server: Server
) -> None:
    before = resident(server)
    async with good_call(*good):
        for size in (66_000, 1_000_000, 8_000_000):
            for _ in range(5):
                abuser = await bare(good[0].learner if size == 66_000 else None)
                await abuser.send("42" + "x" * size)
                await abuser.wait_closed(within=10)
    assert resident(server) - before < GROWTH


async def test_excess_events_are_refused(make_phone: MakePhone, bare: Dial) -> None:
    """Each refused event is acked with `rate_limited`; the `error` event comes at most once a second."""
    learner = (await make_phone()).learner
    sender = await bare(learner)
    began = time.monotonic()
    await sender.send(*(event("cancel_search", {}, number) for number in range(100)))
    await sender.wait_for("4399")
    took = time.monotonic() - began
    acks = [
        json.loads(frame[2 + len(str(number)) :])[0]
        for number, frame in enumerate(frame for frame in sender.received if frame.startswith("43"))
    ]
    codes = [ack["error"]["code"] for ack in acks]
    accepted = codes.count("not_searching")
    # The handshake is one message of the burst, and while the hundred travel the bucket fills again.
    assert BURST - 1 <= accepted <= BURST + PER_SECOND * took and codes.count("rate_limited") == 100 - accepted
    assert codes[: BURST - 1] == ["not_searching"] * (BURST - 1)
    problems = [frame for frame in sender.received if frame.startswith('42["error"') and "rate_limited" in frame]
    assert 1 <= len(problems) <= 1 + took

    async def is_accepted() -> bool:
        number = len([frame for frame in sender.received if frame.startswith("43")])
        await sender.send(event("cancel_search", {}, number))
        return "not_searching" in await sender.wait_for(f"43{number}[")

    await eventually(is_accepted, "an event is accepted again", within=1)


async def test_flooding_socket_is_disconnected(
    good: tuple[Phone, Phone], make_phone: MakePhone, bare: Dial, server: Server
) -> None:
    strangers = [(await make_phone()).learner for _ in range(3)]
    before = resident(server)
    async with good_call(*good):
        for learner in strangers:
            abuser = await bare(learner)
            flood = [event("find_partner", {"topic": "x" * 50}, number) for number in range(2000)]
            await abuser.send(*flood)
            await abuser.wait_closed(within=10)
            assert any(frame.startswith("41") for frame in abuser.received), "nothing says that it should not come back"
    assert resident(server) - before < GROWTH


async def test_signaling_counts_towards_the_event_limit(
    make_phone: MakePhone, good: tuple[Phone, Phone], bare: Dial
) -> None:
    partner = await make_phone()
    learner = (await make_phone()).learner
    abuser = await bare(learner)
    topic = {"topic": f"flood of {learner.username}"}
    await partner.send("find_partner", topic)
    await abuser.send(event("find_partner", topic))
    room = {"roomId": (await partner.wait_for("match_found"))["roomId"]}
    await partner.send("join_room", room)
    await abuser.send(event("join_room", room, 1))
    await abuser.wait_for("431[")
    async with good_call(*good):
        began = time.monotonic()
        await abuser.send(*(event("webrtc_ice", {**room, "candidate": None}) for _ in range(5000)))
        await abuser.wait_closed(within=10)
        took = time.monotonic() - began
        await partner.wait_for("peer_left", within=15)
    relayed = len([name for name, _ in partner.received if name == "webrtc_ice"])
    # The handshake and two events came before.
    assert BURST - 3 <= relayed <= BURST + PER_SECOND * took


async def test_socket_without_handshake_is_closed(good: tuple[Phone, Phone], bare: Dial) -> None:
    async with good_call(*good):
        silent = [await bare() for _ in range(50)]
        began = time.monotonic()
        await asyncio.gather(*(each.wait_closed(within=8) for each in silent))
        assert time.monotonic() - began > 0.5


async def test_refused_handshakes_do_not_extend_the_deadline(bare: Dial) -> None:
    refused_socket = await bare()
    async with asyncio.timeout(limit(HANDSHAKE_TIMEOUT + 2)):
        while is_open(refused_socket.socket):
            await refused_socket.send('40{"token":"nonsense"}')
            await asyncio.sleep(0.1)
    refused = [frame for frame in refused_socket.received if frame.startswith("44")]
    assert len(refused) > 5, "closed for the refusal, not by the deadline"


async def test_idle_tcp_connection_is_closed(good: tuple[Phone, Phone], server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    writers = []
    readers = []
    for start in (b"", b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nUpgrade: webso"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        readers.append(reader)
        writers.append(writer)
    async with good_call(*good), asyncio.timeout(limit(14)):
        silence, refusal = [await reader.read() for reader in readers]
    assert silence == b"" and refusal.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in refusal
    for writer in writers:
        writer.close()


async def test_events_before_the_handshake_close_the_connection(good: tuple[Phone, Phone], bare: Dial) -> None:
    async with good_call(*good) as room:
        for _ in range(20):
            early = await bare()
            await early.send(*(event("webrtc_ice", {**room, "candidate": None}, number) for number in range(200)))
            await early.wait_closed(within=10)
            assert not [frame for frame in early.received if frame.startswith("4")]


async def test_foreign_room_takes_no_events(good: tuple[Phone, Phone], make_phone: MakePhone, bare: Dial) -> None:
    learner = (await make_phone()).learner
    async with good_call(*good) as room:
        for _ in range(4):
            intruder = await bare(learner)
            names = ("webrtc_ice", "join_room", "end_call", "webrtc_ice")
            for number in range(40):
                name = names[number % 4]
                payload = {**room, "candidate": None} if name == "webrtc_ice" else room
                await intruder.send(event(name, payload, number))
            await intruder.wait_for("4339[")
            acks = [frame for frame in intruder.received if frame.startswith("43")]
            assert len(acks) == 40 and all("not_in_room" in ack for ack in acks)
            await intruder.close()


async def test_slow_reader_is_disconnected(
    good: tuple[Phone, Phone], make_phone: MakePhone, server: Server, container: Container
) -> None:
    """A partner who stops reading is disconnected, and no other socket waits for that."""
    slow_reader, talker = await make_phone(), await make_phone()
    room = await call(talker, slow_reader)
    underlying = get_transport(slow_reader.client)
    underlying.pause_reading()
    underlying.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    before = resident(server)
    sdp = "v=0" + "x" * 30_000
    async with good_call(*good):
        deadline = time.monotonic() + limit(15)
        ack: dict[str, Any] = {"ok": True}
        while ack["ok"] and time.monotonic() < deadline:
            ack = await talker.send("webrtc_offer", {**room, "sdp": sdp})
            if any(name in ("peer_left", "peer_reconnecting") for name, _ in talker.received):
                break
            await asyncio.sleep(0.034)
    assert any(name in ("peer_left", "peer_reconnecting") for name, _ in talker.received), (
        "the slow reader was not disconnected"
    )
    assert resident(server) - before < GROWTH
    underlying.resume_reading()


async def sockets_are(container: Container, *phones: Phone) -> bool:
    """Whether these are the sockets that are counted for their learner."""
    counted = await container.user_sockets.list_socket_ids(phones[0].learner.id)
    return set(counted) == {phone.client.get_sid() for phone in phones}


async def test_fourth_socket_replaces_the_oldest(server: Server, make_phone: MakePhone, container: Container) -> None:
    first = await make_phone()
    learner = first.learner
    others = [await dial(server.url, learner) for _ in range(2)]
    await eventually(lambda: sockets_are(container, first, *others), "three sockets are counted")
    assert (await first.send("cancel_search"))["error"]["code"] == "not_searching"
    fourth = await dial(server.url, learner)
    assert await first.wait_for("session_replaced") == {}
    await eventually(lambda: not first.client.connected, within=5)
    for phone in (*others, fourth):
        assert (await phone.send("cancel_search"))["error"]["code"] == "not_searching"
        assert "session_replaced" not in [name for name, _ in phone.received]
    await others[0].client.disconnect()
    await eventually(lambda: sockets_are(container, others[1], fourth), "the one that disconnected is not counted")
    fifth = await dial(server.url, learner)
    await eventually(lambda: sockets_are(container, others[1], fourth, fifth), "the new one is counted")
    for phone in (others[1], fourth, fifth):
        assert (await phone.send("cancel_search"))["error"]["code"] == "not_searching", "it had to go"
    for phone in (others[1], fourth, fifth):
        await phone.client.disconnect()


async def test_sockets_of_a_killed_process_are_not_counted(
    server: Server, make_phone: MakePhone, container: Container
) -> None:
    phone = await make_phone()
    key = f"user:{{match}}:{phone.learner.id}:sockets"
    await container.redis.zadd(key, {f"0dead0{number}.x": time.time() * 1000 + 60_000 for number in range(3)})
    other = await dial(server.url, phone.learner)
    await eventually(lambda: sockets_are(container, phone, other), within=5)
    assert phone.client.connected and other.client.connected
    await other.client.disconnect()
