"""Learners who search: their profile, and whom they must not meet."""

from __future__ import annotations

from functools import cache

import errors
from adapters.database import Database
from services.calls.outcomes import Partner
from services.safety.hidden_pictures import DEFAULT_MINIMUM_WEIGHT, shown_avatar_sql

#: The profile of a seeker, as their partner sees it, and the ids of users whom they must not meet.
_SELECT_SEEKER = """
    SELECT u.is_banned, coalesce(u.suspended_until > now(), false), CASE WHEN u.pairing_held_until > now() THEN
        to_char(u.pairing_held_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
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
    database: Database, user_id: str, socket_id: str, picture_hide_weight: float = DEFAULT_MINIMUM_WEIGHT
) -> tuple[Partner, list[str]]:
    """Read the profile of a searching user, and the users to avoid: blocks and reports count both ways.

    Raises Banned, AccountSuspended, PairingOnHold or ProfileIncomplete.
    """
    found = await database.fetch_one(_make_query(picture_hide_weight), user_id)
    if found is None:
        raise errors.Banned("This account no longer exists.")
    is_banned, is_suspended, held_until, username, display_name, avatar_url, english_level, avoided = found
    if is_banned:
        raise errors.Banned()
    if is_suspended:
        raise errors.AccountSuspended()
    if held_until is not None:
        raise errors.PairingOnHold.until(held_until)
    if username is None or english_level is None:
        raise errors.ProfileIncomplete()
    return Partner(user_id, display_name or username, avatar_url, english_level, socket_id), avoided.split()
