"""Access tokens of a Firebase project's service account, by Google's JWT bearer grant (RFC 7523)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
from authlib.oauth2.rfc7523 import JWTBearerGrant
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

import errors
import spans
from settings import Settings

#: Seconds that Google's token endpoint has to answer.
TIMEOUT_SECONDS = 5
#: Seconds before its end at which an access token is replaced.
EXPIRY_LEEWAY_SECONDS = 60
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
#: Of every assertion, wherever the endpoint is.
_AUDIENCE = "https://oauth2.googleapis.com/token"
#: Statuses of the token endpoint after which the same assertion may be accepted.
_TRANSIENT = {408, 429}


class AccountRefused(errors.Refused):
    """Google does not accept the account's key; the message has Google's reason."""


class GoogleAccount:
    """Service account of a Firebase project, and the access token that it was given last."""

    def __init__(
        self, settings: Settings, http: httpx.AsyncClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raise ValueError for a private key that cannot be read; `clock` is in seconds."""
        assert settings.firebase_private_key is not None
        try:
            self._key = RSAKey.import_key(settings.firebase_private_key.get_secret_value())
        except JoseError as error:
            raise ValueError(type(error).__name__) from None
        self._email = settings.firebase_client_email
        self._url = settings.firebase_token_url
        self._http = http
        self._clock = clock
        self._token = ""
        self._expires_at = 0.0
        self._requesting: asyncio.Task[None] | None = None

    async def access_token(self, *, instead_of: str | None = None) -> str:
        """Return a token that FCM accepts, which is not `instead_of`; raise AccountRefused or Unavailable."""
        if self._clock() >= self._expires_at or self._token == instead_of:
            if self._requesting is None or self._requesting.done():
                self._requesting = asyncio.create_task(self._request())
            await asyncio.shield(self._requesting)  # one for all who wait, who also fail together
        return self._token

    async def _request(self) -> None:
        assertion = JWTBearerGrant.sign(
            self._key, self._email, _AUDIENCE, claims={"scope": _SCOPE}, header={"alg": "RS256"}
        )
        form = {"grant_type": JWTBearerGrant.GRANT_TYPE, "assertion": assertion}
        try:
            with spans.vendor("google", "get_access_token"):
                response = await self._http.post(self._url, data=form, timeout=TIMEOUT_SECONDS)
        except httpx.HTTPError as error:
            raise errors.Unavailable(type(error).__name__) from None
        try:
            answer = response.json()
            if response.is_success:
                lifetime = float(answer["expires_in"]) - EXPIRY_LEEWAY_SECONDS
                self._token, self._expires_at = str(answer["access_token"]), self._clock() + lifetime
                return
            reason = ": ".join(str(answer[name]) for name in ("error", "error_description") if name in answer)
        except (ValueError, LookupError, TypeError):
            reason = ""
        if response.is_client_error and response.status_code not in _TRANSIENT:
            raise AccountRefused(f"Google refuses the account: {reason or response.status_code}")
        raise errors.Unavailable(f"{response.status_code} {reason}".rstrip())
