"""Demo calls, and the ratings and blocks that follow from them."""

from __future__ import annotations

import random
import uuid
import zoneinfo
from datetime import datetime, timedelta

from devtools.demo_data.people import WEEKS, Person, make_id
from instants import utc_now
from models import (
    Block,
    CallSession,
    EndedBy,
    FeedbackPace,
    LearnerSkill,
    Level,
    MatchOutcome,
    SessionRating,
)
from services.calls import streaks
from services.calls.feedback import MIN_CALL_SECONDS
from services.calls.skills import Skill, prior, update

_TOPICS = ["travel", "food", "work", "films", "music", "sport", "books", "family", "technology", "weekend"]


def make_calls(rng: random.Random, people: list[Person]) -> list[CallSession]:
    """Make calls, one at a time per person, and count them for both in the order in which they ended."""
    today = utc_now()
    candidates: list[tuple[datetime, Person]] = []
    for person in people:
        zone = zoneinfo.ZoneInfo(person.profile.timezone or "UTC")
        for day in range(WEEKS * 7 + 1):
            wall = (today - timedelta(days=day)).astimezone(zone)
            at = wall.replace(hour=rng.choice([7, 12, 18, 19, 20, 21, 22]), minute=rng.randrange(60), second=0)
            if rng.random() < person.call_probability and person.user.created_at < at < today - timedelta(hours=1):
                candidates.append((at.astimezone(today.tzinfo), person))
    free_from: dict[uuid.UUID, datetime] = {}
    calls: list[CallSession] = []
    by_id = {person.user.id: person for person in people}
    for began, person in sorted(candidates, key=lambda candidate: (candidate[0], candidate[1].user.id)):
        partner = rng.choices(people, weights=[each.call_probability for each in people])[0]
        both = (person, partner)
        there = all(each.user.created_at < began and free_from.get(each.user.id, began) <= began for each in both)
        if partner is person or not there:
            continue
        became_call = rng.random() < 0.92
        connected = began + timedelta(seconds=rng.uniform(2, 15)) if became_call else None
        seconds = int(min(7200, rng.lognormvariate(6.4, 0.8))) if became_call else 0
        ended = (connected or began) + timedelta(seconds=seconds or rng.uniform(5, 20))
        if ended > today:
            continue
        own_level: Level = person.profile.english_level.value if person.profile.english_level else "all"
        levels: list[Level] = ["all", "all", own_level]
        calls.append(
            CallSession(
                id=make_id(rng),
                room_id=str(make_id(rng)),
                user_a_id=person.user.id,
                user_b_id=partner.user.id,
                topic=rng.choice(_TOPICS) if rng.random() < 0.6 else None,
                level=rng.choice(levels),
                started_at=began,
                connected_at=connected,
                ended_at=ended,
                duration_seconds=seconds,
                ended_by=EndedBy.TIMEOUT if seconds == 7200 else rng.choice([EndedBy.USER_A, EndedBy.USER_B]),
                user_a_outcome=MatchOutcome.GOOD if seconds >= MIN_CALL_SECONDS else None,
                user_b_outcome=MatchOutcome.GOOD if seconds >= MIN_CALL_SECONDS else None,
                created_at=began,
            )
        )
        for each in both:
            free_from[each.user.id] = ended
    for call in sorted(calls, key=lambda call: call.ended_at or today):
        for user_id in (call.user_a_id, call.user_b_id):
            profile = by_id[user_id].profile
            profile.last_active_at = call.ended_at
            if call.connected_at and call.ended_at and call.duration_seconds is not None:
                streaks.add_call(profile, call.ended_at, call.duration_seconds)
    return calls


def make_ratings(rng: random.Random, calls: list[CallSession]) -> list[SessionRating]:
    ratings = []
    for call in calls:
        for rater, rated in ((call.user_a_id, call.user_b_id), (call.user_b_id, call.user_a_id)):
            if call.connected_at is not None and rng.random() < 0.6:
                pace = rng.choice([None, *FeedbackPace])
                stars = rng.choices([1, 2, 3, 4, 5], weights=[1, 2, 6, 20, 30])[0]
                at = (call.ended_at or utc_now()) + timedelta(seconds=20)
                ratings.append(
                    SessionRating(
                        id=make_id(rng),
                        session_id=call.id,
                        rater_id=rater,
                        rated_id=rated,
                        stars=stars,
                        pace=pace,
                        is_pace_counted=pace is not None and (call.duration_seconds or 0) >= MIN_CALL_SECONDS,
                        created_at=at,
                    )
                )
    return ratings


def make_skills(people: list[Person], ratings: list[SessionRating]) -> list[LearnerSkill]:
    """Make the skills to which the counted feedback has led, without the bound of a day."""
    levels = {each.user.id: each.profile.english_level for each in people}
    rows: dict[uuid.UUID, LearnerSkill] = {}
    for rating in sorted(ratings, key=lambda each: each.created_at):
        if rating.pace is None or not rating.is_pace_counted:
            continue
        one, other = rating.rater_id, rating.rated_id
        known = {each: Skill(rows[each].mu, rows[each].sigma) for each in (one, other) if each in rows}
        before = [known.get(each) or prior(levels[each]) for each in (one, other)]
        for user_id, skill in zip((one, other), update(before[0], before[1], rating.pace), strict=True):
            at = rating.created_at
            rows[user_id] = LearnerSkill(
                user_id=user_id,
                mu=skill.mu,
                sigma=skill.sigma,
                calls=rows[user_id].calls + 1 if user_id in rows else 1,
                day=at.date(),
                day_mu=skill.mu,
                day_sigma=skill.sigma,
                day_calls=rows[user_id].calls + 1 if user_id in rows else 1,
                updated_at=at,
            )
    return list(rows.values())


def make_blocks(ratings: list[SessionRating]) -> list[Block]:
    """Make a block for each rating of one star."""
    pairs = {(each.rater_id, each.rated_id): each.created_at for each in ratings if each.stars == 1}
    return [Block(blocker_id=one, blocked_id=other, created_at=at) for (one, other), at in pairs.items()]
