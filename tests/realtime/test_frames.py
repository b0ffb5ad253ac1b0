"""WebSocket frames: close codes of invalid ones, and limits of work, time and memory for each client.

The cases are those that Autobahn's test suite tries in its families 1 to 7 (framing, pings, reserved bits, opcodes,
fragmentation, UTF-8, closing), and floods of each kind of frame.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket as sockets
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn

from contract import http_server, websocket
from contract.event_rate import EventLimit
from contract.socket_server import App
from contract.socket_server import Server as SocketServer
from contract.transport import Socket
from testing.calls import MakePhone
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import Learner, Server, start_server, stop_server
from testing.time_limits import limit

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: Seconds after which a test hangs: of its waits, and of the server's handshake, whose deadline is not tested here.
HANG_SECONDS = limit(15)
#: Frames that the limits of the contract let one connection send at once.
BURST = 600
UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{}\r\n"
)
#: A header that makes the request one which uvicorn's own code answers.
ORIGIN = "Origin: http://127.0.0.1\r\n"


def frame(opcode: int, content: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """Write a frame of a client, masked with zeros."""
    size = len(content)
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += struct.pack("!BH", mask | 126, size)
    else:
        head += struct.pack("!BQ", mask | 127, size)
    return head + (bytes(4) if masked else b"") + content


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


class Raw:
    """A WebSocket of which each byte is the test's own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> tuple[int, bytes]:
        """Read a frame of the server: its opcode and content."""
        async with asyncio.timeout(HANG_SECONDS):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            assert first & 0x80 and not first & 0x70, "the server neither fragments nor has extensions"
            return first & 0x0F, await self.reader.readexactly(size)

    async def read_until(self, opcode: int, start: bytes = b"") -> tuple[bytes, list[tuple[int, bytes]]]:
        """Read on until a frame of this kind comes; its content, and the frames before it."""
        before: list[tuple[int, bytes]] = []
        while True:
            kind, content = await self.read()
            if kind == opcode and content.startswith(start):
                return content, before
            assert kind != CLOSE, f"closed with {content!r}"
            before.append((kind, content))

    async def close_code(self) -> int:
        """Read on until the server closes; the code, or 0 for none."""
        content, _ = await self.read_until(CLOSE)
        return struct.unpack("!H", content[:2])[0] if content else 0

    async def send(self, *frames: bytes) -> None:
        """Send frames; the server need not read all of them."""
        with suppress(ConnectionError):
            self.writer.write(b"".join(frames))
            await self.writer.drain()

    async def is_served(self, payload: bytes = b"?") -> None:
        """Hold the server to a pong."""
        await self.send(frame(PING, payload))
        await self.read_until(PONG, payload)

    async def ends(self) -> None:
        """Wait until the server has closed the connection."""
        async with asyncio.timeout(HANG_SECONDS):
            with suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass


@asynccontextmanager
async def raw(port: int, headers: str = "") -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(UPGRADE.format(headers).encode())
        async with asyncio.timeout(HANG_SECONDS):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        socket = Raw(reader, writer)
        content = await socket.read()
        assert content[0] == TEXT and content[1].startswith(b"0{")
        yield socket
    finally:
        writer.close()


