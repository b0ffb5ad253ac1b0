"""Requests that began before their login ended: nothing of them is done afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import errors
from container import Container
from testing.call_history import MakeLearner
from testing.databases import query
from testing.servers import PASSWORD

NEW_PASSWORD = "another correct horse"
PROOF = {"password": PASSWORD}
#: Requests of a login, which its owner has ended before their last byte arrives.
HELD: dict[str, tuple[str, str, dict[str, Any]]] = {
    "profile": ("PATCH", "/users/me", {"bio": "Mine."}),
    "password": ("PUT", "/users/me/password", {"newPassword": NEW_PASSWORD, "proof": PROOF}),
    "address": ("POST", "/users/me/email-change", {"newEmail": "thief@example.com", "proof": PROOF}),
    "deletion": ("POST", "/users/me/deletion", {"password": PASSWORD}),
    "passkey": ("POST", "/users/me/passkeys/challenge", {"proof": PROOF}),
}


@pytest.mark.rest_paths
@pytest.mark.parametrize("name", HELD)
async def test_held_body_does_not_outlive_its_login(name: str, make_learner: MakeLearner) -> None:
    ada = await make_learner()
    method, path, body = HELD[name]
    sent, begun, may_end = json.dumps(body).encode(), asyncio.Event(), asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield sent[:-1]
        begun.set()
        await may_end.wait()
        yield sent[-1:]

    headers = {"Content-Type": "application/json", "Content-Length": str(len(sent))}
    held = asyncio.create_task(ada.http.request(method, path, content=parts(), headers=headers))
    await begun.wait()
    assert (await ada.http.post("/auth/logout-all")).status_code == 204
    may_end.set()
    answer = await held
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    login = {"email": ada.email, "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
    assert (await ada.http.post("/auth/login", json=login)).status_code == 200


async def test_login_that_ended_elsewhere_changes_nothing(container: Container, make_learner: MakeLearner) -> None:
    """Another process has ended it a moment ago: this one does not know yet, and PostgreSQL does."""
    ada = await make_learner()
    identity = container.logins.identify(ada.access_token)
    proof = await container.proofs.verify(ada.id, {"password": PASSWORD})
    await query(
        container,
        "UPDATE refresh_tokens SET revoked = true, revoked_at = now() - interval '1 day' WHERE family_id = :f",
        f=identity.family_id,
    )
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: container.passwords.change(identity, NEW_PASSWORD, proof),
        lambda: container.email_changes.request(identity, "thief@example.com", proof),
        lambda: container.account_deletion.delete(identity, proof),
        lambda: container.passkeys.begin(identity, proof),
        lambda: container.passkeys.remove(identity, "00000000-0000-4000-8000-000000000000"),
        lambda: container.identities.unlink(identity, "00000000-0000-4000-8000-000000000000"),
    ]
    for attempt in attempts:
        with pytest.raises(errors.Unauthenticated):
            await attempt()
