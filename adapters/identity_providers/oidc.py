"""A provider of OpenID Connect: verification of its ID tokens, its authorization codes, and revocation of grants."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from authlib.integrations.base_client.errors import OAuthError
from joserfc import jwt
from joserfc.jwk import ECKey

import errors
import spans
from adapters.identity_providers import id_tokens
from adapters.identity_providers.documents import IssuerDocuments
from adapters.identity_providers.http import DocumentClient, OAuthClient
from adapters.identity_providers.quirks import Quirks
from adapters.ports import ExchangedCode, VerifiedIdentity
from identity_settings import AppleKey, ProviderSettings

log = logging.getLogger("parlance.identities")

#: Lifetime of a client secret that is a JWT, in seconds; Apple allows six months.
_SECRET_SECONDS = 5 * 60
#: What the token endpoint answers to a code that is wrong, used or expired (RFC 6749, 5.2).
_REFUSED_CODE = ("invalid_grant", "invalid_request")
#: What the revocation endpoint answers to a token that has ended already, where it is not 200 as in RFC 7009, 2.2.
_ENDED_GRANT = ("invalid_grant", "invalid_token")


class OidcProvider:
    def __init__(
        self, configured: ProviderSettings, quirks: Quirks, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is the one by which documents of the provider expire."""
        self.id = configured.provider
        self.web_client_id = configured.web_client_id
        self.revokes_grants = quirks.revokes_grants and configured.apple_key is not None
        self._configured = configured
        self._quirks = quirks
        issuers = (configured.issuer, configured.issuer.partition("://")[2] if quirks.drops_issuer_scheme else "")
        self._issuers = frozenset(filter(None, issuers))
        # Made once: it reads all certificates of the system.
        self._tls = httpx.create_ssl_context()
        self._http = DocumentClient(self._tls)
        self._documents = IssuerDocuments(configured.issuer, self.id, self._http, clock)
        self._clients: dict[str, OAuthClient] = {}

    async def verify(self, id_token: str, nonce: str, platform: str | None) -> VerifiedIdentity:
        audiences = self._configured.audiences
        if platform is not None:
            audiences = next((ids for name, ids in self._configured.client_ids.items() if name == platform), ())
        nonces = id_tokens.accepted_nonces(nonce, self._quirks)
        try:
            return await self._read(id_token, id_tokens.Expected(self._issuers, audiences, nonces))
        except errors.IdTokenInvalid as error:
            log.info("id_token_refused provider=%s reason=%s", self.id, error)
            raise

    async def _read(self, id_token: str, expected: id_tokens.Expected) -> VerifiedIdentity:
        header = id_tokens.read_header(id_token)
        key = await self._documents.find_key(header.key_id, header.algorithm)
        claims = id_tokens.read_claims(id_token, key, header.algorithm)
        id_tokens.check_claims(claims, expected)
        return id_tokens.read_identity(self.id, id_token, claims, self._quirks)

    async def build_authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        assert self.web_client_id is not None, "asked of a provider without a client of the web"
        metadata = await self._documents.read_metadata()
        client = await self._client(self.web_client_id)
        url, _ = client.create_authorization_url(
            metadata.authorization_url,
            state=state,
            code_verifier=verifier,
            nonce=nonce,
            scope=self._quirks.scope,
            redirect_uri=redirect_uri,
            **self._quirks.parameters,
        )
        return str(url)

    async def exchange_code(
        self, code: str, *, client_id: str, redirect_uri: str | None = None, verifier: str | None = None
    ) -> ExchangedCode:
        metadata = await self._documents.read_metadata()
        client = await self._client(client_id)
        optional = {"redirect_uri": redirect_uri, "code_verifier": verifier}
        given = {name: value for name, value in optional.items() if value is not None}
        async with self._calling("exchange_code"):
            token = await client.fetch_token(metadata.token_url, grant_type="authorization_code", code=code, **given)
        id_token, refresh_token = token.get("id_token"), token.get("refresh_token")
        if not isinstance(id_token, str):
            raise errors.AuthorizationFailed("The provider has sent no ID token; begin the login again.")
        expected = id_tokens.Expected(self._issuers, (client_id,), None)
        try:
            identity = await self._read(id_token, expected)
        except errors.IdTokenInvalid as error:
            log.warning("exchanged_id_token_refused provider=%s reason=%s", self.id, error)
            raise errors.AuthorizationFailed("The provider has sent a wrong ID token; begin the login again.") from None
        kept = refresh_token if isinstance(refresh_token, str) and refresh_token else None
        return ExchangedCode(id_token, identity.subject, client_id, kept)

    async def revoke_grant(self, client_id: str, refresh_token: str) -> None:
        metadata = await self._documents.read_metadata()
        if metadata.revocation_url is None:
            return
        client = await self._client(client_id)
        with spans.vendor(self.id, "revoke_grant"):
            try:
                answer = await client.revoke_token(
                    metadata.revocation_url,
                    token=refresh_token,
                    token_type_hint="refresh_token",  # noqa: S106
                )
            except httpx.HTTPError as error:
                raise errors.Unavailable(f"{self.id} does not answer: {type(error).__name__}") from None
        if not answer.is_success and _read_error(answer) not in _ENDED_GRANT:
            raise errors.Unavailable(f"{self.id} answers {answer.status_code} {_read_error(answer)} to a revocation")

    @asynccontextmanager
    async def _calling(self, operation: str) -> AsyncIterator[None]:
        """Record a call of the token endpoint; raise AuthorizationFailed for its refusal, else Unavailable."""
        with spans.vendor(self.id, operation):
            try:
                yield
            except OAuthError as error:
                # Without the description, which may quote the code.
                log.warning("code_refused provider=%s error=%s", self.id, error.error)
                if error.error in _REFUSED_CODE:
                    raise errors.AuthorizationFailed() from None
                raise errors.Unavailable(f"{self.id} refuses codes: {error.error}; check its settings") from None
            except (httpx.HTTPError, ValueError) as error:
                raise errors.Unavailable(f"{self.id} does not answer: {type(error).__name__}") from None

    async def _client(self, client_id: str) -> OAuthClient:
        """Return the OAuth client of a client id, with a secret that is valid now."""
        method = (await self._documents.read_metadata()).auth_method
        client = self._clients.get(client_id)
        if client is None:
            secret = self._make_secret(client_id)
            client = OAuthClient(self._tls, client_id, auth_method=method if secret else "none")
            self._clients[client_id] = client
        client.client_secret = self._make_secret(client_id)
        return client

    def _make_secret(self, client_id: str) -> str | None:
        if self._configured.apple_key is not None:
            return _sign_secret(self._configured.apple_key, client_id, self._configured.issuer)
        # The secret is that of the web's client; apps have none.
        if self._configured.client_secret is None or client_id != self.web_client_id:
            return None
        return self._configured.client_secret.get_secret_value()

    async def close(self) -> None:
        await self._http.aclose()
        for client in self._clients.values():
            await client.aclose()


def _sign_secret(key: AppleKey, client_id: str, issuer: str) -> str:
    """Make the secret of a client: a JWT that the team's key signs."""
    now = int(time.time())
    claims: dict[str, Any] = {"iss": key.team_id, "iat": now, "exp": now + _SECRET_SECONDS, "aud": issuer}
    signing_key = ECKey.import_key(key.private_key.get_secret_value())
    header = {"alg": "ES256", "kid": key.key_id}
    return jwt.encode(header, {**claims, "sub": client_id}, signing_key, algorithms=["ES256"], default_type=None)


def _read_error(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])[:64]
    except (ValueError, LookupError, TypeError):
        return ""
