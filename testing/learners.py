"""Learners who complete calls under faults: they search, join, signal, reconnect and hang up."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from testing.deployment import ReconnectingClient
from testing.servers import Phone

#: How many signals each sends in a call.
SIGNALS = 16


class Lost(Exception):
    """The connection dropped before the answer came."""


async def send(phone: Phone, event: str, payload: dict[str, Any]) -> str:
    """Send an event; answer `ok`, or the code of its refusal."""
    answers: list[dict[str, Any]] = []
    try:
        await phone.client.emit(event, payload, callback=answers.append)
    except Exception as error:
        raise Lost from error
    for _ in range(2000):
        await asyncio.sleep(0.01)
        if answers:
            return "ok" if answers[0]["ok"] else str(answers[0]["error"]["code"])
        if not phone.client.connected:
            raise Lost
    raise AssertionError(f"{event} was not acknowledged in 20 s")


@dataclass
class Participant:
    """One learner's part in one call."""

    client: ReconnectingClient
    fault: FaultRound
    room: str = ""
    is_caller: bool = False
    partner: str = ""
    resent: int = 0
    drops: int = 0
    #: Of each signal that was acknowledged, the worker that did.
    acknowledged: list[str] = field(default_factory=list)
    outcome: str = ""

    async def play(self) -> None:
        await self._meet()
        await self._negotiate()

    async def _meet(self) -> None:
        """Search until there is a partner who has joined, too."""
        self.client.forget()
        while True:
            phone = await self._connected()
            try:
                code = await send(phone, "find_partner", {})
                if code in ("already_searching", "already_in_room", "unavailable"):
                    # Of a connection that is not known to be dead yet; or the answer was lost, not the search.
                    await asyncio.sleep(0.1)
                    if code == "already_searching" and any(name == "searching" for name, _ in phone.received):
                        code = "ok"
                if code == "ok" and await self._joined(phone):
                    return
            except Lost:
                continue

    async def _joined(self, phone: Phone) -> bool:
        seen = 0
        while phone.client.connected:
            for name, payload in phone.received[seen:]:
                seen += 1
                if name == "match_found":
                    self.room, self.partner = payload["roomId"], payload["partner"]["userId"]
                    await send(phone, "join_room", {"roomId": self.room})
                elif name == "peer_joined" and payload["role"] == "caller":
                    self.is_caller = payload["userId"] == self.client.learner.id
                elif name == "peer_joined":
                    return True
            await asyncio.sleep(0.01)
        # It may have become a call without our hearing of it.
        return bool(self.room) and await self.client.rejoin({"roomId": self.room}) == "ok" and await self._is_call()

    async def _is_call(self) -> bool:
        code = await send(self.client.phone, "webrtc_ice", {"roomId": self.room, "candidate": None})
        return code == "ok"

    async def _connected(self) -> Phone:
        if not self.client.phone.client.connected:
            await self.client.connect()
        return self.client.phone

    async def _negotiate(self) -> None:
        for number in range(SIGNALS):
            if not await self._signal(number):
                self.outcome = "ended"
                return
            await asyncio.sleep(self.fault.random.random() * 0.1)
        self.fault.ready[self.room].add(self.client.learner.id)
        both = {self.client.learner.id, self.partner}
        while self.fault.ready[self.room] != both:
            if self._is_left or self.fault.is_over(self.room):
                self.outcome = "ended"
                return
            if not self.client.phone.client.connected and not await self._come_back():
                self.outcome = "ended"
                return
            await asyncio.sleep(0.02)
        self.outcome = "completed"
        if self.is_caller:
            await self._until_received()
            while True:
                try:
                    code = await send(await self._connected(), "end_call", {"roomId": self.room})
                except Lost:
                    continue
                if code in ("ok", "not_in_room", "room_closed"):
                    self.fault.over.add(self.room)
                    return
                await asyncio.sleep(0.1)
        await self._until_received()

    @property
    def _is_left(self) -> bool:
        """Whether the partner has left; an earlier partner's leave may come after the next search began."""
        events = self.client.received
        return "peer_left" in events[len(events) - events[::-1].index("match_found") :]

    async def _until_received(self) -> None:
        """Wait a little for what the partner has signalled: it was acknowledged to them."""
        for _ in range(150):
            if len(self.received) >= SIGNALS:
                return
            if not self.client.phone.client.connected and not await self._come_back():
                return
            await asyncio.sleep(0.02)

    @property
    def received(self) -> list[int]:
        """The partner's signals, each once, in the order of their first coming."""
        mine = [text.partition(" ") for text in self.client.received_candidates]
        return list(dict.fromkeys(int(number) for room, _, number in mine if room == self.room))

    @property
    def received_again(self) -> int:
        return sum(text.startswith(f"{self.room} ") for text in self.client.received_candidates) - len(self.received)

    async def _signal(self, number: int) -> bool:
        payload = {"roomId": self.room, "candidate": {"candidate": f"{self.room} {number}"}}
        while True:
            try:
                phone = self.client.phone
                code = await send(phone, "webrtc_ice", payload)
            except Lost:
                self.resent += 1
                if not await self._come_back():
                    return False
                continue
            if code == "ok":
                self.acknowledged.append(phone.worker)
                return True
            if code in ("not_in_room", "room_closed") and await self.client.rejoin({"roomId": self.room}) != "ok":
                return False
            await asyncio.sleep(0.05)

    async def _come_back(self) -> bool:
        self.drops += 1
        return await self.client.rejoin({"roomId": self.room}) == "ok"


@dataclass
class FaultRound:
    """One round: twenty calls, and what happens to them."""

    random: random.Random
    ready: dict[str, set[str]]
    over: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)

    def is_over(self, room: str) -> bool:
        return room in self.over


class Rooms(dict[str, set[str]]):
    def __missing__(self, room: str) -> set[str]:
        self[room] = set()
        return self[room]


async def check_signals(caller: Participant, partner: Participant, fault: FaultRound, problems: list[str]) -> None:
    """Check what one side received of the other."""
    received = caller.received
    missing = [number for number in range(len(partner.acknowledged)) if number not in received]
    mine = {phone.worker for phone in caller.client.phones}
    lost = [number for number in missing if partner.acknowledged[number] not in fault.killed & mine]
    if received != sorted(received):
        problems.append(f"out of order: {received}")
    if lost:
        problems.append(f"lost {lost} of {len(partner.acknowledged)}; received {received}")
    if caller.received_again > partner.resent:
        problems.append(f"received {caller.received_again} twice, sent again {partner.resent}")
