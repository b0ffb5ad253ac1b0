"""Security schemes of openapi.yaml: each maps a bearer token to an identity. `contract/security.py` checks its role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container


async def bearer(services: Container, token: str) -> Identity:
    """Return the identity of any logged-in account."""
    return services.logins.identify(token)
