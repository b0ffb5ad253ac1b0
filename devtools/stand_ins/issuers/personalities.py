"""Google, Apple and a plain issuer such as Keycloak: the claims, endpoints and errors in which they differ."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from devtools.stand_ins.issuers.authorization import AuthorizationRefused, AuthorizationRequest, TokenRefused
from devtools.stand_ins.issuers.issuer import Issuer, Person
from devtools.stand_ins.issuers.key_ring import Json
from devtools.stand_ins.store import Store

_APPLE_SECRET_SECONDS = 15_777_000


class GoogleIssuer(Issuer):
    """Google: `azp`, `hd` and a boolean `email_verified`; a refresh token where `access_type` is offline."""

    id, name = "google", "Google"
    authorization_path, token_path = "/o/oauth2/v2/auth", "/token"
    revocation_path, jwks_path = "/revoke", "/oauth2/v3/certs"
    revocation_needs_client = False

    def __init__(self, url: str, store: Store, client_ids: Mapping[str, str], client_secret: str) -> None:
        super().__init__(url, store, client_ids, "public, max-age=21000, must-revalidate, no-transform")
        self._secret = client_secret
        #: The older form of the claim `iss`, which Google still uses at times.
        self.issuer_without_scheme = False

    def subject_of(self, email: str) -> str:
        return "1" + str(int(_hash(self.id, email), 16) % 10**20).zfill(20)

    def authenticate_client(self, client_id: str, secret: str) -> None:
        if client_id not in self.client_ids.values():
            raise TokenRefused("invalid_client", "The OAuth client was not found.", 401)
        if client_id == self.client_ids["web"] and not hmac.compare_digest(secret.encode(), self._secret.encode()):
            raise TokenRefused("invalid_client", "Unauthorized", 401)

    def revoke(self, client_id: str | None, token: str) -> None:
        with self._store.lock:
            is_known = token in self._table("tokens")
        super().revoke(client_id, token)
        if not is_known:
            raise TokenRefused("invalid_token", "Token expired or revoked")

    def _redirect_uri_mismatch(self) -> TokenRefused:
        return TokenRefused("redirect_uri_mismatch", "Bad Request")

    def _gives_refresh_token(self, grant: Json) -> bool:
        return bool(grant["is_offline"])

    def _claims(self, person: Person, client_id: str, scopes: set[str]) -> Json:
        claims = super()._claims(person, client_id, scopes) | {"azp": client_id, "hd": person.hd}
        if self.issuer_without_scheme:
            claims["iss"] = self.url.partition("://")[2]
        if "email" in scopes and person.email is not None:
            claims |= {"email": person.email, "email_verified": person.email_verified}
        if "profile" in scopes:
            claims |= _profile(person)
        return claims


class AppleIssuer(Issuer):
    """Apple: no PKCE, form_post where scopes are asked for, the name once, and a client secret that is a JWT."""

    id, name = "apple", "Apple"
    authorization_path, token_path = "/auth/authorize", "/auth/token"
    revocation_path, jwks_path = "/auth/revoke", "/auth/keys"
    code_seconds, id_token_seconds = 300, 86_400
    uses_pkce = accepts_basic = False
    cancel_error = "user_cancelled_authorize"
    code_error = "The code has expired or has been revoked."

    def __init__(
        self, url: str, store: Store, client_ids: Mapping[str, str], *, team_id: str, key_id: str, private_key: str
    ) -> None:
        """`private_key` is the PEM of the key that signs client secrets."""
        super().__init__(url, store, client_ids, "public, max-age=3600")
        self._team_id, self._key_id = team_id, key_id
        self._key = ECKey.import_key(private_key)
        #: `email_verified` and `is_private_email` as the texts "true" and "false", which Apple still sends at times.
        self.booleans_as_text = False

    def subject_of(self, email: str) -> str:
        digest = _hash(self.id, email)
        return f"00{int(digest[:3], 16):04d}.{digest[:32]}.{int(digest[32:34], 16):04d}"

    def accept(self, parameters: Mapping[str, str]) -> AuthorizationRequest:
        request = super().accept(parameters)
        if request.scopes & {"name", "email"} and request.response_mode != "form_post":
            raise AuthorizationRefused(
                "invalid_request", "response_mode must be form_post when name or email scope is requested."
            )
        return request

    def grant(self, request: AuthorizationRequest, person: Person) -> dict[str, str]:
        answer = super().grant(request, person)
        with self._store.change():
            grants, grant = self._table("grants"), f"{request.client_id} {person.subject}"
            is_first = grant not in grants
            grants[grant] = {"has_email": "email" in request.scopes or grants.get(grant, {}).get("has_email", False)}
        if is_first and "name" in request.scopes and request.redirect_uri:
            user: Json = {"name": {"firstName": person.given_name, "lastName": person.family_name}}
            answer["user"] = json.dumps(user | ({"email": _address(person)} if "email" in request.scopes else {}))
        return answer

    def _callback(self, request: AuthorizationRequest) -> dict[str, str]:
        return {"state": request.state} if request.state is not None else {}

    def authenticate_client(self, client_id: str, secret: str) -> None:
        """Verify a client secret: ES256 by the team's key, for this client and issuer, at most half a year long."""
        try:
            token = jwt.decode(secret, self._key, algorithms=["ES256"])
        except (JoseError, ValueError):
            raise TokenRefused("invalid_client") from None
        claims, now = token.claims, self._store.now()
        issued, expires = claims.get("iat"), claims.get("exp")
        if not (
            client_id in self.client_ids.values()
            and token.header.get("kid") == self._key_id
            and claims.get("iss") == self._team_id
            and claims.get("aud") == self.url
            and claims.get("sub") == client_id
            and isinstance(issued, int | float)
            and isinstance(expires, int | float)
            and issued - 300 <= now < expires <= now + _APPLE_SECRET_SECONDS
        ):
            raise TokenRefused("invalid_client")

    def discovery(self) -> Json:
        document = super().discovery() | {
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "scopes_supported": ["openid", "email", "name"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        others = ("code_challenge_methods_supported", "authorization_response_iss_parameter_supported")
        return {name: value for name, value in document.items() if name not in (*others, "grant_types_supported")}

    def _claims(self, person: Person, client_id: str, scopes: set[str]) -> Json:
        claims = super()._claims(person, client_id, scopes)
        claims |= {"nonce_supported": True, "auth_time": claims["iat"]}
        grant = self._table("grants").get(f"{client_id} {person.subject}", {})
        if person.email is not None and ("email" in scopes or grant.get("has_email")):
            claims |= {"email": _address(person), "email_verified": self._boolean(person.email_verified)}
            if person.is_private_email:
                claims["is_private_email"] = self._boolean(True)
        return claims

    def _boolean(self, value: bool) -> Any:
        return str(value).lower() if self.booleans_as_text else value


class OidcIssuer(Issuer):
    """A plain issuer below a path, such as a realm of Keycloak; it signs with RS256, or ES256 on demand."""

    id, name = "keycloak", "Keycloak"
    authorization_path, token_path = "/protocol/openid-connect/auth", "/protocol/openid-connect/token"
    revocation_path, jwks_path = "/protocol/openid-connect/revoke", "/protocol/openid-connect/certs"
    algorithms = ("RS256", "ES256")
    pkce_errors = ("PKCE code verifier not specified", "PKCE verification failed: Code mismatch")
    code_error = "Code not valid"

    def __init__(self, url: str, store: Store, client_ids: Mapping[str, str], client_secret: str) -> None:
        super().__init__(url, store, client_ids, "no-cache")
        self._secret = client_secret

    def subject_of(self, email: str) -> str:
        return str(uuid.UUID(_hash(self.id, email)[:32], version=4))

    def authenticate_client(self, client_id: str, secret: str) -> None:
        is_public = client_id in (self.client_ids["ios"], self.client_ids["android"])
        known = client_id == self.client_ids["web"] and hmac.compare_digest(secret.encode(), self._secret.encode())
        if not is_public and not known:
            raise TokenRefused("unauthorized_client", "Invalid client or Invalid client credentials", 401)

    def _claims(self, person: Person, client_id: str, scopes: set[str]) -> Json:
        claims = super()._claims(person, client_id, scopes)
        claims |= {"azp": client_id, "typ": "ID", "auth_time": claims["iat"], "sid": str(uuid.uuid4())}
        if "email" in scopes and person.email is not None:
            claims |= {"email": person.email, "email_verified": person.email_verified}
        if "profile" in scopes:
            claims |= _profile(person) | {"preferred_username": person.email}
        return claims


def _address(person: Person) -> str | None:
    """Return what Apple says: the person's address, or one that relays to it."""
    if not person.is_private_email or person.email is None:
        return person.email
    return f"{_hash('relay', person.email)[:10]}@privaterelay.appleid.com"


def _profile(person: Person) -> Json:
    return {
        "name": f"{person.given_name} {person.family_name}",
        "given_name": person.given_name,
        "family_name": person.family_name,
    }


def _hash(purpose: str, email: str) -> str:
    return hashlib.sha256(f"{purpose} {email.lower()}".encode()).hexdigest()
