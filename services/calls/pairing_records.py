"""Rules of the record of a learner's matches: points, their decay, warnings and rests.

A bad match, which the learner declined, did not join or left within a minute, adds a point; a good one takes half a
point. Points halve with time. Around two there is a warning; around three, from a match that began after a warning, the
learner rests: they meet no strangers for some minutes. The functions of this module are pure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from models import MatchOutcome

#: The time in which points halve.
HALF_LIFE = timedelta(days=2)
BAD_POINTS, GOOD_POINTS = 1.0, -0.5
#: Two and three bad matches, of which the earlier ones are some hours old.
WARNING_POINTS, REST_POINTS = 1.8, 2.7
#: How long after a warning a rest may follow without another one.
WARNING_LIFETIME = timedelta(days=7)
#: The first, the second and each later rest, and after which time without one they begin again.
REST_LENGTHS = (timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60))
REST_MEMORY = timedelta(days=7)


class Record(NamedTuple):
    """Record of a learner: points at a time, the last warning, the end of the last rest, and rests not forgiven."""

    points: float
    points_at: datetime
    warned_at: datetime | None = None
    resting_until: datetime | None = None
    rests: int = 0


#: What follows a match: nothing, a warning, or a rest.
Consequence = Literal["warning", "rest"]


def decay(points: float, elapsed: timedelta) -> float:
    """Return what is left of points after a time; those of a later time stay."""
    return float(points * 0.5 ** (max(elapsed, timedelta()) / HALF_LIFE))


def add_outcome(
    record: Record, outcome: MatchOutcome, *, began_at: datetime, ended_at: datetime
) -> tuple[Record, Consequence | None]:
    """Add a match to a record; return what it is then, and what follows.

    A rest begins at the end of the match, so that one which is recorded late costs no more than it would have.
    """
    change = GOOD_POINTS if outcome is MatchOutcome.GOOD else BAD_POINTS
    at = max(ended_at, record.points_at)
    # A match that is recorded after a later one has lost as much as it would have by then.
    change = change if ended_at >= record.points_at else decay(change, record.points_at - ended_at)
    points = max(0.0, decay(record.points, at - record.points_at) + change)
    record = record._replace(points=points, points_at=at)
    if outcome is MatchOutcome.GOOD or points < WARNING_POINTS:
        return record, None
    if record.warned_at is None or ended_at - record.warned_at > WARNING_LIFETIME:
        return record._replace(warned_at=at), "warning"
    # Who was in the match already when the warning came could not heed it; and a rest is not made longer.
    is_resting = record.resting_until is not None and record.resting_until > began_at
    if points < REST_POINTS or began_at <= record.warned_at or is_resting:
        return record, None
    rests = count_rests(record, ended_at)
    length = REST_LENGTHS[min(rests, len(REST_LENGTHS) - 1)]
    return record._replace(resting_until=ended_at + length, rests=rests + 1), "rest"


def count_rests(record: Record, at: datetime) -> int:
    """Count the rests that are not forgiven at a time."""
    is_forgiven = record.resting_until is None or at - record.resting_until > REST_MEMORY
    return 0 if is_forgiven else record.rests


def take_back(record: Record, *, ended_at: datetime, now: datetime, ends_rest: bool) -> Record:
    """Remove the point of a bad match that ended at a time, and with `ends_rest` the rest that it led to, if any."""
    points = decay(record.points, now - record.points_at) - decay(BAD_POINTS, now - ended_at)
    record = record._replace(points=max(0.0, points), points_at=now)
    is_resting = record.resting_until is not None and record.resting_until > now
    if not ends_rest or not is_resting or record.points >= REST_POINTS:
        return record
    return record._replace(resting_until=now, rests=max(0, record.rests - 1))
