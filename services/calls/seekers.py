"""Learners who search: their profile, pool and features, whom they have met and whom they must not meet."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import errors
from adapters.database import Database
from models import AgeBand, EnglishLevel, Level
from services.calls.fit import Features, serialize_features
from services.calls.outcomes import Partner
from services.calls.pairing_records import HALF_LIFE
from services.calls.pools import ANYONE, Pool, read_among
from services.calls.room_state import PartnerLevel, QueueEntry
from services.calls.skills import DEFAULT_MU, INITIAL_SIGMA, Skill, prior
from services.safety.gates import Gates, Standing
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar_sql


class Wishes(NamedTuple):
    """What a search asks for; `topic` is empty for none, `among` is that of `find_partner`."""

    level: Level
    topic: str
    is_strict: bool = False
    among: str = ANYONE
    #: Of the login; empty where it is not known.
    platform: str = ""

    @classmethod
    def of_entry(cls, entry: QueueEntry) -> Wishes:
        among = read_among(entry["pool"]) if "pool" in entry else ANYONE
        return cls(entry["level"], entry["topic"], entry.get("isStrict", False), among, entry.get("platform", ""))


class Seeker(NamedTuple):
    """A learner who searches; `avoided` are the users whom they must not meet.

    `mu`, `sigma` and `points` are those of their skill and of their record of matches by now, `met` is how often they
    have met others in the last 7 days.
    """

    profile: Partner
    avoided: list[str]
    pool: AgeBand
    mu: float = DEFAULT_MU
    sigma: float = INITIAL_SIGMA
    points: float = 0.0
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
        CASE WHEN r.resting_until > now() THEN
            to_char(r.resting_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
        s.mu, s.sigma, coalesce(r.points * power(0.5, extract(epoch FROM greatest(now() - r.points_at, interval '0'))
            / {half_life_seconds})::double precision, 0),
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
    FROM users u JOIN profiles p ON p.user_id = u.id
        LEFT JOIN learner_skills s ON s.user_id = u.id LEFT JOIN pairing_records r ON r.user_id = u.id
    WHERE u.id = $1"""


class _Row(NamedTuple):
    """What `_SELECT_SEEKER` answers; times as text, of RFC 3339."""

    is_banned: bool
    is_suspended: bool
    held_until: str | None
    rests_until: str | None
    mu: float | None
    sigma: float | None
    points: float
    is_verified: bool
    age_band: str | None
    accepted_versions: dict[str, str]
    username: str | None
    display_name: str | None
    avatar_url: str | None
    level: PartnerLevel | None
    native_language: str | None
    goal: str | None
    met: str
    avoided: str


@cache
def _make_query(picture_hide_weight: float) -> str:
    return _SELECT_SEEKER.format(
        avatar=shown_avatar_sql("p", picture_hide_weight),
        met_limit=_MET_LIMIT,
        half_life_seconds=HALF_LIFE.total_seconds(),
    )


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
    row = _Row(*found)
    if row.is_banned:
        raise errors.Banned()
    if row.is_suspended:
        raise errors.AccountSuspended()
    if row.held_until is not None:
        raise errors.PairingOnHold.until(row.held_until)
    standing = Standing(row.is_verified, AgeBand(row.age_band) if row.age_band else None, row.accepted_versions)
    gates.require_all(standing)
    if row.username is None or row.level is None:
        raise errors.ProfileIncomplete()
    if row.rests_until is not None and not may_rest:
        raise errors.Resting(row.rests_until)
    skill = prior(EnglishLevel(row.level)) if row.mu is None or row.sigma is None else Skill(row.mu, row.sigma)
    times_met = (each.split(":") for each in row.met.split())
    return Seeker(
        Partner(user_id, row.display_name or row.username, row.avatar_url, row.level, socket_id),
        row.avoided.split(),
        standing.pool,
        *skill,
        points=row.points,
        native_language=row.native_language,
        goal=row.goal,
        met={other: int(count) for other, count in times_met},
    )


def build_entry(seeker: Seeker, wishes: Wishes, pool: Pool, *, at_head: bool) -> QueueEntry:
    """Build the entry of a search in a pool's queue."""
    profile = seeker.profile
    features = Features(seeker.mu, seeker.sigma, seeker.points, seeker.native_language, seeker.goal)
    entry: QueueEntry = {
        "pool": pool.queue,
        "fit": serialize_features(features, is_strict=wishes.is_strict),
        "userId": profile.user_id,
        "socket": profile.socket_id,
        "level": wishes.level,
        "topic": wishes.topic,
        "platform": wishes.platform,
        "platforms": [*pool.platforms],
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
