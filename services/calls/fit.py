"""Fit of two searches: what each brings, and how much each difference costs.

`find_partner.lua` computes the costs; docs/decisions/0104-fit-matching.md has the formula and its reasons.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from typing import NamedTuple

from models import EnglishLevel, Level
from services.calls.skills import INITIAL_SIGMA

#: Levels of a conversation whose searches meet after a wait.
NEIGHBOURS: dict[Level, tuple[Level, ...]] = {
    "all": (),
    "beginner": ("intermediate",),
    "intermediate": ("beginner", "advanced"),
    "advanced": ("intermediate",),
}
#: Longer than any search lasts.
_NEVER_SECONDS = 1e9


class Features(NamedTuple):
    """What a learner brings into a search: skill (mean and deviation), record points, native language and goal."""

    mu: float
    sigma: float = INITIAL_SIGMA
    points: float = 0.0
    native_language: str | None = None
    goal: str | None = None


@dataclass(frozen=True, slots=True)
class FitWeights:
    """Weights of a match, as `find_partner.lua` takes them, in this order.

    The misfit of two is a sum of costs. Of those whose misfit is at most the threshold, a search takes the least misfit
    less the bonus of the partner's wait, where one up to `slack` counts as none.
    """

    #: Cost of a gap of mu as large as beta (25/6) and the mean sigma of the two.
    level_gap: float = 1.0
    #: Cost of each time the two have met in the last 7 days.
    repeat: float = 1.2
    #: Cost of the same native language, of different goals, and of each record point of difference.
    same_language: float = 0.03
    other_goal: float = 0.01
    points: float = 0.5
    #: Of misfits that are no more than this, the longest wait decides: the walk over a long queue ends there.
    slack: float = 0.1
    #: Bonus of each second that the partner has waited.
    wait_bonus: float = 0.001
    #: The misfit that is accepted at once, and what the square of the longer wait (s) adds: little at first, when
    #: better partners are still to come, and soon much.
    threshold: float = 0.1
    threshold_growth: float = 0.00035
    #: Where fewer of those who searched in the last minutes would be a `good` match than this, any is accepted.
    enough: int = 1
    #: Seconds before the end of a search from which it comes first and accepts any.
    leaving_seconds: float = 250.0
    #: Wait after which neighbouring levels meet.
    neighbour_seconds: float = 20.0
    #: Wait after which two who met in the last ten minutes meet again, where nobody else fits.
    again_seconds: float = 60.0
    #: The misfit of a match that is worth waiting for.
    good: float = 0.3

    def serialize(self) -> str:
        return " ".join(f"{value:.10g}" for value in astuple(self))

    @property
    def is_patient(self) -> bool:
        """Whether a search that found nobody may find one later who waits already."""
        return self.threshold < _NEVER_SECONDS


#: The longest wait alone decides, and levels stay apart.
OLDEST_FIRST = FitWeights(
    level_gap=0,
    repeat=0,
    same_language=0,
    other_goal=0,
    points=0,
    slack=0,
    wait_bonus=1,
    threshold=_NEVER_SECONDS,
    threshold_growth=0,
    enough=0,
    leaving_seconds=0,
    neighbour_seconds=_NEVER_SECONDS,
    again_seconds=0,
)


def serialize_features(features: Features, *, is_strict: bool) -> str:
    """Serialize features as a queue entry has them.

    Hundredths of mu, points and sigma, each of a fixed number of digits, 1 for strict, language and goal, `-` for none.
    """
    language = re.match(r"[a-z]{2,8}(?![^_-])", (features.native_language or "").lower())
    mu, points, sigma = (
        f"{min(max(0, round(number * 100)), 10**digits - 1):0{digits}}"
        for number, digits in ((features.mu, 5), (features.points, 4), (features.sigma, 4))
    )
    return f"{mu} {points} {sigma} {int(is_strict)} {language[0] if language else '-'} {features.goal or '-'}"


def list_accepted_levels(level: Level, *, is_widened: bool) -> list[EnglishLevel]:
    """List the levels that a search accepts, from the lowest; `is_widened`: its neighbours too."""
    if level == "all":
        return list(EnglishLevel)
    accepted = {level, *(NEIGHBOURS[level] if is_widened else ())}
    return [each for each in EnglishLevel if each.value in accepted]
