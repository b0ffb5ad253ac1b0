"""Delivery of what other workers sent to the handler of its kind, in the order in which it came."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from adapters import tasks
from adapters.ports import Handler

log = logging.getLogger("parlance.bus")

#: `[kind, socket, *arguments]`
Message = list[Any]


class Handlers:
    """The handlers of a worker. One that trips is logged, and the next messages are handed on."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Handler] = {}

    def set(self, kind: str, handler: Handler) -> None:
        self._by_kind[kind] = handler

    def call(self, kind: str, socket: str, *arguments: object) -> Awaitable[None] | None:
        """Call a handler as it is, errors and all."""
        return self._by_kind[kind](socket, *arguments)

    def deliver(self, message: Message) -> Awaitable[None] | None:
        """Hand a message on; what it answers, if anything, is to be awaited before the next one is."""
        try:
            unfinished = self._by_kind[message[0]](*message[1:])
        except Exception:
            log.exception("message_handler_failed kind=%s", message[0])
            return None
        return None if unfinished is None else self._finish(message[0], unfinished)

    @staticmethod
    async def _finish(kind: str, unfinished: Awaitable[None]) -> None:
        try:
            await unfinished
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something that the handler waited for was cancelled, which is no reason to deliver nothing any more.
            log.warning("message_handler_cancelled kind=%s", kind)
        except Exception:
            log.exception("message_handler_failed kind=%s", kind)


class Delivery:
    """Hands on the messages of one sender: at once as long as handlers are done at once, else in a task."""

    def __init__(self, handlers: Handlers, take: Callable[[], Message | None]) -> None:
        """`take` answers the next message, or None while there is none."""
        self._handlers = handlers
        self._take = take
        self._is_delivering = False
        self._task: asyncio.Task[None] | None = None

    def proceed(self) -> None:
        """Hand on what is there now; a delivery under way does so by itself."""
        if self._is_delivering:
            return
        self._is_delivering = True
        while (message := self._take()) is not None:
            unfinished = self._handlers.deliver(message)
            if unfinished is not None:
                self._task = asyncio.create_task(self._go_on(unfinished))
                return
        self._is_delivering = False

    async def _go_on(self, unfinished: Awaitable[None]) -> None:
        await unfinished
        while (message := self._take()) is not None:
            following = self._handlers.deliver(message)
            if following is not None:
                await following
        self._is_delivering = False

    async def stop(self) -> None:
        if self._task is not None:
            await tasks.end(self._task)
