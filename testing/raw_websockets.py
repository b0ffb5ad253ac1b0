"""Owns bare WebSockets to the Socket.IO endpoint, for what no well-behaved client does."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.protocol import State

from testing.servers import Learner, Server
from testing.time_limits import limit


async def hang_up(socket: ClientConnection) -> None:
    """Close a connection that the server may be closing already.

    `websockets` aborts the transport of a connection that is not open any more, which fails in asyncio's `_force_close`
    where the transport was closed with bytes unsent and is gone.
    """
    if socket.state is State.OPEN:
        await socket.close()
    else:
        await socket.wait_closed()


class BareSocket:
    """A connection past the WebSocket's handshake, or past that of Socket.IO too. `heard` is every frame so far."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[str] = []
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for frame in self.socket:
                if frame == "2":
                    await self.socket.send("3")
                else:
                    self.heard.append(str(frame))

    async def send(self, *frames: str | bytes) -> None:
        """Send frames; the server need not hear all of them to hang up."""
        with suppress(websockets.ConnectionClosed):
            for frame in frames:
                if self.socket.state is State.OPEN:  # see `hang_up`
                    await self.socket.send(frame)

    async def hears(self, start: str, *, count: int = 1, within: float = 10) -> str:
        """Wait for the frame that is the `count`th to start like this."""
        async with asyncio.timeout(limit(within)):
            while len(found := [frame for frame in self.heard if frame.startswith(start)]) < count:
                await asyncio.sleep(0.01)
        return found[count - 1]

    async def is_cut_off(self, *, within: float) -> None:
        async with asyncio.timeout(limit(within)):
            await self.socket.wait_closed()

    async def hang_up(self) -> None:
        await hang_up(self.socket)
        await self._listening


async def dial_bare(server: Server, learner: Learner | None = None) -> BareSocket:
    """Open a connection; with a learner, one that is through the Socket.IO handshake."""
    url = f"{server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    socket = BareSocket(await connect(url, max_size=None, compression=None))
    await socket.hears("0{")
    if learner is not None:
        await socket.send("40" + json.dumps({"token": learner.access_token}))
        await socket.hears("40{")
    return socket


def event(name: str, payload: dict[str, Any], ack_id: int | str = "") -> str:
    return f"42{ack_id}{json.dumps([name, payload], separators=(',', ':'))}"
