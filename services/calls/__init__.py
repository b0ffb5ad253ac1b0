"""Calls: matchmaking, rooms, WebRTC signaling, recovery, call history, ratings and streaks."""

from models import CallSession, SessionRating

TAGS = ("calls",)
EVENTS = (
    "find_partner",
    "cancel_search",
    "app_state",
    "join_room",
    "webrtc_offer",
    "webrtc_answer",
    "webrtc_ice",
    "end_call",
    "refresh_ice",
    "searching",
    "search_expired",
    "match_found",
    "partner_cancelled",
    "peer_joined",
    "peer_reconnecting",
    "peer_reconnected",
    "peer_left",
    "session_replaced",
    "resync",
    "error",
)
MODELS = (CallSession, SessionRating)
JOBS = ("sessions.end_stale", "calls.check_pairing")
