"""Security schemes of openapi.yaml: each maps a bearer token to an identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import errors
from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container


async def bearer(services: Container, token: str) -> Identity:
    """Return the identity of any logged-in account."""
    return services.logins.identify(token)


async def admin(services: Container, token: str) -> Identity:
    """Return the identity of an administrator; raise Forbidden for other accounts."""
    identity = services.logins.identify(token)
    if identity.role != "admin":
        raise errors.Forbidden()
    return identity
