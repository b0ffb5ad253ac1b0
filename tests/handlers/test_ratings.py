"""Rating the partner after a call."""

from __future__ import annotations

import asyncio

import pytest

from container import Container
from testing.call_history import MakeLearner, codes, had_call, value
from testing.servers import Learner


@pytest.fixture
async def pair(make_learner: MakeLearner) -> tuple[Learner, Learner]:
    return await make_learner(), await make_learner()


async def test_a_rating_is_seen_by_its_giver_alone(container: Container, pair: tuple[Learner, Learner]) -> None:
    ada, bob = pair
    call = await had_call(container, ada, bob)
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


async def test_of_fifty_ratings_at_once_one_counts(container: Container, pair: tuple[Learner, Learner]) -> None:
    ada, bob = pair
    call = await had_call(container, ada, bob)
    answers = await asyncio.gather(
        *(ada.http.post(f"/sessions/{call}/rate", json={"stars": 1 + number % 5}) for number in range(50))
    )
    assert codes(answers) == {201: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_rated"}
    (won,) = [answer.json()["myRating"] for answer in answers if answer.status_code == 201]
    assert (await ada.http.get(f"/sessions/{call}")).json()["myRating"] == won
    assert await value(container, "SELECT count(*) FROM session_ratings WHERE session_id = :s", s=call) == 1


async def test_a_call_between_others_answers_like_one_that_is_not_there(
    container: Container, pair: tuple[Learner, Learner], make_learner: MakeLearner
) -> None:
    call = await had_call(container, *pair)
    stranger = await make_learner()
    theirs = await stranger.http.post(f"/sessions/{call}/rate", json={"stars": 5})
    nowhere = await stranger.http.post("/sessions/7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0/rate", json={"stars": 5})
    assert theirs.status_code == nowhere.status_code == 404 and theirs.content == nowhere.content


@pytest.mark.parametrize(("connected", "ended"), [(True, False), (False, True), (False, False)])
async def test_a_call_that_has_not_ended_or_never_began_is_not_rated(
    container: Container, pair: tuple[Learner, Learner], connected: bool, ended: bool
) -> None:
    call = await had_call(container, *pair, connected=connected, ended=ended)
    answer = await pair[0].http.post(f"/sessions/{call}/rate", json={"stars": 5})
    assert (answer.status_code, answer.json()["code"]) == (409, "session_not_ended")


@pytest.mark.parametrize("body", [{}, {"stars": 0}, {"stars": 6}, {"stars": 4.5}, {"stars": "5"}, {"stars": None}])
async def test_stars_are_whole_and_one_to_five(
    container: Container, pair: tuple[Learner, Learner], body: dict[str, object]
) -> None:
    call = await had_call(container, *pair)
    answer = await pair[0].http.post(f"/sessions/{call}/rate", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")


async def test_of_fifty_learners_who_claim_a_username_one_gets_it(
    container: Container, make_learner: MakeLearner
) -> None:
    learners = [await make_learner(ready=False) for _ in range(50)]
    name = f"Wanted_{learners[0].username[:12]}"
    spellings = (name, name.lower(), name.upper())
    answers = await asyncio.gather(
        *(
            learner.http.patch("/users/me", json={"username": spellings[number % 3]})
            for number, learner in enumerate(learners)
        )
    )
    assert codes(answers) == {200: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"username_taken"}
    assert await value(container, "SELECT count(*) FROM profiles WHERE lower(username) = lower(:n)", n=name) == 1
