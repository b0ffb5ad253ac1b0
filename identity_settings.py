"""Settings of identity providers (Google, Apple and one other issuer of OpenID Connect), and of passkeys.

Imports no other module of the product but `setting_values`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from setting_values import ApplePrivateKeyPem, ClientIds, IssuerUrl, PasskeyOrigins, ProviderId, RelyingPartyId

Platform = Literal["ios", "android", "web"]


@dataclass(frozen=True, slots=True)
class AppleKey:
    """Key of an Apple developer team that signs client secrets (ES256)."""

    team_id: str
    key_id: str
    private_key: SecretStr


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One configured provider. `provider` is its id on the wire, `name` what people read."""

    provider: str
    name: str
    #: Compared with the claim `iss` as it is, a slash at the end included.
    issuer: str
    #: What the claim `aud` may be; at least one of all platforms.
    client_ids: Mapping[Platform, tuple[str, ...]]
    #: Of the first client of the web; Apple has a key instead.
    client_secret: SecretStr | None = None
    apple_key: AppleKey | None = None
    #: Whether a verified address of any domain counts as verified by us.
    trusts_email: bool = False

    @property
    def web_client_id(self) -> str | None:
        """Return the client of the web's authorization code; None where it lacks a secret."""
        has_secret = self.client_secret is not None or self.apple_key is not None
        return self.client_ids["web"][0] if has_secret and self.client_ids["web"] else None

    @property
    def audiences(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for ids in self.client_ids.values() for each in ids))


class IdentitySettings(BaseSettings):
    """The part of `Settings` about ways to log in. Client ids are of each platform, with commas between."""

    #: Whether codes by e-mail log in.
    email_codes: bool = True

    google_client_ids_ios: ClientIds = []
    google_client_ids_android: ClientIds = []
    #: The first, with the secret, is the client of the web's authorization code; the same for all providers.
    google_client_ids_web: ClientIds = []
    google_client_secret: SecretStr | None = None
    google_issuer: IssuerUrl = "https://accounts.google.com"

    #: Bundle ids of apps, and identifiers of Services for the other two.
    apple_client_ids_ios: ClientIds = []
    apple_client_ids_android: ClientIds = []
    apple_client_ids_web: ClientIds = []
    apple_team_id: str | None = Field(None, pattern=r"^[A-Z0-9]{10}$")
    apple_key_id: str | None = Field(None, pattern=r"^[A-Z0-9]{10}$")
    apple_private_key: ApplePrivateKeyPem | None = None
    apple_issuer: IssuerUrl = "https://appleid.apple.com"

    #: Any other issuer, such as Keycloak: its id on the wire, and the name that people read (by default the id).
    oidc_provider: ProviderId | None = None
    oidc_name: str | None = Field(None, max_length=40)
    oidc_issuer: IssuerUrl | None = None
    oidc_client_ids_ios: ClientIds = []
    oidc_client_ids_android: ClientIds = []
    oidc_client_ids_web: ClientIds = []
    oidc_client_secret: SecretStr | None = None
    oidc_trusts_email: Literal["on", "off"] = "off"

    #: The RP ID of passkeys (a domain), the host of APP_URL when unset; and origins of apps beside APP_URL and
    #: CORS_ORIGINS.
    passkey_rp_id: RelyingPartyId | None = None
    passkey_origins: PasskeyOrigins = []

    @property
    def identity_providers(self) -> dict[str, ProviderSettings]:
        """Return the configured providers by their ids: those with a client id, and an issuer."""
        google = ProviderSettings(
            "google", "Google", self.google_issuer, self._client_ids("google"), self.google_client_secret
        )
        apple = ProviderSettings(
            "apple", "Apple", self.apple_issuer, self._client_ids("apple"), apple_key=self._apple_key()
        )
        providers = [google, apple]
        if self.oidc_provider is not None and self.oidc_issuer is not None:
            other = ProviderSettings(
                self.oidc_provider,
                self.oidc_name or self.oidc_provider.capitalize(),
                self.oidc_issuer,
                self._client_ids("oidc"),
                self.oidc_client_secret,
                trusts_email=self.oidc_trusts_email == "on",
            )
            providers.append(other)
        return {each.provider: each for each in providers if each.audiences}

    def _client_ids(self, prefix: str) -> dict[Platform, tuple[str, ...]]:
        platforms: tuple[Platform, ...] = ("ios", "android", "web")
        return {each: tuple(getattr(self, f"{prefix}_client_ids_{each}")) for each in platforms}

    def _apple_key(self) -> AppleKey | None:
        if self.apple_team_id is None or self.apple_key_id is None or self.apple_private_key is None:
            return None
        return AppleKey(self.apple_team_id, self.apple_key_id, self.apple_private_key)
