"""Gates: what an account needs before it meets others or writes what they read, each with a setting of its own.

The order is that in which a client asks: a verified address, an age, consent to the documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import orjson

import errors
from models import AgeBand, User
from settings import Settings

#: The age band of a learner without one, who is let through where the gate is off.
DEFAULT_BAND = AgeBand.ADULT
#: The oldest age in years of each band below 18.
OLDEST_AGE = {AgeBand.UNDER_13: 12, AgeBand.FROM_13: 15, AgeBand.FROM_16: 17}


class Standing(NamedTuple):
    """What gates look at of an account; `accepted_versions` are those of its consents, by document."""

    is_verified: bool
    age_band: AgeBand | None
    accepted_versions: Mapping[str, str]

    @classmethod
    def of_user(cls, user: User) -> Standing:
        return cls(user.is_verified, user.age_band, user.accepted_versions)

    @property
    def pool(self) -> AgeBand:
        """The band in whose queue the account searches."""
        return self.age_band or DEFAULT_BAND


class Gates:
    def __init__(self, settings: Settings, versions: Mapping[str, str]) -> None:
        """`versions` are the current ones of the documents, by name."""
        self._is_email_required = settings.is_on("email_gate")
        self._is_age_required = settings.is_on("age_gate")
        self._versions = dict(versions) if settings.is_on("terms_gate") else {}
        self._bands = _list_bands(settings)

    def list_refusals(self, standing: Standing) -> Iterator[errors.GateClosed]:
        """List what an account lacks, in the order in which a client asks for it."""
        if self._is_email_required and not standing.is_verified:
            yield errors.EmailUnverified()
        if self._is_age_required and standing.age_band is None:
            yield errors.AgeRequired()
        elif self._is_age_required and standing.age_band not in self._bands:
            yield errors.TooYoung()
        if not self._versions.items() <= standing.accepted_versions.items():
            yield errors.TermsRequired()

    def require_all(self, standing: Standing) -> None:
        """Raise the first error of `list_refusals`."""
        for refusal in self.list_refusals(standing):
            raise refusal

    #: The rule of `list_refusals` as a condition on a row of `users`, with `condition_parameters`.
    CONDITION = (
        "(is_verified OR NOT :is_email_required)"
        " AND (age_band = ANY (CAST(:allowed_bands AS age_band[])) OR NOT :is_age_required)"
        " AND accepted_versions @> CAST(:required_versions AS jsonb)"
    )

    @property
    def condition_parameters(self) -> dict[str, object]:
        return {
            "is_email_required": self._is_email_required,
            "is_age_required": self._is_age_required,
            "allowed_bands": [band.value for band in self._bands],
            "required_versions": orjson.dumps(self._versions).decode(),
        }

    @property
    def is_age_required(self) -> bool:
        return self._is_age_required

    @property
    def allowed_bands(self) -> list[AgeBand]:
        """The bands whose learners may meet others."""
        return self._bands


def _list_bands(settings: Settings) -> list[AgeBand]:
    """List the bands whose learners may meet others; of one around MINIMUM_AGE, those below it are refused before."""
    minors = OLDEST_AGE.items() if settings.minor_pools == "on" else ()
    return [band for band, oldest in minors if oldest >= settings.minimum_age] + [AgeBand.ADULT]
