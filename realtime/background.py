"""Background loops of the socket server: deadlines, room checks, retries, dropped peers, dead processes, lost data."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

import errors
from adapters.tasks import BackgroundTasks
from realtime import emit
from realtime.connection import EmitTo
from realtime.outcomes import emit_outcome
from services.calls.learners_online import PUBLISH_SECONDS
from services.calls.outcomes import Outcome
from services.calls.recovery import DataLost
from services.calls.room_checks import CHECK_SECONDS
from services.calls.search_rounds import ROUND_SECONDS

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.background")

DEADLINE_POLL_SECONDS = 0.5
#: Seconds between two attempts to restore lost data while a store is unavailable.
RESTORE_RETRY_SECONDS = 1.0


async def run(
    services: Container,
    emit_to: EmitTo,
    list_socket_ids: Callable[[], Iterable[str]],
    classify: Callable[[Exception], errors.ProductError],
) -> None:
    """Handle deadlines, check rooms and try searches again for as long as the server runs.

    `list_socket_ids` names the sockets of this web process. `classify` returns the error of any exception, and logs one
    that is no outage with its traceback.
    """
    # No deadline is handled while lost data is restored.
    lock = asyncio.Lock()

    async def emit_all(outcomes: AsyncIterator[Outcome]) -> None:
        async for outcome in outcomes:
            await emit_outcome(services, emit_to, outcome)

    async def handle_process_lost(process_id: str) -> None:
        log.warning("web_process_lost process_id=%s", process_id)
        await emit_all(services.recovery.recover_process(process_id))

    async def handle_data_lost() -> None:
        log.warning("redis_data_lost process_id=%s", services.bus.process_id)
        async with lock:
            await restore_data()
            await emit_ends_of_invitations()
            await emit_resync()

    async def restore_at_start() -> None:
        async with lock:
            await restore_data()
        log.info("calls_reconciled process_id=%s", services.bus.process_id)

    async def restore_data() -> None:
        failures = 0
        while True:
            try:
                await emit_all(services.recovery.restore_data())
                break
            except Exception as error:  # probably an outage of PostgreSQL or Redis
                log.warning("restore_repeated error=%r code=%s", error, classify(error).code)
            failures += 1
            if failures == 1:
                await emit_resync()
            await asyncio.sleep(RESTORE_RETRY_SECONDS)

    async def emit_ends_of_invitations() -> None:
        """Emit the ends that came while Redis did not have the sockets, to those of this web process."""
        try:
            for ended in await services.invitation_ends.list_recent_ends(services.learners_online.list_sockets()):
                await emit_outcome(services, emit_to, ended)
        except Exception as error:  # probably an outage of PostgreSQL; clients show no invitation after its time
            log.warning("invitation_ends_not_emitted error=%r code=%s", error, classify(error).code)

    async def emit_resync() -> None:
        for socket_id in list_socket_ids():
            await emit_to(socket_id, emit.resync())

    async def poll_deadlines() -> None:
        while True:
            await asyncio.sleep(DEADLINE_POLL_SECONDS)
            is_data_lost = False
            try:
                async with lock:
                    await emit_all(services.recovery.handle_deadlines())
            except DataLost:
                is_data_lost = True
            except Exception as error:  # probably an outage of Redis
                log.warning("deadlines_not_read error=%r code=%s", error, classify(error).code)
                await asyncio.sleep(DEADLINE_POLL_SECONDS)
            if is_data_lost:
                await handle_data_lost()

    async def check_rooms() -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await emit_all(services.recovery.check_rooms())
            except Exception as error:  # probably an outage of Redis or PostgreSQL
                log.warning("rooms_not_checked error=%r code=%s", error, classify(error).code)

    invited_tasks = BackgroundTasks()

    async def emit_invitations(user_id: str, socket_id: str) -> None:
        try:
            for outcome in await services.invitations.list_open(user_id, socket_id):
                await emit_outcome(services, emit_to, outcome)
        except Exception as error:  # probably an outage of PostgreSQL
            log.warning("invitations_not_emitted socket_id=%s error=%r code=%s", socket_id, error, classify(error).code)

    async def handle_outcome(outcome: Outcome) -> None:
        await emit_outcome(services, emit_to, outcome)

    async def retry_searches() -> None:
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            try:
                async with lock:
                    await emit_all(services.search_rounds.retry())
            except Exception as error:  # probably an outage of Redis or PostgreSQL
                log.warning("searches_not_retried error=%r code=%s", error, classify(error).code)

    async def publish_learners_online() -> None:
        while True:
            try:
                await services.learners_online.publish()
            except Exception as error:  # probably an outage of Redis
                log.warning("learners_online_not_published error=%r code=%s", error, classify(error).code)
            await asyncio.sleep(PUBLISH_SECONDS)

    services.signaling.on_peer_change(handle_outcome)
    services.pairing_checks.on_outcome(handle_outcome)
    services.invitation_ends.on_outcome(handle_outcome)
    services.user_sockets.on_connected_while_invited(
        lambda user_id, socket_id: invited_tasks.start(emit_invitations(user_id, socket_id))
    )
    services.bus.on_process_lost(handle_process_lost)
    services.bus.on_data_lost(handle_data_lost)
    loops = poll_deadlines(), check_rooms(), retry_searches(), publish_learners_online()
    await asyncio.gather(restore_at_start(), *loops)
