"""WebSockets to the Socket.IO endpoint without a client library, for malformed frames."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

from testing.client_internals import close_connection, is_open
from testing.polling import eventually
from testing.servers import Learner, Server
from testing.time_limits import limit


class BareSocket:
    """A connection past the WebSocket's handshake, or past that of Socket.IO too. `received` is every frame so far."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received: list[str] = []
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for frame in self.socket:
                if frame == "2":
                    await self.socket.send("3")
                else:
                    self.received.append(str(frame))

    async def send(self, *frames: str | bytes) -> None:
        """Send frames; the server may close before it has read all of them."""
        with suppress(websockets.ConnectionClosed):
            for frame in frames:
                if is_open(self.socket):
                    await self.socket.send(frame)

    async def wait_for(self, start: str, *, count: int = 1, within: float = 10) -> str:
        """Wait for the frame that is the `count`th to start like this."""
        found = await eventually(
            lambda: [frame for frame in self.received if frame.startswith(start)][count - 1 : count],
            lambda: f"{start}; received {self.received[-5:]}",
            within=within,
        )
        return str(found[0])

    async def wait_closed(self, *, within: float) -> None:
        async with asyncio.timeout(limit(within)):
            await self.socket.wait_closed()

    async def close(self) -> None:
        await close_connection(self.socket)
        await self._listening


async def dial_bare(server: Server, learner: Learner | None = None) -> BareSocket:
    """Open a connection; with a learner, one that is through the Socket.IO handshake."""
    url = f"{server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    socket = BareSocket(await connect(url, max_size=None, compression=None))
    await socket.wait_for("0{")
    if learner is not None:
        await socket.send("40" + json.dumps({"token": learner.access_token}))
        await socket.wait_for("40{")
    return socket


def event(name: str, payload: dict[str, Any], ack_id: int | str = "") -> str:
    return f"42{ack_id}{json.dumps([name, payload], separators=(',', ':'))}"
