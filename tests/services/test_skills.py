"""Skills: the model against the package openskill, and the bounds of a day."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openskill.models import BradleyTerryFull

from models import EnglishLevel, FeedbackPace
from services.calls.skills import INITIAL_SIGMA, MAX_DAILY_CHANGE, MAX_DAILY_SIGMAS, Skill, bound, prior, update

#: Ranks of rater and rated, where the lower one wins.
RANKS: dict[FeedbackPace, list[float]] = {
    FeedbackPace.EASIER: [1, 2],
    FeedbackPace.SAME: [1, 1],
    FeedbackPace.HARDER: [2, 1],
}
SKILLS = st.builds(Skill, st.floats(-20, 70), st.floats(0.5, INITIAL_SIGMA))


def rate_by_oracle(rater: Skill, rated: Skill, pace: FeedbackPace) -> tuple[Skill, Skill]:
    model = BradleyTerryFull()
    teams = [[model.rating(*skill)] for skill in (rater, rated)]
    (one,), (other,) = model.rate(teams, ranks=RANKS[pace])
    return Skill(one.mu, one.sigma), Skill(other.mu, other.sigma)


def test_update_equals_openskill_over_thousands_of_games() -> None:
    """A population plays 5,000 games; after each, both skills are those of the oracle."""
    chance = random.Random(20261201)
    skills = [prior(chance.choice([None, *EnglishLevel])) for _ in range(60)]
    for _ in range(5000):
        one, other = chance.sample(range(60), 2)
        pace = chance.choice(list(FeedbackPace))
        expected = rate_by_oracle(skills[one], skills[other], pace)
        found = update(skills[one], skills[other], pace)
        for each, by_oracle in zip(found, expected, strict=True):
            assert each == pytest.approx(by_oracle, rel=1e-9)
        skills[one], skills[other] = found
    assert max(skill.sigma for skill in skills) < INITIAL_SIGMA / 2


@given(SKILLS, SKILLS, st.sampled_from(FeedbackPace))
def test_update_equals_openskill_for_any_skills(rater: Skill, rated: Skill, pace: FeedbackPace) -> None:
    for found, expected in zip(update(rater, rated, pace), rate_by_oracle(rater, rated, pace), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.tuples(SKILLS, st.sampled_from(FeedbackPace)), max_size=80))
def test_day_of_any_feedback_stays_in_bounds(games: list[tuple[Skill, FeedbackPace]]) -> None:
    skill = start = prior(EnglishLevel.INTERMEDIATE)
    widest = start.sigma
    for rater, pace in games:
        after = bound(skill, update(rater, skill, pace)[1], start.mu)
        # A game may add a little to sigma, so the bound is that of the widest of the day.
        widest = max(widest, after.sigma)
        assert abs(after.mu - start.mu) <= max(MAX_DAILY_CHANGE, MAX_DAILY_SIGMAS * widest) + 1e-9
        assert after.sigma > 0
        skill = after


def test_feedback_that_is_cut_is_no_evidence() -> None:
    """Fifty who say the same in one day make the system no surer of it than the bound allows."""
    skill = start = prior(EnglishLevel.ADVANCED)
    for _ in range(50):
        skill = bound(skill, update(prior(None), skill, FeedbackPace.EASIER)[1], start.mu)
    assert start.mu - MAX_DAILY_SIGMAS * INITIAL_SIGMA <= skill.mu < start.mu - MAX_DAILY_CHANGE
    assert skill.sigma > INITIAL_SIGMA * 0.9


def test_known_skill_moves_by_two_in_a_day() -> None:
    skill = start = Skill(25.0, 3.0)
    for _ in range(50):
        skill = bound(skill, update(prior(None), skill, FeedbackPace.EASIER)[1], start.mu)
    assert skill.mu == pytest.approx(start.mu - MAX_DAILY_CHANGE)
