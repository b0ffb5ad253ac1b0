"""Background loop of the socket server: deadlines, peers that drop and return, dead web processes, lost data."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

import errors
from realtime import emit
from realtime.connection import EmitTo
from realtime.outcomes import emit_outcome
from services.calls.outcomes import Outcome

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.background")

DEADLINE_POLL_SECONDS = 0.5


async def run(
    services: Container,
    emit_to: EmitTo,
    list_socket_ids: Callable[[], Iterable[str]],
    classify: Callable[[Exception], errors.ProductError],
) -> None:
    """Handle deadlines for as long as the server runs; `list_socket_ids` names the sockets of this web process.

    `classify` returns the error of any exception, and logs one that is no outage with its traceback.
    """

    async def emit_all(outcomes: AsyncIterator[Outcome]) -> None:
        async for outcome in outcomes:
            await emit_outcome(services, emit_to, outcome)

    async def handle_process_lost(process_id: str) -> None:
        log.warning("web_process_lost process_id=%s", process_id)
        await emit_all(services.recovery.recover_process(process_id))

    async def handle_data_lost() -> None:
        log.warning("redis_data_lost process_id=%s", services.bus.process_id)
        try:
            await emit_all(services.recovery.restore_data())
        finally:
            for socket_id in list_socket_ids():
                await emit_to(socket_id, emit.resync())

    async def handle_peer_change(outcome: Outcome) -> None:
        await emit_outcome(services, emit_to, outcome)

    services.signaling.on_peer_change(handle_peer_change)
    services.bus.on_process_lost(handle_process_lost)
    services.bus.on_data_lost(handle_data_lost)
    while True:
        await asyncio.sleep(DEADLINE_POLL_SECONDS)
        try:
            await emit_all(services.recovery.handle_deadlines())
        except Exception as error:  # probably an outage of Redis
            log.warning("deadlines_not_read error=%r code=%s", error, classify(error).code)
            await asyncio.sleep(DEADLINE_POLL_SECONDS)
