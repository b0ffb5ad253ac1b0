"""Owns the wire form of every event the server sends: one function for each `emit.<event>` of asyncapi.yaml."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from services.calls.matchmaking import Match, Partner


class Event(NamedTuple):
    name: str
    payload: dict[str, Any]


def searching(estimated_wait_seconds: int) -> Event:
    return Event("searching", {"estimated_wait_seconds": estimated_wait_seconds})


def match_found(match: Match, partner: Partner, ice_servers: list[dict[str, Any]]) -> Event:
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
            "iceServers": ice_servers,
        },
    )


def partner_cancelled() -> Event:
    return Event("partner_cancelled", {})


def peer_joined(role: str, user_id: str) -> Event:
    """`role` and `user_id` are those of the peer that joined."""
    return Event("peer_joined", {"role": role, "userId": user_id})


def webrtc_offer(sdp: str) -> Event:
    """Without its `seq`, which the room gives it; so the other two."""
    return Event("webrtc_offer", {"sdp": sdp})


def webrtc_answer(sdp: str) -> Event:
    return Event("webrtc_answer", {"sdp": sdp})


def webrtc_ice(candidate: dict[str, Any] | None) -> Event:
    return Event("webrtc_ice", {"candidate": candidate})


def search_expired() -> Event:
    return Event("search_expired", {})


def peer_reconnecting(grace_seconds: int) -> Event:
    return Event("peer_reconnecting", {"graceSeconds": grace_seconds})


def peer_reconnected() -> Event:
    return Event("peer_reconnected", {})


def session_replaced() -> Event:
    return Event("session_replaced", {})


def notification(told: dict[str, Any]) -> Event:
    """`told` is as the bus carries it: `created_at` in ISO 8601."""
    at = datetime.fromisoformat(told["created_at"]).astimezone(UTC)
    payload = {name: told[name] for name in ("id", "type", "title", "body", "data")}
    created_at = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Event("notification", {**payload, "read": False, "createdAt": created_at, "readAt": None})


def resync() -> Event:
    return Event("resync", {})


def peer_left(reason: str) -> Event:
    return Event("peer_left", {"reason": reason})


def error(code: str, message: str) -> Event:
    return Event("error", {"code": code, "message": message})
