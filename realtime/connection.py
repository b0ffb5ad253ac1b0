"""Connection of a socket, as event functions are given it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from realtime.emit import Event

#: Emits an event to a socket, in any web process; raises Unavailable if that is unreachable.
EmitTo = Callable[[str, Event[object]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SocketConnection:
    """One connected socket. `socket_id` is its Socket.IO id, which starts with the id of its web process."""

    user_id: str
    #: The refresh-token family of the login whose access token opened the socket.
    family_id: str
    socket_id: str
    emit_to: EmitTo

    async def emit(self, event: Event[object]) -> None:
        """Emit an event to this socket."""
        await self.emit_to(self.socket_id, event)
