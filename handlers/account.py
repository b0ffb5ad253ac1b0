"""Ways to log in, codes by e-mail, and changes of the password and the address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from handlers import auth, shapes
from services.identity.email_codes import EmailChallenge
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container

_PUBLIC = {"Cache-Control": "public, max-age=300"}


async def get_login_methods(services: Container) -> tuple[rest.LoginMethods, dict[str, str]]:
    return shapes.login_offer(services.login_methods.offer), _PUBLIC


async def request_email_code(services: Container, body: rest.EmailCodeRequest) -> rest.EmailChallenge:
    return _challenge(await services.email_codes.request(body["email"]))


async def login_with_email_code(
    services: Container, request: Request, body: rest.EmailCodeLoginRequest
) -> tuple[rest.AuthTokens, dict[str, str]]:
    client = auth.read_client(body)
    with auth.describing_sanction():
        signed_in = await services.email_code_logins.login(body["challengeId"], body["email"], body["code"], client)
    return auth.tokens(services, request, signed_in)


async def get_my_login_methods(services: Container, identity: Identity) -> rest.MyLoginMethods:
    return shapes.login_methods(await services.login_methods.read(identity.user_id))


async def change_password(services: Container, identity: Identity, body: rest.PasswordChangeRequest) -> None:
    proof = await services.proofs.verify(identity.user_id, body["proof"])
    await services.passwords.change(identity, body["newPassword"], proof)


async def request_email_change(
    services: Container, identity: Identity, body: rest.EmailChangeRequest
) -> rest.EmailChallenge:
    proof = await services.proofs.verify(identity.user_id, body["proof"])
    return _challenge(await services.email_changes.request(identity, body["newEmail"], proof))


async def confirm_email_change(services: Container, identity: Identity, body: rest.EmailChangeConfirmation) -> None:
    await services.email_changes.confirm(identity, body["challengeId"], body["code"])


async def undo_email_change(services: Container, body: rest.EmailChangeUndoRequest) -> None:
    await services.email_changes.undo(body["token"])


def _challenge(challenge: EmailChallenge) -> rest.EmailChallenge:
    return {"challengeId": challenge.id, "expiresInSeconds": challenge.expires_in_seconds}
