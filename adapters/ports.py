"""Owns the shapes that services ask of the outside world; each is named by its role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

#: Takes the socket a message is for, then the message's arguments. One that answers None is done at once.
Handler = Callable[..., Awaitable[None] | None]


class Bus(Protocol):
    """Carries messages to the worker that holds a socket; those from one worker to another arrive once and in order."""

    worker_id: str

    def on(self, kind: str, handler: Handler) -> None:
        """Call `handler(socket, *arguments)` for each message of `kind` that is for a socket of this worker."""

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        """Hand a message on; raise Unavailable where it could not be. To an own socket: call the handler."""

    def post(self, socket: str, kind: str, *arguments: Any) -> None:
        """Hand a message on at the end of this turn of the event loop.

        Raises Unavailable where it is known that it can't go: a dead worker, a full queue, Redis away.
        """

    def on_worker_lost(self, listener: Callable[[str], Awaitable[None]]) -> None:
        """Call `listener` with the id of a worker that died; in every worker, and perhaps more than once."""

    def on_data_lost(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Call `listener` when Redis has lost what this worker told it, or the others took this worker for dead."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in both its forms. `link` is the one thing the reader is asked to open."""

    to: str
    subject: str
    html: str
    text: str
    link: str


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        """Hand a mail over; the same key twice is one mail. Raises whatever keeps it from leaving."""
