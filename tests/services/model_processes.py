"""Web processes of the matchmaking model: real services, over call rows and a network that the model holds."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import errors
from models import AgeBand, CallSession, EndedBy, Level
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome, Partner, PeerReconnected, PeerReconnecting
from services.calls.pairing_checks import PairingChecks
from services.calls.pools import PARTNERS, Pool, Pools, name_queue
from services.calls.reconciliation import Reconciliation
from services.calls.recovery import RecoveryService
from services.calls.room_checks import RoomChecks
from services.calls.room_state import CallState, QueueEntry, Waits
from services.calls.rooms import Rooms
from services.calls.search_rounds import SearchRounds
from services.calls.seekers import Seeker, Wishes
from services.calls.signaling import SignalingService
from services.calls.wait_estimates import WaitEstimates
from services.safety.text_filter import TextFilter
from testing.calls import LocalBus

if TYPE_CHECKING:
    from tests.services.matchmaking_model import Model


class Rows(CallHistoryService):
    """The rows of calls, as PostgreSQL would keep them."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.open: dict[str, CallSession] = {}
        self.ended: dict[str, CallSession] = {}
        self.ends: Counter[str] = Counter()

    async def start(
        self,
        session_id: str,
        room_id: str,
        user_a_id: str,
        user_b_id: str,
        topic: str | None,
        level: Level,
        waited_ms: int | None,
        pool: AgeBand,
    ) -> bool:
        if (change := self._model.change_before_row) is not None:
            self._model.change_before_row = None
            change(user_a_id, user_b_id)
        standings = [self._model.standings[user_id] for user_id in (user_a_id, user_b_id)]
        refusals = [refusal for each in standings for refusal in self._model.gates.list_refusals(each)]
        if refusals or {each.pool for each in standings} != {pool}:
            self._model.counts["pairs refused"] += 1
            return False
        call = CallSession(
            id=uuid.UUID(session_id),
            room_id=room_id,
            user_a_id=uuid.UUID(user_a_id),
            user_b_id=uuid.UUID(user_b_id),
            level=level,
        )
        call.started_at = datetime.now(UTC)
        self.open[room_id] = call
        return True

    async def list_forbidden_rooms(self, user_id: str) -> list[str]:
        return [
            room_id
            for room_id, call in self.open.items()
            if user_id in (str(call.user_a_id), str(call.user_b_id)) and self._model.is_forbidden(call)
        ]

    async def connect(self, room_id: str, **_: Any) -> None:
        if room_id in self.open:
            self.open[room_id].connected_at = datetime.now(UTC)

    async def end(self, room_id: str, *, ended_by: str, **_: Any) -> bool:
        if (call := self.open.pop(room_id, None)) is None:
            return False
        call.ended_by = EndedBy(ended_by) if ended_by in ("timeout", "error") else EndedBy.USER_A
        self.ended[room_id] = call
        self.ends[room_id] += 1
        return True

    async def list_open_calls(self) -> list[CallState]:
        return [_build_state(call) for call in self.open.values()]

    async def list_calls_of_rooms(self, room_ids: Iterable[str]) -> list[CallState]:
        found = [self.open.get(room_id) or self.ended.get(room_id) for room_id in room_ids]
        return [_build_state(call) for call in found if call is not None]


def _build_state(call: CallSession) -> CallState:
    now = datetime.now(UTC)
    call_age = now - call.connected_at if call.connected_at else None
    user_ids = str(call.user_a_id), str(call.user_b_id)
    return CallState(call.room_id, str(call.id), user_ids, now - call.started_at, call_age, call.ended_by)


class Matchmaking(MatchmakingService):
    """Matchmaking that asks the model, not PostgreSQL, who searches and whom they must not meet."""

    def __init__(self, model: Model, bus: LocalBus, rooms: Rooms, rows: CallRecords) -> None:
        gates, texts = model.gates, TextFilter(is_on=False)
        super().__init__(
            *(bus, None, rooms, model.rows, rows, gates, texts),  # type: ignore[arg-type]
            pools=ModelPools(model),
            estimates=NoPast(None, rooms),  # type: ignore[arg-type]
        )
        self._model = model

    async def _read_seeker(self, user_id: str, socket_id: str, wishes: Wishes) -> Seeker:
        standing = self._model.standings[user_id]
        self._model.gates.require_all(standing)
        profile = Partner(user_id, "Ada", None, "beginner", socket_id)
        return Seeker(
            profile,
            sorted(self._model.enemies[user_id]),
            standing.pool,
            **self._model.features[user_id],
            met=self._model.list_met(user_id),
        )


class ModelPools(Pools):
    """Pools whose members the model knows: its partners, and of each course all who search there."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def choose(self, user_id: str, band: AgeBand, among: str, platform: str = "") -> Pool:
        return Pool(name_queue(band, among), sorted(self._model.partners[user_id]) if among == PARTNERS else None)


class NoPast(WaitEstimates):
    """Estimates without calls of the last days."""

    async def read_past(self, level: Level) -> Waits | None:
        return None


class Checks(PairingChecks):
    """Checks whose messages wait until the model handles them: they are tasks of their own in a web process."""

    def __init__(self, model: Model, bus: LocalBus, rows: CallRecords, matchmaking: Matchmaking) -> None:
        super().__init__(bus, model.rooms, rows, model.rows, matchmaking)
        self._model = model

    async def _handle_search_check(self, socket_id: str) -> None:
        self._model.pending_checks.append(partial(self._check_search, socket_id))

    async def _handle_match_refused(self, socket_id: str, entry: QueueEntry | None) -> None:
        self._model.pending_checks.append(partial(self._resume_search, socket_id, entry))


class Network(LocalBus):
    """The bus of one worker, which reaches the handlers of the others."""

    def __init__(self, model: Model, process_id: str) -> None:
        super().__init__(process_id)
        self._model = model

    async def send(self, socket: str, kind: str, *arguments: Any) -> None:
        worker = self._model.workers.get(socket.partition(".")[0])
        if worker is None or worker.id in self._model.suspended:
            raise errors.Unavailable()
        await worker.bus._handlers[kind](socket, *arguments)


class Worker:
    """A web process: its matchmaking, signaling and recovery."""

    def __init__(self, model: Model, process_id: str) -> None:
        self.id = process_id
        self.bus = Network(model, process_id)
        self.bus.on("emit", self._emit)
        rows = CallRecords(model.rooms, model.rows)
        self.matchmaking = Matchmaking(model, self.bus, model.rooms, rows)
        self.search_rounds = SearchRounds(
            self.matchmaking, model.rooms, clock=lambda: model.clock, choose=model.random.random
        )
        self.signaling = SignalingService(self.bus, model.rooms, rows, self.matchmaking)
        self.signaling.on_peer_change(self._move)
        self._apply = model.apply
        self.pairing_checks = Checks(model, self.bus, rows, self.matchmaking)
        self.pairing_checks.on_outcome(self._finish)
        self.checks = RoomChecks(self.bus, model.rooms, rows, model.rows, self.matchmaking, self.signaling)
        reconciliation = Reconciliation(
            model.rooms, model.rows, self.matchmaking, self.signaling, self.checks, process_id
        )
        self.recovery = RecoveryService(
            model.rooms, rows, self.matchmaking, self.signaling, reconciliation, self.checks
        )

    async def _emit(self, socket: str, name: str, payload: Any) -> None: ...

    async def _finish(self, outcome: Outcome) -> None:
        self._apply(outcome)

    async def _move(self, moved: PeerReconnecting | PeerReconnected) -> None:
        self._apply(moved)
