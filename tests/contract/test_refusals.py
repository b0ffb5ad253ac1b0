"""Codes that operations declare, and deprecated forms of operations."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

import errors
from container import Container
from contract import middleware, operations, rest, schemas
from testing.accounts import credentials, new_email
from testing.call_history import MakeLearner
from testing.servers import PASSWORD, Learner, client

pytestmark = pytest.mark.rest_paths

DOCUMENT = schemas.load(schemas.OPENAPI)
#: The old forms of operations, and what they take.
OLD_FORMS = {"/users/me": {"password": "not the password"}, "/notifications/device": {"deviceId": "phone"}}


async def test_undeclared_code_is_internal_in_tests(container: Container, caplog: pytest.LogCaptureFixture) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["paths"]["/auth/register"]["post"]["x-codes"].remove("email_taken")
    account = credentials(new_email())
    # The request's middleware is what Connexion's answers know the operation by.
    app = middleware.wrap(rest.build(container, document), container.settings, lambda _id, _status, _seconds: None)
    async with client(app) as http:
        assert (await http.post("/auth/register", json=account)).status_code == 201
        answer = await http.post("/auth/register", json=account)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "email_taken" in answer.json()["detail"] and "register" in answer.json()["detail"]
    assert "undeclared_code operation=register code=email_taken" in caplog.text


def test_undeclared_code_is_answered_and_logged_elsewhere(
    container: Container, caplog: pytest.LogCaptureFixture
) -> None:
    bound = dataclasses.replace(operations.bind(DOCUMENT, container)["getMe"], is_checked=False)
    with caplog.at_level(logging.ERROR):
        answer = bound.answer_failure(errors.EmailTaken())
    assert answer.status == 409 and json.loads(answer.body or b"")["code"] == "email_taken"
    assert "undeclared_code operation=getMe code=email_taken" in caplog.text


def test_common_and_declared_codes_are_answered(container: Container) -> None:
    bound = operations.bind(DOCUMENT, container)["getMe"]
    for error in (errors.Unavailable(), errors.RequestInvalid(), errors.Unauthenticated()):
        assert bound.answer_failure(error).status == error.status


@pytest.mark.parametrize("path", OLD_FORMS)
async def test_deprecated_form_says_until_when_it_answers(make_learner: MakeLearner, path: str) -> None:
    ada: Learner = await make_learner()
    for body, statuses in ((OLD_FORMS[path], {204, 401}), ({}, {400})):
        answer = await ada.http.request("DELETE", path, json=body)
        assert answer.status_code in statuses
        since = datetime.fromtimestamp(int(answer.headers["Deprecation"].removeprefix("@")), UTC)
        assert since < parsedate_to_datetime(answer.headers["Sunset"])


async def test_deprecated_form_links_to_its_successor(make_learner: MakeLearner, api: httpx.AsyncClient) -> None:
    ada: Learner = await make_learner()
    answer = await ada.http.request("DELETE", "/users/me", json={"password": PASSWORD})
    assert answer.status_code == 204
    assert answer.headers["Link"] == '</users/me/deletion>; rel="successor-version"'
    assert not {"deprecation", "sunset", "link"} & (await api.get("/health")).headers.keys()


async def test_old_and_new_form_share_one_limit(make_learner: MakeLearner) -> None:
    """Else a stolen token would have twice the guesses of the password."""
    ada: Learner = await make_learner()
    wrong: dict[str, Any] = {"json": {"password": "not the password"}}
    statuses = [(await ada.http.request("DELETE", "/users/me", **wrong)).status_code for _ in range(3)]
    statuses += [(await ada.http.post("/users/me/deletion", **wrong)).status_code for _ in range(3)]
    assert statuses == [401] * 5 + [429]
