"""Feedback about the pace of calls: counted once, bounded by day, and never lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import errors
from container import Container
from models import EnglishLevel, FeedbackPace
from services.calls.skills import INITIAL_SIGMA, MAX_DAILY_CHANGE, MAX_DAILY_SIGMAS, prior, update
from testing.call_history import MakeLearner, add_call, add_users
from testing.databases import query, rows, value


async def read_skill(container: Container, user_id: str) -> tuple[float, float, int] | None:
    found = await rows(container, "SELECT mu, sigma, calls FROM learner_skills WHERE user_id = :u", u=user_id)
    return tuple(found[0]) if found else None


async def give(container: Container, rater: str, rated: str, pace: str | None, *, seconds: int = 300) -> None:
    """Rate the partner of a new call."""
    call = await add_call(container, rater, rated)
    await query(container, "UPDATE call_sessions SET duration_seconds = :s WHERE id = :c", s=seconds, c=call)
    await container.call_history.rate(rater, call, 4, pace)


async def test_feedback_moves_both_from_their_priors(container: Container) -> None:
    (ada,), (bob,) = (
        await add_users(container, 1, EnglishLevel.BEGINNER),
        await add_users(container, 1, EnglishLevel.ADVANCED),
    )
    await give(container, ada, bob, "easier")
    one, other = await read_skill(container, ada), await read_skill(container, bob)
    assert one is not None and other is not None
    expected = update(prior(EnglishLevel.BEGINNER), prior(EnglishLevel.ADVANCED), FeedbackPace.EASIER)
    assert one[:2] == pytest.approx(expected[0]) and other[:2] == pytest.approx(expected[1])
    assert one[1] < INITIAL_SIGMA and other[1] < INITIAL_SIGMA and one[2] == other[2] == 1


@pytest.mark.parametrize(("pace", "seconds"), [(None, 300), ("harder", 59)])
async def test_rating_without_evidence_moves_nothing(container: Container, pace: str | None, seconds: int) -> None:
    ada, bob = await add_users(container, 2)
    await give(container, ada, bob, pace, seconds=seconds)
    assert await read_skill(container, ada) is None and await read_skill(container, bob) is None


async def test_one_direction_of_a_pair_counts_once_a_week(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    await give(container, ada, bob, "harder")
    first = await read_skill(container, bob)
    await give(container, ada, bob, "harder")
    assert await read_skill(container, bob) == first
    await give(container, bob, ada, "easier")
    assert (await read_skill(container, bob)) != first, "the other direction is other evidence"
    await query(
        container, "UPDATE session_ratings SET created_at = created_at - interval '8 days' WHERE rater_id = :u", u=ada
    )
    before = await read_skill(container, ada)
    await give(container, ada, bob, "harder")
    after = await read_skill(container, ada)
    assert before is not None and after is not None and after[2] == before[2] + 1


async def test_fifty_accounts_move_a_learner_by_the_bound(container: Container) -> None:
    """Who has had some calls moves by two in a day, however many agree; a newcomer by half a deviation."""
    (ada, new), raters = await add_users(container, 2, EnglishLevel.INTERMEDIATE), await add_users(container, 51)
    await give(container, raters.pop(), ada, "same")
    settled = "UPDATE learner_skills SET sigma = 3, day = day - 1 WHERE user_id = :u RETURNING mu"
    start = await value(container, settled, u=ada)
    for _ in range(2):
        await asyncio.gather(*(give(container, each, ada, "easier") for each in raters))
        await asyncio.gather(*(give(container, each, new, "easier") for each in raters))
    skill, of_new = await read_skill(container, ada), await read_skill(container, new)
    assert skill is not None and skill[0] == pytest.approx(start - MAX_DAILY_CHANGE)
    assert skill[2] == 51 and of_new is not None and of_new[2] == 50, "every one is counted, none twice"
    assert 0 < prior(EnglishLevel.INTERMEDIATE).mu - of_new[0] <= MAX_DAILY_SIGMAS * INITIAL_SIGMA
    # The next day has a bound of its own, from where that day began.
    yesterday = "UPDATE learner_skills SET day = day - 1, day_mu = day_mu - 10 WHERE user_id = :u"
    await query(container, yesterday, u=ada)
    (late,) = await add_users(container, 1)
    await give(container, late, ada, "easier")
    moved = await read_skill(container, ada)
    assert moved is not None and skill[0] - MAX_DAILY_CHANGE <= moved[0] < skill[0]


async def test_concurrent_feedback_loses_no_update(container: Container) -> None:
    """Both sides of every pair of a group at once: no deadlock, and each of the games is counted for two."""
    users = await add_users(container, 8)
    games = [(one, other) for one in users for other in users if one != other]
    random.Random(5).shuffle(games)
    await asyncio.gather(*(give(container, *each, "same") for each in games))
    counts = [(await read_skill(container, each) or (0, 0, 0))[2] for each in users]
    assert counts == [2 * 7] * 8


async def test_same_call_is_counted_once(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    call = await add_call(container, ada, bob)
    answers = await asyncio.gather(
        *(container.call_history.rate(ada, call, 5, "harder") for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(each, errors.AlreadyRated) for each in answers) == 9
    skill = await read_skill(container, bob)
    assert skill is not None and skill[2] == 1


async def test_declared_level_no_longer_counts(container: Container, make_learner: MakeLearner) -> None:
    """Who declares another level after feedback keeps the skill that the feedback has led to."""
    ada, (bob,) = await make_learner(), await add_users(container, 1)
    await give(container, bob, ada.id, "harder")
    before = await read_skill(container, ada.id)
    assert (await ada.http.patch("/users/me", json={"englishLevel": "beginner"})).status_code == 200
    await query(
        container, "UPDATE session_ratings SET created_at = created_at - interval '8 days' WHERE rater_id = :u", u=bob
    )
    await give(container, bob, ada.id, "same")
    after = await read_skill(container, ada.id)
    assert before is not None and after is not None and abs(after[0] - before[0]) < 1


async def test_deleted_account_gets_no_new_skill(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    await give(container, ada, bob, "same")
    await query(container, "DELETE FROM learner_skills WHERE user_id = :u", u=bob)
    await query(container, "UPDATE users SET deleted_at = now() WHERE id = :u", u=bob)
    await query(
        container, "UPDATE session_ratings SET created_at = created_at - interval '8 days' WHERE rater_id = :u", u=ada
    )
    before = await read_skill(container, ada)
    await give(container, ada, bob, "harder")
    assert await read_skill(container, bob) is None and await read_skill(container, ada) == before


async def test_pace_is_taken_by_the_endpoint(container: Container, make_learner: MakeLearner) -> None:
    """It is in the export of who gave it; what it moved is in no answer to another learner."""
    ada, bob = await make_learner(), await make_learner()
    call = await add_call(container, ada, bob)
    bad = await ada.http.post(f"/sessions/{call}/rate", json={"stars": 4, "pace": "slow"})
    assert bad.status_code == 400
    answer = await ada.http.post(f"/sessions/{call}/rate", json={"stars": 4, "pace": "harder"})
    assert answer.status_code == 201 and "pace" not in answer.json()
    export = (await ada.http.get("/users/me/export")).json()
    assert [each["pace"] for each in export["ratings"]] == ["harder"]
    of_bob = (await bob.http.get("/users/me/export")).json()
    assert of_bob["ratings"] == []
    assert await value(container, "SELECT is_pace_counted FROM session_ratings WHERE session_id = :c", c=call)


async def test_export_has_the_skill_of_the_midnight_before(container: Container, make_learner: MakeLearner) -> None:
    """What one partner has said, and when, cannot be read from the export of the day; the day after has the sum."""

    async def export() -> Any:
        return (await ada.http.get("/users/me/export")).json()["skill"]

    ada, raters = await make_learner(), await add_users(container, 3)
    assert await export() is None
    await give(container, raters[0], ada.id, "harder")
    assert await read_skill(container, ada.id) is not None and await export() is None
    await query(container, "UPDATE learner_skills SET day = day - 1 WHERE user_id = :u", u=ada.id)
    known, skill = await export(), await read_skill(container, ada.id)
    assert skill is not None and (known["mean"], known["deviation"], known["calls"]) == pytest.approx(skill)
    today = await value(container, "SELECT (now() AT TIME ZONE 'UTC')::date")
    assert known["day"] == str(today) and set(known) == {"mean", "deviation", "calls", "day"}
    for rater, pace in zip(raters[1:], ("easier", "harder"), strict=True):
        await give(container, rater, ada.id, pace)
        assert await export() == known
    assert await read_skill(container, ada.id) != skill
