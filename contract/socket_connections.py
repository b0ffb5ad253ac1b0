"""Socket.IO connections of this web process: handshake, disconnect, and the end of the logins behind them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from socketio.exceptions import ConnectionRefusedError as HandshakeRefused

import errors
from adapters import budgets, logs
from adapters.tasks import BackgroundTasks
from contract import problems
from realtime import lifecycle
from realtime.connection import EmitTo, SocketConnection
from realtime.lifecycle import Manner

if TYPE_CHECKING:
    from container import Container
    from contract.socket_server import Server

#: Between two attempts to record a disconnect while Redis or PostgreSQL is unavailable.
_RETRY_SECONDS = 1.0


class Connections:
    """Handlers of `connect` and `disconnect`, and updates of the record of a user's sockets."""

    def __init__(self, services: Container, server: Server, emit: EmitTo) -> None:
        self._services = services
        self._server = server
        self._sockets = server.directory.sockets
        self._emit = emit
        self._tasks = BackgroundTasks()

    def present(self) -> list[str]:
        """List the sockets of this process that have completed the handshake."""
        return [socket_id for socket_id, held in self._sockets.items() if held.event_connection is not None]

    async def record_again(self) -> None:
        """Record this process's sockets again, after Redis lost its data."""
        for socket_id, held in list(self._sockets.items()):
            if held.event_connection is not None:
                self._services.user_sockets.add(held.event_connection.user_id, socket_id)

    async def connect(self, socket_id: str, environ: dict[str, Any], auth: Any = None) -> None:
        logs.request_id.set(socket_id)
        budgets.begin_request()
        try:
            identity = await lifecycle.connect(self._services, auth)
        except Exception as exception:
            refusal = problems.as_product_error(exception)
            raise HandshakeRefused(refusal.code, *([dict(refusal.members)] if refusal.members else [])) from None
        if socket_id in self._sockets:  # it may have disconnected meanwhile
            connection = SocketConnection(identity.user_id, identity.family_id, socket_id, self._emit)
            self._sockets[socket_id].event_connection = connection
            self._services.user_sockets.add(identity.user_id, socket_id)
            lifecycle.connected(self._services, connection)

    async def disconnect(self, socket_id: str, reason: str) -> None:
        held = self._sockets.get(socket_id)
        if held is None or held.event_connection is None:
            return
        logs.request_id.set(socket_id)
        connection, held.event_connection = held.event_connection, None
        self._services.user_sockets.remove(connection.user_id, socket_id)
        reasons = self._server.reason
        manners: dict[str, Manner] = {reasons.CLIENT_DISCONNECT: "goodbye", reasons.PING_TIMEOUT: "silence"}
        manner = manners.get(reason, "other")
        if not await self._record_disconnect(connection, manner):
            # In a task: the connection closes at once, also while Redis or PostgreSQL is unavailable.
            self._tasks.start(self._retry_disconnect(connection, manner))

    async def _record_disconnect(self, connection: SocketConnection, manner: Manner) -> bool:
        """Record that a socket is gone; return False if that has to be retried."""
        try:
            await lifecycle.disconnect(self._services, connection, manner=manner)
        except Exception as exception:
            return not isinstance(problems.as_product_error(exception), errors.Unavailable)
        return True

    async def _retry_disconnect(self, connection: SocketConnection, manner: Manner) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            if await self._record_disconnect(connection, manner):
                return

    def end_logins(self, ended: set[str]) -> None:
        """Disconnect every socket of the logins that have ended."""
        for socket_id, held in list(self._sockets.items()):
            if held.event_connection is not None and held.event_connection.family_id in ended:
                self._tasks.start(self._server.disconnect(socket_id))
