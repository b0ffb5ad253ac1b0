"""Owns what the socket door does unasked: peers that come and go, deadlines, those of a dead worker, lost data."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

from realtime import emit
from realtime.connection import Emit
from realtime.outcomes import Outcome, emit_outcome

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.upkeep")

#: Seconds between two looks at what is due.
DEADLINE_POLL_SECONDS = 0.5


async def run(services: Container, send: Emit, sockets: Callable[[], Iterable[str]]) -> None:
    """Look after searches and calls for as long as the server serves; `sockets` are those of this worker."""

    async def tell_all(outcomes: AsyncIterator[Outcome]) -> None:
        async for outcome in outcomes:
            await emit_outcome(services, send, outcome)

    async def worker_lost(worker_id: str) -> None:
        log.warning("worker %s has died; its calls wait for their members", worker_id)
        await tell_all(services.recovery.recover_worker(worker_id))

    async def data_lost() -> None:
        log.warning("Redis has lost its data; searches and rooms are made again")
        try:
            await tell_all(services.recovery.restore_data())
        finally:
            for socket in sockets():
                await send(socket, emit.resync())

    async def peer_moved(outcome: Outcome) -> None:
        await emit_outcome(services, send, outcome)

    services.signaling.on_peer_change(peer_moved)
    services.bus.on_worker_lost(worker_lost)
    services.bus.on_data_lost(data_lost)
    while True:
        await asyncio.sleep(DEADLINE_POLL_SECONDS)
        try:
            await tell_all(services.recovery.handle_deadlines())
        except Exception as error:  # most likely Redis is away
            log.warning("what is due could not be looked at: %s: %s", type(error).__name__, error)
            await asyncio.sleep(DEADLINE_POLL_SECONDS)
