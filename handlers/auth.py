"""Registration, logins and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request

import errors
from handlers import cookies, shapes
from models import Platform
from services.identity.login_opening import Client
from services.identity.logins import Identity, LoginTokens
from services.safety.standings import SanctionNotice
from wire import rest

if TYPE_CHECKING:
    from container import Container

_COOKIE, _COOKIE_PATH = "refresh_token", "/auth"
_NO_STORE = {"Cache-Control": "no-store"}


async def register(
    services: Container, request: Request, body: rest.RegisterRequest
) -> tuple[rest.AuthTokens, dict[str, str]]:
    birth_date = body.get("birthDate")
    consents = {each["document"]: each["version"] for each in body.get("consents", ())}
    services.consents.require_current(consents)
    age_band = await services.ages.check_new_account(birth_date, body["deviceId"]) if birth_date else None
    signed_in = await services.authentication.register(
        body["email"], body["password"], body["deviceId"], body["platform"], age_band=age_band, consents=consents
    )
    return tokens(services, request, signed_in)


async def login(
    services: Container, request: Request, body: rest.LoginRequest
) -> tuple[rest.AuthTokens, dict[str, str]]:
    client = read_client(body)
    with describing_sanction():
        signed_in = await services.authentication.login(body["email"], body["password"], client)
    return tokens(services, request, signed_in)


async def refresh_tokens(
    services: Container, request: Request, body: rest.RefreshRequest
) -> tuple[rest.AuthTokens, dict[str, str]]:
    token = body.get("refreshToken")
    if token is None:
        token = cookies.read(request, services.settings, _COOKIE)
        # Browsers send the cookie with requests of any page; only those of our own may use it.
        origin = request.headers.get("origin")
        if token and not services.settings.is_own_origin(origin):
            raise errors.Forbidden("this origin may not use the cookie")
    return tokens(services, request, await services.logins.refresh(token))


async def logout(services: Container, request: Request, identity: Identity) -> tuple[None, dict[str, str]]:
    await services.logins.end(identity)
    return None, {"Set-Cookie": _refresh_cookie(services, request, "", timedelta())}


async def logout_all(services: Container, request: Request, identity: Identity) -> tuple[None, dict[str, str]]:
    await services.logins.end_all(identity.user_id)
    return None, {"Set-Cookie": _refresh_cookie(services, request, "", timedelta())}


async def request_password_reset(services: Container, body: rest.ForgotPasswordRequest) -> None:
    await services.passwords.request_reset(body["email"])


async def reset_password(services: Container, body: rest.ResetPasswordRequest) -> None:
    await services.passwords.reset(body["token"], body["newPassword"])


async def verify_email(services: Container, body: rest.VerifyEmailRequest) -> None:
    await services.email_verification.verify(body["token"])


async def resend_verification(services: Container, identity: Identity) -> None:
    await services.email_verification.request(identity.user_id)


async def list_devices(services: Container, identity: Identity) -> rest.DeviceList:
    return {"items": [shapes.device(each) for each in await services.logins.list_devices(identity)]}


async def logout_device(services: Container, identity: Identity, device_id: str) -> None:
    await services.logins.end_device(identity.user_id, device_id)


async def get_second_factor(services: Container, identity: Identity) -> rest.SecondFactor:
    return shapes.second_factor(await services.second_factors.read(identity))


async def create_second_factor(
    services: Container, identity: Identity, body: rest.SecondFactorRequest
) -> tuple[rest.SecondFactorSecret, dict[str, str]]:
    secret = await services.second_factors.start(identity, body["password"], body.get("code"))
    return shapes.second_factor_secret(secret), _NO_STORE


async def delete_second_factor(services: Container, identity: Identity) -> None:
    await services.second_factors.remove(identity)


async def confirm_second_factor(
    services: Container, identity: Identity, body: rest.SecondFactorProofRequest
) -> tuple[rest.SecondFactorConfirmation, dict[str, str]]:
    codes, token = await services.second_factors.confirm(identity, body["code"])
    return {**shapes.access_token(token), "recoveryCodes": codes}, _NO_STORE


async def prove_second_factor(
    services: Container, identity: Identity, body: rest.SecondFactorAnswer
) -> tuple[rest.SecondFactorProof, dict[str, str]]:
    code, passkey = body.get("code"), body.get("passkey")
    if passkey is not None:
        token = await services.passkeys.prove_factor(identity, passkey)
    elif code is not None:
        token = await services.second_factors.prove(identity, code)
    else:
        raise errors.RequestInvalid("send either 'code' or 'passkey'")
    return shapes.access_token(token), _NO_STORE


async def create_recovery_codes(services: Container, identity: Identity) -> tuple[rest.RecoveryCodes, dict[str, str]]:
    return {"recoveryCodes": await services.second_factors.replace_recovery_codes(identity)}, _NO_STORE


async def get_jwks(services: Container) -> tuple[rest.JsonWebKeySet, dict[str, str]]:
    return shapes.json_web_key_set(services.authentication.list_public_keys()), {"Cache-Control": "public, max-age=300"}


def read_client(body: rest.LoginRequest | rest.EmailCodeLoginRequest | rest.IdTokenLoginRequest) -> Client:
    """Read the device of a login, and its second factor."""
    return Client(body["deviceId"], body["platform"], body.get("secondFactorCode"), body.get("secondFactorPasskey"))


@contextmanager
def describing_sanction() -> Iterator[None]:
    """Add what the learner may know of a sanction to the refusal of a login by it."""
    try:
        yield
    except (errors.AccountBanned, errors.AccountSuspended) as refusal:
        if isinstance(refusal.notice, SanctionNotice):
            refusal.members = {"sanction": shapes.sanction_notice(refusal.notice)}
        raise


def tokens(services: Container, request: Request, signed_in: LoginTokens) -> tuple[rest.AuthTokens, dict[str, str]]:
    """Answer a login; web clients get the refresh token as a cookie."""
    headers = dict(_NO_STORE)
    if signed_in.platform is Platform.WEB:
        lifetime = services.settings.jwt_refresh_expiry
        headers["Set-Cookie"] = _refresh_cookie(services, request, signed_in.refresh_token, lifetime)
    return shapes.tokens(signed_in), headers


def _refresh_cookie(services: Container, request: Request, token: str, lifetime: timedelta) -> str:
    return cookies.write(request, services.settings, _COOKIE, token, lifetime, path=_COOKIE_PATH)
