"""The filter of texts over REST, sockets and the service: what it refuses, with which code, and what stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import app
from container import Container
from services.safety.text_filter import FIELDS
from settings import Settings
from testing.accounts import make_admin
from testing.containers import running_container
from testing.databases import query
from testing.servers import Learner, Server, client, dial, http_client, register, start_server, stop_server

pytestmark = pytest.mark.rest_paths

#: A refused text of each field.
REFUSED = {
    "username": "f_u_c_k_you",
    "displayName": "Ѕh1t Head",
    "bio": "I teach.\nSend n.u.d.e.s to me",
    "nativeLanguage": "en-fuckyou",
    "topic": "your c-u-n-t",
    # Of an appointment: handlers/people.
    "note": "your c-u-n-t",
}


@pytest.fixture(scope="module")
async def filtering(settings: Settings) -> AsyncIterator[Container]:
    async with running_container(settings.model_copy(update={"text_filter": "on"})) as services:
        yield services


@pytest.fixture(scope="module")
async def filtering_app(filtering: Container) -> Any:
    return app.create(filtering)


@pytest.fixture
async def http(filtering_app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client(filtering_app) as each:
        yield each


@pytest.fixture
async def ada(http: httpx.AsyncClient) -> Learner:
    return await register(http)


def test_each_filtered_field_has_a_refused_text() -> None:
    assert REFUSED.keys() == set(FIELDS)


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in ("topic", "note")])
async def test_profile_refuses_a_listed_word(ada: Learner, field: str) -> None:
    before = (await ada.http.get("/users/me")).json()
    answer = await ada.http.patch("/users/me", json={"country": "BR", field: REFUSED[field]})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "text_refused")
    assert f"'{field}'" in problem["detail"] and REFUSED[field] not in answer.text
    assert (await ada.http.get("/users/me")).json() == before


async def test_names_like_staff_are_for_staff(filtering: Container, filtering_app: Any, ada: Learner) -> None:
    for field, name in (("username", "Adm1n_Ada"), ("displayName", "Parlance Support")):
        answer = await ada.http.patch("/users/me", json={field: name})
        assert (answer.status_code, answer.json()["code"]) == (400, "text_refused")
        assert f"'{field}' reads like" in answer.json()["detail"]
    async with client(filtering_app) as desk:
        staff = await make_admin(filtering, desk)
        assert (await staff.http.patch("/users/me", json={"displayName": "Parlance Support"})).status_code == 200
        # Words of the lists are for nobody.
        assert (await staff.http.patch("/users/me", json={"displayName": "Shit"})).status_code == 400


async def test_older_text_stays_until_it_is_changed(filtering: Container, ada: Learner) -> None:
    """An app that sends the whole form again is not refused for what was stored before."""
    old = "old shit"
    await query(filtering, "UPDATE profiles SET bio = :b, display_name = :n WHERE user_id = :u", b=old, n=old, u=ada.id)
    assert (await ada.http.get(f"/users/{ada.id}/public")).json()["bio"] == old
    form = {"bio": old, "displayName": old, "country": "DE"}
    assert (await ada.http.patch("/users/me", json=form)).status_code == 200
    answer = await ada.http.patch("/users/me", json={**form, "bio": "older shit"})
    assert (answer.status_code, answer.json()["code"]) == (400, "text_refused")
    assert "'bio'" in answer.json()["detail"]
    cleared = await ada.http.patch("/users/me", json={"bio": None, "displayName": "Ada"})
    assert cleared.status_code == 200 and cleared.json()["bio"] is None


async def test_two_changes_at_once_are_both_filtered(ada: Learner) -> None:
    bodies = [{"bio": "good"}, {"bio": REFUSED["bio"]}] * 4
    answers = await asyncio.gather(*(ada.http.patch("/users/me", json=body) for body in bodies))
    assert [answer.status_code for answer in answers] == [200, 400] * 4
    assert (await ada.http.get("/users/me")).json()["bio"] == "good"


async def test_filter_is_off_outside_of_production(settings: Settings, make_learner: Any) -> None:
    bob = await make_learner()
    answer = await bob.http.patch("/users/me", json={"bio": REFUSED["bio"]})
    assert answer.status_code == 200, answer.text
    assert not settings.is_on("text_filter")
    assert settings.model_copy(update={"app_env": "production"}).is_on("text_filter")
    assert not settings.model_copy(update={"app_env": "production", "text_filter": "off"}).is_on("text_filter")


# --- Topics of searches ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filtering_server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("filtering")
    (folder / "xx.txt").write_text("forbidden fruit\n")
    variables = {**environment, "TEXT_FILTER": "on", "WORD_LISTS_DIRECTORY": str(folder)}
    running = start_server(variables, Path(folder) / "server.log", workers=1)
    yield running
    stop_server(running)


async def test_search_refuses_a_topic_by_the_same_rule(filtering_server: Server) -> None:
    async with http_client(filtering_server.url) as http:
        phone = await dial(filtering_server.url, await register(http))
        for topic in (REFUSED["topic"], "f0rbidden-fruit"):
            refused = await phone.send("find_partner", {"topic": topic})
            assert refused["error"]["code"] == "text_refused"
            assert "'topic'" in refused["error"]["message"] and topic not in refused["error"]["message"]
            assert (await phone.wait_for("error"))["code"] == "text_refused"
        # The refused search left nothing behind.
        assert (await phone.send("find_partner", {"topic": "Dick Whittington"}))["ok"] is True
        assert (await phone.send("cancel_search", {}))["ok"] is True
        await phone.client.disconnect()
