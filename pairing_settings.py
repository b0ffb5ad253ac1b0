"""Settings of how learners meet: pools on each platform, and invitations of partners.

Imports no other module of the product but `setting_values`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from setting_values import Duration, between

#: Whom learners may meet: anyone of their age band, partners, those who are enrolled in the same course.
PoolKind = Literal["anyone", "partners", "course"]
POOL_KINDS: tuple[PoolKind, ...] = ("anyone", "partners", "course")
#: Platforms of logins, as `models.Platform`.
PLATFORMS = ("ios", "android", "web")
#: The rule for every platform without one of its own.
OTHERS = "*"

_FORM = (
    "should be pools with commas between, of anyone, partners and course, or rules such as ios=partners,course;*=anyone"
)


def _pairing(value: Any) -> Any:
    """Read `partners,course`, or `ios=partners,course;*=anyone,partners,course`, as the pools of each platform."""
    if not isinstance(value, str):
        return value
    rules: dict[str, tuple[str, ...]] = {}
    for rule in filter(None, (each.strip() for each in value.split(";"))):
        platform, is_named, listed = rule.rpartition("=")
        platform = platform.strip() if is_named else OTHERS
        pools = tuple(each.strip() for each in listed.split(",") if each.strip())
        if platform not in (*PLATFORMS, OTHERS) or platform in rules or not set(pools) <= set(POOL_KINDS):
            raise ValueError(_FORM)
        rules[platform] = tuple(each for each in POOL_KINDS if each in pools)
    others = rules.get(OTHERS, POOL_KINDS)
    return {platform: rules.get(platform, others) for platform in PLATFORMS}


#: The pools of every platform.
Pairing = Annotated[Mapping[str, tuple[PoolKind, ...]], NoDecode, BeforeValidator(_pairing)]


class PairingSettings(BaseSettings):
    """The part of `Settings` about how learners meet."""

    #: `fit`: the partner who fits best; `oldest`: the one who has waited longest.
    matching: Literal["fit", "oldest"] = "fit"
    #: The pools that are open, on all platforms or on each.
    pairing: Pairing = Field(default_factory=lambda: dict.fromkeys(PLATFORMS, POOL_KINDS))
    #: How long an invitation can be answered.
    invitation_expiry: Annotated[Duration, between("5s", "5m")] = timedelta(seconds=45)
    #: A call that a learner ends within this time counts as left early in their record of matches.
    early_leave: Annotated[Duration, between("0s", "60s")] = timedelta(seconds=60)
