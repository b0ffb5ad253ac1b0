"""Queue and rooms in Redis, the server's record of searches and calls: the `{match}:*` keys.

`{match}` is written as it stands, with its braces: a hash tag, which keeps these keys in one slot of a cluster.

    {match}:queue:{pool}:{level}    waiting users of a pool (pools.py) by id, scored by their start (µs)
    {match}:queue:{pool}:{level}:{topic}    the same, of searches with a topic
    {match}:pools                   the pools of partners and courses, scored by the time (ms) at which the last search
                                    that began there will be over
    {match}:searching:{userId}      a search, for 5 minutes: level, topic, socket and start (µs), a line each, and the
                                    queue entry: {pool, fit, userId, socket, level, topic, card}, in this order
    {match}:waits:{pool}:{level}    quantiles of waits: logarithms of the median and of 90% (s), and how many moved them
    {match}:came:{pool}             latest searches of the last 15 minutes: when each began (ms), its user, pool and
                                    level, and the features of its entry
    {match}:recent:{a}:{b}          the room that two learners were in in the last ten minutes, or, for some seconds,
                                    `refused`: their match was not allowed
    {match}:in_room:{userId}        the room a user is in and, a line below, the queue entry they came with
    {match}:room:{roomId}:users     its two participants
    {match}:room:{roomId}:meta      createdAt topic level sessionId userAId userBId caller announced connected, and of
                                    each socket:{userId} joins:{userId} first:{userId} heard:{userId} away:{userId}
                                    log:{userId}; troubled: a line of the call was poor; until: when both were last
                                    known to be there (ms), where one was lost since; and chosen, where a join has
                                    chosen the caller and not both clients have been informed since
    {match}:room:{roomId}:signals:{userId}  signals that the peer of a participant did not get yet
    {match}:outcomes:{roomId}       how its two participants kept their match, until the row of the call has it
    {match}:due                     deadlines, scored by their time (ms): search:{userId} join:{roomId}
                                    begin:{roomId}:{ms} grace:{roomId}:{userId} room:{roomId}
                                    end:{roomId}:{by}:{lasted ms, -1 for no call}:{ms}
    poll:{match}:{reader}           the number of a reader's last poll of the deadlines

A search of an earlier release has no `fit`, and is taken for one of a new learner. Before pools there were none: such
searches are in `{match}:queue:{level}`, so that neither release finds those of the other, and each removes its own.

The finds of one turn of the event loop are one run of their script, and so are the leaves.

The queue is a sorted set: leaving it costs the logarithm of its length, leaving a list its length. Each change is one
Lua script, atomic, by Redis's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import orjson

import errors
from adapters.redis_pipeline import RedisPipeline
from services.calls.fit import FitWeights
from services.calls.room_state import (
    NO_OUTCOMES,
    CallEnd,
    CallState,
    ClosedRoom,
    JoinResult,
    ParticipantAway,
    ParticipantRecord,
    RestoreResult,
    Role,
)
from services.calls.search_queue import ROOM_SECONDS, SearchQueue

__all__ = ("LUA_DIRECTORY", "ROOM_SECONDS", "Rooms")

#: A deadline that was taken, and not removed, is taken again after this time; and how many are taken at once.
DEADLINE_LEASE_MS, DEADLINE_BATCH_SIZE = 5000, 100
#: Scripts that may run twice, after a connection that broke before their answer.
_IDEMPOTENT_SCRIPTS = {
    "announce_match",
    "join_room",
    "store_signals",
    "discard_signals",
    "take_deadlines",
    "restore_room",
    "note_trouble",
    "note_goodbye",
}
LUA_DIRECTORY = Path(__file__).parent / "lua"


class Rooms(SearchQueue):
    def __init__(
        self,
        pipeline: RedisPipeline,
        *,
        search: timedelta = timedelta(minutes=5),
        join: timedelta = timedelta(seconds=20),
        grace: timedelta = timedelta(seconds=10),
        process_loss_grace: timedelta = timedelta(seconds=30),
        early_leave: timedelta = timedelta(seconds=60),
        weights: FitWeights = FitWeights(),  # noqa: B008 - frozen
    ) -> None:
        """Set how long a search lasts, a match waits for both to join, and a call for a dropped participant.

        `process_loss_grace` is for participants whose web process died: their clients notice it late. A call that is
        ended within `early_leave` is left early. `weights` are those of a match.
        """
        super().__init__(pipeline, search=search, join=join, weights=weights)
        self._grace, self.process_loss_grace, self._early_leave = grace, process_loss_grace, early_leave

    async def _run(self, script: str, keys: list[str], *arguments: str | bytes | int) -> Any:
        return await self._pipeline.call(script, keys, arguments, idempotent=script in _IDEMPOTENT_SCRIPTS)

    async def get_room_id(self, user_id: str) -> str | None:
        value: str | None = await self._pipeline.execute("GET", f"{{match}}:in_room:{user_id}", idempotent=True)
        return value.partition("\n")[0] if value else None

    async def announce(self, room_id: str) -> bool:
        """Note that a match is about to be emitted; return whether both learners are still there."""
        return bool(await self._run("announce_match", [f"{{match}}:room:{room_id}:meta"]))

    async def join(
        self,
        room_id: str,
        user_id: str,
        socket_id: str,
        after: int | None = None,
        *,
        joins: int = 0,
        peer_joins: int = 0,
        is_restored: bool = False,
        role: Role | Literal[""] = "",
    ) -> JoinResult:
        """Bind a participant's socket, which has received signals up to `after`, to the room.

        `joins` and `peer_joins` are the counts that the process knows: the new one exceeds them. `is_restored`: the
        socket was bound before, and must not replace a newer one. `role` is the one that the process knows; that of the
        room, if it has one, comes first. Raises NotInRoom, or RoomClosed where it would.
        """
        known = joins, peer_joins, int(is_restored), role
        arguments = user_id, socket_id, room_id, "" if after is None else after, *known
        answer = await self._run("join_room", _room_keys(room_id), *arguments)
        if answer[0] == "not_in_room":
            raise errors.NotInRoom()
        if answer[0] == "replaced":
            raise errors.RoomClosed()
        given, peer_id, peer_socket_id, connected, was_call, replaced, joins, state, grace, *rest = answer
        peer_joins, peer_after, signals, first_seq, is_chosen = rest
        return JoinResult(
            given,
            peer_id,
            peer_socket_id,
            connected or "",
            bool(was_call),
            replaced,
            int(joins),
            state,
            timedelta(milliseconds=int(grace)),
            int(peer_joins),
            int(peer_after) if peer_after else None,
            signals,
            int(first_seq),
            bool(is_chosen),
        )

    async def store_signals(
        self, room_id: str, user_id: str, socket_id: str, signals: Iterable[bytes], *, limit: int
    ) -> bool:
        """Store signals of a participant whose peer does not get them now; keep the last `limit`.

        Returns False where the room is gone, or has another socket of the user.
        """
        keys = [f"{{match}}:room:{room_id}:meta"]
        return bool(await self._run("store_signals", keys, user_id, socket_id, limit, *signals))

    async def discard_signals(self, room_id: str, user_id: str, seq: int) -> None:
        """Discard what is stored of a participant's signals up to `seq`: the peer has them."""
        await self._run("discard_signals", [f"{{match}}:room:{room_id}:meta"], user_id, seq)

    async def drop(
        self,
        room_id: str,
        user_id: str,
        socket_id: str,
        saved_state: bytes = b"",
        *,
        last_known: timedelta | None = None,
    ) -> ParticipantAway | ClosedRoom | None:
        """Note that a participant's socket is gone; None where the room knows another one, or is not there.

        A call waits for the participant to come back; a match that was not joined by both is closed. `socket_id` may
        also be the id of a dead web process and a dot, for which the grace is longer. The participant was there until
        `last_known` ago, now if None.
        """
        keys = [f"{{match}}:room:{room_id}:meta", "{match}:due"]
        grace = self.process_loss_grace if socket_id.endswith(".") else self._grace
        times = _milliseconds(grace), saved_state, _optional_milliseconds(last_known)
        match await self._run("drop_socket", keys, user_id, room_id, socket_id, *times):
            case ["away", peer_socket_id, joins]:
                return ParticipantAway(peer_socket_id, int(joins), grace)
            case ["unjoined"]:
                return await self.close(room_id, user_id, condition="unjoined")
        return None

    async def close(
        self,
        room_id: str,
        user_id: str | None,
        *,
        condition: str = "",
        by: str | None = None,
        why: Literal["left", "left_silent", "unjoined", ""] = "",
    ) -> ClosedRoom | None:
        """Close a room for a participant; None where it is gone, not theirs, or the condition does not hold.

        `condition`: `unjoined`, while it is no call; `away`, when the participant's grace is over; `socket:{id}`, while
        they are there with that socket. `by` is what the call's row will say ended it: the participant, when None.
        `why`: `left`, the participant ended it themselves; `left_silent`, the same, before the two had negotiated a
        connection; `unjoined`, the time to join is over. Any other end is nobody's fault.
        """
        answer = await self._run(
            "close_room",
            _room_keys(room_id),
            user_id or "",
            room_id,
            condition,
            by or user_id or "",
            why,
            self._join_ms,
            _milliseconds(self._early_leave),
        )
        if answer[0] == "not_in_room":
            return None
        lasted, at, announced, ago, outcomes, *fields = answer
        one, other = (
            ParticipantRecord(user, socket_id, orjson.loads(entry) if entry else None)
            for user, socket_id, entry in (fields[:3], fields[3:])
        )
        end = CallEnd(room_id, by or user_id or "", lasted, at, outcomes)
        return ClosedRoom(room_id, lasted != "-1", bool(announced), (one, other), end, ago != "0")

    async def end_lost_room(self, room_id: str, user_id: str, peer_id: str) -> CallEnd | None:
        """Note that a participant has ended a room that Redis has lost; None where it has not."""
        at = await self._run("end_lost_room", _room_keys(room_id), user_id, peer_id, room_id)
        return CallEnd(room_id, user_id, "-1", at) if at else None

    async def restore_room(
        self, call: CallState, *, caller_id: str = "", last_known: timedelta | None = None
    ) -> RestoreResult:
        """Restore the room of an open call that Redis has lost, or has as a match; both have the grace to join again.

        Its participants were there until `last_known` ago, or later if another process knows that; None where they are
        there now.
        """
        # The web process of a participant who is not there may have died with Redis's data.
        grace = self._join_ms if call.call_age is None else _milliseconds(self.process_loss_grace)
        seconds = max(1, ROOM_SECONDS - int(call.age.total_seconds()))
        user_ids, age, since = call.user_ids, _optional_milliseconds(call.call_age), _optional_milliseconds(last_known)
        arguments = (call.room_id, call.session_id, *user_ids, age, seconds, grace, caller_id, since)
        result: RestoreResult = await self._run("restore_room", _room_keys(call.room_id), *arguments)
        return result

    async def take_deadlines(self, reader: str = "", number: int = 0, answered: int = 0) -> list[list[str]] | None:
        """Take deadlines that have passed, split at their colons; each comes again in 5 s unless it is removed.

        `reader` numbers its polls. Returns None where Redis does not know the one that it `answered` last: it has lost
        data, and what has passed may not be so.
        """
        keys = ["{match}:due", f"poll:{{match}}:{reader}"]
        entries = await self._run("take_deadlines", keys, DEADLINE_BATCH_SIZE, DEADLINE_LEASE_MS, number, answered)
        return None if entries is None else [entry.split(":") for entry in entries]

    async def note_trouble(self, room_id: str) -> None:
        """Note that the line of a call is poor, so that neither participant has a bad outcome of it."""
        await self._run("note_trouble", [f"{{match}}:room:{room_id}:meta"])

    async def note_goodbye(self, user_id: str, socket_id: str) -> None:
        """Note that a client has closed a socket: a match of it that was not joined gets a deadline `goodbye`."""
        keys = [f"{{match}}:in_room:{user_id}", "{match}:due"]
        await self._run("note_goodbye", keys, user_id, socket_id, self._join_ms)

    async def remove_end(self, end: CallEnd) -> None:
        """Remove the deadline of an end that the row of its call has, or that it is not to have."""
        await self.remove_deadline("end", end.room_id, end.by, end.lasted_ms, end.at_ms)
        if end.outcomes != NO_OUTCOMES:
            await self._pipeline.execute("DEL", f"{{match}}:outcomes:{end.room_id}", idempotent=True)

    async def remove_deadline(self, *entry: str) -> None:
        await self._pipeline.execute("ZREM", "{match}:due", ":".join(entry), idempotent=True)


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _optional_milliseconds(duration: timedelta | None) -> int | str:
    """Return a duration as scripts take it, empty for None."""
    return "" if duration is None else _milliseconds(duration)


def _room_keys(room_id: str) -> list[str]:
    return [f"{{match}}:room:{room_id}:meta", f"{{match}}:room:{room_id}:users", "{match}:due"]
