"""Types of asyncapi.yaml, written by `make types`: edit the spec, not this file."""

from typing import Literal, NotRequired, TypeAlias, TypedDict

RoomId: TypeAlias = str


InvitationId: TypeAlias = str


SessionId: TypeAlias = str


UserId: TypeAlias = str


NotificationId: TypeAlias = str


Topic: TypeAlias = str


Level: TypeAlias = Literal["beginner", "intermediate", "advanced"]


CallLevel: TypeAlias = Literal["all", "beginner", "intermediate", "advanced"]


Sdp: TypeAlias = str


class IceCandidate(TypedDict):
    candidate: str
    sdpMid: NotRequired[str | None]
    sdpMLineIndex: NotRequired[int | None]
    usernameFragment: NotRequired[str | None]


class NoPayload(TypedDict):
    pass


class FindPartner(TypedDict):
    level: NotRequired[CallLevel]
    topic: NotRequired[Topic]
    strict: NotRequired[bool]
    among: NotRequired[str]


class InvitePartner(TypedDict):
    userId: UserId
    topic: NotRequired[Topic]


class AnswerInvitation(TypedDict):
    invitationId: InvitationId
    isAccepted: bool


class InvitationReference(TypedDict):
    invitationId: InvitationId


class RoomReference(TypedDict):
    roomId: RoomId


SequenceNumber: TypeAlias = int


class AppState(TypedDict):
    isBackground: bool


class JoinRoom(TypedDict):
    roomId: RoomId
    after: NotRequired[SequenceNumber]


class LocalDescription(TypedDict):
    roomId: RoomId
    sdp: Sdp


class LocalCandidate(TypedDict):
    roomId: RoomId
    candidate: IceCandidate | None


ErrorCode: TypeAlias = Literal[
    "banned",
    "pairing_on_hold",
    "resting",
    "account_suspended",
    "email_unverified",
    "age_required",
    "too_young",
    "terms_required",
    "profile_incomplete",
    "pool_closed",
    "already_searching",
    "already_in_room",
    "already_inviting",
    "not_enrolled",
    "not_found",
    "invitation_over",
    "partner_unavailable",
    "not_searching",
    "not_in_room",
    "peer_not_ready",
    "bad_role",
    "room_closed",
    "text_refused",
    "bad_payload",
    "rate_limited",
    "unavailable",
    "internal",
]


class EventError(TypedDict):
    code: ErrorCode
    message: str


class AckSuccess(TypedDict):
    ok: Literal[True]


class AckFailure(TypedDict):
    ok: Literal[False]
    error: EventError


Ack: TypeAlias = AckSuccess | AckFailure


InvitationExpiry: TypeAlias = str


InvitationOverReason: TypeAlias = Literal["accepted", "declined", "cancelled", "expired", "unavailable"]


class InvitationOver(TypedDict):
    invitationId: InvitationId
    reason: InvitationOverReason


class Resting(TypedDict):
    until: str


class WaitEstimate(TypedDict):
    median: int
    p90: int


class Partner(TypedDict):
    userId: UserId
    displayName: str
    avatarUrl: str | None
    level: Level


class IceServer(TypedDict):
    urls: list[str]
    username: NotRequired[str]
    credential: NotRequired[str]


class MatchFound(TypedDict):
    roomId: RoomId
    sessionId: SessionId
    partner: Partner
    topic: str | None
    isLevelWidened: bool
    iceServers: list[IceServer]
    invitationId: InvitationId | None


PeerRole: TypeAlias = Literal["caller", "receiver"]


class PeerJoined(TypedDict):
    role: PeerRole
    userId: UserId


class RemoteDescription(TypedDict):
    sdp: Sdp
    seq: SequenceNumber


class RemoteCandidate(TypedDict):
    candidate: IceCandidate | None
    seq: SequenceNumber


class PeerReconnecting(TypedDict):
    graceSeconds: int


NotificationType: TypeAlias = Literal[
    "match_found", "payment_success", "payment_failed", "system", "achievement", "admin_alert"
]


class Notification(TypedDict):
    id: NotificationId
    type: NotificationType
    title: str
    body: str
    data: dict[str, str] | None
    isRead: Literal[False]
    createdAt: str
    readAt: None


PeerLeftReason: TypeAlias = Literal["ended", "disconnected", "timeout", "banned"]


class PeerLeft(TypedDict):
    reason: PeerLeftReason


class InvitationAckSuccess(TypedDict):
    ok: Literal[True]
    invitationId: InvitationId
    expiresAt: InvitationExpiry


InvitationAck: TypeAlias = InvitationAckSuccess | AckFailure


class IceAckSuccess(TypedDict):
    ok: Literal[True]
    iceServers: list[IceServer]


IceAck: TypeAlias = IceAckSuccess | AckFailure


class Invitation(TypedDict):
    invitationId: InvitationId
    partner: Partner
    topic: str | None
    expiresAt: InvitationExpiry


class Searching(TypedDict):
    estimatedWaitSeconds: int
    waitSeconds: WaitEstimate
    learnersOnline: int
    levels: list[Level]
