"""A learner's client: it connects, calls and comes back as docs/clients.md says.

An event without an ack in five seconds means that the connection is dead: the client opens another one. Engine.IO's own
time-out, `pingInterval` and `pingTimeout` of the handshake, is that of python-socketio.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
import uuid
from collections import defaultdict
from contextlib import suppress
from typing import Any

import aiohttp
import httpx
import socketio

from faults.hosts.records import CallSide, Record
from testing.accounts import credentials, new_email
from testing.client_internals import abort_connection

ACK_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 6.0
#: Seconds until a search without a call is cancelled.
MEET_SECONDS = 25.0
#: Answers of `ask` beside `ok` and error codes: the connection dropped; no ack came in time.
LOST, SILENT = "lost", "silent"
_GONE = ("not_in_room", "room_closed")


def http_client(url: str, address: str, timeout: float = 12) -> httpx.AsyncClient:
    """A client that sends from an address of its own; the certificate is of another name."""
    insecure = ssl.create_default_context()
    insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
    transport = httpx.AsyncHTTPTransport(local_address=address, verify=insecure)
    return httpx.AsyncClient(base_url=url, transport=transport, timeout=timeout, trust_env=False)


class HostsLearner:
    """One learner with one socket."""

    def __init__(self, url: str, address: str, record: Record, over: asyncio.Event) -> None:
        self.url, self.address, self.record, self.over = url, address, record, over
        self.http = http_client(url, address)
        self.id = ""
        self.client: socketio.AsyncClient | None = None
        self.side: CallSide | None = None
        self.session_id = ""
        self._session: aiohttp.ClientSession | None = None
        self._tokens: dict[str, Any] = {}
        self._room = ""
        self._events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        #: Numbers of the partner's signals, by room.
        self._signals: defaultdict[str, list[int]] = defaultdict(list)
        self._last_seq = 0
        self._asked_at = 0.0
        self._must_rejoin = False
        self.is_caller = self.is_quiet = False

    def note(self, what: str, outcome: str, at: float) -> None:
        self.record.tries.append((at, what, outcome))

    # --- Account ----------------------------------------------------------------------------------------------------

    async def register(self) -> HostsLearner:
        answer = await self.http.post("/auth/register", json=credentials(email := new_email()))
        if answer.status_code != 201:
            raise SystemExit(f"a learner of the load cannot register: {answer.text}")
        self.record.registered.append(email)
        self._accept(answer.json())
        self.id = answer.json()["user"]["id"]
        profile = {"username": f"u{uuid.uuid4().hex[:20]}", "displayName": "0", "englishLevel": "beginner"}
        answer = await self.http.patch("/users/me", json=profile)
        if answer.status_code != 200:
            raise SystemExit(f"a learner of the load has no profile: {answer.text}")
        return self

    def _accept(self, tokens: dict[str, Any]) -> None:
        self._tokens = tokens
        self.http.headers["Authorization"] = f"Bearer {tokens['accessToken']}"

    async def refresh(self) -> str:
        """Refresh the tokens; return `ok`, a status or `lost`."""
        try:
            answer = await self.http.post("/auth/refresh", json={"refreshToken": self._tokens["refreshToken"]})
        except httpx.HTTPError:
            return LOST
        if answer.is_success:
            self._accept(answer.json())
            return "ok"
        return str(answer.status_code)

    # --- Connection -------------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self.client is not None and self.client.connected

    @property
    def must_come_back(self) -> bool:
        """Whether the connection was lost, or the server has asked to join again."""
        return not self.is_connected or self._must_rejoin

    @property
    def process(self) -> str:
        """The id of the web process that has the socket."""
        return str(self.client.get_sid()).partition(".")[0] if self.client else ""

    async def connect(self) -> bool:
        """Connect, again and again; return False where the load is over first."""
        while not self.over.is_set():
            began = time.time()
            outcome = await self._dial()
            self.note("connect", outcome, began)
            if outcome == "ok":
                return True
            await asyncio.sleep(0.3 + random.random() * 0.4)
        return False

    async def _dial(self) -> str:
        await self.drop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(local_addr=(self.address, 0), ssl=False, force_close=True)
        )
        client = socketio.AsyncClient(reconnection=False, http_session=self._session, handle_sigint=False)
        client.on("*", self._receive)
        auth = {"token": self._tokens["accessToken"]}
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await client.connect(self.url, auth=auth, transports=["websocket"], wait_timeout=5)
        except socketio.exceptions.ConnectionError as error:
            if "unauthenticated" in str(error):
                await self.refresh()
            return f"refused: {error}"[:60]
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            return type(error).__name__
        self.client = client
        return "ok"

    async def drop(self) -> None:
        """Abandon the connection, if any."""
        client, self.client = self.client, None
        if client is not None:
            with suppress(Exception):
                abort_connection(client)
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await client.disconnect()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def close(self) -> None:
        await self.drop()
        await self.http.aclose()

    async def _receive(self, event: str, payload: Any = None) -> None:
        side = self.side
        if event == "webrtc_ice" and payload.get("candidate"):
            room, _, number = payload["candidate"]["candidate"].partition(" ")
            self._last_seq = max(self._last_seq, payload["seq"])
            # The partner's first signals may come before this side has processed that both are there.
            self._signals[room].append(int(number))
            if side is not None:
                side.last_received_at = time.time()
        elif event == "peer_left" and side is not None:
            self.leave(f"peer_left {payload['reason']}")
        elif event == "resync":
            self._must_rejoin = True
        else:
            await self._events.put((event, payload or {}))

    async def ask(self, event: str, payload: dict[str, Any]) -> str:
        """Send an event; return `ok`, the code of its refusal, LOST, or SILENT: the connection is dropped then."""
        client = self.client
        if client is None or not client.connected:
            return LOST
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def acknowledge(ack: dict[str, Any]) -> None:
            if not answer.done():
                answer.set_result(ack)

        try:
            await client.emit(event, payload, callback=acknowledge)
        except (socketio.exceptions.SocketIOError, OSError):
            return LOST
        deadline = time.monotonic() + ACK_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            await asyncio.wait([answer], timeout=0.1)
            if answer.done():
                ack = answer.result()
                return "ok" if ack["ok"] else str(ack["error"]["code"])
            if not client.connected:
                return LOST
        await self.drop()
        return SILENT

    # --- Calls ------------------------------------------------------------------------------------------------------

    async def meet(self, level: str, topic: str | None, *, is_lasting: bool) -> str:
        """Search for a partner and join; return `ok` when both are in the room, else the reason."""
        while not self._events.empty():
            self._events.get_nowait()
        self._room, self._last_seq, self._must_rejoin, self.is_caller = "", 0, False, False
        began = time.time()
        body = {"level": level, "topic": topic} if topic else {"level": level}
        code = await self.ask("find_partner", body)
        if code != "already_searching":
            self.note("find", code, began)
        if code not in ("ok", "already_searching"):
            return code
        deadline = time.monotonic() + MEET_SECONDS
        partner = ""
        while time.monotonic() < deadline and not self.over.is_set():
            try:
                async with asyncio.timeout(0.5):
                    event, payload = await self._events.get()
            except TimeoutError:
                if self.is_connected:
                    continue
                if not self._room or not await self._is_in_call():
                    return LOST
                return self._enter(partner, is_lasting)
            if event == "match_found":
                self._room, partner = payload["roomId"], payload["partner"]["userId"]
                self.session_id = payload["sessionId"]
                self._asked_at = time.time()
                if (code := await self.ask("join_room", {"roomId": self._room})) not in ("ok", LOST, SILENT):
                    return code
            elif event == "peer_joined" and payload["role"] == "caller":
                self.is_caller = payload["userId"] == self.id
            elif event == "peer_joined":
                return self._enter(partner, is_lasting)
            elif event in ("search_expired", "peer_left"):
                return event
        await self.ask("cancel_search", {})
        return "no partner"

    def _enter(self, partner: str, is_lasting: bool) -> str:
        received = self._signals[self._room]
        self.side = CallSide(
            self._room, self.id, partner, is_lasting, joined_at=time.time(), asked_at=self._asked_at, received=received
        )
        self.side.is_quiet = self.is_quiet
        self.record.sides.append(self.side)
        return "ok"

    async def _is_in_call(self) -> bool:
        """Come back to a room whose events were lost with the connection; return whether both are in it."""
        if not await self.connect() or await self.ask("join_room", {"roomId": self._room, "after": 0}) != "ok":
            return False
        return await self.ask("webrtc_ice", {"roomId": self._room, "candidate": None}) == "ok"

    async def signal(self) -> str:
        """Send the next signal until it is acknowledged; return `ok`, or how the call ended."""
        side = self.side
        if side is None:
            return "ended"
        number = len(side.acked) + 1
        payload = {"roomId": side.room, "candidate": {"candidate": f"{side.room} {number}"}}
        while self.side is side and not self.over.is_set():
            if self.must_come_back and not await self.come_back():
                break
            began = time.time()
            code = await self.ask("webrtc_ice", payload)
            self.note("signal", code, began)
            if code == "ok":
                side.acked.append(number)
                side.last_acked_at = time.time()
                return "ok"
            side.repeated += 1
            if code in _GONE and not await self.come_back():
                break
            await asyncio.sleep(0.2)
        return side.end or "over"

    async def come_back(self) -> bool:
        """Connect where needed and join the room again; return False where the call has ended or the load is over."""
        began, side = time.time(), self.side
        while self.side is side and side is not None and not self.over.is_set():
            if not self.is_connected and not await self.connect():
                return False
            self._must_rejoin = False
            code = await self.ask("join_room", {"roomId": side.room, "after": self._last_seq})
            if code == "ok":
                self.record.returns.append(time.time() - began)
                return True
            if code in _GONE:
                self.leave(f"join_room {code}")
            else:
                await asyncio.sleep(0.3)
        return False

    async def hang_up(self, within: float) -> bool:
        """End the call; return whether this side did, and knows it."""
        side, deadline = self.side, time.monotonic() + within
        while side is not None and self.side is side and time.monotonic() < deadline:
            side.end_sent_at = side.end_sent_at or time.time()
            if not self.is_connected and await self._dial() != "ok":
                await asyncio.sleep(0.3)
                continue
            code = await self.ask("end_call", {"roomId": side.room})
            if code == "ok" or code in _GONE:
                self.leave("ended" if code == "ok" else f"end_call {code}")
                return code == "ok"
            await asyncio.sleep(0.2)
        return False

    def leave(self, end: str) -> None:
        if self.side is not None and not self.side.end:
            self.side.end, self.side.ended_at = end, time.time()
        self.side = None
