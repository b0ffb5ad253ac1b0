"""Messages to the web process that holds a socket."""

from __future__ import annotations

import logging
from typing import Any

import errors
from adapters.ports import Bus

log = logging.getLogger("parlance.calls")


async def publish(bus: Bus, socket_id: str, kind: str, *arguments: Any) -> None:
    """Publish a message to the web process of a socket; where it is unreachable, its sockets are gone or ask again."""
    try:
        await bus.send(socket_id, kind, *arguments)
    except errors.Unavailable:
        log.warning("publish_failed kind=%s socket_id=%s", kind, socket_id)
