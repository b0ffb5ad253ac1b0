"""Holds of pairing: refused searches, searches that wait, matches that are not written, calls that go on."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import errors
from container import Container
from jobs import Run, check_pairing
from services.calls.call_history import CallHistoryService
from services.calls.call_records import CallRecords
from services.calls.matchmaking import MatchmakingService
from services.calls.outcomes import Outcome, Searching, SearchRefused
from services.calls.pairing_checks import PairingChecks
from services.calls.rooms import Rooms
from testing.calls import LocalBus, MakePhone, ack_code, call, candidates, empty_queue, match
from testing.databases import query, value
from testing.polling import eventually
from testing.servers import Learner


async def hold(container: Container, user_id: str, interval: str = "3 hours") -> None:
    """Hold a learner's pairing as the rule does, but without its job."""
    statement = "UPDATE users SET pairing_held_until = now() + CAST(:i AS interval) WHERE id = :u"
    await query(container, statement, i=interval, u=user_id)


async def end_search(container: Container, user_id: str) -> None:
    """Run the job of a hold, as a job worker does."""
    await check_pairing.function(Run(container, is_last_attempt=False), user_id=user_id)


def make_checks(
    container: Container, history: CallHistoryService | None = None, rooms: Rooms | None = None
) -> tuple[MatchmakingService, PairingChecks]:
    rooms, history = rooms or Rooms(container.scripts), history or container.call_history
    bus, records = LocalBus(container.bus.process_id), CallRecords(rooms, history)
    gates, texts = container.gates, container.text_filter
    matchmaking = MatchmakingService(bus, container.database, rooms, history, records, gates, texts)
    return matchmaking, PairingChecks(bus, rooms, records, history, matchmaking)


def make_matchmaking(container: Container, history: CallHistoryService | None = None) -> MatchmakingService:
    return make_checks(container, history)[0]


def make_socket(container: Container, learner: Learner) -> str:
    """Name a socket of a web process that runs."""
    return f"{container.bus.process_id}.{learner.id}"


async def test_find_is_refused_until_the_hold_ends(make_phone: MakePhone, container: Container) -> None:
    bob = await make_phone()
    await hold(container, bob.learner.id)
    refused = await bob.send("find_partner", {})
    assert ack_code(refused) == "pairing_on_hold"
    end = await value(
        container,
        "SELECT to_char(pairing_held_until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        " FROM users WHERE id = :u",
        u=bob.learner.id,
    )
    assert end in refused["error"]["message"] and "report" not in refused["error"]["message"]
    assert await bob.wait_for("error") == refused["error"]
    # It ends by PostgreSQL's clock; nothing else is done.
    await hold(container, bob.learner.id, "-1 second")
    assert await bob.send("find_partner", {"topic": f"later {bob.learner.id}"}) == {"ok": True}
    await bob.wait_for("searching")


async def test_waiting_search_ends_in_its_web_process(make_phone: MakePhone, container: Container) -> None:
    bob = await make_phone()
    topic = {"topic": f"held {bob.learner.id}"}
    assert await bob.send("find_partner", topic) == {"ok": True}
    await bob.wait_for("searching")
    await hold(container, bob.learner.id)
    await end_search(container, bob.learner.id)
    assert (await bob.wait_for("error"))["code"] == "pairing_on_hold"
    assert not await container.redis.exists(f"{{match}}:searching:{bob.learner.id}")
    # Its web process keeps no search that it would restore.
    assert ack_code(await bob.send("cancel_search", {})) == "not_searching"
    await end_search(container, bob.learner.id)
    assert ack_code(await bob.send("find_partner", topic)) == "pairing_on_hold"


async def test_match_with_a_held_learner_is_not_written(make_phone: MakePhone, container: Container) -> None:
    bob, ada, eve = [await make_phone() for _ in range(3)]
    await bob.send("find_partner", {})
    await bob.wait_for("searching")
    # The job did not run yet: Redis or the job worker was unavailable.
    await hold(container, bob.learner.id)
    assert await ada.send("find_partner", {}) == {"ok": True}
    await ada.wait_for("searching")
    assert (await bob.wait_for("error"))["code"] == "pairing_on_hold"
    calls = "SELECT count(*) FROM call_sessions WHERE :u IN (user_a_id, user_b_id)"
    assert await value(container, calls, u=uuid.UUID(bob.learner.id)) == 0
    await eve.send("find_partner", {})
    assert (await eve.wait_for("match_found"))["partner"]["userId"] == ada.learner.id


class HeldMeanwhile(CallHistoryService):
    """Call history that finds a learner held by the time at which the row is written."""

    def __init__(self, container: Container, user_id: str) -> None:
        super().__init__(container.database, container.gates)
        self._services, self._user_id = container, user_id

    async def start(self, *arguments: Any) -> bool:
        await hold(self._services, self._user_id)
        return await super().start(*arguments)


