"""Google, Apple and other issuers of OpenID Connect: one client for all, their differences as data."""

from __future__ import annotations

from adapters.identity_providers.oidc import OidcProvider
from adapters.identity_providers.quirks import APPLE, GOOGLE, Quirks
from adapters.ports import IdentityProvider
from settings import Settings

__all__ = ["OidcProvider", "build_identity_providers"]


def build_identity_providers(settings: Settings) -> dict[str, IdentityProvider]:
    """Build the configured providers, by id."""
    known = {"google": GOOGLE, "apple": APPLE}
    return {
        name: OidcProvider(configured, known.get(name) or Quirks(trusts_verified_email=configured.trusts_email))
        for name, configured in settings.identity_providers.items()
    }
