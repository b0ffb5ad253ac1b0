"""Google, Apple and other issuers of OpenID Connect: one client for all, their differences as data."""

from __future__ import annotations

from adapters.identity_providers.oidc import OidcProvider
from adapters.identity_providers.quirks import APPLE, GOOGLE, Quirks
from adapters.ports import IdentityProvider
from identity_settings import ProviderSettings
from settings import Settings

__all__ = ["OidcProvider", "build_identity_providers", "build_provider"]


_KNOWN = {"google": GOOGLE, "apple": APPLE}


def build_identity_providers(settings: Settings) -> dict[str, IdentityProvider]:
    """Build the configured providers, by id."""
    return {name: build_provider(configured) for name, configured in settings.identity_providers.items()}


def build_provider(configured: ProviderSettings) -> IdentityProvider:
    quirks = _KNOWN.get(configured.provider) or Quirks(trusts_verified_email=configured.trusts_email)
    return OidcProvider(configured, quirks)
