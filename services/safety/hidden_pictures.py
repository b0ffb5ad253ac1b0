"""Pictures that only their owners and staff see: those that wait for review, and those of learners with open reports.

The rule is one SQL expression, part of each query that reads a learner for others: it costs no query of its own.
"""

from __future__ import annotations

import sqlalchemy as sa

#: Reasons of reports that may be about the picture.
REASONS = ("inappropriate", "minor_safety")
#: Weight of open reports from which on a picture is hidden: two reporters without a record, who count apart.
DEFAULT_MINIMUM_WEIGHT = 1.5
#: What a report `r` adds: of reporters who count once the heaviest, computed when the learner's reports are weighed.
REPORT_WEIGHT = "coalesce(r.picture_weight, r.weight)"


def counted_reports_sql(profile: str) -> str:
    """Return the SQL condition of the reports `r` that count against the picture of `profile`, a row of `profiles`.

    A review settles those that were made before it, with either outcome: they hide no picture any more.
    """
    reasons = ", ".join(f"'{reason}'" for reason in REASONS)
    # The reason as a text: deployments that are being updated may lack one of the values.
    return (
        f"r.reported_id = {profile}.user_id AND r.status = 'pending' AND r.reason::text IN ({reasons})"
        f" AND r.created_at > coalesce({profile}.avatar_reviewed_at, '-infinity')"
    )


def is_shown_sql(profile: str, minimum_weight: float) -> str:
    """Return the SQL condition that others see the picture of `profile`, where there is one."""
    return f"""({profile}.avatar_held_at IS NULL AND {minimum_weight!r} > (
        SELECT coalesce(sum({REPORT_WEIGHT}), 0) FROM reports r WHERE {counted_reports_sql(profile)}
    ))"""  # noqa: S608


def shown_avatar_sql(profile: str, minimum_weight: float) -> str:
    """Return the SQL of the avatar's address that others see, or null; `profile` is a row of `profiles`."""
    return f"CASE WHEN {is_shown_sql(profile, minimum_weight)} THEN {profile}.avatar_url END"


def shown_avatar(minimum_weight: float) -> sa.ColumnElement[str | None]:
    """Return the same as a column of a query of `profiles`."""
    return sa.literal_column(shown_avatar_sql("profiles", minimum_weight), sa.String)
