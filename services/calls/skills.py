"""Skill of learners: a rating that the feedback of partners moves.

Feedback about the pace of a call is a game of two: `harder` is won by the partner, `easier` by the one who gives the
feedback, `same` is a draw. The model is Bradley-Terry with full pairing (Weng and Lin, JMLR 12, 2011), with the
constants that the package openskill has by default. The functions of this module are pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from models import EnglishLevel, FeedbackPace

#: Standard deviation of a skill that nothing is known of, of a performance in one call, and what a game adds to it.
INITIAL_SIGMA = 25 / 3
BETA = 25 / 6
TAU = 25 / 300
#: `mu` that a declared level stands for, and that of none.
LEVEL_MU = {EnglishLevel.BEGINNER: 19.0, EnglishLevel.INTERMEDIATE: 25.0, EnglishLevel.ADVANCED: 31.0}
DEFAULT_MU = 25.0
#: How far `mu` may be, at the end of a UTC day, from what it was at its beginning: this, or a part of `sigma` where
#: that is more, for then little is known, and nothing that would be worth an attack.
MAX_DAILY_CHANGE, MAX_DAILY_SIGMAS = 2.0, 0.5

#: Score of the one who gives the feedback.
_SCORES = {FeedbackPace.EASIER: 1.0, FeedbackPace.SAME: 0.5, FeedbackPace.HARDER: 0.0}
#: The least part of the variance that one game leaves.
_MIN_VARIANCE_PART = 0.0001


class Skill(NamedTuple):
    """Mean and standard deviation of a learner's skill."""

    mu: float
    sigma: float


def prior(level: EnglishLevel | None) -> Skill:
    """Return the skill of a learner whom no feedback concerns yet, by the level that they have declared."""
    return Skill(LEVEL_MU.get(level, DEFAULT_MU) if level else DEFAULT_MU, INITIAL_SIGMA)


def update(rater: Skill, rated: Skill, pace: FeedbackPace) -> tuple[Skill, Skill]:
    """Return the skills of who gave feedback and of the partner it is about, after that game; both move."""
    score = _SCORES[pace]
    return _play(rater, rated, score), _play(rated, rater, 1.0 - score)


def bound(before: Skill, after: Skill, day_mu: float) -> Skill:
    """Keep the change of a day within `MAX_DAILY_CHANGE` of `day_mu`, or further for a `sigma` that is wide.

    Of a step that is cut, `sigma` takes the same part: what may not move the mean is no evidence for it either.
    """
    # `sigma` falls in the course of a day: what has moved already stays.
    change = max(MAX_DAILY_CHANGE, MAX_DAILY_SIGMAS * before.sigma, abs(before.mu - day_mu))
    mu = min(max(after.mu, day_mu - change), day_mu + change)
    step = after.mu - before.mu
    if mu == after.mu or step == 0:
        return after
    part = (mu - before.mu) / step
    return Skill(mu, before.sigma + (after.sigma - before.sigma) * part)


def _play(me: Skill, other: Skill, score: float) -> Skill:
    """Return the skill after one game; `score` is 1 for a win, 0.5 for a draw, 0 for a loss."""
    variance, other_variance = me.sigma**2 + TAU**2, other.sigma**2 + TAU**2
    scale = math.sqrt(variance + other_variance + 2 * BETA**2)
    expected = 1 / (1 + math.exp((other.mu - me.mu) / scale))
    step = variance / scale * (score - expected)
    shrink = math.sqrt(variance) / scale * (variance / scale**2) * expected * (1 - expected)
    return Skill(me.mu + step, math.sqrt(variance) * math.sqrt(max(1 - shrink, _MIN_VARIANCE_PART)))
