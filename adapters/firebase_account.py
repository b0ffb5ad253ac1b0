"""Owns asking Google whether it knows our Firebase service account (RFC 7523)."""

from __future__ import annotations

import time

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

import errors
from settings import Settings

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class AccountRefused(errors.Refused):
    """Google does not take the account's key; the message says why."""


async def exchange_token(settings: Settings) -> None:
    """Get an access token for the account, as each push does; raise AccountRefused, ValueError or httpx.HTTPError."""
    assert settings.firebase_private_key is not None
    issued = int(time.time())
    claims = {
        "iss": settings.firebase_client_email,
        "scope": _SCOPE,
        "aud": settings.firebase_token_url,
        "iat": issued,
        "exp": issued + 600,
    }
    key = RSAKey.import_key(settings.firebase_private_key.get_secret_value())
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": jwt.encode({"alg": "RS256"}, claims, key),
    }
    async with httpx.AsyncClient(timeout=5) as http:
        answer = await http.post(settings.firebase_token_url, data=form)
    if answer.status_code in (400, 401, 403):
        raise AccountRefused(f"Google refuses the account (status {answer.status_code})")
    answer.raise_for_status()
