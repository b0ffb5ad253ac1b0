"""A Socket.IO server that gives the participant of a call the other role, as after a loss of Redis's data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal

import socketio
import uvicorn

from testing.polling import eventually
from testing.ports import free_port

Role = Literal["caller", "receiver"]
ME, PARTNER = "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", "9d3f6c1a-2b7e-4a55-8c1d-5e8a7b9c0d12"
ROOM = "5b1e7f0a-3c57-4a0e-9c0d-1f0f4c1f3a77"
MATCH: dict[str, Any] = {
    "roomId": ROOM,
    "sessionId": "2f4d6b1c-98a7-4c3e-8f21-6b5a4c3d2e1f",
    "partner": {"userId": PARTNER, "displayName": "Ben", "avatarUrl": None, "level": "beginner"},
    "topic": None,
    "iceServers": [],
}
#: Runs the client's program with the address of the server; the program makes a call of `MATCH` and prints its roles.
Run = Callable[[str], Coroutine[Any, Any, list[str]]]
Check = Callable[[Run], Awaitable[None]]


class Partner:
    """The server and the other participant; it notes the descriptions that the client sends."""

    def __init__(self) -> None:
        self.server = socketio.AsyncServer(async_mode="asgi")
        self.descriptions: list[str] = []
        self.is_joined = asyncio.Event()
        for event in ("webrtc_offer", "webrtc_answer"):
            self.server.on(event, self._take(event))
        self.server.on("webrtc_ice", self._accept)
        self.server.on("refresh_ice", self._accept)
        self.server.on("join_room", self._join)
        self._seq = 0

    def _take(self, event: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def take(_: str, payload: dict[str, Any]) -> dict[str, Any]:
            assert payload["roomId"] == ROOM
            self.descriptions.append(event)
            return {"ok": True}

        return take

    async def _accept(self, *_: Any) -> dict[str, Any]:
        return {"ok": True, "iceServers": []}

    async def _join(self, *_: Any) -> dict[str, Any]:
        self.is_joined.set()
        return {"ok": True}

    async def inform(self, role: Role, user_id: str) -> None:
        await self.server.emit("peer_joined", {"role": role, "userId": user_id})

    async def send(self, event: str, version: int) -> None:
        """Send a description of one session of the partner."""
        self._seq += 1
        sdp = f"v=0\r\no=- 77 {version} IN IP4 127.0.0.1\r\na=ice-ufrag:p\r\n"
        await self.server.emit(event, {"sdp": sdp, "seq": self._seq})

    async def expect(self, *descriptions: str) -> None:
        await eventually(
            lambda: self.descriptions == list(descriptions), lambda: f"the client sent {self.descriptions}"
        )

    async def end(self) -> None:
        await self.server.emit("peer_left", {"reason": "ended"})


@asynccontextmanager
async def begin_call(run: Run, *roles: Role) -> AsyncIterator[Partner]:
    """Let a program join the call; at the end it has been given these roles."""
    partner, port = Partner(), free_port()
    web = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(partner.server), port=port, log_level="error"))
    serving = asyncio.create_task(web.serve())
    await eventually(lambda: web.started)
    running = asyncio.create_task(run(f"http://127.0.0.1:{port}"))
    try:
        await eventually(lambda: partner.is_joined.is_set() or running.done(), within=60)
        yield partner
    finally:
        await partner.server.emit("peer_left", {"reason": "ended"})
        given = await running
        web.should_exit = True
        await serving
    assert given == list(roles)


async def check_caller_becomes_receiver(run: Run) -> None:
    """The old caller, whose offer is open, answers the offer of the new one, and makes none itself."""
    async with begin_call(run, "caller", "receiver") as partner:
        await partner.inform("caller", ME)
        await partner.inform("receiver", PARTNER)
        await partner.expect("webrtc_offer")
        await partner.inform("receiver", ME)
        await partner.send("webrtc_offer", 1)
        await partner.expect("webrtc_offer", "webrtc_answer")
        # A caller would offer now; events are handled in order, the partner's offer after that.
        await partner.server.emit("peer_reconnected", {})
        await partner.send("webrtc_offer", 2)
        await partner.expect("webrtc_offer", "webrtc_answer", "webrtc_answer")


async def check_receiver_becomes_caller(run: Run) -> None:
    """The old receiver offers when it is informed of its role, not again when the partner is back a moment later."""
    async with begin_call(run, "receiver", "caller") as partner:
        await partner.inform("receiver", ME)
        await partner.send("webrtc_offer", 1)
        await partner.expect("webrtc_answer")
        await partner.inform("caller", ME)
        await partner.expect("webrtc_answer", "webrtc_offer")
        await partner.send("webrtc_answer", 2)
        # Another offer would cross the answer to the first; events are handled in order, this offer after that.
        await partner.inform("receiver", PARTNER)
        await partner.send("webrtc_offer", 3)
        await partner.expect("webrtc_answer", "webrtc_offer", "webrtc_answer")


async def check_join_of_partner_makes_caller(run: Run) -> None:
    """The old receiver learns its new role from the join of the partner, and offers."""
    async with begin_call(run, "receiver", "caller") as partner:
        await partner.inform("receiver", ME)
        await partner.send("webrtc_offer", 1)
        await partner.expect("webrtc_answer")
        await partner.inform("receiver", PARTNER)
        await partner.expect("webrtc_answer", "webrtc_offer")


CHECKS: list[Check] = [check_caller_becomes_receiver, check_receiver_becomes_caller, check_join_of_partner_makes_caller]
