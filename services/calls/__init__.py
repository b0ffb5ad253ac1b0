"""Calls: matchmaking, rooms, signaling, recovery, call history, ratings, skills, records of matches and streaks."""

from models import CallSession, Invitation, LearnerSkill, PairingRecord, SessionRating

TAGS = ("calls",)
EVENTS = (
    "find_partner",
    "cancel_search",
    "invite_partner",
    "answer_invitation",
    "cancel_invitation",
    "app_state",
    "join_room",
    "webrtc_offer",
    "webrtc_answer",
    "webrtc_ice",
    "end_call",
    "refresh_ice",
    "searching",
    "search_expired",
    "resting",
    "match_found",
    "partner_cancelled",
    "invitation",
    "invitation_over",
    "peer_joined",
    "peer_reconnecting",
    "peer_reconnected",
    "peer_left",
    "session_replaced",
    "resync",
    "error",
)
MODELS = (CallSession, Invitation, SessionRating, LearnerSkill, PairingRecord)
JOBS = (
    "sessions.end_stale",
    "calls.check_pairing",
    "invitations.announce_end",
    "invitations.notify",
    "invitations.expire",
)
