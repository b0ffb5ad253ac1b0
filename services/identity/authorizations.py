"""Logins at a provider's web page, by an authorization code with PKCE (RFC 7636; RFC 9700, 2.1.1).

What the browser needs for the second half is in its cookie, signed: the server keeps nothing, and a code that another
browser began has no use here.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import NamedTuple

import errors
from adapters.tokens import AccessTokens
from services.identity.id_tokens import IdTokensService, SentIdToken
from services.identity.identity_grants import IdentityGrantsService

#: How long a login at a provider's page may take.
AUTHORIZATION_LIFETIME = timedelta(minutes=10)
#: Where providers redirect to, below APP_URL.
CALLBACK_PATH = "/oauth/callback"


class StartedAuthorization(NamedTuple):
    """The provider's page, and the value of the cookie."""

    url: str
    cookie: str


class AuthorizationsService:
    def __init__(
        self, id_tokens: IdTokensService, grants: IdentityGrantsService, tokens: AccessTokens, site: str
    ) -> None:
        """`site` is the origin that providers redirect to."""
        self._id_tokens = id_tokens
        self._grants = grants
        self._tokens = tokens
        self._redirect_uri = f"{site}{CALLBACK_PATH}"

    async def start(self, provider: str) -> StartedAuthorization:
        """Begin a login; raise RequestInvalid for a provider without a web page, or Unavailable."""
        found = self._id_tokens.find_provider(provider)
        if found.web_client_id is None:
            raise errors.RequestInvalid("'provider' should be one with hasWebFlow in GET /auth/methods")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        url = await found.build_authorization_url(
            redirect_uri=self._redirect_uri, state=state, nonce=nonce, verifier=verifier
        )
        cookie = self._tokens.issue_authorization(
            "authorization", AUTHORIZATION_LIFETIME, sub=provider, state=state, nonce=nonce, verifier=verifier
        )
        return StartedAuthorization(url, cookie)

    async def exchange(self, cookie: str, code: str, state: str) -> SentIdToken:
        """Exchange the code of a redirect for what a login takes; raise AuthorizationFailed or Unavailable."""
        try:
            begun = self._tokens.read_authorization("authorization", cookie)
            provider, expected, nonce, verifier = (begun[name] for name in ("sub", "state", "nonce", "verifier"))
        except (errors.Unauthenticated, KeyError):
            raise errors.AuthorizationFailed(
                "This browser has begun no login in the last ten minutes; begin it again."
            ) from None
        if not hmac.compare_digest(state.encode(), expected.encode()):
            raise errors.AuthorizationFailed("The state is that of another login; begin it again.")
        try:
            found = self._id_tokens.find_provider(provider)
        except errors.RequestInvalid:
            raise errors.AuthorizationFailed("This provider is no longer offered.") from None
        if found.web_client_id is None:
            raise errors.AuthorizationFailed("This provider is no longer offered.")
        exchanged = await found.exchange_code(
            code, client_id=found.web_client_id, redirect_uri=self._redirect_uri, verifier=verifier
        )
        sent = SentIdToken(provider, exchanged.id_token, nonce, grant=self._grants.sign(provider, exchanged))
        try:
            # Its nonce is what binds the code to this browser, where another person's was injected.
            await found.verify(exchanged.id_token, nonce, "web")
        except errors.IdTokenInvalid:
            raise errors.AuthorizationFailed() from None
        return sent
