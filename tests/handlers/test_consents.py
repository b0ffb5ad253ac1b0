"""Consents to documents: given, withdrawn, asked for again, and never changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import sqlalchemy.exc

import app
from container import Container
from settings import Settings
from testing.containers import running_container
from testing.databases import query
from testing.gates import consent_to_all
from testing.pictures import picture
from testing.servers import Learner, client, register

MakeLearner = Callable[..., Awaitable[Learner]]


async def accepted(learner: Learner) -> dict[str, str | None]:
    items = (await learner.http.get("/users/me/consents")).json()["items"]
    return {each["document"]: each["acceptedVersion"] for each in items}


async def consent(learner: Learner, document: str, version: str) -> httpx.Response:
    return await learner.http.post("/users/me/consents", json={"document": document, "version": version})


async def test_consent_is_given_and_withdrawn(make_learner: MakeLearner, container: Container) -> None:
    learner = await make_learner()
    version = container.policies["terms"].version
    assert await accepted(learner) == {"terms": None, "rules": None, "privacy": None}
    for _ in range(2):  # the second changes nothing
        assert (await consent(learner, "terms", version)).status_code == 204
    assert await accepted(learner) == {"terms": version, "rules": None, "privacy": None}
    assert (await learner.http.delete("/users/me/consents/terms")).status_code == 204
    assert (await accepted(learner))["terms"] is None
    assert (await learner.http.delete("/users/me/consents/terms")).status_code == 404
    exported = (await learner.http.get("/users/me/export")).json()["consents"]
    assert [(each["document"], each["action"]) for each in exported] == [("terms", "given"), ("terms", "withdrawn")]


async def test_consent_to_another_version_is_invalid(make_learner: MakeLearner) -> None:
    learner = await make_learner()
    for document, version in (("terms", "1999-01-01"), ("novel", "1")):
        answer = await consent(learner, document, version)
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_consents_are_append_only(make_learner: MakeLearner, container: Container) -> None:
    learner = await make_learner()
    await consent_to_all(learner)
    for statement in (
        "UPDATE consents SET version = 'x' WHERE user_id = :id",
        "DELETE FROM consents WHERE user_id = :id",
    ):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"):
            await query(container, statement, id=learner.id)


async def test_new_version_asks_again(settings: Settings, tmp_path: Path) -> None:
    """Also for what others read: a username, a picture."""
    own = settings.model_copy(update={"terms_gate": "on"})
    async with running_container(own) as services:
        learner = await register(client(app.create(services)), ready=False)
        assert (await learner.http.get("/users/me")).json()["missing"] == ["terms_required", "profile_incomplete"]
        await consent_to_all(learner)
        assert (await learner.http.patch("/users/me", json={"bio": "I like boats."})).status_code == 200
    (tmp_path / "terms.md").write_text("<!-- version: 3000-01-01 -->\n# New terms\n")
    newer = own.model_copy(update={"policy_directory": tmp_path})
    async with running_container(newer) as services, client(app.create(services)) as http:
        http.headers.update(learner.http.headers)
        assert (await http.get("/users/me")).json()["missing"] == ["terms_required", "profile_incomplete"]
        refused = await http.patch("/users/me", json={"bio": "And trains."})
        assert (refused.status_code, refused.json()["code"]) == (403, "terms_required")
        for tag, status in (("pt-BR", 200), ("zh-Hant-TW", 200), ("xx-callme-5551234", 403)):
            language = await http.patch("/users/me", json={"nativeLanguage": tag})
            assert language.status_code == status, "a tag with parts that the learner makes up is a text"
        upload = await http.post("/users/me/avatar", files={"file": ("a.png", picture(), "image/png")})
        assert (upload.status_code, upload.json()["code"]) == (403, "terms_required")
        assert (await http.patch("/users/me", json={"bio": None})).status_code == 200, "a text may be removed"
        assert (await http.delete("/users/me/avatar")).status_code == 204
        body = {"document": "terms", "version": "3000-01-01"}
        assert (await http.post("/users/me/consents", json=body)).status_code == 204
        assert (await http.get("/users/me")).json()["missing"] == ["profile_incomplete"]
