"""Logins with ID tokens of the stand-in issuers, on the app in this process."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from devtools.stand_ins.issuers import Issuer, Issuers
from identity_settings import IdentitySettings
from settings import Settings
from testing.logins import Deployment


@dataclass
class IdentityDeployment(Deployment):
    """The whole app in this process, configured for the stand-in issuers."""

    issuers: Issuers


def with_issuers(settings: Settings, issuers: Issuers) -> Settings:
    """Settings with the three stand-in issuers as providers."""
    found = IdentitySettings(**{name.lower(): value for name, value in issuers.environment.items()})  # type: ignore[arg-type]
    return settings.model_copy(update={name: getattr(found, name) for name in IdentitySettings.model_fields})


def new_nonce() -> str:
    return secrets.token_urlsafe(24)


def make_token(issuer: Issuer, email: str | None = None, *, platform: str = "ios", **options: Any) -> dict[str, str]:
    """A new ID token for a platform's client, with what a client sends beside it."""
    nonce = new_nonce()
    claims: dict[str, Any] = {"nonce": nonce, "audience": issuer.client_ids[platform], **options}
    return {"provider": issuer.id, "idToken": issuer.issue_id_token(email=email, **claims), "nonce": nonce}


def on_device(token: dict[str, str], *, device: str = "phone", platform: str = "ios", **more: Any) -> dict[str, Any]:
    """The body of a login."""
    return {**token, "deviceId": device, "platform": platform, **more}


async def log_in_with(http: httpx.AsyncClient, token: dict[str, str], **options: Any) -> httpx.Response:
    """Log in with an ID token; require that it works."""
    answer = await http.post("/auth/id-token", json=on_device(token, **options))
    assert answer.status_code == 200, answer.text
    return answer


def read_problem(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a refusal."""
    return answer.status_code, answer.json().get("code", "")
