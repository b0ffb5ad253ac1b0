"""Messages between web processes: each kind has the types of its arguments, for its senders and its handler."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Concatenate, Generic, ParamSpec

import errors
from adapters.ports import Bus

log = logging.getLogger("parlance.bus")

P = ParamSpec("P")


class Message(Generic[P]):
    """One kind of message, to the web process that holds a socket; the socket's id comes before the arguments."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on(self, bus: Bus, handler: Callable[Concatenate[str, P], Awaitable[None] | None]) -> None:
        """Call `handler(socket_id, *arguments)` for each message of this kind to a socket of this process."""
        bus.on(self.kind, handler)

    async def send(self, bus: Bus, socket_id: str, *arguments: P.args, **none: P.kwargs) -> None:
        """Send a message; raise Unavailable where it could not be sent."""
        await bus.send(socket_id, self.kind, *arguments)

    async def send_if_there(self, bus: Bus, socket_id: str, *arguments: P.args, **none: P.kwargs) -> None:
        """Send a message; an unreachable process has lost its sockets, or they will repeat the request."""
        try:
            await bus.send(socket_id, self.kind, *arguments)
        except errors.Unavailable:
            log.warning("bus_message_unsent kind=%s socket_id=%s", self.kind, socket_id)


def get_process_id(socket_id: str) -> str:
    """Return the id of the web process that holds a socket: a socket's id starts with it."""
    return socket_id.partition(".")[0]
