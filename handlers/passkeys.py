"""Passkeys: challenges for authenticators, logins, and the passkeys of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from handlers import auth, shapes
from instants import format_instant
from services.identity.login_opening import Client
from services.identity.logins import Identity
from services.identity.passkey_proofs import NewChallenge
from wire import rest

if TYPE_CHECKING:
    from container import Container

_NO_STORE = {"Cache-Control": "no-store"}


async def create_passkey_challenge(services: Container) -> tuple[rest.PasskeyChallenge, dict[str, str]]:
    return _challenge(services.passkeys.make_challenge()), _NO_STORE


async def login_with_passkey(
    services: Container, request: Request, body: rest.PasskeyLoginRequest
) -> tuple[rest.AuthTokens, dict[str, str]]:
    client = Client(body["deviceId"], body["platform"])
    with auth.describing_sanction():
        opened = await services.passkeys.login(body["challengeToken"], body["credentialJson"], client)
    return auth.tokens(services, request, opened)


async def create_passkey_registration(
    services: Container, identity: Identity, body: rest.PasskeyRegistrationRequest
) -> tuple[rest.PasskeyChallenge, dict[str, str]]:
    proof = await services.proofs.verify(identity.user_id, body["proof"])
    return _challenge(await services.passkeys.begin(identity, proof)), _NO_STORE


async def add_passkey(services: Container, identity: Identity, body: rest.PasskeyRegistration) -> rest.Passkey:
    added = await services.passkeys.add(identity, body["challengeToken"], body["credentialJson"], body["name"])
    return shapes.passkey(added)


async def remove_passkey(services: Container, identity: Identity, passkey_id: str) -> None:
    await services.passkeys.remove(identity, passkey_id)


def _challenge(made: NewChallenge) -> rest.PasskeyChallenge:
    return {
        "challengeToken": made.token,
        "optionsJson": made.options,
        "expiresAt": format_instant(made.expires_at),
    }
