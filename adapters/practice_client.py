"""A client of both contracts without a screen: it logs in, waits for a partner and talks with real audio.

It plays the partner of the stores' review teams (`parlance review-partner`). What it says is a melody.
"""

from __future__ import annotations

import array
import asyncio
import fractions
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import av
import httpx
import socketio
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

log = logging.getLogger("parlance.review")

#: Seconds of one request or ack.
_TIMEOUT_SECONDS = 15
#: Seconds until the next attempt after a failure, doubled up to the longest.
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 5.0, 300.0
#: After so many seconds the partner hangs up.
CALL_SECONDS = 15 * 60
#: Codes of a search that another attempt may begin.
_BUSY_CODES = ("already_in_room", "already_searching")

_RATE, _FRAME_SAMPLES = 48_000, 960
#: Frequencies (Hz) of the melody, a third of a second each; 0 is silence.
_NOTES = (262, 330, 392, 523, 392, 330, 262, 0, 0)


class ConnectionLost(Exception):
    """The socket is closed, or the server has lost the state of a search."""


class EventRefused(Exception):
    """An event was refused; the message has the code."""


class Melody(MediaStreamTrack):
    """The audio that the partner sends, in frames of 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._samples = _compose()
        self._frames = 0
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        self._began = loop.time() if self._began is None else self._began
        due = self._began + self._frames * _FRAME_SAMPLES / _RATE
        await asyncio.sleep(max(0.0, due - loop.time()))
        frame = av.AudioFrame(format="s16", layout="mono", samples=_FRAME_SAMPLES)
        begin = self._frames * _FRAME_SAMPLES * 2 % len(self._samples)
        frame.planes[0].update(self._samples[begin : begin + _FRAME_SAMPLES * 2])
        frame.pts, frame.sample_rate = self._frames * _FRAME_SAMPLES, _RATE
        frame.time_base = fractions.Fraction(1, _RATE)
        self._frames += 1
        return frame


def _compose() -> bytes:
    """Return the samples of the melody, 16 bits each; its length is a whole number of frames."""
    samples = array.array("h")
    length = _RATE // 3
    for note in _NOTES:
        for index in range(length):
            fade = min(1.0, index / 960, (length - index) / 960)
            samples.append(int(6000 * fade * math.sin(2 * math.pi * note * index / _RATE)))
    del samples[len(samples) // _FRAME_SAMPLES * _FRAME_SAMPLES :]
    return samples.tobytes()


class Call:
    """The audio of one call, signaled by a socket."""

    def __init__(self, socket: socketio.AsyncClient, user_id: str, match: dict[str, Any]) -> None:
        self._socket, self._user_id = socket, user_id
        self.room_id: str = match["roomId"]
        servers = [
            RTCIceServer(each["urls"], each.get("username"), each.get("credential")) for each in match["iceServers"]
        ]
        self._configuration = RTCConfiguration(servers)
        self._role = ""
        self._peer: RTCPeerConnection | None = None
        self._sink: MediaBlackhole | None = None

    async def handle(self, event: str, payload: dict[str, Any]) -> None:
        """Handle an event of the room."""
        match event:
            case "peer_joined" if payload["userId"] == self._user_id:
                self._role = payload["role"]
            case "peer_joined" | "peer_reconnected" if self._role == "caller":
                await self._offer()
            case "webrtc_offer":
                await self._answer(payload["sdp"])
            case "webrtc_answer" if self._peer and self._peer.signalingState == "have-local-offer":
                await self._peer.setRemoteDescription(RTCSessionDescription(payload["sdp"], "answer"))
            case "webrtc_ice" if self._peer and self._peer.remoteDescription:
                await self._add_candidate(self._peer, payload["candidate"])

    async def close(self) -> None:
        if self._sink is not None:
            await self._sink.stop()
        if self._peer is not None:
            await self._peer.close()
        self._peer = self._sink = None

    async def _connect(self) -> RTCPeerConnection:
        """Make a new connection: each offer describes another one."""
        await self.close()
        self._peer = peer = RTCPeerConnection(self._configuration)
        self._sink = sink = MediaBlackhole()
        peer.addTrack(Melody())

        @peer.on("track")
        async def play(track: MediaStreamTrack) -> None:
            sink.addTrack(track)
            await sink.start()

        @peer.on("connectionstatechange")
        async def note() -> None:
            log.info("review_call_connection room_id=%s state=%s", self.room_id, peer.connectionState)

        return peer

    async def _offer(self) -> None:
        peer = await self._connect()
        await peer.setLocalDescription(await peer.createOffer())
        await self._send("webrtc_offer", peer)

    async def _answer(self, sdp: str) -> None:
        peer = await self._connect()
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        await self._send("webrtc_answer", peer)

    async def _send(self, event: str, peer: RTCPeerConnection) -> None:
        # The description has all candidates already.
        await call(self._socket, event, {"roomId": self.room_id, "sdp": peer.localDescription.sdp})

    @staticmethod
    async def _add_candidate(peer: RTCPeerConnection, given: dict[str, Any] | None) -> None:
        text = (given or {}).get("candidate") or ""
        if given is None or not text.startswith("candidate:"):
            return  # the end of the candidates
        try:
            candidate = candidate_from_sdp(text.removeprefix("candidate:"))
        except (AssertionError, ValueError, IndexError):
            return  # of a kind that is not known, as TCP ones may be
        candidate.sdpMid, candidate.sdpMLineIndex = given.get("sdpMid"), given.get("sdpMLineIndex")
        if candidate.sdpMid is not None or candidate.sdpMLineIndex is not None:
            await peer.addIceCandidate(candidate)


class PracticeClient:
    """One learner: `enter` returns user, address and password at each login, `before_search` comes before a search."""

    def __init__(
        self,
        url: str,
        enter: Callable[[], Awaitable[tuple[str, str, str]]],
        before_search: Callable[[], Awaitable[None]],
        *,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._url = url
        self._enter = enter
        self._before_search = before_search
        self._call_seconds = call_seconds
        self._user_id = ""
        self._events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def run(self) -> None:
        """Meet one learner after another until cancelled; begin again, ever later, after a failure."""
        wait = _RETRY_SECONDS
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._practise()
            except (httpx.HTTPError, socketio.exceptions.SocketIOError, ConnectionLost, EventRefused, OSError) as error:
                log.warning("review_partner_interrupted error=%s detail=%r", type(error).__name__, str(error)[:200])
            if asyncio.get_running_loop().time() - began > _LONGEST_RETRY_SECONDS:
                wait = _RETRY_SECONDS
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_RETRY_SECONDS)

    async def _practise(self) -> None:
        token = await self._log_in()
        events = self._events = asyncio.Queue[tuple[str, Any]]()
        socket = socketio.AsyncClient(reconnection=False)

        async def note(event: str, payload: Any = None) -> None:
            events.put_nowait((event, payload or {}))

        async def note_end(*_: Any) -> None:
            events.put_nowait(("disconnect", {}))

        socket.on("*", note)
        socket.on("disconnect", note_end)
        await socket.connect(self._url, auth={"token": token}, transports=["websocket"], wait_timeout=_TIMEOUT_SECONDS)
        log.info("review_partner_connected url=%s", self._url)
        is_searching = False
        try:
            while True:
                is_searching = await self._meet(socket, is_searching=is_searching)
        finally:
            await socket.disconnect()

    async def _log_in(self) -> str:
        self._user_id, email, password = await self._enter()
        body = {"email": email, "password": password, "deviceId": "review-partner", "platform": "android"}
        async with httpx.AsyncClient(base_url=self._url, timeout=_TIMEOUT_SECONDS) as http:
            answer = await http.post("/auth/login", json=body)
            answer.raise_for_status()
            return str(answer.json()["accessToken"])

    async def _meet(self, socket: socketio.AsyncClient, *, is_searching: bool) -> bool:
        """Search, and talk with who is found; return whether the search goes on by itself."""
        if not is_searching:
            await self._before_search()
            try:
                await call(socket, "find_partner", {"level": "all"})
            except EventRefused as error:
                if str(error) not in _BUSY_CODES:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
                return False
        while True:
            match await self._next():
                case "match_found", match:
                    return await self._talk(socket, match)
                case "search_expired", _:
                    return False

    async def _talk(self, socket: socketio.AsyncClient, match: dict[str, Any]) -> bool:
        """Talk until the other hangs up; return whether the server goes on with the search."""
        audio = Call(socket, self._user_id, match)
        log.info("review_call_begins session_id=%s room_id=%s", match["sessionId"], audio.room_id)
        try:
            async with asyncio.timeout(self._call_seconds):
                await call(socket, "join_room", {"roomId": audio.room_id})
                while True:
                    event, payload = await self._next()
                    if event in ("peer_left", "partner_cancelled"):
                        return event == "partner_cancelled"
                    await audio.handle(event, payload)
        except EventRefused as error:
            log.info("review_call_refused room_id=%s code=%s", audio.room_id, error)
            return False
        except TimeoutError:
            await call(socket, "end_call", {"roomId": audio.room_id})
            return False
        finally:
            await audio.close()
            log.info("review_call_ends room_id=%s", audio.room_id)

    async def _next(self) -> tuple[str, Any]:
        event, payload = await self._events.get()
        if event in ("disconnect", "resync", "session_replaced"):
            raise ConnectionLost(event)
        return event, payload


async def call(socket: socketio.AsyncClient, event: str, payload: dict[str, Any]) -> None:
    """Send an event and wait for its ack; raise EventRefused with the code."""
    ack = await socket.call(event, payload, timeout=_TIMEOUT_SECONDS)
    if not ack["ok"]:
        raise EventRefused(ack["error"]["code"])
