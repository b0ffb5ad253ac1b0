"""Learners of a simulated day: `python -m bench.day.learners URL` reads orders, one JSON object a line.

    {"register": N, "course": ID, ...}   make N accounts; they are all who visit from then on
    {"connect": N}                       let them connect N times, and do nothing
    {"stay": S}                          let S seconds pass
    {"hang up": true}                    let those who do nothing go
    {"seconds": S, "visits": R}          let R of them a second open the app, for S seconds; who is there stays on
    {"leave": S}                         let nobody else come, and wait S seconds at most until the last has gone

Each order is answered with a line: what was done and measured meanwhile (`Tally`), and this process's CPU seconds. A
learner is on the real contracts all the time: refreshes or logs in, reads what an app reads, connects, searches, talks,
drops and comes back, hangs up, rates. Nobody waits without an end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import random
import resource
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import uvloop

from bench.sockets.load import Phone, hang_up, sign_in
from testing.accounts import credentials
from testing.servers import address

#: What learners do, as shares of those who could. Nobody has measured ours; a log of the real ones replaces them.
LOGS_IN = 1 / 30  # the others' refresh token still works
SEARCHES_AGAIN = 0.5
OWN_LEVEL, NAMES_TOPIC = 0.4, 0.3
IN_BACKGROUND = 0.1
DROPS, STAYS_AWAY = 0.08, 0.1
RATES, REPORTS, LOOKS_BACK = 0.6, 0.01, 0.3
BUYS = 0.02
HAS_PUSH = 0.3

#: Seconds, a sixtieth of what they stand for: a call of eight minutes, and a search that is given up after five.
CALL_SECONDS, SEARCH_SECONDS = 8.0, 5.0
CANDIDATES, BETWEEN_CANDIDATES = 10, 0.1
#: Seconds that the product waits for a dropped learner, and a little more.
GRACE = 11.0
#: Seconds after which an answer is taken not to come at all.
LOST = 15.0

LEVELS = ("beginner", "intermediate", "advanced")
TOPICS = ("travel", "work", "films", "food", "small talk")
SDP = "v=0\r\n" + "a=rtcp-mux\r\n" * 200


class Over(Exception):
    """A visit that ends here; its message is what is counted."""


@dataclass
class Tally:
    """What happened since the last order was answered."""

    counts: Counter[str] = field(default_factory=Counter)
    #: Level, and seconds from `find_partner` to `match_found`.
    waits: list[tuple[str, float]] = field(default_factory=list)
    #: Milliseconds from one phone to the other.
    relays: list[float] = field(default_factory=list)
    #: Milliseconds of an HTTP request, by what it is for.
    answers: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Learner:
    email: str
    address: str
    level: str
    user_id: str
    refresh_token: str
    access_token: str = ""
    is_here: bool = False
    has_bought: bool = False


class Day:
    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url
        self.port = int(url.rpartition(":")[2])
        self.learners: list[Learner] = []
        self.course = ""
        self.tally = Tally()
        self.here: set[asyncio.Task[None]] = set()
        self.held: list[Phone] = []

    async def ask(self, what: str, method: str, path: str, who: Learner, body: Any = None, *, allowed: int = 0) -> Any:
        """Send a request; answer what it answers, None for a status that is `allowed`."""
        headers = {"X-Forwarded-For": who.address}
        if who.access_token:
            headers["Authorization"] = f"Bearer {who.access_token}"
        began = time.perf_counter()
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            content = await answer.read()
        self.tally.answers.setdefault(what, []).append((time.perf_counter() - began) * 1000)
        if answer.status == allowed:
            return None
        if answer.status >= 400:
            raise Over(f"{what}: {orjson.loads(content)['code']}")
        return orjson.loads(content) if content else None

    async def register(self, count: int) -> None:
        numbers = iter(range(count))

        async def some() -> None:
            for _ in numbers:
                name = f"u{uuid.uuid4().hex[:20]}"
                who = Learner(f"{name}@example.com", address(), random.choice(LEVELS), "", "")
                tokens = await self.ask("register", "POST", "/auth/register", who, credentials(who.email))
                self.signed_in(who, tokens)
                profile = {"username": name, "displayName": name.title(), "englishLevel": who.level}
                await self.ask("profile", "PATCH", "/users/me", who, profile)
                if random.random() < HAS_PUSH:
                    device = {"fcmToken": name, "deviceId": "phone", "platform": "ios"}
                    await self.ask("device", "POST", "/notifications/device", who, device)
                self.learners.append(who)

        await asyncio.gather(*(some() for _ in range(16)))

    def signed_in(self, who: Learner, tokens: dict[str, Any]) -> None:
        who.access_token, who.refresh_token = tokens["accessToken"], tokens["refreshToken"]
        who.user_id = tokens["user"]["id"]

    async def connect(self, count: int) -> None:
        """Connect learners whose access token from when they registered still works."""
        learners = itertools.islice(itertools.cycle(self.learners), count)

        async def some() -> None:
            for who in learners:
                self.held.append(await sign_in(self.port, who.access_token))

        await asyncio.gather(*(some() for _ in range(16)))

    async def let_in(self, seconds: float, visits: float) -> None:
        """Let learners come, at random moments, `visits` a second."""
        now = time.perf_counter()
        until, due = now + seconds, now + random.expovariate(visits)
        while due < until:
            await asyncio.sleep(due - time.perf_counter())
            who = random.choice(self.learners)
            for _ in range(100):
                if not who.is_here:
                    break
                who = random.choice(self.learners)
            if who.is_here:
                self.tally.counts["nobody left to come"] += 1
            else:
                who.is_here = True
                task = asyncio.create_task(self._visit(who))
                self.here.add(task)
                task.add_done_callback(self.here.discard)
            due += random.expovariate(visits)
        await asyncio.sleep(until - time.perf_counter())

    async def _visit(self, who: Learner) -> None:
        self.tally.counts["visits"] += 1
        try:
            await Visit(self, who).run()
        except Over as over:
            self.tally.counts[f"failed: {over}"] += 1
        # uvloop raises RuntimeError on a write to a closed connection.
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            self.tally.counts[f"failed: {type(error).__name__}"] += 1
        finally:
            who.is_here = False

    def report(self) -> str:
        tally, self.tally = self.tally, Tally()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return json.dumps({**vars(tally), "here": len(self.here), "cpu": usage.ru_utime + usage.ru_stime})


class Visit:
    """One learner with the app open."""

    def __init__(self, day: Day, who: Learner) -> None:
        self._day, self._who = day, who
        self._received: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._acks = 0
        self._last_seq = 0
        self._back_at = 0

    @property
    def _counts(self) -> Counter[str]:
        return self._day.tally.counts

    async def run(self) -> None:
        who, ask = self._who, self._day.ask
        if random.random() < LOGS_IN:
            self._day.signed_in(who, await ask("log in", "POST", "/auth/login", who, credentials(who.email)))
        else:
            who.access_token = ""
            body = {"refreshToken": who.refresh_token}
            self._day.signed_in(who, await ask("refresh", "POST", "/auth/refresh", who, body))
        await ask("read own profile", "GET", "/users/me", who)
        await ask("read notifications", "GET", "/notifications?limit=20", who)
        await self._connect()
        try:
            if random.random() < BUYS and not who.has_bought:
                await self._buy()
            while await self._meet() and random.random() < SEARCHES_AGAIN:
                pass
            if random.random() < LOOKS_BACK:
                await ask("read own calls", "GET", "/sessions?limit=20", who)
        finally:
            self._phone.transport.abort()

    async def _connect(self) -> None:
        began = time.perf_counter()
        async with asyncio.timeout(LOST):
            self._phone = await sign_in(self._day.port, self._who.access_token)
        self._day.tally.answers.setdefault("connect", []).append((time.perf_counter() - began) * 1000)
        # A learner who is cut off receives nothing more, and is counted by what is missing.
        self._phone.is_closing = True
        self._phone.on_event = self._on_event

    def _on_event(self, frame: bytes) -> None:
        name, *payload = orjson.loads(frame[2:])
        if name == "webrtc_ice":
            sent_at = int(payload[0]["candidate"]["candidate"].split()[1])
            if sent_at > self._back_at:  # messages kept for an absent learner took as long as the absence
                self._day.tally.relays.append((time.perf_counter_ns() - sent_at) / 1e6)
        if name.startswith("webrtc_"):
            self._last_seq = max(self._last_seq, payload[0]["seq"])
        self._received.put_nowait((name, payload[0] if payload else {}))

    async def _send(self, name: str, payload: dict[str, Any] | None = None) -> str:
        """Send an event; answer `ok` or the code of the refusal."""
        phone: Phone = self._phone
        self._acks += 1
        ack = phone.frame_that_starts(b"43%d[" % self._acks)
        phone.send(f"42{self._acks}{json.dumps([name] if payload is None else [name, payload])}")
        self._counts["events sent"] += 1
        async with asyncio.timeout(LOST):
            answer = orjson.loads((await ack).partition(b"[")[2][:-1])
        return "ok" if answer["ok"] else str(answer["error"]["code"])

    async def _receive(self, wanted: set[str], seconds: float) -> tuple[str, dict[str, Any]]:
        """The next event that is one of these; raise TimeoutError."""
        async with asyncio.timeout(max(0.001, seconds)):
            while True:
                name, payload = await self._received.get()
                if name in wanted:
                    return name, payload

    async def _buy(self) -> None:
        who, day = self._who, self._day
        who.has_bought = True
        order = await day.ask("check out", "POST", f"/courses/{day.course}/enroll", who)
        async with day.http.post(order["url"], data={"action": "pay"}, allow_redirects=False) as page:
            await page.read()
        for _ in range(20):
            await asyncio.sleep(0.5)
            found = await day.ask("read an order", "GET", f"/payments/orders/{order['orderId']}", who)
            if found["status"] == "paid":
                self._counts["bought"] += 1
                return
        raise Over("what was paid is not known after ten seconds")

    async def _meet(self) -> bool:
        """Search, talk and rate; answer whether there was a call."""
        who = self._who
        search: dict[str, str] = {"level": who.level if random.random() < OWN_LEVEL else "all"}
        if random.random() < NAMES_TOPIC:
            search["topic"] = random.choice(TOPICS)
        in_background = random.random() < IN_BACKGROUND
        if in_background:
            await self._send("app_state", {"isBackground": True})
        began = time.perf_counter()
        self._counts["searches"] += 1
        code = await self._send("find_partner", search)
        if code != "ok":
            raise Over(f"find_partner: {code}")
        found = await self._find(search["level"], began)
        if found is None:
            return False
        if in_background:
            await asyncio.sleep(random.uniform(0.2, 1))
            await self._send("app_state", {"isBackground": False})
        if await self._talk(found["roomId"]):
            await self._afterwards(found)
            return True
        return False

    async def _find(self, level: str, began: float) -> dict[str, Any] | None:
        """Wait for a partner until a match, the end of the search, or the learner's patience."""
        try:
            patience = random.expovariate(1 / SEARCH_SECONDS) + 1
            name, found = await self._receive({"match_found", "search_expired"}, patience)
        except TimeoutError:
            code = await self._send("cancel_search")
            self._counts["cancelled" if code == "ok" else f"cancel_search: {code}"] += 1
            return None
        if name == "search_expired":
            self._counts["expired"] += 1
            return None
        self._counts["matched"] += 1
        self._day.tally.waits.append((level, time.perf_counter() - began))
        return found

    async def _talk(self, room_id: str) -> bool:
        room = {"roomId": room_id}
        self._last_seq = 0
        code = await self._send("join_room", room)
        if code != "ok":
            self._counts[f"join_room: {code}"] += 1
            return False
        until = time.perf_counter() + max(1.0, random.expovariate(1 / (2 * CALL_SECONDS)))  # the shorter of two ends it
        drops_at = time.perf_counter() + random.uniform(0.5, CALL_SECONDS) if random.random() < DROPS else math.inf
        role, signalling, is_call = "", None, False
        try:
            while True:
                # Nobody hangs up on a match before the other has come: it has twenty seconds.
                left = (min(until, drops_at) if is_call else time.perf_counter() + 25) - time.perf_counter()
                wanted = {"peer_joined", "webrtc_offer", "peer_left", "partner_cancelled", "peer_reconnecting"}
                try:
                    name, payload = await self._receive(wanted | {"peer_reconnected"}, left)
                except TimeoutError:
                    if not is_call:
                        raise Over("a match of which nothing came") from None
                    if drops_at < until:  # not by the clock: a timer may be a little early
                        drops_at = math.inf
                        if not await self._drop(room):
                            return False
                        until = max(until, time.perf_counter() + 1)  # nobody comes back to hang up
                        continue
                    code = await self._send("end_call", room)
                    # Of two who hang up at the same time one gets an answer that the other was first.
                    self._counts["hung up" if code in ("ok", "room_closed") else f"end_call: {code}"] += 1
                    return True
                match name:
                    case "peer_joined":
                        if payload["userId"] == self._who.user_id:
                            role = payload["role"]
                        if payload["role"] == "receiver":
                            is_call = True
                            if role == "caller":
                                self._counts["calls"] += 1
                                signalling = asyncio.create_task(self._signal(room, "webrtc_offer"))
                    case "webrtc_offer":
                        signalling = asyncio.create_task(self._signal(room, "webrtc_answer"))
                    case "peer_left":
                        self._counts[f"left: {payload['reason']}"] += 1
                        return True
                    case "partner_cancelled":
                        self._counts["partner cancelled"] += 1
                        await self._send("cancel_search")
                        return False
                    case "peer_reconnecting":
                        until = max(until, time.perf_counter() + GRACE)  # one waits for the other to come back
                    case "peer_reconnected":
                        until = time.perf_counter() + random.uniform(0.5, CALL_SECONDS)
        finally:
            if signalling is not None:
                signalling.cancel()

    async def _signal(self, room: dict[str, str], description: str) -> None:
        """Describe this side, then name its candidates one by one."""
        await self._send(description, {**room, "sdp": SDP})
        for _ in range(CANDIDATES):
            await asyncio.sleep(random.uniform(0, 2 * BETWEEN_CANDIDATES))
            found = f"candidate:1 {time.perf_counter_ns()} udp 2122260223 192.0.2.77 54321 typ host generation 0"
            candidate = {"candidate": found, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "EEtu"}
            await self._send("webrtc_ice", {**room, "candidate": candidate})

    async def _drop(self, room: dict[str, str]) -> bool:
        """Lose the network; answer whether the call went on."""
        self._counts["drops"] += 1
        self._phone.transport.abort()
        if random.random() < STAYS_AWAY:
            self._counts["stayed away"] += 1
            await asyncio.sleep(GRACE)  # a learner who opens the app earlier is still in a call
            return False
        await asyncio.sleep(random.uniform(0.3, 3))
        await self._connect()
        self._back_at = time.perf_counter_ns()
        code = await self._send("join_room", {**room, "after": self._last_seq})
        self._counts["resumed" if code == "ok" else f"not resumed: {code}"] += 1
        return code == "ok"

    async def _afterwards(self, found: dict[str, Any]) -> None:
        who, ask = self._who, self._day.ask
        await asyncio.sleep(random.uniform(0.3, 1))
        if random.random() < RATES:
            stars = {"stars": random.randint(3, 5)}
            await ask("rate", "POST", f"/sessions/{found['sessionId']}/rate", who, stars)
            self._counts["rated"] += 1
        if random.random() < REPORTS:
            report = {"reportedId": found["partner"]["userId"], "sessionId": found["sessionId"], "reason": "spam"}
            await ask("report", "POST", "/reports", who, report)
            self._counts["reported"] += 1


async def main(url: str) -> None:
    limit = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=limit, timeout=aiohttp.ClientTimeout(LOST)) as http:
        day = Day(http, url)
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            if "register" in order:
                day.course = order["course"]
                await day.register(order["register"])
            elif "connect" in order:
                await day.connect(order["connect"])
            elif "stay" in order:
                await asyncio.sleep(order["stay"])
            elif "hang up" in order:
                await hang_up(day.held)
            elif "visits" in order:
                await day.let_in(order["seconds"], order["visits"])
            elif day.here:
                await asyncio.wait(day.here, timeout=order["leave"])
            print(day.report(), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    random.seed(int(os.environ.get("DAY_SEED", "1")))
    uvloop.run(main(sys.argv[1]))
