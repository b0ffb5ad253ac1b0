"""The load, over bare WebSocket frames: `python -m bench.sockets.load PORT[+PORT] COMMAND ARGUMENTS...`.

With two ports, the partners of a call are on one each.

Tokens come on standard input, a JSON list in one line.

    relay SECONDS RATE     two tokens make a call, in which both send candidates; RATE events a second in all, four of
                           a phone together and phones independent of each other, or 0 for as many as the server
                           takes, eight of each phone on their way at a time
    echo SECONDS RATE      the same against a server that echoes what it receives
    connect COUNT          connect COUNT sockets, 64 at a time
    idle COUNT             the same, and hold them until another line comes

Prints `begins`, waits for a line, does it, prints `ends`: the parent process reads the server's CPU time at each.
Then JSON: how many, in how many seconds, and for relay and echo the milliseconds from sender to listener.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import resource
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import uvloop

_UPGRADE = (
    "GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_IN_FLIGHT = 8
#: Candidates that a phone finds at once: one for each address it has. Chromium reports them within a millisecond.
_FOUND_AT_ONCE = 4
_CANDIDATE = (
    '42{}["webrtc_ice",{{"roomId":"{}","candidate":{{"candidate":"candidate:{:018d} 1 udp 2122260223 192.0.2.77 54321'
    ' typ host generation 0 ufrag EEtu network-id 1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"EEtu"}}}}]'
)


def client_frame(text: str) -> bytes:
    """Mask with zeros: the server does its work, the load saves its own."""
    payload = text.encode()
    if len(payload) < 126:
        return struct.pack("!BB4x", 0x81, 0x80 | len(payload)) + payload
    return struct.pack("!BBH4x", 0x81, 0xFE, len(payload)) + payload


class Phone(asyncio.Protocol):
    """A WebSocket client that answers pings."""

    def __init__(self, port: int, path: str) -> None:
        self._request = _UPGRADE.format(path, port).encode()
        self._buffer = b""
        self._is_upgraded = False
        self._waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []
        self.on_event: Callable[[bytes], None] | None = None
        self.on_ack: Callable[[], None] | None = None
        self.is_closing = False
        self.upgraded: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def connection_lost(self, exception: Exception | None) -> None:
        if not self.is_closing:
            print(f"a connection was lost: {exception!r}", file=sys.stderr)
            os._exit(1)

    def send(self, text: str) -> None:
        self.transport.write(client_frame(text))

    def frame_that_starts(self, start: bytes) -> asyncio.Future[bytes]:
        """Return a future of the next frame with this start; the parent process has the timeout."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((start, future))
        return future

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        at = 0
        if not self._is_upgraded:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = data
                return
            assert data.startswith(b"HTTP/1.1 101"), data[:200]
            self._is_upgraded = True
            self.upgraded.set_result(None)
            at = end + 4
        size = len(data)
        while at + 2 <= size:
            length, start = data[at + 1], at + 2
            if length == 126:
                start += 2
                if start > size:
                    break
                length = data[at + 2] << 8 | data[at + 3]
            if start + length > size:
                break
            self._take(data[start : start + length])
            at = start + length
        self._buffer = data[at:]

    def _take(self, frame: bytes) -> None:
        if self.on_event is not None and frame.startswith(b"42["):
            self.on_event(frame)
        elif self.on_ack is not None and frame.startswith(b"43"):
            assert frame.endswith(b'[{"ok":true}]'), frame
            self.on_ack()
        elif frame == b"2":
            self.send("3")
        else:
            for each in self._waiting:
                if frame.startswith(each[0]):
                    self._waiting.remove(each)
                    if not each[1].done():  # the waiting task may have been cancelled
                        each[1].set_result(frame)
                    return


async def dial(port: int, path: str) -> Phone:
    loop = asyncio.get_running_loop()
    _, phone = await loop.create_connection(lambda: Phone(port, path), "127.0.0.1", port)
    await phone.upgraded
    return phone


async def sign_in(port: int, token: str) -> Phone:
    loop = asyncio.get_running_loop()
    phone = Phone(port, "/socket.io/?EIO=4&transport=websocket")
    opened = phone.frame_that_starts(b"0{")
    await loop.create_connection(lambda: phone, "127.0.0.1", port)
    await opened
    welcome = phone.frame_that_starts(b"40{")
    phone.send("40" + json.dumps({"token": token}))
    await welcome
    return phone


async def call(ports: list[int], tokens: list[str], number: int) -> tuple[Phone, Phone, str]:
    one, other = await sign_in(ports[0], tokens[0]), await sign_in(ports[-1], tokens[1])
    found = one.frame_that_starts(b'42["match_found"')
    for phone in (one, other):
        await ask(phone, "find_partner", {"topic": f"{os.getpid()} {number}"})
    room = json.loads((await found)[2:])[1]["roomId"]
    for phone in (one, other):
        await ask(phone, "join_room", {"roomId": room})
    return one, other, room


