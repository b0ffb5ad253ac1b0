"""Delivery of messages of other web processes to the handler of their kind, in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from adapters import tasks
from adapters.ports import Handler

log = logging.getLogger("parlance.bus")

#: `[kind, socket_id, *arguments]`
Message = list[Any]


class Handlers:
    """Message handlers of a web process. An exception is logged, and the next messages are delivered."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Handler] = {}

    def set(self, kind: str, handler: Handler) -> None:
        self._by_kind[kind] = handler

    def call(self, kind: str, socket_id: str, *arguments: object) -> Awaitable[None] | None:
        """Call a handler; its errors are raised."""
        return self._by_kind[kind](socket_id, *arguments)

    def deliver(self, message: Message) -> Awaitable[None] | None:
        """Deliver a message; await the result, if any, before the next one."""
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
            # An awaitable of the handler was cancelled, not this delivery: go on.
            log.warning("message_handler_cancelled kind=%s", kind)
        except Exception:
            log.exception("message_handler_failed kind=%s", kind)


class Delivery:
    """Delivery of the messages of one sender: at once while handlers are synchronous, else in a task."""

    def __init__(self, handlers: Handlers, take: Callable[[], Message | None]) -> None:
        """`take` returns the next message, or None while there is none."""
        self._handlers = handlers
        self._take = take
        self._is_delivering = False
        self._task: asyncio.Task[None] | None = None

    def proceed(self) -> None:
        """Deliver the messages that have come; a running delivery does so by itself."""
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
