"""Accounts and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handlers import shapes
from models import Platform
from services.auth import SignedIn

if TYPE_CHECKING:
    from container import Container

#: What a handler returns beside a body: headers of the answer.
Reply = tuple[dict[str, Any], dict[str, str]]


async def register(services: Container, body: dict[str, Any]) -> Reply:
    signed_in = await services.auth.register(body["email"], body["password"], body["deviceId"], body["platform"])
    return shapes.tokens(signed_in), _headers(services, signed_in)


async def login(services: Container, body: dict[str, Any]) -> Reply:
    signed_in = await services.auth.login(body["email"], body["password"], body["deviceId"], body["platform"])
    return shapes.tokens(signed_in), _headers(services, signed_in)


async def jwks(services: Container) -> Reply:
    return services.auth.jwks(), {"Cache-Control": "public, max-age=300"}


def _headers(services: Container, signed_in: SignedIn) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if signed_in.platform is Platform.WEB:
        seconds = int(services.settings.jwt_refresh_expiry.total_seconds())
        headers["Set-Cookie"] = (
            f"refresh_token={signed_in.refresh_token}; Max-Age={seconds}; Path=/auth; HttpOnly; Secure; SameSite=Strict"
        )
    return headers