async def test_seeker_held_meanwhile_is_refused(container: Container, make_learner: Any) -> None:
    bob, ada = await make_learner(), await make_learner()
    matchmaking = make_matchmaking(container, HeldMeanwhile(container, ada.id))
    for who in (bob, ada):
        matchmaking.connect(make_socket(container, who))
    assert isinstance(
        await matchmaking.find_partner(bob.id, make_socket(container, bob), level="all", topic=None), Searching
    )
    with pytest.raises(errors.PairingOnHold):
        await matchmaking.find_partner(ada.id, make_socket(container, ada), level="all", topic=None)

    async def list_waiting() -> list[str]:
        waiting = [entry["userId"] async for entry in Rooms(container.scripts).iterate_searches()]
        return [each for each in waiting if each in (bob.id, ada.id)]

    # The partner waits again once their web process has checked the search, and nothing is left of the match.
    await eventually(list_waiting, "the partner waits again")
    assert await list_waiting() == [bob.id]
    assert await container.redis.exists(*(f"{{match}}:in_room:{each.id}" for each in (bob, ada))) == 0


async def test_waiting_learner_held_meanwhile_is_refused(container: Container, make_learner: Any) -> None:
    bob, ada = await make_learner(), await make_learner()
    matchmaking, checks = make_checks(container, HeldMeanwhile(container, bob.id))
    refused: list[SearchRefused] = []

    async def note(outcome: Outcome) -> None:
        assert isinstance(outcome, SearchRefused)
        refused.append(outcome)

    checks.on_outcome(note)
    for who in (bob, ada):
        matchmaking.connect(make_socket(container, who))
    await matchmaking.find_partner(bob.id, make_socket(container, bob), level="all", topic=None)
    assert isinstance(
        await matchmaking.find_partner(ada.id, make_socket(container, ada), level="all", topic=None), Searching
    )
    await eventually(lambda: refused, "the refusal is reported")
    assert (refused[0].socket_id, refused[0].error.code) == (make_socket(container, bob), "pairing_on_hold")
    assert [entry["userId"] for entry in matchmaking.list_queue_entries()] == [ada.id]


async def test_held_search_is_not_restored(container: Container, make_learner: Any) -> None:
    bob = await make_learner()
    matchmaking = make_matchmaking(container)
    matchmaking.connect("w.held")
    await matchmaking.find_partner(bob.id, "w.held", level="all", topic=None)
    await empty_queue(container)
    await hold(container, bob.id)
    # The job finds nothing in a Redis that has lost its data; the web process does.
    await end_search(container, bob.id)
    outcomes = [outcome async for outcome in matchmaking.restore_searches()]
    assert [type(each) for each in outcomes] == [SearchRefused]
    assert matchmaking.list_queue_entries() == []
    assert [each async for each in Rooms(container.scripts).iterate_searches()] == []


class NoRedis(Rooms):
    """Rooms whose Redis does not answer."""

    async def read_search_socket(self, user_id: str) -> str | None:
        raise errors.Unavailable()


async def test_job_of_a_hold_is_repeated_without_redis(container: Container, make_learner: Any) -> None:
    bob = await make_learner()
    await hold(container, bob.id)
    _, broken = make_checks(container, rooms=NoRedis(container.scripts))
    with pytest.raises(errors.Unavailable):
        await broken.check_user(bob.id)
    assert check_pairing.max_attempts > 1


async def test_call_goes_on_during_a_hold(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = await call(ada, bob)
    await hold(container, bob.learner.id)
    await end_search(container, bob.learner.id)
    assert await ada.send("webrtc_ice", {**room, "candidate": {"candidate": "still here"}}) == {"ok": True}
    await bob.wait_for("webrtc_ice")
    assert [each["candidate"] for each in candidates(bob)] == ["still here"]
    await ada.send("end_call", room)
    assert (await bob.wait_for("peer_left"))["reason"] == "ended"
    assert ack_code(await bob.send("find_partner", {})) == "pairing_on_hold"
    assert ack_code(await ada.send("find_partner", {})) == "ok"


async def test_search_does_not_continue_on_hold(make_phone: MakePhone, container: Container) -> None:
    ada, bob = await make_phone(), await make_phone()
    room = {"roomId": (await match(ada, bob))["roomId"]}
    assert await bob.send("join_room", room) == {"ok": True}
    await hold(container, bob.learner.id)
    assert await ada.send("cancel_search", {}) == {"ok": True}
    await bob.wait_for("partner_cancelled")
    assert (await bob.wait_for("error"))["code"] == "pairing_on_hold"
    assert not await container.redis.exists(f"{{match}}:searching:{bob.learner.id}")
