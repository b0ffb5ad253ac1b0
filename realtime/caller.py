"""Owns what an event function knows of whoever sent the event, and how it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from realtime.emit import Event

#: Sends an event to a socket, on whichever worker it is; raises Unavailable where it can't be handed on.
Emit = Callable[[str, Event[object]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """One connected socket. `socket` is its Socket.IO id, which starts with the id of its worker."""

    user_id: str
    #: The sign-in whose token opened the socket.
    family_id: str
    socket: str
    emit: Emit

    async def hear(self, event: Event[object]) -> None:
        """Send an event to the caller itself."""
        await self.emit(self.socket, event)
