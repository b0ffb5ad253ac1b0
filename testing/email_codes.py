"""Codes by e-mail and changes of addresses over HTTP, and the codes that its mails hold."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

import httpx

from testing.accounts import bearer
from testing.containers import run_jobs
from testing.databases import query
from testing.logins import Deployment
from testing.servers import PASSWORD


class MailedCode(NamedTuple):
    """What the requester of a code and the reader of its mail know together."""

    challenge_id: str
    email: str
    code: str

    @property
    def wrong(self) -> str:
        """Another code than the right one."""
        return f"{(int(self.code) + 1) % 1_000_000:06d}"

    @property
    def proof(self) -> dict[str, Any]:
        return {"emailCode": {"challengeId": self.challenge_id, "code": self.code}}


async def request_code(deployment: Deployment, http: httpx.AsyncClient, email: str) -> MailedCode:
    """Request a code and read the mail to the address as it is spelled here."""
    answer = await http.post("/auth/email-code", json={"email": email})
    assert answer.status_code == 202, answer.text
    await run_jobs(deployment.services)
    return MailedCode(answer.json()["challengeId"], email, deployment.outbox.codes(email)[-1])


async def use_code(
    http: httpx.AsyncClient, mailed: MailedCode, *, code: str | None = None, device: str = "phone", **more: Any
) -> httpx.Response:
    """Log in with a code, or with another one."""
    body = {"challengeId": mailed.challenge_id, "email": mailed.email, "code": code or mailed.code}
    return await http.post("/auth/email-code/login", json={**body, "deviceId": device, "platform": "ios", **more})


async def request_change(
    deployment: Deployment, http: httpx.AsyncClient, access_token: str, email: str, proof: dict[str, Any] | None = None
) -> MailedCode:
    """Request a change to an address, by default with the password, and read the mail to it."""
    answer = await http.post(
        "/users/me/email-change",
        json={"newEmail": email, "proof": proof or {"password": PASSWORD}},
        headers=bearer(access_token),
    )
    assert answer.status_code == 202, answer.text
    await run_jobs(deployment.services)
    return MailedCode(answer.json()["challengeId"], email, deployment.outbox.codes(email)[-1])


async def confirm_change(
    http: httpx.AsyncClient, access_token: str, mailed: MailedCode, code: str | None = None
) -> httpx.Response:
    body = {"challengeId": mailed.challenge_id, "code": code or mailed.code}
    return await http.post("/users/me/email-change/confirmation", json=body, headers=bearer(access_token))


async def change_email(
    deployment: Deployment, http: httpx.AsyncClient, access_token: str, email: str, proof: dict[str, Any] | None = None
) -> None:
    """Change an account's address, and let the mails about it arrive."""
    mailed = await request_change(deployment, http, access_token, email, proof)
    answer = await confirm_change(http, access_token, mailed)
    assert answer.status_code == 204, answer.text
    await run_jobs(deployment.services)


async def undo(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/auth/email-change/undo", json={"token": token})


async def add_login_methods(deployment: Deployment, user_id: str) -> None:
    """Give an account a passkey and an identity."""
    await query(
        deployment.services,
        "INSERT INTO passkeys (id, user_id, credential_id, public_key, name, aaguid)"
        " VALUES (gen_random_uuid(), :u, :c, 'k', 'a key', gen_random_uuid())",
        u=user_id,
        c=uuid.uuid4().bytes,
    )
    await query(
        deployment.services,
        "INSERT INTO identities (id, user_id, provider, subject) VALUES (gen_random_uuid(), :u, 'google', :s)",
        u=user_id,
        s=uuid.uuid4().hex,
    )
