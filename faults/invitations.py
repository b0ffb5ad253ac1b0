"""Partners of the load who invite each other: they accept, decline, cancel, and cross."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import socketio.exceptions

from testing.accounts import bearer
from testing.calls import call
from testing.client_internals import abort_connection
from testing.deployment import ReconnectingClient
from testing.servers import http_client

#: Pairs of the load; an account may invite the same partner three times in ten minutes.
PAIRS, SENT_BY_EACH = 6, 3
#: What both do in a round.
PLANS = ("accept", "decline", "cancel", "cross")
#: Seconds between two rounds of a pair, and within which a round comes to its end.
PAUSE_SECONDS, ROUND_SECONDS = 3.0, 90.0

_LOST = (socketio.exceptions.SocketIOError, OSError, AssertionError)


async def befriend(one: ReconnectingClient, other: ReconnectingClient) -> None:
    """Make two learners partners: a call of both, and a wish of each."""
    room = await call(one.phone, other.phone)
    assert await one.phone.send("end_call", room) == {"ok": True}
    for me, partner in ((one, other), (other, one)):
        async with http_client(me.urls()[0]) as http:
            answer = await http.put(f"/partners/{partner.learner.id}", headers=bearer(me.learner.access_token))
        assert answer.status_code == 204, answer.text
    for client in (one, other):
        client.forget()


class Inviters:
    """Two partners; `note` takes what was tried and its outcome, `claim` an invitation and the acknowledged state."""

    def __init__(
        self,
        one: ReconnectingClient,
        other: ReconnectingClient,
        note: Callable[[str, str], None],
        claim: Callable[[str, str], None],
        seed: int,
    ) -> None:
        self._pair = one, other
        self._note, self._claim = note, claim
        self._random = random.Random(seed)

    async def play(self, is_over: Callable[[], bool]) -> None:
        """Invite each other until the load is over, or the limits are reached."""
        for turn in range(2 * SENT_BY_EACH):
            if is_over():
                return
            inviter, invitee = self._pair if turn % 2 else self._pair[::-1]
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._round(inviter, invitee, self._random.choice(PLANS))
            except (TimeoutError, *_LOST):
                self._note("invitation", "lost")
                for client in self._pair:
                    with suppress(Exception):
                        abort_connection(client.phone.client)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _round(self, inviter: ReconnectingClient, invitee: ReconnectingClient, plan: str) -> None:
        for client in self._pair:
            if not client.phones or not client.phone.client.connected:
                await client.connect(within=60)
            client.forget()
        sends = [self._send(inviter, "invite_partner", {"userId": invitee.learner.id})]
        if plan == "cross":
            sends.append(self._send(invitee, "invite_partner", {"userId": inviter.learner.id}))
        acks = await asyncio.gather(*sends)
        if not acks[0]["ok"]:
            self._note("invitation", acks[0]["error"]["code"])
            return
        invitation = acks[0]["invitationId"]
        self._claim(invitation, "sent")
        if plan == "cancel":
            ack = await self._send(inviter, "cancel_invitation", {"invitationId": invitation})
            self._conclude(invitation, "cancelled", ack)
        elif plan != "cross":
            await invitee.wait_for("invitation")
            answer = {"invitationId": invitation, "isAccepted": plan == "accept"}
            ack = await self._send(invitee, "answer_invitation", answer)
            self._conclude(invitation, "accepted" if plan == "accept" else "declined", ack)
        if plan == "accept" or plan == "cross":
            await self._talk(inviter, invitee)

    async def _talk(self, inviter: ReconnectingClient, invitee: ReconnectingClient) -> None:
        for client in (inviter, invitee):
            await client.wait_for("match_found")
        room = _read_room(inviter)
        assert room == _read_room(invitee), "the two are in different rooms"
        for client in (inviter, invitee):
            await client.rejoin(room)
        await inviter.wait_for("peer_joined")
        await self._send(inviter, "end_call", room)
        self._note("invitation", "ok")

    def _conclude(self, invitation: str, state: str, ack: dict[str, Any]) -> None:
        if ack["ok"]:
            self._claim(invitation, state)
        self._note("invitation", "ok" if ack["ok"] else ack["error"]["code"])

    async def _send(self, client: ReconnectingClient, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send an event until it is answered by something else than an outage."""
        while True:
            if not client.phone.client.connected:
                await client.connect(within=60)
            try:
                ack = await client.phone.send(event, payload)
            except (socketio.exceptions.SocketIOError, OSError):
                self._note("invitation", "lost")
                continue
            if ack["ok"] or ack["error"]["code"] != "unavailable":
                return ack
            self._note("invitation", "unavailable")
            await asyncio.sleep(0.25)


def _read_room(client: ReconnectingClient) -> dict[str, str]:
    found = [payload for phone in client.phones for name, payload in phone.received if name == "match_found"]
    return {"roomId": found[-1]["roomId"]}
