"""State of queue and rooms in Redis, and results of its changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple, NotRequired, TypedDict

from models import EndedBy, Level

#: The first to join is the caller.
Role = Literal["caller", "receiver"]
#: A learner's own level, as `EnglishLevel` has it.
PartnerLevel = Literal["beginner", "intermediate", "advanced"]


class PartnerCard(TypedDict):
    """The profile of a searching learner, as a partner is shown it."""

    displayName: str
    avatarUrl: str | None
    level: PartnerLevel


class QueueEntry(TypedDict):
    """A search in the queue, as Redis keeps it and the bus carries it."""

    userId: str
    socket: str
    #: The queue's name, which begins with the learner's age band (pools.py); a search of an early release has none.
    pool: NotRequired[str]
    #: What scripts compare (fit.py); a search of the release before has none.
    fit: NotRequired[str]
    level: Level
    #: Empty for none.
    topic: str
    card: PartnerCard
    #: The position in the queue, which is the moment (µs) it began by Redis's clock; not part of what Redis keeps.
    since: NotRequired[int]
    #: Whether the search accepts no neighbouring levels; false where it is missing.
    isStrict: NotRequired[bool]
    #: Whether the position was given at the head of the queue.
    atHead: NotRequired[bool]
    #: The platform of the learner's login, empty where it is not known; and those for which the pool was open.
    platform: NotRequired[str]
    platforms: NotRequired[list[str]]
    #: The invitation that was accepted, where there was no search: nothing continues after its match.
    invitation: NotRequired[str]


class Waits(NamedTuple):
    """Seconds that half, and nine of ten, of the recent searches of a pool and level waited at most."""

    median: float
    p90: float


class Queued(NamedTuple):
    """A search without a partner yet; `waits` are None where Redis does not know them."""

    entry: QueueEntry
    waited_ms: int
    waits: Waits | None


class Paired(NamedTuple):
    """A room that has just been created; `waited_ms` is how long the partner had waited.

    `own_wait_ms` is how long the search that found them had, None where it is a new one. `is_level_widened`: the two
    searched neighbouring levels.
    """

    partner_entry: QueueEntry
    level: Level
    topic: str | None
    waited_ms: int
    own_wait_ms: int | None = None
    is_level_widened: bool = False


class JoinResult(NamedTuple):
    """A participant's join of a room.

    `peer_socket_id` is empty while the peer is not there; `peer_joins` is how often it has joined, `peer_after` the
    last signal that it had received by then. `connected_ms`: when this join made the room a call, by Redis's clock, or
    empty; `was_call`: it was one. `replaced_socket_id` is the user's earlier socket in the room, or empty.
    `saved_state` is what an earlier socket of the user left, `stored_signals` are those stored since then. The user's
    signals have numbers above `first_seq`, which exceeds those of all earlier joins. `is_caller_chosen`: a join has
    chosen the caller, and not both clients have been informed since.
    """

    role: Role
    peer_id: str
    peer_socket_id: str
    connected_ms: str
    was_call: bool
    replaced_socket_id: str
    joins: int
    saved_state: str
    peer_grace: timedelta
    peer_joins: int
    peer_after: int | None
    stored_signals: list[str]
    first_seq: int
    is_caller_chosen: bool


class CallState(NamedTuple):
    """A call as its row has it: how long ago it was matched and connected, by PostgreSQL's clock, and who ended it."""

    room_id: str
    session_id: str
    user_ids: tuple[str, str]
    age: timedelta
    call_age: timedelta | None
    ended_by: EndedBy | None


#: `closed`: the room was closed the regular way; `busy`: a participant searches, or is in another room.
RestoreResult = Literal["restored", "closed", "busy"]


class RoomRecord(NamedTuple):
    """What Redis has of a room for one participant: sockets, empty where they are away, and counts of joins."""

    is_call: bool
    socket_id: str
    joins: int
    peer_socket_id: str
    peer_joins: int


class Binding(NamedTuple):
    """A user in a room and the socket by which Redis knows them there, empty where they are away."""

    user_id: str
    room_id: str
    socket_id: str
    is_joined: bool
    is_call: bool


class ParticipantRecord(NamedTuple):
    """A participant of a closed room; `socket_id` is empty where they had not joined or were away."""

    user_id: str
    socket_id: str
    queue_entry: QueueEntry | None


#: Of a match in which there is nothing to count.
NO_OUTCOMES = "--"


class CallEnd(NamedTuple):
    """The end of a call that its row is still to record, as `{match}:due` has it: by whom, after how long, and when.

    `lasted_ms` is -1 where it never was a call; `at_ms` is by Redis's clock. `outcomes` are those of `user_a` and
    `user_b`, a letter each; empty where only Redis has them.
    """

    room_id: str
    by: str
    lasted_ms: str
    at_ms: str
    outcomes: str = ""


@dataclass(frozen=True, slots=True)
class ClosedRoom:
    """A room that has just been closed; `was_call`: both had joined, `announced`: the match was about to be emitted.

    The first of the participants waited in the queue, the second found them.
    """

    room_id: str
    was_call: bool
    announced: bool
    participants: tuple[ParticipantRecord, ParticipantRecord]
    end: CallEnd
    #: Whether it ended before now: when its participants were last known to be there.
    is_backdated: bool = False

    def get_own(self, user_id: str) -> ParticipantRecord:
        return self.participants[0] if self.participants[0].user_id == user_id else self.participants[1]

    def get_peer(self, user_id: str) -> ParticipantRecord:
        return self.participants[1] if self.participants[0].user_id == user_id else self.participants[0]


class ParticipantAway(NamedTuple):
    """A participant of a call whose socket is gone; `peer_socket_id` is empty where the peer is away too.

    `joins` is how often the participant had joined, `grace` how long they have to come back.
    """

    peer_socket_id: str
    joins: int
    grace: timedelta
