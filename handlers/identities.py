"""Logins at Google, Apple and other identity providers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request

import errors
from handlers import auth, cookies, shapes
from services.identity.authorizations import AUTHORIZATION_LIFETIME
from services.identity.id_tokens import SentIdToken
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container

_COOKIE, _COOKIE_PATH = "authorization", "/auth/authorization"
_NO_STORE = {"Cache-Control": "no-store"}


async def login_with_id_token(
    services: Container, request: Request, body: rest.IdTokenLoginRequest
) -> tuple[rest.AuthTokens, dict[str, str]]:
    client = auth.read_client(body)
    with auth.describing_sanction():
        signed_in = await services.identity_login.login(_sent(body), client, body.get("password"))
    return auth.tokens(services, request, signed_in)


async def start_authorization(
    services: Container, request: Request, body: rest.AuthorizationRequest
) -> tuple[rest.Authorization, dict[str, str]]:
    started = await services.authorizations.start(body["provider"])
    headers = {**_NO_STORE, "Set-Cookie": _cookie(services, request, started.cookie, AUTHORIZATION_LIFETIME)}
    return {"authorizationUrl": started.url}, headers


async def exchange_authorization_code(
    services: Container, request: Request, body: rest.AuthorizationCodeRequest
) -> tuple[rest.AuthorizationTokens, dict[str, str]]:
    cookie = cookies.read(request, services.settings, _COOKIE)
    # Browsers send the cookie with requests of any page of this site; only ours may use it.
    if cookie and not services.settings.is_own_origin(request.headers.get("origin")):
        raise errors.Forbidden("this origin may not use the cookie")
    sent = await services.authorizations.exchange(cookie, body["code"], body["state"])
    answer: rest.AuthorizationTokens = {"provider": sent.provider, "idToken": sent.id_token, "nonce": sent.nonce}
    if sent.grant is not None:
        answer["grant"] = sent.grant
    return answer, {**_NO_STORE, "Set-Cookie": _cookie(services, request, "", timedelta())}


async def link_identity(services: Container, identity: Identity, body: rest.IdentityRequest) -> rest.Identity:
    return shapes.identity(await services.identities.link(identity, _sent(body), body["proof"]))


async def unlink_identity(services: Container, identity: Identity, identity_id: str) -> None:
    await services.identities.unlink(identity, identity_id)


def _sent(body: rest.IdTokenLoginRequest | rest.IdentityRequest) -> SentIdToken:
    return SentIdToken(
        body["provider"], body["idToken"], body["nonce"], body.get("authorizationCode"), body.get("grant")
    )


def _cookie(services: Container, request: Request, value: str, lifetime: timedelta) -> str:
    return cookies.write(request, services.settings, _COOKIE, value, lifetime, path=_COOKIE_PATH)
