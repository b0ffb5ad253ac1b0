"""What the service publishes about itself: documents, minimum age, contact, ways to meet, retention.

It is read once, from settings and files, so that it is available while PostgreSQL and Redis are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pairing_settings import POOL_KINDS, PoolKind
from services.operations.retention_schedule import RetentionRule, build_schedule
from services.safety.policies import Policy, load_all
from settings import Settings

#: Addresses of the documents' pages.
ADDRESSES = {"terms": "/terms", "rules": "/safety", "privacy": "/privacy"}
CONTACT_ADDRESS = "/contact"


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    #: All documents by name, those of the pages too.
    texts: dict[str, Policy]
    minimum_age: int
    minor_pools: bool
    contact_email: str | None
    contact_address: str | None
    #: The pools that are open, by platform.
    pairing: Mapping[str, tuple[PoolKind, ...]]
    retention: list[RetentionRule]

    @property
    def ways_to_meet(self) -> list[PoolKind]:
        """List the pools that are open on any platform."""
        return [kind for kind in POOL_KINDS if any(kind in pools for pools in self.pairing.values())]


def read_policy(settings: Settings) -> PublishedPolicy:
    """Read what a deployment publishes; raise PolicyError."""
    return PublishedPolicy(
        texts=load_all(settings.policy_directory),
        minimum_age=settings.minimum_age,
        minor_pools=settings.minor_pools == "on",
        contact_email=settings.contact_email,
        contact_address=settings.contact_address,
        pairing=settings.pairing,
        retention=build_schedule(settings),
    )


def build_contact(settings: Settings) -> str:
    """Return where people answer a decision: the contact's address, or a link to the page with it."""
    return settings.contact_email or f"{settings.app_url}{CONTACT_ADDRESS}"
