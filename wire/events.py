"""Types of asyncapi.yaml, written by `make types`: edit the spec, not this file."""

from typing import Literal, NotRequired, TypeAlias, TypedDict

Id: TypeAlias = str


Topic: TypeAlias = str


Level: TypeAlias = Literal["all", "beginner", "intermediate", "advanced"]


Sdp: TypeAlias = str


class Candidate1(TypedDict):
    candidate: str
    sdpMid: NotRequired[str | None]
    sdpMLineIndex: NotRequired[int | None]
    usernameFragment: NotRequired[str | None]


Candidate: TypeAlias = Candidate1 | None


class Nothing(TypedDict):
    pass


class FindPartner(TypedDict):
    level: NotRequired[Level]
    topic: NotRequired[Topic]


class RoomRef(TypedDict):
    roomId: Id


Seq: TypeAlias = int


class AppState(TypedDict):
    background: bool


class JoinRoom(TypedDict):
    roomId: Id
    after: NotRequired[Seq]


class SendDescription(TypedDict):
    roomId: Id
    sdp: Sdp


class SendCandidate(TypedDict):
    roomId: Id
    candidate: Candidate


ErrorCode: TypeAlias = Literal[
    "banned",
    "profile_incomplete",
    "already_searching",
    "already_in_room",
    "not_searching",
    "not_in_room",
    "peer_not_ready",
    "bad_role",
    "room_closed",
    "bad_payload",
    "rate_limited",
    "unavailable",
    "internal",
]


class Error(TypedDict):
    code: ErrorCode
    message: str


class Ack1(TypedDict):
    ok: Literal[True]


class Ack2(TypedDict):
    ok: Literal[False]
    error: Error


Ack: TypeAlias = Ack1 | Ack2


class IceAck2(TypedDict):
    ok: Literal[False]
    error: Error


class Searching(TypedDict):
    estimated_wait_seconds: int


class Partner(TypedDict):
    userId: Id
    displayName: str
    avatarUrl: str | None
    level: Literal["beginner", "intermediate", "advanced"]


class IceServer(TypedDict):
    urls: list[str]
    username: NotRequired[str]
    credential: NotRequired[str]


class MatchFound(TypedDict):
    roomId: Id
    sessionId: Id
    partner: Partner
    topic: str | None
    iceServers: list[IceServer]


class PeerJoined(TypedDict):
    role: Literal["caller", "receiver"]
    userId: Id


class Description(TypedDict):
    sdp: Sdp
    seq: Seq


class CandidateMessage(TypedDict):
    candidate: Candidate
    seq: Seq


class PeerReconnecting(TypedDict):
    graceSeconds: int


class Notification(TypedDict):
    id: Id
    type: Literal["match_found", "payment_success", "payment_failed", "system", "achievement", "admin_alert"]
    title: str
    body: str
    data: dict[str, str] | None
    isRead: Literal[False]
    createdAt: str
    readAt: None


class PeerLeft(TypedDict):
    reason: Literal["ended", "disconnected", "timeout", "banned"]


class IceAck1(TypedDict):
    ok: Literal[True]
    iceServers: list[IceServer]


IceAck: TypeAlias = IceAck1 | IceAck2
