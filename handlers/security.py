"""Owns the security schemes of openapi.yaml: each turns a bearer token into the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import errors
from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container


async def bearer(services: Container, token: str) -> Identity:
    """Any signed-in account."""
    return services.logins.identify(token)


async def admin(services: Container, token: str) -> Identity:
    """An administrator; raise Forbidden for anyone else."""
    identity = services.logins.identify(token)
    if identity.role != "admin":
        raise errors.Forbidden()
    return identity
