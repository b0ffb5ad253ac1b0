"""Learners who search: their profile and pool, and whom they must not meet."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import errors
from adapters.database import Database
from models import AgeBand, Level
from services.calls.outcomes import Partner
from services.calls.pairing_records import HALF_LIFE
from services.calls.room_state import QueueEntry
from services.calls.skills import DEFAULT_MU, prior
from services.safety.gates import Gates, Standing
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar_sql


class Seeker(NamedTuple):
    """A learner who searches; `avoided` are the users whom they must not meet.

    `mu` is that of their skill, `points` those of their record of matches by now.
    """

    profile: Partner
    avoided: list[str]
    pool: AgeBand
    mu: float = DEFAULT_MU
    points: float = 0.0


#: The profile of a seeker as their partner sees it, what gates look at, and the ids of users whom they must not meet.
_SELECT_SEEKER = """
    SELECT u.is_banned OR u.deleted_at IS NOT NULL, coalesce(u.suspended_until > now(), false),
        CASE WHEN u.pairing_held_until > now() THEN
            to_char(u.pairing_held_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
        CASE WHEN r.resting_until > now() THEN
            to_char(r.resting_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
        s.mu, coalesce(r.points * power(0.5, extract(epoch FROM greatest(now() - r.points_at, interval '0'))
            / {half_life_seconds})::double precision, 0),
        u.is_verified, u.age_band, u.accepted_versions,
        p.username, p.display_name, {avatar}, p.english_level, array_to_string(ARRAY(
        SELECT blocked_id FROM blocks WHERE blocker_id = u.id
        UNION SELECT blocker_id FROM blocks WHERE blocked_id = u.id
        UNION SELECT reported_id FROM reports WHERE reporter_id = u.id
        UNION SELECT reporter_id FROM reports WHERE reported_id = u.id
    ), ' ')
    FROM users u JOIN profiles p ON p.user_id = u.id
        LEFT JOIN learner_skills s ON s.user_id = u.id LEFT JOIN pairing_records r ON r.user_id = u.id
    WHERE u.id = $1"""


@cache
def _make_query(picture_hide_weight: float) -> str:
    avatar = shown_avatar_sql("p", picture_hide_weight)
    return _SELECT_SEEKER.format(avatar=avatar, half_life_seconds=HALF_LIFE.total_seconds())


async def read_seeker(
    database: Database,
    gates: Gates,
    user_id: str,
    socket_id: str,
    picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT,
    *,
    may_rest: bool = False,
) -> Seeker:
    """Read a searching user, and the users to avoid: blocks and reports count both ways.

    `may_rest`: whether the search is one that a rest does not refuse, because it meets no strangers. Raises Banned,
    AccountSuspended, PairingOnHold, Resting, a GateClosed, or ProfileIncomplete.
    """
    found = await database.fetch_one(_make_query(picture_hide_weight), user_id)
    if found is None:
        raise errors.Banned("This account no longer exists.")
    (
        is_banned,
        is_suspended,
        held_until,
        rests_until,
        mu,
        points,
        is_verified,
        age_band,
        accepted_versions,
        *shown,
        avoided,
    ) = found
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
    if rests_until is not None and not may_rest:
        raise errors.Resting(rests_until)
    profile = Partner(user_id, display_name or username, avatar_url, level, socket_id)
    return Seeker(profile, avoided.split(), standing.pool, prior(level).mu if mu is None else mu, points)


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
