"""Rating the partner after a call."""

from __future__ import annotations

import asyncio
import functools

import pytest

from container import Container
from testing.call_history import MakeLearner, add_call
from testing.databases import value
from testing.http_answers import count_statuses
from testing.servers import Learner, send_at_once


@pytest.fixture
async def pair(make_learner: MakeLearner) -> tuple[Learner, Learner]:
    return await make_learner(), await make_learner()


async def test_rating_is_visible_to_its_author_alone(container: Container, pair: tuple[Learner, Learner]) -> None:
    ada, bob = pair
    call = await add_call(container, ada, bob)
    answer = await ada.http.post(f"/sessions/{call}/rate", json={"stars": 4})
    assert answer.status_code == 201 and answer.json()["myRating"] == 4
    assert answer.json() == (await ada.http.get(f"/sessions/{call}")).json()
    assert (await bob.http.get(f"/sessions/{call}")).json()["myRating"] is None
    assert (await bob.http.post(f"/sessions/{call}/rate", json={"stars": 1})).status_code == 201
    assert (await ada.http.get("/sessions")).json()["items"][0]["myRating"] == 4
    rated = await value(
        container, "SELECT rated_id FROM session_ratings WHERE session_id = :s AND rater_id = :r", s=call, r=ada.id
    )
    assert str(rated) == bob.id


async def test_fifty_concurrent_ratings_are_one(container: Container, pair: tuple[Learner, Learner]) -> None:
    ada, bob = pair
    call = await add_call(container, ada, bob)
    answers = await send_at_once(
        functools.partial(ada.http.post, f"/sessions/{call}/rate", json={"stars": 1 + number % 5})
        for number in range(50)
    )
    assert count_statuses(answers) == {201: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_rated"}
    (won,) = [answer.json()["myRating"] for answer in answers if answer.status_code == 201]
    assert (await ada.http.get(f"/sessions/{call}")).json()["myRating"] == won
    assert await value(container, "SELECT count(*) FROM session_ratings WHERE session_id = :s", s=call) == 1


async def test_call_of_others_is_not_found(
    container: Container, pair: tuple[Learner, Learner], make_learner: MakeLearner
) -> None:
    call = await add_call(container, *pair)
    stranger = await make_learner()
    theirs = await stranger.http.post(f"/sessions/{call}/rate", json={"stars": 5})
    nowhere = await stranger.http.post("/sessions/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0/rate", json={"stars": 5})
    assert theirs.status_code == nowhere.status_code == 404 and theirs.content == nowhere.content


@pytest.mark.parametrize(("connected", "ended"), [(True, False), (False, True), (False, False)])
async def test_running_or_unconnected_call_cannot_be_rated(
    container: Container, pair: tuple[Learner, Learner], connected: bool, ended: bool
) -> None:
    call = await add_call(container, *pair, connected=connected, ended=ended)
    answer = await pair[0].http.post(f"/sessions/{call}/rate", json={"stars": 5})
    assert (answer.status_code, answer.json()["code"]) == (409, "call_not_ended")


@pytest.mark.rest_paths
@pytest.mark.parametrize("body", [{}, {"stars": 0}, {"stars": 6}, {"stars": 4.5}, {"stars": "5"}, {"stars": None}])
async def test_stars_are_integers_from_one_to_five(
    container: Container, pair: tuple[Learner, Learner], body: dict[str, object]
) -> None:
    call = await add_call(container, *pair)
    answer = await pair[0].http.post(f"/sessions/{call}/rate", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_username_claimed_by_fifty_goes_to_one(container: Container, make_learner: MakeLearner) -> None:
    learners = [await make_learner(ready=False) for _ in range(50)]
    name = f"Wanted_{learners[0].username[:12]}"
    spellings = (name, name.lower(), name.upper())
    answers = await asyncio.gather(
        *(
            learner.http.patch("/users/me", json={"username": spellings[number % 3]})
            for number, learner in enumerate(learners)
        )
    )
    assert count_statuses(answers) == {200: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"username_taken"}
    assert await value(container, "SELECT count(*) FROM profiles WHERE lower(username) = lower(:n)", n=name) == 1
