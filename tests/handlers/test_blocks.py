"""Blocking and unblocking a learner."""

from __future__ import annotations

import asyncio

import pytest

from container import Container
from testing.call_history import MakeLearner
from testing.databases import value
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID


async def test_block_is_listed_until_removed(make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    for _ in range(2):  # again is the same
        assert (await ada.http.put(f"/users/{bob.id}/block")).status_code == 204
    page = (await ada.http.get("/users/me/blocks")).json()
    (block,) = page["items"]
    assert page["nextCursor"] is None
    assert block | {"blockedAt": ""} == {
        "userId": bob.id,
        "username": bob.username,
        "displayName": bob.username.title(),
        "avatarUrl": None,
        "blockedAt": "",
    }
    assert (await bob.http.get("/users/me/blocks")).json()["items"] == []
    assert (await ada.http.delete(f"/users/{bob.id}/block")).status_code == 204
    assert (await ada.http.get("/users/me/blocks")).json()["items"] == []


async def test_unknown_user_cannot_be_blocked_or_unblocked(make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    nobody = await ada.http.put(f"/users/{MISSING_ID}/block")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")
    await bob.http.put(f"/users/{ada.id}/block")
    # A block of another learner answers like a missing one.
    theirs, none = await ada.http.delete(f"/users/{bob.id}/block"), await ada.http.delete(f"/users/{MISSING_ID}/block")
    assert theirs.status_code == none.status_code == 404 and theirs.content == none.content
    assert len((await bob.http.get("/users/me/blocks")).json()["items"]) == 1


async def test_blocking_the_own_account_is_refused(make_learner: MakeLearner) -> None:
    ada = await make_learner()
    for spelling in (ada.id, ada.id.upper()):
        answer = await ada.http.put(f"/users/{spelling}/block")
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_thirty_concurrent_blocks_are_one(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    answers = await asyncio.gather(*(ada.http.put(f"/users/{bob.id}/block") for _ in range(30)))
    assert count_statuses(answers) == {204: 30}
    assert await value(container, "SELECT count(*) FROM blocks WHERE blocker_id = :i", i=ada.id) == 1


@pytest.mark.rest_paths
async def test_list_is_paged_to_its_end(make_learner: MakeLearner) -> None:
    ada = await make_learner()
    others = [(await make_learner(ready=False)).id for _ in range(5)]
    for other in others:
        await ada.http.put(f"/users/{other}/block")
    assert [each["userId"] for each in await read_all_pages(ada.http, "/users/me/blocks")] == others[::-1]
