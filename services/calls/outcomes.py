"""Outcomes of searches, matches and calls, from which events are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from errors import ProductError
from models import EnglishLevel, Level
from services.calls.room_state import PartnerLevel, Role

#: Why a call ended.
LeaveReason = Literal["ended", "disconnected", "timeout", "banned"]
#: Why an invitation is over.
OverReason = Literal["accepted", "declined", "cancelled", "expired", "unavailable"]


@dataclass(frozen=True, slots=True)
class Partner:
    """One side of a match as shown to the other, and the socket that searched."""

    user_id: str
    display_name: str
    avatar_url: str | None
    level: PartnerLevel
    socket_id: str


@dataclass(frozen=True, slots=True)
class Match:
    """Two learners and their room. `waiting` was in the queue, `seeker` found them.

    `is_level_widened`: they searched neighbouring levels.
    """

    room_id: str
    session_id: str
    level: Level
    topic: str | None
    waiting: Partner
    seeker: Partner
    is_level_widened: bool = False
    #: The invitation that was accepted, where `waiting` has invited `seeker`.
    invitation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Searching:
    """A search that waits in the queue.

    The seconds are the median and the 90% quantile of the waits of such searches; `levels` are those that it accepts.
    """

    socket_id: str
    median_seconds: int
    p90_seconds: int
    levels: tuple[EnglishLevel, ...]


@dataclass(frozen=True, slots=True)
class SearchExpired:
    """A search that expired without a match."""

    socket_id: str


@dataclass(frozen=True, slots=True)
class SearchRefused:
    """A search that ended because its learner may not meet others any more; `error` says why."""

    socket_id: str
    error: ProductError


@dataclass(frozen=True, slots=True)
class PartnerCancelled:
    """A match that did not become a call, for the learner who is left; `then`: their search that continues or ends."""

    socket_id: str
    then: Searching | Match | SearchRefused | None


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation, for sockets of the invitee."""

    socket_ids: tuple[str, ...]
    invitation_id: str
    inviter: Partner
    topic: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class InvitationEnded:
    """An invitation that is over, for sockets of both learners."""

    socket_ids: tuple[str, ...]
    invitation_id: str
    reason: OverReason


@dataclass(frozen=True, slots=True)
class RoomJoined:
    """A participant that entered a room, or came back to it.

    `peer_socket_id` is the other socket to inform. `is_reconnect`: it was a call, and the client knows its role.
    `replaced_socket_id` is the user's earlier socket, which has left the room with this join.
    """

    role: Role
    peer_socket_id: str | None
    is_reconnect: bool
    replaced_socket_id: str | None


@dataclass(frozen=True, slots=True)
class PeerReconnecting:
    """A call whose other participant dropped, and has `grace_seconds` to come back."""

    socket_id: str
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class PeerReconnected:
    """A call whose other participant has come back, or continues on another device."""

    socket_id: str


@dataclass(frozen=True, slots=True)
class SocketReplaced:
    """A socket whose user continues the call with another one."""

    socket_id: str


@dataclass(frozen=True, slots=True)
class Resync:
    """A socket whose place in its room was repaired: its client joins again, and is sent what it missed."""

    socket_id: str


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A call that is over."""

    socket_id: str
    reason: LeaveReason


Outcome = (
    Searching
    | SearchExpired
    | SearchRefused
    | Match
    | PartnerCancelled
    | Invited
    | InvitationEnded
    | PeerReconnecting
    | PeerReconnected
    | SocketReplaced
    | Resync
    | PeerLeft
)
