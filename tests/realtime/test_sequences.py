"""Each of asyncapi.yaml's `x-sequences`, made with real sockets: the server emits those events, in that order."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest

from container import Container
from contract import schemas
from testing.calls import MakePhone, call, expire_grace, is_away, make_due
from testing.client_internals import abort_connection
from testing.invitations import expire_invitation, make_partners
from testing.polling import eventually
from testing.servers import Phone

SEQUENCES: list[dict[str, Any]] = schemas.load(schemas.ASYNCAPI)["info"]["x-sequences"]
SERVER = "Server"


@dataclass
class Play:
    """A sequence on its way: the client of each participant, and how many of its events were expected so far."""

    make_phone: MakePhone
    container: Container
    phones: dict[str, Phone]
    topic: str = field(default_factory=lambda: str(uuid.uuid4()))
    room: dict[str, str] = field(default_factory=dict)
    #: The invitation that was sent last, and its answer.
    is_accepted: bool = False
    invitation: str = ""
    expected: dict[str, int] = field(default_factory=dict)
    last_sent: str = ""

    async def send(self, name: str, event: str) -> None:
        """Send a client's event, or open or lose its connection."""
        phone = self.phones[name]
        self.last_sent = event
        if event == "disconnect":
            abort_connection(phone.client)
            await eventually(lambda: is_away(self.container, self.room, phone.learner.id), "the participant is away")
        elif event == "connect":
            self.phones[name], self.expected[name] = await self.make_phone(learner=phone.learner), 0
        else:
            ack = await phone.send(event, self._payload(event, name))
            assert ack["ok"], (event, ack)
            self.invitation = ack.get("invitationId", self.invitation)

    def _payload(self, event: str, name: str) -> dict[str, Any]:
        match event:
            case "invite_partner":
                return {"userId": self.phones["Ben" if name == "Ada" else "Ada"].learner.id}
            case "answer_invitation":
                return {"invitationId": self.invitation, "isAccepted": self.is_accepted}
            case "cancel_invitation":
                return {"invitationId": self.invitation}
            case "find_partner":
                return {"topic": self.topic}
            case "cancel_search":
                return {}
            case "join_room" if "connect" in self.last_sent:
                return {**self.room, "after": 0}
            case "webrtc_offer" | "webrtc_answer":
                return {**self.room, "sdp": "v=0"}
            case "webrtc_ice":
                return {**self.room, "candidate": {"candidate": "candidate:1"}}
        return self.room

    async def expect(self, name: str, event: str) -> None:
        """Wait for a client's next event; where time causes it, let that time be over."""
        phone, index = self.phones[name], self.expected.get(name, 0)
        match event, self.last_sent:
            case "invitation_over", "invite_partner":
                await expire_invitation(self.container, self.invitation)
            case "search_expired", _:
                assert await make_due(self.container, f"search:{phone.learner.id}")
            case "partner_cancelled", "join_room":
                await make_due(self.container, f"join:{self.room['roomId']}")
            case "peer_left", "disconnect":
                await expire_grace(self.container, self.room, self.phones["Ben"].learner.id)
        [(received, payload)] = await eventually(lambda: phone.received[index : index + 1], f"{name} receives {event}")
        assert received == event, phone.received
        self.expected[name] = index + 1
        if received == "match_found":
            self.room = {"roomId": payload["roomId"]}


@pytest.mark.parametrize("sequence", SEQUENCES, ids=[each["title"] for each in SEQUENCES])
async def test_sequence_is_what_the_server_emits(
    sequence: dict[str, Any], make_phone: MakePhone, container: Container
) -> None:
    phones = {name: await make_phone() for name in sequence["participants"] if name != SERVER}
    play = Play(make_phone, container, phones)
    play.is_accepted = "accepted" in sequence["title"]
    if sequence["steps"][0]["event"] == "invite_partner":
        await make_partners(container, phones["Ada"].learner, phones["Ben"].learner)
    elif sequence["steps"][0]["event"] != "find_partner":
        play.room = await call(phones["Ada"], phones["Ben"])
        for phone in phones.values():
            phone.received.clear()
    for step in sequence["steps"]:
        if step["from"] == SERVER:
            await play.expect(step["to"], step["event"])
        else:
            await play.send(step["from"], step["event"])
    for name, phone in play.phones.items():
        assert len(phone.received) == play.expected.get(name, 0), f"{name} received more: {phone.received}"


def test_sequences_have_most_events_of_a_call() -> None:
    document = schemas.load(schemas.ASYNCAPI)
    shown = {step["event"] for sequence in SEQUENCES for step in sequence["steps"]}
    of_an_account = {"app_state", "notification", "session_replaced", "resting", "resync", "error"}
    assert {operation["title"] for operation in document["operations"].values()} - shown == of_an_account
