"""Queue of the two accounts of the stores' review teams, who meet each other and nobody else.

Their ids are the same in every deployment, so that no query decides it: accounts that register get random ones.
"""

from __future__ import annotations

import uuid

from models import Level

#: The account that a reviewer logs in with, and the one that `parlance review-partner` plays.
REVIEWER_ID = uuid.UUID("5e71e000-0000-4000-8000-000000000001")
PARTNER_ID = uuid.UUID("5e71e000-0000-4000-8000-000000000002")
_USER_IDS = frozenset(map(str, (REVIEWER_ID, PARTNER_ID)))
#: Their queue, as a level that fits itself alone in `find_partner.lua`.
_QUEUE = "review"


def choose_queue(user_id: str, level: Level) -> str:
    """Return the level of the queue in which a user searches."""
    return _QUEUE if user_id in _USER_IDS else level


def read_level(queue: str) -> Level:
    """Return the level of the conversation of two who were found in a queue."""
    return "all" if queue == _QUEUE else queue  # type: ignore[return-value]
