"""Blocking a learner, and taking it back."""

from __future__ import annotations

import asyncio

from container import Container
from testing.call_history import MakeLearner, codes, every_page, value

NOWHERE = "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0"


async def test_a_block_is_listed_until_it_is_taken_back(make_learner: MakeLearner) -> None:
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


async def test_what_is_not_there_cannot_be_blocked_or_unblocked(make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    nobody = await ada.http.put(f"/users/{NOWHERE}/block")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")
    await bob.http.put(f"/users/{ada.id}/block")
    # Somebody else's block answers like none at all.
    theirs, none = await ada.http.delete(f"/users/{bob.id}/block"), await ada.http.delete(f"/users/{NOWHERE}/block")
    assert theirs.status_code == none.status_code == 404 and theirs.content == none.content
    assert len((await bob.http.get("/users/me/blocks")).json()["items"]) == 1


async def test_nobody_blocks_themself(make_learner: MakeLearner) -> None:
    ada = await make_learner()
    for spelling in (ada.id, ada.id.upper()):
        answer = await ada.http.put(f"/users/{spelling}/block")
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_thirty_blocks_at_once_are_one(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    answers = await asyncio.gather(*(ada.http.put(f"/users/{bob.id}/block") for _ in range(30)))
    assert codes(answers) == {204: 30}
    assert await value(container, "SELECT count(*) FROM blocks WHERE blocker_id = :i", i=ada.id) == 1


async def test_the_list_is_read_to_its_end_page_by_page(make_learner: MakeLearner) -> None:
    ada = await make_learner()
    others = [(await make_learner(ready=False)).id for _ in range(5)]
    for other in others:
        await ada.http.put(f"/users/{other}/block")
    assert [each["userId"] for each in await every_page(ada.http, "/users/me/blocks")] == others[::-1]
