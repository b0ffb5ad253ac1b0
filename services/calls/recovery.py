"""Recovery of searches and calls: deadlines, dead web processes, and a Redis that has lost its data."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

from services.calls.call_records import CallRecords
from services.calls.goodbyes import Goodbyes
from services.calls.invitation_ends import InvitationEnds
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome
from services.calls.reconciliation import Reconciliation
from services.calls.room_checks import RoomChecks
from services.calls.room_state import CallEnd
from services.calls.rooms import Rooms
from services.calls.signaling import SignalingService

log = logging.getLogger("parlance.recovery")

#: Participants of a dead web process dropped at once, and deadlines handled at once.
PARTICIPANT_BATCH_SIZE, MAX_CONCURRENT_DEADLINES = 50, 8
#: A heartbeat that is older says when a process died; else it is declared dead in the moment in which its sockets are.
_LATE = timedelta(seconds=15)


class DataLost(Exception):
    """Redis has lost data, or has an older copy of it: its deadlines may not be so. `restore_data` comes first."""


class RecoveryService:
    def __init__(
        self,
        rooms: Rooms,
        records: CallRecords,
        matchmaking: MatchmakingService,
        signaling: SignalingService,
        reconciliation: Reconciliation,
        checks: RoomChecks,
        invitation_ends: InvitationEnds | None = None,
        goodbyes: Goodbyes | None = None,
        *,
        rejoin_seconds: float = 3.0,
    ) -> None:
        """`rejoin_seconds`: time for every web process to restore the rooms of its sockets, before empty ones are."""
        self._rooms = rooms
        self._records = records
        self._matchmaking = matchmaking
        self._signaling = signaling
        self._reconciliation = reconciliation
        self._checks = checks
        self._invitation_ends = invitation_ends
        self._goodbyes = goodbyes
        self._rejoin_seconds = rejoin_seconds
        #: The polls of deadlines are numbered: a Redis without the one it answered last has older data.
        self._reader = secrets.token_hex(4)
        self._polls = self._answered = 0
        self._answered_at = 0.0
        #: When Redis had lost data last; when it last had all data before that; and whether that is being restored.
        self._lost_at: float | None = None
        self._known_at = 0.0
        self._is_lost = False
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_DEADLINES)

    async def handle_deadlines(self) -> AsyncIterator[Outcome]:
        """Handle the deadlines that have passed; every web process polls, and each deadline is taken by one.

        Raises DataLost.
        """
        entries = await self._take_deadlines()
        # In order: a search that continues may be matched by the next outcome.
        for handled in asyncio.as_completed([self._handle_deadline(entry) for entry in entries]):
            for outcome in await handled:
                yield outcome

    async def _take_deadlines(self) -> list[list[str]]:
        self._polls += 1
        number = self._polls
        entries = await self._rooms.take_deadlines(self._reader, number, self._answered)
        if entries is None:
            raise DataLost()
        self._answered, self._answered_at = number, asyncio.get_running_loop().time()
        return entries

    async def _handle_deadline(self, entry: list[str]) -> list[Outcome]:
        try:
            async with self._semaphore:
                return await self._expire(entry)
        except Exception as error:  # it is taken again
            log.warning("deadline_failed entry=%s error=%r", ":".join(entry), error)
            return []

    async def _expire(self, entry: list[str]) -> list[Outcome]:
        match entry:
            case ["search", user_id]:
                expired = await self._matchmaking.expire_search(user_id)
                return [expired] if expired else []
            case ["join", room_id]:
                cancelled = await self._matchmaking.expire_match(room_id)
                await self._rooms.remove_deadline(*entry)
                return [*cancelled]
            case ["grace", room_id, user_id]:
                left = await self._signaling.expire_grace(room_id, user_id)
                return [left] if left else []
            case ["room", room_id]:
                both = await self._signaling.expire_room(room_id)
                await self._rooms.remove_deadline(*entry)
                return [*both]
            case ["invite" | "inviter" as kind, invitation_id]:
                if (ends := self._invitation_ends) is not None:
                    return await (ends.expire if kind == "invite" else ends.check_inviter)(invitation_id)
            case ["begin", room_id, at_ms]:
                await self._records.record_connected(room_id, at_ms, is_late=True)
            case ["goodbye", room_id, user_id, due_ms] if self._goodbyes is not None:
                await self._goodbyes.weigh(room_id, user_id, due_ms)
                await self._rooms.remove_deadline(*entry)
            case ["end", room_id, by, lasted_ms, at_ms]:
                await self._records.record_end(CallEnd(room_id, by, lasted_ms, at_ms), is_late=True)
            case _:
                await self._rooms.remove_deadline(*entry)
        return []

    async def recover_process(self, process_id: str) -> AsyncIterator[Outcome]:
        """Drop the sockets of a dead web process: calls wait for their users, matches and searches are over."""
        prefix = f"{process_id}."
        last_known = (await self._rooms.read_last_heartbeats([process_id])).get(process_id)
        if last_known is not None and last_known < _LATE:
            last_known = None
        batch: list[tuple[str, str]] = []
        async for participant in self._rooms.iterate_participants():
            batch.append(participant)
            if len(batch) == PARTICIPANT_BATCH_SIZE:
                async for outcome in self._drop(batch, prefix, last_known):
                    yield outcome
                batch = []
        async for outcome in self._drop(batch, prefix, last_known):
            yield outcome
        # After the rooms: a requeued partner of an ended match may have a socket of the dead process too.
        async for entry in self._rooms.iterate_searches():
            if entry["socket"].startswith(prefix):
                await self._rooms.leave_queue(entry["userId"], entry["socket"])
        if self._invitation_ends is not None:
            await self._invitation_ends.recover_process(process_id)

    async def _drop(
        self, participants: list[tuple[str, str]], prefix: str, last_known: timedelta | None
    ) -> AsyncIterator[Outcome]:
        drops = [self._signaling.drop(*each, prefix, last_known=last_known) for each in participants]
        for dropped in asyncio.as_completed(drops):
            try:
                outcome = await dropped
            except Exception as error:
                log.warning("participant_drop_failed process_id=%s error=%r", prefix[:-1], error)
            else:
                if outcome is not None:
                    yield outcome

    async def restore_data(self) -> AsyncIterator[Outcome]:
        """Reconcile Redis, which has lost data or this web process, with PostgreSQL and the sockets of this process.

        Where all processes have just started with Redis, none can have noticed a loss: so it is done at each start too.
        Several at once come to the same end, and what no loss concerns stays as it is.
        """
        async for outcome in self.begin_restoring():
            yield outcome
        await asyncio.sleep(self._rejoin_seconds)
        async for outcome in self.finish_restoring():
            yield outcome

    async def begin_restoring(self) -> AsyncIterator[Outcome]:
        """Restore what this web process has; all others do the same."""
        if self._answered:  # else this process has just started, or an attempt to restore the same loss has failed
            self._is_lost = await self._rooms.read_poll(self._reader) < self._answered
            self._answered = 0
            if self._is_lost:
                self._note_loss()
        # Before rows are compared: what is still to be written of a call is the truth about it.
        await asyncio.gather(*map(self._handle_deadline, await self._rooms.list_deadlines("begin", "end")))
        async for outcome in self._reconciliation.begin(self._get_last_known()):
            yield outcome
        if self._invitation_ends is not None:
            await self._invitation_ends.restore_deadlines()

    def _note_loss(self) -> None:
        now = asyncio.get_running_loop().time()
        # Calls that an earlier loss interrupted may still wait for their participants, who were there before it alone.
        is_first = self._lost_at is None or now - self._lost_at > 2 * self._rooms.process_loss_grace.total_seconds()
        self._known_at = self._answered_at if is_first else self._known_at
        self._lost_at = now

    def _get_last_known(self) -> timedelta | None:
        """Return how long ago Redis last had all data, None where it has lost none that this process knows of."""
        return timedelta(seconds=asyncio.get_running_loop().time() - self._known_at) if self._is_lost else None

    async def finish_restoring(self) -> AsyncIterator[Outcome]:
        """Restore what no web process has restored."""
        async for outcome in self._reconciliation.finish(self._get_last_known()):
            yield outcome

    async def check_rooms(self) -> AsyncIterator[Outcome]:
        """Compare the next rooms and searches of this web process with Redis."""
        async for outcome in self._checks.check():
            yield outcome
