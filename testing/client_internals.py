"""All uses of private parts of client libraries in tests: python-socketio, engine.io, aiohttp, websockets."""

from __future__ import annotations

import asyncio
from typing import cast

import socketio
from websockets.asyncio.client import ClientConnection
from websockets.protocol import State


def get_transport(client: socketio.AsyncClient) -> asyncio.Transport:
    """Return the TCP transport below a connected client's WebSocket (aiohttp keeps it behind its response)."""
    return cast("asyncio.Transport", client.eio.ws._response.connection.transport)


def abort_connection(client: socketio.AsyncClient) -> None:
    """Break a connection as a lost network does: neither a goodbye nor a close frame."""
    get_transport(client).abort()


async def close_websocket(client: socketio.AsyncClient) -> None:
    """Close the WebSocket without Socket.IO's goodbye."""
    await client.eio.ws.close()


async def close_http_session(client: socketio.AsyncClient) -> None:
    """Close what a client leaves open when its handshake is refused."""
    if client.eio.http is not None:
        await client.eio.http.close()


def ignore_events(client: socketio.AsyncClient) -> None:
    """Take away a client's event handlers."""
    client.handlers.clear()


def is_open(connection: ClientConnection) -> bool:
    """Whether a bare WebSocket is neither closed nor closing."""
    return connection.state is State.OPEN


async def close_connection(connection: ClientConnection) -> None:
    """Close a connection that the server may be closing already.

    `websockets` aborts the transport of a connection that is not open any more, which fails in asyncio's `_force_close`
    where the transport was closed with bytes unsent and is gone.
    """
    if is_open(connection):
        await connection.close()
    else:
        await connection.wait_closed()
