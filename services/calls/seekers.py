"""Learners who search: their profile and pool, and whom they must not meet."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import errors
from adapters.database import Database
from models import AgeBand, Level
from services.calls.outcomes import Partner
from services.calls.room_state import QueueEntry
from services.safety.gates import Gates, Standing
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar_sql


class Seeker(NamedTuple):
    """A learner who searches; `avoided` are the users whom they must not meet."""

    profile: Partner
    avoided: list[str]
    pool: AgeBand


#: The profile of a seeker as their partner sees it, what gates look at, and the ids of users whom they must not meet.
_SELECT_SEEKER = """
    SELECT u.is_banned OR u.deleted_at IS NOT NULL, coalesce(u.suspended_until > now(), false),
        CASE WHEN u.pairing_held_until > now() THEN
            to_char(u.pairing_held_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
        u.is_verified, u.age_band, u.accepted_versions,
        p.username, p.display_name, {avatar}, p.english_level, array_to_string(ARRAY(
        SELECT blocked_id FROM blocks WHERE blocker_id = u.id
        UNION SELECT blocker_id FROM blocks WHERE blocked_id = u.id
        UNION SELECT reported_id FROM reports WHERE reporter_id = u.id
        UNION SELECT reporter_id FROM reports WHERE reported_id = u.id
    ), ' ')
    FROM users u JOIN profiles p ON p.user_id = u.id WHERE u.id = $1"""


@cache
def _make_query(picture_hide_weight: float) -> str:
    return _SELECT_SEEKER.format(avatar=shown_avatar_sql("p", picture_hide_weight))


async def read_seeker(
    database: Database,
    gates: Gates,
    user_id: str,
    socket_id: str,
    picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
) -> Seeker:
    """Read a searching user, and the users to avoid: blocks and reports count both ways.

    Raises Banned, AccountSuspended, PairingOnHold, a GateClosed, or ProfileIncomplete.
    """
    found = await database.fetch_one(_make_query(picture_hide_weight), user_id)
    if found is None:
        raise errors.Banned("This account no longer exists.")
    is_banned, is_suspended, held_until, is_verified, age_band, accepted_versions, *shown, avoided = found
    username, display_name, avatar_url, level = shown
    if is_banned:
        raise errors.Banned()
    if is_suspended:
        raise errors.AccountSuspended()
    if held_until is not None:
        raise errors.PairingOnHold.until(held_until)
    standing = Standing(is_verified, AgeBand(age_band) if age_band else None, accepted_versions)
    gates.require_all(standing)
    if username is None or level is None:
        raise errors.ProfileIncomplete()
    profile = Partner(user_id, display_name or username, avatar_url, level, socket_id)
    return Seeker(profile, avoided.split(), standing.pool)


def build_entry(seeker: Seeker, level: Level, topic: str, *, at_head: bool) -> QueueEntry:
    """Build the queue entry of a search."""
    profile = seeker.profile
    entry: QueueEntry = {
        "userId": profile.user_id,
        "socket": profile.socket_id,
        "pool": seeker.pool,
        "level": level,
        "topic": topic,
        "card": {"displayName": profile.display_name, "avatarUrl": profile.avatar_url, "level": profile.level},
    }
    if at_head:
        # Its position is older than its search, so its wait is unknown.
        entry["atHead"] = True
    return entry


def build_partner(entry: QueueEntry) -> Partner:
    """Build the profile of the learner of a queue entry."""
    card = entry["card"]
    return Partner(entry["userId"], card["displayName"], card["avatarUrl"], card["level"], entry["socket"])