async def sign_in(socket: Raw, learner: Learner) -> None:
    await socket.send(frame(TEXT, b"40" + json.dumps({"token": learner.access_token}).encode()))
    await socket.read_until(TEXT, b"40{")


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one worker with the limits of the contract."""
    limits = ("SOCKET_EVENTS_PER_SECOND", "SOCKET_EVENT_BURST")
    variables = {name: value for name, value in environment.items() if name not in limits}
    variables["SOCKET_HANDSHAKE_TIMEOUT"] = f"{round(HANG_SECONDS)}s"
    running = start_server(variables, tmp_path_factory.mktemp("frames") / "server.log", workers=1)
    yield running
    stop_server(running)


@pytest.fixture
def port(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


REFUSED: dict[str, tuple[list[bytes], int]] = {
    "ping of 126 bytes": ([frame(PING, b"x" * 126)], 1002),
    "pong of 126 bytes": ([frame(PONG, b"x" * 126)], 1002),
    "fragmented ping": ([frame(PING, b"x", fin=False)], 1002),
    "fragmented close": ([frame(CLOSE, b"", fin=False)], 1002),
    "close of 126 bytes": ([closing(1000, b"x" * 124)], 1002),
    "close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "close with bad text": ([closing(1000, b"\xff")], 1007),
    **{f"close {code}": ([closing(code)], 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 1100, 2000, 2999, 5000)},
    **{f"reserved bits {bits}": ([frame(TEXT, b"3", reserved=bits)], 1002) for bits in range(1, 8)},
    **{f"opcode {each}": ([frame(each)], 1002) for each in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "reserved bit of a ping": ([frame(PING, reserved=4)], 1002),
    "unmasked text": ([frame(TEXT, b"3", masked=False)], 1002),
    "unmasked ping": ([frame(PING, masked=False)], 1002),
    "unmasked long text": ([frame(TEXT, b"x" * 300, masked=False)], 1002),
    "lone continuation": ([frame(CONT, b"x")], 1002),
    "lone unfinished continuation": ([frame(CONT, b"x", fin=False)], 1002),
    "text inside a message": ([frame(TEXT, b"3", fin=False), frame(TEXT, b"3")], 1002),
    "binary inside a message": ([frame(TEXT, b"3", fin=False), frame(BINARY, b"3")], 1002),
    "continuation after the end": ([frame(TEXT, b"3", fin=False), frame(CONT), frame(CONT)], 1002),
    "bad text": ([frame(TEXT, b"4\xff")], 1007),
    "surrogate in text": ([frame(TEXT, b"4\xed\xa0\x80")], 1007),
    "bad text in fragments": ([frame(TEXT, b"4\xce", fin=False), frame(CONT, b"\xce")], 1007),
    "frame of 64 KB and one byte": ([frame(TEXT, b"x" * 65537)], 1009),
    "head of an enormous frame": ([b"\x81\xff" + b"\x7f" + b"\xff" * 7 + bytes(4)], 1009),
    "message of 64 KB and one byte": ([frame(TEXT, b"x" * 65536, fin=False), frame(CONT, b"x")], 1009),
    "129 fragments": ([frame(TEXT, b"", fin=False), *[frame(CONT, b"", fin=False)] * 128], 1008),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "bytewise"])
async def test_frame_refused_with_code(port: int, case: str, size: int) -> None:
    """A frame that breaks RFC 6455 closes with the code of its section 7.4.1, also where it comes byte by byte."""
    frames, code = REFUSED[case]
    sent = b"".join(frames)
    if size == 1 and len(sent) > 2000:
        size = len(sent) // 3
    async with raw(port) as socket:
        for at in range(0, len(sent), size):
            await socket.send(sent[at : at + size])
        assert await socket.close_code() == code
        await socket.send(frame(CLOSE))
        await socket.ends()


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_close_code_echoed(port: int, code: int) -> None:
    async with raw(port) as socket:
        await socket.send(closing(code, "grüß".encode()))
        assert (await socket.read_until(CLOSE))[0] == struct.pack("!H", code) + "grüß".encode()
        await socket.ends()


async def test_close_without_code_answered(port: int) -> None:
    async with raw(port) as socket:
        await socket.send(frame(CLOSE))
        assert await socket.close_code() == 0
        await socket.ends()


async def test_frame_accepted_in_each_form(port: int) -> None:
    """Fragments, pings between them, 125 bytes of ping, unasked pongs, long lengths: all are within RFC 6455."""
    async with raw(port) as socket:
        for size in (0, 1, 125):
            await socket.is_served(os.urandom(size) or b"")
        await socket.send(frame(PONG, b"unasked"), frame(PONG))
        # An event before the handshake ends the session: that it comes shows that the message was put together.
        parts = [frame(TEXT, b"4", fin=False), frame(CONT, fin=False), frame(PING, b"between"), frame(CONT, b"2[1]")]
        await socket.send(*parts[:3])
        await socket.read_until(PONG, b"between")
        await socket.send(parts[3])
        assert await socket.close_code() == 1000
    async with raw(port) as socket:
        await socket.send(b"\x81\xff" + struct.pack("!Q", 1) + bytes(4) + b"3")
        await socket.is_served()
        await socket.send(frame(TEXT, b"1"))
        assert await socket.close_code() == 1000


FLOODS = {
    "pings": frame(PING),
    "pongs": frame(PONG),
    "empty texts": frame(TEXT),
    "binary": frame(BINARY, b"b"),
    "engine pongs": frame(TEXT, b"3"),
    "engine pings": frame(TEXT, b"2"),
    "engine noops": frame(TEXT, b"6"),
    "empty fragments": frame(CONT, fin=False),
    "events": frame(TEXT, b'42["cancel_search"]'),
}
#: What ends before the frames count for more: a message of many fragments, what is no packet, and events by themselves.
SOONER = {"empty texts", "engine pings", "engine noops", "binary", "events"}


@pytest.mark.parametrize("signed_in", [False, True], ids=["anonymous", "signed-in"])
@pytest.mark.parametrize("kind", FLOODS)
async def test_flood_closes_connection(port: int, make_phone: MakePhone, kind: str, signed_in: bool) -> None:
    """4 MB of any frame are not handled: the connection ends, and nothing is answered beyond the burst."""
    one = FLOODS[kind]
    learner = (await make_phone()).learner if signed_in else None
    async with raw(port) as socket:
        if learner is not None:
            await sign_in(socket, learner)
        first = frame(TEXT, fin=False) if kind == "empty fragments" else b""
        sending = asyncio.create_task(socket.send(first, one * (4_000_000 // len(one))))
        try:
            content, before = await socket.read_until(CLOSE)
        except (ConnectionError, asyncio.IncompleteReadError):
            assert kind in SOONER, "the client was not sent the reason"
        else:
            assert struct.unpack("!H", content[:2])[0] == (1000 if kind in SOONER else 1008)
            pongs = [content for opcode, content in before if opcode == PONG]
            assert len(pongs) <= 2 * BURST
        await socket.ends()
        sending.cancel()
        await asyncio.wait([sending])


async def test_honest_burst_is_within_the_budget(port: int, make_phone: MakePhone) -> None:
    """Fifty-five events of many fragments each, with pongs between them, are all answered: the budget is 60."""
    learner = (await make_phone()).learner
    async with raw(port) as socket:
        await sign_in(socket, learner)
        for number in range(55):
            text = f'42{number}["cancel_search"]'.encode()
            parts = [text[at : at + 3] for at in range(0, len(text), 3)]
            kinds = [TEXT] + [CONT] * (len(parts) - 1)
            await socket.send(
                *(frame(kind, part, fin=part is parts[-1]) for kind, part in zip(kinds, parts, strict=True)),
                frame(TEXT, b"3"),
            )
            await socket.read_until(TEXT, f"43{number}[".encode())
        await socket.is_served()


@asynccontextmanager
async def engine(
    event_limit: EventLimit, http: type[http_server.HttpProtocol] = http_server.HttpProtocol
) -> AsyncIterator[tuple[int, SocketServer]]:
    """Serve Socket.IO in this process, without the product behind it."""
    server = SocketServer(event_limit, async_handlers=False, max_http_buffer_size=websocket.MAX_FRAME_BYTES)
    server.eio.handshake_seconds = HANG_SECONDS
    port = free_port()
    options: dict[str, Any] = {"http": http, "ws": websocket.Connection, "loop": "none"}
    config = uvicorn.Config(
        App(server), port=port, log_config=None, lifespan="on", ws_per_message_deflate=False, **options
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    await eventually(lambda: running.started, "the server has started")
    try:
        yield port, server
    finally:
        running.should_exit = True
        await task


@pytest.mark.parametrize("headers", ["", ORIGIN], ids=["plain", "uvicorn"])
@pytest.mark.parametrize(("count", "code"), [(1, None), (2000, 1008)])
async def test_early_frames_are_bounded(headers: str, count: int, code: int | None) -> None:
    """Frames that come before the handshake is answered count like those after it, and are not lost."""

    class Early(http_server.HttpProtocol):
        def handle_websocket_upgrade(self) -> None:
            super().handle_websocket_upgrade()
            self.transport.get_protocol().data_received(frame(PING, b"early") * count)  # type: ignore[attr-defined]

    async with engine(EventLimit(30, 60), Early) as (port, _), raw(port, headers) as socket:
        if code is None:
            await socket.read_until(PONG, b"early")
        else:
            content, before = await socket.read_until(CLOSE)
            assert struct.unpack("!H", content[:2])[0] == code
            assert len(before) <= 2 * BURST


@pytest.mark.parametrize("start", [frame(TEXT, b"4", fin=False), frame(TEXT, b"3")[:-1]], ids=["message", "frame"])
async def test_unfinished_message_is_bounded_in_time(start: bytes) -> None:
    """A message that is never completed closes its connection, also where other frames come meanwhile."""
    async with engine(EventLimit(10_000, 10_000)) as (port, server):
        server.eio.message_seconds = 0.5
        async with raw(port) as silent, raw(port) as socket:
            await socket.send(start)
            if start[0] == TEXT:  # a ping inside a message does not make it younger
                await socket.is_served()
            assert await socket.close_code() == 1008
            await silent.is_served()


class RecordedTransport:
    """A transport of the server that notes its writes, by name, and each size of its buffer that the server reads."""

    def __init__(self, own: asyncio.Transport, name: str, writes: list[tuple[str, int]]) -> None:
        self._own, self._name, self._writes = own, name, writes
        self.buffer_sizes: list[int] = []

    def write(self, content: bytes) -> None:
        self._writes.append((self._name, len(content)))
        self._own.write(content)

    def get_write_buffer_size(self) -> int:
        self.buffer_sizes.append(self._own.get_write_buffer_size())
        return self.buffer_sizes[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def record(held: Socket, name: str, writes: list[tuple[str, int]]) -> RecordedTransport:
    """Record the transport of a session from now on."""
    recorded = RecordedTransport(held.connection.transport, name, writes)
    held.connection.transport = recorded  # type: ignore[assignment]
    return recorded


async def test_others_wait_for_a_slice_of_a_flood() -> None:
    """What a flooder sent in one piece is handled in slices, and what another sent is handled after one of them."""
    count = 2000
    async with engine(EventLimit(10_000, 10_000)) as (port, server):
        async with raw(port, ORIGIN) as flooder, raw(port, ORIGIN) as good:
            written: list[tuple[str, int]] = []
            for name, held in zip(("flooder", "good"), server.eio.sockets.values(), strict=True):
                record(held, name, written)
            # Both are in the server's buffers before its loop turns.
            flooder.writer.write(frame(PING) * count)
            good.writer.write(frame(PING))
            await good.read_until(PONG)
            for _ in range(count):
                await flooder.read_until(PONG)
        names = [name for name, _ in written]
        assert names.index("good") <= 2
        sizes = [size for name, size in written if name == "flooder"]
        assert max(sizes) <= websocket.FRAMES_PER_TURN * len(frame(PONG, masked=False)) < sum(sizes)


async def test_pings_of_a_client_that_never_reads_are_bounded() -> None:
    """Pongs count as unsent: a client that sends pings and never reads is cut off at the limit of unsent bytes.

    What counts is what the server reads of its buffer: between two looks of the test the server does any number of
    turns, and a connection that it has aborted has an empty buffer.
    """
    async with engine(EventLimit(1_000_000, 1_000_000)) as (port, server), raw(port, ORIGIN) as socket:
        socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        (held,) = server.eio.sockets.values()
        recorded = record(held, "pongs", [])
        # The kernel keeps little of what is unread, so that the limit is reached after a megabyte.
        socket.writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        recorded.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
        async with asyncio.timeout(HANG_SECONDS):
            while not recorded.is_closing():
                # With an answer to the pings of the server, so that it is not for those that the client is cut off.
                await socket.send(frame(PING, b"x" * 125) * 500, frame(TEXT, b"3"))
                await asyncio.sleep(0)
    *before, last = recorded.buffer_sizes
    assert max(before) <= websocket.MAX_UNSENT_BYTES < last < 2 * websocket.MAX_UNSENT_BYTES


async def test_lost_connection_can_be_dropped() -> None:
    """The ping timeout may meet a connection that was lost a moment before, closed with bytes unsent."""
    async with engine(EventLimit(10_000, 10_000)) as (port, server), raw(port, ORIGIN) as socket:
        (held,) = server.eio.sockets.values()
        held.connection.transport.write(b"x" * 8_000_000)
        assert held.connection.transport.get_write_buffer_size()
        held.connection.transport.close()
        await socket.ends()
        async with asyncio.timeout(HANG_SECONDS):
            while not held.connection.disconnected:
                await asyncio.sleep(0)
        await asyncio.sleep(0)  # the transport lets go of its loop behind `connection_lost`
        held.drop(server.eio.reason.PING_TIMEOUT)