async def ask(phone: Phone, event: str, payload: dict[str, str]) -> None:
    ack = phone.frame_that_starts(b"430")
    phone.send(f'420["{event}",{json.dumps(payload)}]')
    assert b'"ok":true' in await ack, await ack


class Talk:
    """Phones that send, and the results of what they sent."""

    def __init__(self) -> None:
        self.latencies: list[int] = []
        self.acks = 0
        self.is_over = False
        self.senders: list[Callable[[], None]] = []

    def on_frame(self, frame: bytes) -> None:
        at = frame.index(b"candidate:") + len(b"candidate:")
        self.latencies.append(time.perf_counter_ns() - int(frame[at : at + 18]))

    def add(self, sender: Phone, listener: Phone, room: str, ack_id: str, *, closed_loop: bool) -> None:
        def send() -> None:
            sender.send(_CANDIDATE.format(ack_id, room, time.perf_counter_ns()))

        def acknowledged() -> None:
            self.acks += 1
            if closed_loop and not self.is_over:
                send()

        def on_frame(frame: bytes) -> None:
            self.on_frame(frame)
            if not ack_id:
                acknowledged()

        listener.on_event = on_frame
        sender.on_ack = acknowledged
        self.senders.append(send)

    async def run(self, seconds: float, rate: float) -> dict[str, Any]:
        print("begins", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        if rate:
            # A Poisson process, held to the microseconds: on a timer's millisecond all would send in step, and the tail
            # would measure how long it takes to work off so many.
            chance, due = random.Random(started), started
            while (now := time.perf_counter()) - started < seconds:
                while due <= now:
                    send = chance.choice(self.senders)
                    for _ in range(_FOUND_AT_ONCE):
                        send()
                    due += chance.expovariate(rate / _FOUND_AT_ONCE)
                await asyncio.sleep(0)
                time.sleep(0.00002)
        else:
            for send in self.senders:
                for _ in range(_IN_FLIGHT):
                    send()
            await asyncio.sleep(seconds)
        elapsed = time.perf_counter() - started
        acks = self.acks
        print("ends", flush=True)
        self.is_over = True
        await asyncio.sleep(0.3)
        taken = sorted(self.latencies)
        return {
            "count": acks,
            "seconds": elapsed,
            "p50": taken[len(taken) // 2] / 1e6,
            "p99": taken[len(taken) * 99 // 100] / 1e6,
        }


async def relay(ports: list[int], tokens: list[str], seconds: float, rate: float) -> dict[str, Any]:
    pairs = [tokens[at : at + 2] for at in range(0, len(tokens), 2)]
    talk = Talk()
    phones, calls = [], []
    for number, pair in enumerate(pairs):
        one, other, room = await call(ports, pair, number)
        await asyncio.sleep(0.01)
        for sender, listener in ((one, other), (other, one)):
            talk.add(sender, listener, room, "1", closed_loop=not rate)
        phones += [one, other]
        calls.append((one, room))
    result = await talk.run(seconds, rate)
    for phone in phones:
        phone.on_event = phone.on_ack = None
    for phone, room in calls:  # who is thought to come back to a call can't look for another
        await ask(phone, "end_call", {"roomId": room})
    await hang_up(phones)
    return result


async def echo(ports: list[int], tokens: list[str], seconds: float, rate: float) -> dict[str, Any]:
    talk = Talk()
    phones = [await dial(ports[0], "/") for _ in tokens]
    for phone in phones:
        talk.add(phone, phone, "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", "", closed_loop=not rate)
    result = await talk.run(seconds, rate)
    await hang_up(phones)
    return result


async def connect(port: int, tokens: list[str], count: int, hold: Callable[[], Awaitable[None]] | None = None) -> Any:
    numbers = iter(range(count))
    phones: list[Phone] = []

    async def some() -> None:
        for number in numbers:
            phones.append(await sign_in(port, tokens[number % len(tokens)]))

    print("begins", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(64)))
    elapsed = time.perf_counter() - started
    print("ends", flush=True)
    if hold is not None:
        await hold()
    await hang_up(phones)
    return {"count": count, "seconds": elapsed}


async def hang_up(phones: list[Phone]) -> None:
    for phone in phones:
        phone.is_closing = True
        phone.transport.abort()
    await asyncio.sleep(0.2)


async def idle(port: int, tokens: list[str], count: int) -> Any:
    async def hold() -> None:
        await asyncio.to_thread(sys.stdin.readline)

    return await connect(port, tokens, count, hold)


async def main(ports: list[int], command: str, *arguments: str) -> None:
    tokens = json.loads(sys.stdin.readline())
    if command in ("relay", "echo"):
        play = relay if command == "relay" else echo
        result = await play(ports, tokens, float(arguments[0]), float(arguments[1]))
    else:
        result = await (idle if command == "idle" else connect)(ports[0], tokens, int(arguments[0]))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()  # its pauses would count as the server's
    uvloop.run(main([int(port) for port in sys.argv[1].split("+")], *sys.argv[2:]))
