"""What an installation offers, and where codes by e-mail are switched off."""

from __future__ import annotations

import uuid

import app
from settings import Settings
from testing.accounts import bearer, new_email
from testing.containers import running_container
from testing.email_codes import MailedCode, add_login_methods, request_code, use_code
from testing.lessons import problem
from testing.logins import Deployment, Visit, log_in
from testing.servers import client


async def test_methods_of_an_installation(visit: Visit) -> None:
    answer = await visit().get("/auth/methods")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "public, max-age=300"
    offered = answer.json()
    assert offered["password"] is True and offered["emailCode"] is True


async def test_codes_that_are_switched_off(settings: Settings) -> None:
    changed = settings.model_copy(update={"email_codes": False})
    async with running_container(changed) as services, client(app.create(services)) as http:
        assert (await http.get("/auth/methods")).json()["emailCode"] is False
        email = new_email()
        assert problem(await http.post("/auth/email-code", json={"email": email})) == (404, "not_found")
        invented = MailedCode(str(uuid.uuid4()), email, "123456")
        assert problem(await use_code(http, invented)) == (404, "not_found")
        token = (await log_in(http, email, new=True)).json()["accessToken"]
        body = {"newEmail": new_email(), "proof": invented.proof}
        refused = await http.post("/users/me/email-change", json=body, headers=bearer(token))
        assert problem(refused) == (401, "code_invalid")


async def test_own_methods_are_listed_and_exported(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    tokens = (await use_code(http, await request_code(deployment, http, email))).json()
    await add_login_methods(deployment, tokens["user"]["id"])
    mine = (await http.get("/users/me/login-methods", headers=bearer(tokens["accessToken"]))).json()
    assert (mine["email"], mine["isVerified"], mine["hasPassword"]) == (email, True, False)
    assert [each["name"] for each in mine["passkeys"]] == ["a key"] and mine["undoableEmailChange"] is None
    assert [each["provider"] for each in mine["identities"]] == ["google"]
    export = (await http.get("/users/me/export", headers=bearer(tokens["accessToken"]))).json()
    assert [each["provider"] for each in export["identities"]] == ["google"]
    assert export["passkeys"] == mine["passkeys"] and export["emailChanges"] == []
