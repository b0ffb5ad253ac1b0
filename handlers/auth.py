"""Accounts and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request

import errors
from handlers import shapes
from models import Platform
from services.sign_ins import Identity, SignedIn

if TYPE_CHECKING:
    from container import Container

#: What a handler returns beside a body: headers of the answer.
Reply = tuple[dict[str, Any] | None, dict[str, str]]

_COOKIE = "refresh_token"
_COOKIE_ATTRIBUTES = "Path=/auth; HttpOnly; Secure; SameSite=Strict"


async def register(services: Container, body: dict[str, Any]) -> Reply:
    signed_in = await services.auth.register(body["email"], body["password"], body["deviceId"], body["platform"])
    return _tokens(services, signed_in)


async def login(services: Container, body: dict[str, Any]) -> Reply:
    signed_in = await services.auth.login(body["email"], body["password"], body["deviceId"], body["platform"])
    return _tokens(services, signed_in)


async def refresh(services: Container, request: Request, body: dict[str, Any]) -> Reply:
    token = body.get("refreshToken")
    if token is None:
        token = request.cookies.get(_COOKIE, "")
        # A cookie comes along with whatever page asks: only our own pages may.
        origin = request.headers.get("origin")
        if token and not services.settings.is_own_origin(origin):
            raise errors.Forbidden("this origin may not use the cookie")
    return _tokens(services, await services.sign_ins.refresh(token))


async def logout(services: Container, caller: Identity) -> Reply:
    await services.sign_ins.end(caller)
    return None, _forget_cookie()


async def logout_all(services: Container, caller: Identity) -> Reply:
    await services.sign_ins.end_all(caller.user_id)
    return None, _forget_cookie()


async def forgot_password(services: Container, body: dict[str, Any]) -> None:
    await services.auth.forgot_password(body["email"])


async def reset_password(services: Container, body: dict[str, Any]) -> None:
    await services.auth.reset_password(body["token"], body["newPassword"])


async def verify_email(services: Container, body: dict[str, Any]) -> None:
    await services.auth.verify_email(body["token"])


async def resend_verification(services: Container, caller: Identity) -> None:
    await services.auth.resend_verification(caller.user_id)


async def list_devices(services: Container, caller: Identity) -> dict[str, Any]:
    return {"items": [shapes.device(each) for each in await services.sign_ins.devices(caller)]}


async def end_device(services: Container, caller: Identity, device_id: str) -> None:
    await services.sign_ins.end_device(caller.user_id, device_id)


async def jwks(services: Container) -> Reply:
    return services.auth.jwks(), {"Cache-Control": "public, max-age=300"}


def _tokens(services: Container, signed_in: SignedIn) -> Reply:
    headers = {"Cache-Control": "no-store"}
    if signed_in.platform is Platform.WEB:
        seconds = int(services.settings.jwt_refresh_expiry.total_seconds())
        headers["Set-Cookie"] = f"{_COOKIE}={signed_in.refresh_token}; Max-Age={seconds}; {_COOKIE_ATTRIBUTES}"
    return shapes.tokens(signed_in), headers


def _forget_cookie() -> dict[str, str]:
    return {"Set-Cookie": f"{_COOKIE}=; Max-Age=0; {_COOKIE_ATTRIBUTES}"}
