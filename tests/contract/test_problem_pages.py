"""Pages about error codes: one for each code of both specs, reached by the `type` of a problem."""

from __future__ import annotations

import re

import httpx
import pytest

import errors
from contract import operations, schemas
from contract.problem_texts import TEXTS

CODES = {code for path in (schemas.OPENAPI, schemas.ASYNCAPI) for code in operations.error_codes(schemas.load(path))}


def test_each_code_of_both_specs_has_a_text() -> None:
    assert TEXTS.keys() == CODES == {each.code for each in errors.list_error_classes()}
    sentences = [part for text in TEXTS.values() for part in text]
    assert len(set(sentences)) == len(sentences)
    assert all(re.fullmatch(r"[A-Z].*\.", each) for each in sentences)


@pytest.mark.parametrize("code", sorted(CODES))
async def test_page_has_cause_and_remedy(api: httpx.AsyncClient, code: str) -> None:
    answer = await api.get(f"/problems/{code}", headers={"Accept": "text/html"})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"<h1><code>{code}</code></h1>" in answer.text
    plain = re.sub("&#39;", "'", answer.text)
    assert all(part in plain for part in TEXTS[code])


async def test_type_of_a_problem_leads_to_its_page(api: httpx.AsyncClient) -> None:
    answer = await api.get("/users/me")
    page = await api.get(str(answer.url.join(answer.json()["type"])))
    assert page.status_code == 200 and "<code>unauthenticated</code>" in page.text


async def test_page_lists_the_operations_and_events_of_its_code(api: httpx.AsyncClient) -> None:
    page = (await api.get("/problems/email_taken")).text
    assert re.findall("<li><a.*?<code>(.*?)</code>", page) == [
        "POST /auth/register",
        "POST /auth/id-token",
        "POST /auth/email-code/login",
        "POST /users/me/email-change/confirmation",
    ]
    assert "join_room" in (await api.get("/problems/not_in_room")).text
    # Internal operations are not in the documentation.
    deletion = (await api.get("/problems/invalid_credentials")).text
    assert "POST /users/me/deletion" in deletion and "DELETE /users/me" not in deletion


async def test_common_code_is_one_of_every_operation_or_event(api: httpx.AsyncClient) -> None:
    assert "Every operation" in (await api.get("/problems/not_acceptable")).text
    assert "Every event" in (await api.get("/problems/bad_payload")).text
    assert "Every" not in (await api.get("/problems/not_enrolled")).text


async def test_list_links_to_every_page(api: httpx.AsyncClient) -> None:
    listed = re.findall('href="/problems/([a-z_]+)"', (await api.get("/problems")).text)
    assert sorted(listed) == sorted(CODES)


async def test_unknown_code_is_not_found(api: httpx.AsyncClient) -> None:
    assert (await api.get("/problems/no_such_code")).status_code == 404
    assert (await api.post("/problems/email_taken")).status_code == 405
