"""Authorization requests of OAuth 2.0 and OpenID Connect, and how they are refused."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True)
class AuthorizationRequest:
    """What a client asks the authorization endpoint for."""

    client_id: str
    redirect_uri: str
    response_type: str = "code"
    response_mode: Literal["query", "fragment", "form_post"] = "query"
    scopes: frozenset[str] = frozenset({"openid"})
    state: str | None = None
    nonce: str | None = None
    code_challenge: str | None = None
    code_challenge_method: str = "plain"
    is_offline: bool = False
    login_hint: str = ""
    prompt: str = ""


class AuthorizationRefused(ValueError):
    """A request that is refused on a page of the issuer: its client or redirect URI cannot be trusted."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error, self.description = error, description


class TokenRefused(Exception):
    """A call of the token or revocation endpoint that is refused with a JSON body."""

    def __init__(self, error: str, description: str | None = None, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error, self.description, self.status = error, description, status

    @property
    def body(self) -> Json:
        return {"error": self.error} | ({"error_description": self.description} if self.description else {})


def parse_request(parameters: Mapping[str, str]) -> AuthorizationRequest:
    """Read a request; raise AuthorizationRefused where a parameter that each needs is missing."""
    for name in ("client_id", "redirect_uri", "response_type"):
        if not parameters.get(name):
            raise AuthorizationRefused("invalid_request", f"Missing required parameter: {name}")
    mode = parameters.get("response_mode", "query")
    if mode not in ("query", "fragment", "form_post"):
        raise AuthorizationRefused("invalid_request", "Invalid response_mode")
    return AuthorizationRequest(
        client_id=parameters["client_id"],
        redirect_uri=parameters["redirect_uri"],
        response_type=parameters["response_type"],
        response_mode=mode,  # type: ignore[arg-type]  # checked above
        scopes=frozenset(parameters.get("scope", "").split()),
        state=parameters.get("state"),
        nonce=parameters.get("nonce"),
        code_challenge=parameters.get("code_challenge"),
        code_challenge_method=parameters.get("code_challenge_method", "plain"),
        is_offline=parameters.get("access_type") == "offline",
        login_hint=parameters.get("login_hint", ""),
        prompt=parameters.get("prompt", ""),
    )


def matches_challenge(verifier: str, challenge: str, method: str) -> bool:
    """Compare a PKCE verifier with its challenge (RFC 7636)."""
    if method == "plain":
        return verifier == challenge
    return half_hash(verifier, full=True) == challenge


def half_hash(text: str, *, full: bool = False) -> str:
    """Return the claim `at_hash` or `c_hash` of a token or code: half of its SHA-256, or all of it."""
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest if full else digest[:16]).rstrip(b"=").decode()
