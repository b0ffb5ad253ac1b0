"""Random events in random order: learners on two web processes send any event at any time.

Each answer and each event is held to asyncapi.yaml, each refusal to the codes listed for its event; no socket is lost
that nobody gave up; nobody meets themselves or is in two calls. A seed is a session, repeated by
`EVENTS_SEED=7 EVENTS_SESSIONS=1 pytest tests/contract/test_random_sessions.py`; EVENTS_SESSIONS=500 takes half an hour.
A session that fails is repeated with fewer and fewer steps, and the shortest that still fails is shown.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from schemathesis import GenerationMode
from sqlmodel import col

from container import Container
from contract.event_bindings import COMMON_CODES
from models import CallSession
from testing import wire_recording
from testing.calls import empty_queue
from testing.client_internals import close_websocket
from testing.servers import Learner, Phone, Server, dial, http_client, register
from testing.time_limits import limit
from tests.contract.event_payloads import (
    ACK,
    CLIENT_EVENTS,
    DOCUMENT,
    NOWHERE,
    SERVER_EVENTS,
    fits_a_frame,
    is_storable,
    make_validator,
    payloads,
)

pytestmark = pytest.mark.usefixtures("quiet_log")

SEED = int(os.environ.get("EVENTS_SEED", "1"))
SESSIONS = int(os.environ.get("EVENTS_SESSIONS", "8"))
LEARNERS, TURNS = 4, 150
#: How often a failing session is repeated, to find its shortest form.
RETELLINGS = 60

#: Actions, as often as they are chosen.
ACTIONS = {
    "find_partner": 8,
    "cancel_search": 1,
    "app_state": 1,
    "join_room": 14,
    "webrtc_offer": 8,
    "webrtc_answer": 8,
    "webrtc_ice": 10,
    "end_call": 1,
    "refresh_ice": 2,
    "junk": 5,
    "drop": 2,
    "come_back": 5,
    "second_device": 1,
}
CODES = {
    operation["title"]: COMMON_CODES.union(operation["x-codes"]) - {"internal"}
    for operation in DOCUMENT["operations"].values()
    if operation["action"] == "receive"
}
ICE_ACK = DOCUMENT["components"]["messages"]["ice_ack"]["payload"]
JUDGES = {name: make_validator(schema) for name, schema in CLIENT_EVENTS.items()}
RECEIVED = {name: make_validator(schema) for name, schema in SERVER_EVENTS.items()}
ACKS = {name: make_validator(ICE_ACK if name == "refresh_ice" else ACK) for name in CLIENT_EVENTS}
JUNK = {
    name: [
        each
        for each in payloads(schema, GenerationMode.NEGATIVE)
        if fits_a_frame(each) and not (JUDGES[name]({} if each is None else each) and is_storable(each))
    ]
    for name, schema in CLIENT_EVENTS.items()
}


class Step(NamedTuple):
    """What one learner does; `choice` picks what with, so that a step means the same in a shorter story."""

    learner: int
    action: str
    choice: int


#: What happens at once.
Turn = list[Step]


def story(seed: int) -> list[Turn]:
    chance = random.Random(seed)
    actions, weights = list(ACTIONS), list(ACTIONS.values())
    return [
        [
            Step(learner, chance.choices(actions, weights)[0], chance.randrange(1000))
            for learner in chance.sample(range(LEARNERS), chance.choice((1, 1, 2, 3)))
        ]
        for _ in range(TURNS)
    ]


@dataclass
class Person:
    learner: Learner
    phones: list[Phone] = field(default_factory=list)
    rooms: list[str] = field(default_factory=list)
    seq: int = 0

    @property
    def phone(self) -> Phone | None:
        """The device last picked up, if it is still connected."""
        return next((phone for phone in reversed(self.phones) if phone.client.connected), None)


class Running:
    """A session as it runs, with learners of its own."""

    def __init__(self, url: str, people: list[Person]) -> None:
        self._url = url
        self.people = people
        self._given_up: set[int] = set()
        self.outcomes: Counter[str] = Counter()

    async def run(self, turns: list[Turn]) -> None:
        for turn in turns:
            await asyncio.gather(*(self._do(step) for step in turn))
            self._check_sockets()
        await self._end()

    async def _do(self, step: Step) -> None:
        person = self.people[step.learner]
        phone = person.phone
        if step.action in ("come_back", "second_device") or phone is None:
            await self._pick_up(person, step)
        elif step.action == "drop":
            self._given_up.add(id(phone))
            await close_websocket(phone.client)
            while phone.client.connected:  # it notices a moment later
                await asyncio.sleep(0.002)
        elif step.action == "junk":
            event = list(CLIENT_EVENTS)[step.choice % len(CLIENT_EVENTS)]
            junk = JUNK[event][step.choice % len(JUNK[event])]
            ack = await self._send(phone, event, junk)
            assert ack is None or ack["error"]["code"] == "bad_payload", (event, junk, ack)
        else:
            await self._act(person, phone, step)

    async def _pick_up(self, person: Person, step: Step) -> None:
        if step.action != "second_device" and person.phone is not None:
            return
        phone = await dial(self._url, person.learner)
        person.phones.append(phone)
        if step.action == "come_back" and person.rooms:
            await self._send(phone, "join_room", {"roomId": person.rooms[-1], "after": person.seq})

    async def _act(self, person: Person, phone: Phone, step: Step) -> None:
        event, choice = step.action, step.choice
        room = {"roomId": self._room(person, choice)}
        payloads_of: dict[str, dict[str, Any]] = {
            "find_partner": [{}, {"level": "all"}, {"level": "beginner"}, {"topic": "food"}][choice % 4],
            "cancel_search": {},
            "app_state": {"isBackground": bool(choice % 2)},
            "join_room": {**room, "after": choice} if choice % 5 == 0 else room,
            "webrtc_offer": {**room, "sdp": f"v=0 {choice}"},
            "webrtc_answer": {**room, "sdp": f"v=0 {choice}"},
            "webrtc_ice": {**room, "candidate": None if choice % 3 == 0 else {"candidate": str(choice)}},
            "end_call": room,
            "refresh_ice": room,
        }
        ack = await self._send(phone, event, payloads_of[event])
        assert ack is None or ack["ok"] or ack["error"]["code"] != "bad_payload", (payloads_of[event], ack)

    def _room(self, person: Person, choice: int) -> str:
        """Return mostly the learner's own room, else a past one, another learner's, or none."""
        if choice % 10 == 1:
            return NOWHERE
        if choice % 10 == 2:
            others = [room for each in self.people for room in each.rooms]
            return others[choice % len(others)] if others else NOWHERE
        if not person.rooms:
            return NOWHERE
        return person.rooms[-1] if choice % 10 > 3 else person.rooms[choice % len(person.rooms)]

    async def _send(self, phone: Phone, event: str, payload: Any) -> dict[str, Any] | None:
        """Send an event and hold its ack to the contract; None where the connection ended first."""
        answers: list[dict[str, Any]] = []
        try:
            await phone.client.emit(event, payload, callback=answers.append)
        except Exception:
            assert not phone.client.connected
            return None
        deadline = time.monotonic() + limit(15)
        while not answers:
            if not phone.client.connected:
                return None
            assert time.monotonic() < deadline, f"{event} {payload!r} is not acknowledged"
            await asyncio.sleep(0.002)
        (ack,) = answers
        wire_recording.event(event, payload, ack)
        assert ACKS[event](ack), f"{event} {payload!r}: the ack {ack} is not what the contract says"
        code = "ok" if ack["ok"] else ack["error"]["code"]
        assert code == "ok" or code in CODES[event], f"{event} {payload!r}: {ack} is not listed for it"
        self.outcomes[f"{event}: {code}"] += 1
        self._receive()
        return ack

    def _receive(self) -> None:
        """Read rooms and sequence numbers from the received events."""
        for person in self.people:
            for phone in person.phones:
                for name, payload in phone.received:
                    if name == "match_found" and payload["roomId"] not in person.rooms:
                        person.rooms.append(payload["roomId"])
                        person.seq = 0
                    elif name.startswith("webrtc_"):
                        person.seq = max(person.seq, payload["seq"])

    def _check_sockets(self) -> None:
        for person in self.people:
            for phone in person.phones:
                if not phone.client.connected and id(phone) not in self._given_up:
                    assert "session_replaced" in [name for name, _ in phone.received], "a socket was lost"

    async def _end(self) -> None:
        """Check all received events, and that every learner can go on."""
        for person in self.people:
            if person.phone is None:
                person.phones.append(await dial(self._url, person.learner))
        self._receive()
        for person in self.people:
            phone = person.phone
            assert phone is not None
            for room in person.rooms:
                await self._send(phone, "end_call", {"roomId": room})
            await self._send(phone, "cancel_search", {})
        # A learner who was left by the previous partner is searching again.
        for person in self.people:
            assert person.phone is not None
            await self._send(person.phone, "cancel_search", {})
        await self._check_matches()

    async def _check_matches(self) -> None:
        members: dict[str, set[str]] = defaultdict(set)
        for person in self.people:
            for phone in person.phones:
                for name, payload in phone.received:
                    assert name in RECEIVED, f"{name} is not an event of the contract"
                    assert RECEIVED[name](payload), f"{name}: {payload} is not what the contract says"
                    assert name != "error" or payload["code"] != "internal", payload
                    if name == "match_found":
                        assert payload["partner"]["userId"] != person.learner.id, "met themselves"
                        members[payload["roomId"]] |= {person.learner.id, payload["partner"]["userId"]}
        assert all(len(each) == 2 for each in members.values()), members


async def run_session(server: Server, container: Container, turns: list[Turn]) -> Counter[str]:
    """Run a session with new learners; raise AssertionError where it fails."""
    await empty_queue(container)
    clients = [http_client(server.url) for _ in range(LEARNERS)]
    people: list[Person] = []
    try:
        for http in clients:
            learner = await register(http)
            people.append(Person(learner, [await dial(server.url, learner)]))
        running = Running(server.url, people)
        watch = asyncio.create_task(never_in_two_calls(container, [each.learner.id for each in people]))
        try:
            await running.run(turns)
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
        return running.outcomes
    finally:
        for person in people:
            for phone in person.phones:
                with suppress(Exception):
                    await phone.client.disconnect()
        for http in clients:
            await http.aclose()


async def never_in_two_calls(container: Container, users: list[str]) -> None:
    """Watch the rows of open calls, until cancelled."""
    ids = [uuid.UUID(user) for user in users]
    is_open = sa.and_(col(CallSession.ended_at).is_(None), col(CallSession.connected_at).is_not(None))
    rows = sa.select(col(CallSession.user_a_id), col(CallSession.user_b_id)).where(
        is_open, sa.or_(col(CallSession.user_a_id).in_(ids), col(CallSession.user_b_id).in_(ids))
    )
    while True:
        async with container.database.transaction() as db:
            calls = await (await db.connection()).execute(rows)
            talking = Counter(user for row in calls.all() for user in row)
        assert not talking or max(talking.values()) == 1, "a learner is in two calls"
        await asyncio.sleep(0.05)


async def shortest(turns: list[Turn], goes_wrong: Callable[[list[Turn]], Awaitable[bool]]) -> list[Turn]:
    """Leave out of a story that goes wrong what does not matter, as far as so many retellings show."""
    size, left = len(turns) // 2, RETELLINGS
    while size and left > 0:
        start = 0
        while start < len(turns) and left > 0:
            shorter = turns[:start] + turns[start + size :]
            left -= 1
            if await goes_wrong(shorter):
                turns = shorter
            else:
                start += size
        size //= 2
    return turns


@pytest.mark.parametrize("seed", range(SEED, SEED + SESSIONS))
async def test_random_session_keeps_to_the_contract(server: Server, container: Container, seed: int) -> None:
    turns = story(seed)

    async def goes_wrong(shorter: list[Turn]) -> bool:
        try:
            await run_session(server, container, shorter)
        except AssertionError:
            return True
        return False

    try:
        outcomes = await run_session(server, container, turns)
    except AssertionError as problem:
        least = await shortest(turns, goes_wrong)
        steps = "\n".join(", ".join(f"{step.learner} {step.action} {step.choice}" for step in turn) for turn in least)
        raise AssertionError(f"EVENTS_SEED={seed}: {problem}\nThe shortest that fails:\n{steps}") from problem
    assert {name.partition(":")[0] for name in outcomes} == CLIENT_EVENTS.keys()
    assert outcomes["find_partner: ok"] and outcomes["join_room: ok"]


async def test_failing_random_session_is_shrunk() -> None:
    async def goes_wrong(turns: list[Turn]) -> bool:
        actions = [step.action for turn in turns for step in turn]
        return "end_call" in actions and "drop" in actions[actions.index("end_call") :]

    turns = [*story(1), [Step(0, "end_call", 0)], *story(2), [Step(1, "drop", 0)]]
    least = await shortest(turns, goes_wrong)
    assert await goes_wrong(least) and len(least) <= 2
