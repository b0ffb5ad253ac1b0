"""Learners who search: their profile, pool and features, whom they have met and whom they must not meet."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import errors
from adapters.database import Database
from models import AgeBand, Level
from services.calls.fit import INITIAL_SIGMA, LEVEL_MU, Features, serialize_features
from services.calls.outcomes import Partner
from services.calls.pools import ANYONE, read_among
from services.calls.room_state import QueueEntry
from services.safety.gates import Gates, Standing
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar_sql

#: `mu` of a learner who has not declared a level.
DEFAULT_MU = 25.0


class Wishes(NamedTuple):
    """What a search asks for; `topic` is empty for none, `among` is that of `find_partner`."""

    level: Level
    topic: str
    is_strict: bool = False
    among: str = ANYONE

    @classmethod
    def of_entry(cls, entry: QueueEntry) -> Wishes:
        among = read_among(entry["pool"]) if "pool" in entry else ANYONE
        return cls(entry["level"], entry["topic"], entry.get("isStrict", False), among)


class Seeker(NamedTuple):
    """A learner who searches; `avoided` are the users whom they must not meet.

    `mu`, `sigma` and `points` are those of their skill and their record of matches, `met` is how often they have met
    others in the last 7 days.
    """

    profile: Partner
    avoided: list[str]
    pool: AgeBand
    mu: float = DEFAULT_MU
    points: float = 0.0
    sigma: float = INITIAL_SIGMA
    native_language: str | None = None
    goal: str | None = None
    met: dict[str, int] = {}  # noqa: RUF012 - never changed


#: Calls of each side that are looked at for whom a seeker has met.
_MET_LIMIT = 100
#: The profile of a seeker as their partner sees it, what gates look at, features, how often they have met others (two
#: scans of an index), and the ids of users whom they must not meet.
_SELECT_SEEKER = """
    SELECT u.is_banned OR u.deleted_at IS NOT NULL, coalesce(u.suspended_until > now(), false),
        CASE WHEN u.pairing_held_until > now() THEN
            to_char(u.pairing_held_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
        u.is_verified, u.age_band, u.accepted_versions,
        p.username, p.display_name, {avatar}, p.english_level, p.native_language, p.learning_goal,
        array_to_string(ARRAY(
        SELECT other || ':' || count(*) FROM (
            (SELECT user_b_id AS other, connected_at FROM call_sessions
                WHERE user_a_id = u.id AND started_at > now() - interval '7 days'
                ORDER BY started_at DESC LIMIT {met_limit})
            UNION ALL
            (SELECT user_a_id, connected_at FROM call_sessions
                WHERE user_b_id = u.id AND started_at > now() - interval '7 days'
                ORDER BY started_at DESC LIMIT {met_limit})
        ) calls WHERE connected_at IS NOT NULL GROUP BY other
    ), ' '), array_to_string(ARRAY(
        SELECT blocked_id FROM blocks WHERE blocker_id = u.id
        UNION SELECT blocker_id FROM blocks WHERE blocked_id = u.id
        UNION SELECT reported_id FROM reports WHERE reporter_id = u.id
        UNION SELECT reporter_id FROM reports WHERE reported_id = u.id
    ), ' ')
    FROM users u JOIN profiles p ON p.user_id = u.id WHERE u.id = $1"""


@cache
def _make_query(picture_hide_weight: float) -> str:
    return _SELECT_SEEKER.format(avatar=shown_avatar_sql("p", picture_hide_weight), met_limit=_MET_LIMIT)


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
    username, display_name, avatar_url, level, native_language, goal, met = shown
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
    times_met = (each.split(":") for each in met.split())
    return Seeker(
        profile,
        avoided.split(),
        standing.pool,
        mu=LEVEL_MU[level],
        native_language=native_language,
        goal=goal,
        met={other: int(count) for other, count in times_met},
    )


def build_entry(seeker: Seeker, wishes: Wishes, queue: str, *, at_head: bool) -> QueueEntry:
    """Build the entry of a search in a pool's queue."""
    profile = seeker.profile
    features = Features(seeker.mu, seeker.sigma, seeker.points, seeker.native_language, seeker.goal)
    entry: QueueEntry = {
        "pool": queue,
        "fit": serialize_features(features, is_strict=wishes.is_strict),
        "userId": profile.user_id,
        "socket": profile.socket_id,
        "level": wishes.level,
        "topic": wishes.topic,
        "card": {"displayName": profile.display_name, "avatarUrl": profile.avatar_url, "level": profile.level},
    }
    if wishes.is_strict:
        entry["isStrict"] = True
    if at_head:
        # Its position is older than its search, so its wait is unknown.
        entry["atHead"] = True
    return entry


def build_partner(entry: QueueEntry) -> Partner:
    """Build the profile of the learner of a queue entry."""
    card = entry["card"]
    return Partner(entry["userId"], card["displayName"], card["avatarUrl"], card["level"], entry["socket"])
