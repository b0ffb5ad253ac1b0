"""Wire form of every event that the server emits: one function for each `emit.<event>` of asyncapi.yaml."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from instants import format_instant
from services.calls.outcomes import Invited, LeaveReason, Match, OverReason, Partner, Searching
from services.calls.room_state import Role
from services.messaging.notifications import NotificationMessage
from wire import events

#: The type that asyncapi.yaml gives the event's payload.
Payload = TypeVar("Payload", covariant=True)


class Event(NamedTuple, Generic[Payload]):
    name: str
    payload: Payload


def searching(search: Searching, learners_online: int) -> Event[events.Searching]:
    return Event(
        "searching",
        {
            "estimatedWaitSeconds": search.median_seconds,
            "waitSeconds": {"median": search.median_seconds, "p90": search.p90_seconds},
            "learnersOnline": learners_online,
            "levels": [level.value for level in search.levels],
        },
    )


def match_found(match: Match, partner: Partner, ice_servers: list[events.IceServer]) -> Event[events.MatchFound]:
    return Event(
        "match_found",
        {
            "roomId": match.room_id,
            "sessionId": match.session_id,
            "partner": {
                "userId": partner.user_id,
                "displayName": partner.display_name,
                "avatarUrl": partner.avatar_url,
                "level": partner.level,
            },
            "topic": match.topic,
            "isLevelWidened": match.is_level_widened,
            "iceServers": ice_servers,
            "invitationId": match.invitation_id,
        },
    )


def invitation(invited: Invited) -> Event[events.Invitation]:
    return Event(
        "invitation",
        {
            "invitationId": invited.invitation_id,
            "partner": {
                "userId": invited.inviter.user_id,
                "displayName": invited.inviter.display_name,
                "avatarUrl": invited.inviter.avatar_url,
                "level": invited.inviter.level,
            },
            "topic": invited.topic,
            "expiresAt": format_instant(invited.expires_at),
        },
    )


def invitation_over(invitation_id: str, reason: OverReason) -> Event[events.InvitationOver]:
    return Event("invitation_over", {"invitationId": invitation_id, "reason": reason})


def partner_cancelled() -> Event[events.NoPayload]:
    return Event("partner_cancelled", {})


def peer_joined(role: Role, user_id: str) -> Event[events.PeerJoined]:
    """`role` and `user_id` are those of the peer that joined."""
    return Event("peer_joined", {"role": role, "userId": user_id})


def webrtc_offer(sdp: str) -> Event[events.RemoteDescription]:
    """`seq` is set where the signal is relayed, as for the other two."""
    return Event("webrtc_offer", {"sdp": sdp, "seq": 0})


def webrtc_answer(sdp: str) -> Event[events.RemoteDescription]:
    return Event("webrtc_answer", {"sdp": sdp, "seq": 0})


def webrtc_ice(candidate: events.IceCandidate | None) -> Event[events.RemoteCandidate]:
    return Event("webrtc_ice", {"candidate": candidate, "seq": 0})


def search_expired() -> Event[events.NoPayload]:
    return Event("search_expired", {})


def resting(until: str) -> Event[events.Resting]:
    """`until` is a time in RFC 3339."""
    return Event("resting", {"until": until})


def peer_reconnecting(grace_seconds: int) -> Event[events.PeerReconnecting]:
    return Event("peer_reconnecting", {"graceSeconds": grace_seconds})


def peer_reconnected() -> Event[events.NoPayload]:
    return Event("peer_reconnected", {})


def session_replaced() -> Event[events.NoPayload]:
    return Event("session_replaced", {})


def notification(message: NotificationMessage) -> Event[events.Notification]:
    return Event(
        "notification",
        {
            "id": message["id"],
            "type": message["type"],
            "title": message["title"],
            "body": message["body"],
            "data": message["data"],
            "isRead": False,
            "createdAt": format_instant(datetime.fromisoformat(message["created_at"])),
            "readAt": None,
        },
    )


def resync() -> Event[events.NoPayload]:
    return Event("resync", {})


def peer_left(reason: LeaveReason) -> Event[events.PeerLeft]:
    return Event("peer_left", {"reason": reason})


def error(code: events.ErrorCode, message: str) -> Event[events.EventError]:
    return Event("error", {"code": code, "message": message})
