"""The load: `python -m faults.load URL STAND_INS COURSE ADMIN_EMAIL`, until a line comes on standard input.

Learners talk, invite partners, rate, report, buy, refresh their tokens and change their picture; new users register; an
operator refunds and uploads videos. Requests that fail are tried again, as a good client does. In the end all hang up,
and their claims are printed as JSON (`Claims`): the checker holds the stores to them.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
import socketio.exceptions

from faults.invitations import PAIRS, Inviters, befriend
from testing.accounts import bearer, credentials, new_email
from testing.calls import call
from testing.client_internals import abort_connection, get_transport
from testing.deployment import ReconnectingClient
from testing.learners import FaultRound, Lost, Participant, Rooms
from testing.pictures import picture, upload
from testing.servers import PASSWORD, Learner, address, register
from testing.videos import clip

#: Learners who refresh, and pictures: as many as limits allow in a minute.
TALKERS, BUYERS, KEEPERS, PICTURES = 16, 3, 3, 4
#: Seconds in which calls that are under way come to their end.
LAST_CALLS = 45


@dataclass
class Claims:
    """What clients were answered, and when their requests worked.

    `tries` are (seconds since the epoch, what, outcome): `ok`, a status, a code, or `lost` where no answer came.
    """

    registered: list[str] = field(default_factory=list)
    #: (room, one user, the other user) of calls that both brought to their end.
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    #: (session, who rated).
    ratings: list[tuple[str, str]] = field(default_factory=list)
    #: (order, provider's page) that were paid for.
    paid: list[tuple[str, str]] = field(default_factory=list)
    #: (order, amount) of refunds that were promised.
    refunds: list[tuple[str, int]] = field(default_factory=list)
    #: Device of each buyer.
    devices: dict[str, str] = field(default_factory=dict)
    #: The last picture address each was given.
    pictures: dict[str, str] = field(default_factory=dict)
    #: (who reported, whom).
    reports: list[tuple[str, str]] = field(default_factory=list)
    #: Lessons whose video was taken.
    videos: list[str] = field(default_factory=list)
    #: (invitation, what was acknowledged: `sent`, `accepted`, `declined` or `cancelled`).
    invitations: list[tuple[str, str]] = field(default_factory=list)
    signed_out: list[str] = field(default_factory=list)
    health: list[tuple[float, float]] = field(default_factory=list)
    tries: list[tuple[float, str, str]] = field(default_factory=list)


class Road:
    """A way to a server on which nothing moves while it is cut, though no connection ends; it may lead elsewhere."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_open = asyncio.Event()
        self.is_open.set()
        self._travellers: set[asyncio.StreamWriter] = set()

    def leads_to(self, url: str) -> None:
        """Lead to another server from now on; connections break, as they do where a balancer moves them."""
        self.url = url
        for each in self._travellers:
            each.transport.abort()

    async def begin(self) -> str:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def end(self) -> None:
        for each in self._travellers:
            each.transport.abort()
        await asyncio.sleep(0.1)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._travellers.add(writer)
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._travellers.discard(writer)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.is_open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


class Load:
    def __init__(self, url: str, stand_ins: str, course: str, admin: str) -> None:
        self.url, self._stand_ins, self._course, self._admin = url, stand_ins, course, admin
        self._road = Road(url)
        self.claims = Claims()
        self.is_over = False
        self._random = random.Random(7)
        self._story = FaultRound(self._random, Rooms())
        self._callers: dict[str, Participant] = {}
        #: The last partner of each caller.
        self._partners: dict[str, str] = {}

    def note(self, what: str, outcome: str) -> None:
        self.claims.tries.append((time.time(), what, outcome))

    async def ask(self, what: str, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Ask until the answer is no server error; None where the load is over first.

        Of two servers either is used, and the other one if it refuses the token.
        """
        while True:
            url = self._random.choice((self.url, self._road.url))
            are_two = url != self.url or self._road.url != self.url
            try:
                async with httpx.AsyncClient(base_url=url, timeout=15, trust_env=False) as http:
                    answer = await http.request(method, path, **options)
            except httpx.HTTPError:
                self.note(what, "lost")
            else:
                is_refused = answer.status_code == 401 and are_two and what != "refresh"
                if answer.status_code < 500 and answer.status_code != 429 and not is_refused:
                    self.note(what, "ok" if answer.is_success else str(answer.status_code))
                    return answer
                missing = "" if "Retry-After" in answer.headers else " without Retry-After"
                self.note(what, f"{answer.status_code}{missing}")
            if self.is_over:
                return None
            await asyncio.sleep(0.25)

    # --- Who does what ----------------------------------------------------------------------------------

    async def talks(self, client: ReconnectingClient) -> None:
        while not self.is_over:
            caller = Participant(client, self._story)
            self._callers[client.learner.id] = caller
            began = time.time()
            try:
                await caller.play()
            except (AssertionError, Lost, socketio.exceptions.SocketIOError, OSError):
                self.note("call", "lost")
                with suppress(Exception):
                    abort_connection(client.phone.client)
                continue
            self.note("call", "ok" if caller.outcome == "completed" else "ended early")
            if caller.outcome != "completed":
                continue
            if caller.is_caller:
                self.claims.calls.append((caller.room, client.learner.id, caller.partner))
                self._partners[client.learner.id] = caller.partner
            if time.time() - began < 120 and not self.is_over:
                await self._rates(client, caller.room)

    async def _rates(self, client: ReconnectingClient, room: str) -> None:
        found = [p for phone in client.phones for n, p in phone.received if n == "match_found" and p["roomId"] == room]
        if not found:
            return
        session = found[-1]["sessionId"]
        path, headers = f"/sessions/{session}/rate", bearer(client.learner.access_token)
        while not self.is_over:
            answer = await self.ask("rate", "POST", path, json={"stars": 5}, headers=headers)
            if answer is not None and answer.json().get("code") == "call_not_ended":
                await asyncio.sleep(0.1)  # the partner hangs up
                continue
            if answer is not None and (answer.is_success or answer.json()["code"] == "already_rated"):
                self.claims.ratings.append((session, client.learner.id))
            return

    async def registers(self) -> None:
        while not self.is_over:
            email = new_email()
            headers = {"X-Forwarded-For": address()}
            answer = await self.ask("register", "POST", "/auth/register", json=credentials(email), headers=headers)
            # Tried again after a lost answer, it is there.
            if answer is not None and (answer.is_success or answer.json()["code"] == "email_taken"):
                self.claims.registered.append(email)
            await asyncio.sleep(0.1)

    async def stays_signed_in(self) -> None:
        """Refresh one login again and again; after a lost response, repeat with the same token."""
        headers = {"X-Forwarded-For": address()}
        answer = await self.ask("register", "POST", "/auth/register", json=credentials(new_email()), headers=headers)
        while answer is not None:
            token = answer.json()["refreshToken"]
            await asyncio.sleep(0.8)
            asked = time.time()
            answer = await self.ask("refresh", "POST", "/auth/refresh", json={"refreshToken": token})
            if answer is not None and not answer.is_success:
                # Beyond ten seconds a spent token is a stolen one (RULES: the direct parent within 10 s).
                if time.time() - asked < 10:
                    self.claims.signed_out.append(answer.text)
                return
            if self.is_over:
                return

    async def buys(self) -> None:
        while not self.is_over:
            headers = {"X-Forwarded-For": address()}
            account = await self.ask(
                "register", "POST", "/auth/register", json=credentials(new_email()), headers=headers
            )
            if account is None:
                return
            user, headers = account.json()["user"]["id"], bearer(account.json()["accessToken"])
            device = {"fcmToken": f"device-{user}", "deviceId": "phone", "platform": "ios"}
            registered = await self.ask("device", "POST", "/notifications/device", json=device, headers=headers)
            order = await self.ask("order", "POST", f"/courses/{self._course}/enroll", headers=headers)
            if registered is None or order is None or not (registered.is_success and order.is_success):
                continue
            self.claims.devices[user] = device["fcmToken"]
            with suppress(httpx.HTTPError):
                async with httpx.AsyncClient(timeout=10, trust_env=False) as browser:
                    page = await browser.post(order.json()["url"], data={"action": "pay"})
                if page.status_code < 400:
                    self.claims.paid.append((order.json()["orderId"], order.json()["url"]))
            await asyncio.sleep(0.2)

    async def reports(self, learners: list[Learner]) -> None:
        """Report a partner every few seconds: those two never meet again, and sixteen make 120 pairs."""
        tokens = {learner.id: learner.access_token for learner in learners}
        reported: set[frozenset[str]] = set()
        while not self.is_over:
            await asyncio.sleep(4)
            fresh = [pair for pair in self._partners.items() if frozenset(pair) not in reported]
            if not fresh:
                continue
            who, whom = self._random.choice(fresh)
            reported.add(frozenset((who, whom)))
            body = {"reportedId": whom, "reason": "spam"}
            answer = await self.ask("report", "POST", "/reports", json=body, headers=bearer(tokens[who]))
            # Tried again after a lost answer, it is there.
            if answer is not None and (answer.is_success or answer.json()["code"] == "already_reported"):
                self.claims.reports.append((who, whom))

    async def _signs_in_as_operator(self) -> dict[str, str] | None:
        body = credentials(self._admin, password=PASSWORD, device=f"desk-{uuid.uuid4().hex}")
        signed = await self.ask("login", "POST", "/auth/login", json=body, headers={"X-Forwarded-For": address()})
        return None if signed is None else bearer(signed.json()["accessToken"])

    async def teaches(self) -> None:
        """Upload a lesson's video every few seconds."""
        headers, video = await self._signs_in_as_operator(), await asyncio.to_thread(clip, 2, "320x180")
        while headers is not None and not self.is_over:
            path = f"/courses/{self._course}/lessons"
            lesson = await self.ask("lesson", "POST", path, json={"title": "Where we begin"}, headers=headers)
            if lesson is None:
                return
            path, kind = f"/lessons/{lesson.json()['id']}/video", {"Content-Type": "video/mp4"}
            answer = await self.ask("video", "PUT", path, content=video, headers={**headers, **kind})
            if answer is not None and answer.is_success:
                self.claims.videos.append(lesson.json()["id"])
            await asyncio.sleep(4)

    async def refunds(self) -> None:
        operator = await self._signs_in_as_operator()
        refunded: set[str] = set()
        while operator is not None and not self.is_over:
            await asyncio.sleep(1)
            open_orders = [order for order, _ in self.claims.paid if order not in refunded]
            if not open_orders:
                continue
            order = self._random.choice(open_orders)
            headers = {**operator, "Idempotency-Key": uuid.uuid4().hex}
            amount = self._random.choice([100, 49900])
            answer = await self.ask(
                "refund", "POST", f"/admin/orders/{order}/refund", json={"amount": amount}, headers=headers
            )
            if answer is not None and answer.is_success:
                refunded.add(order)
                self.claims.refunds.append((order, amount))

    async def changes_picture(self, learner: Learner) -> None:
        while not self.is_over:
            headers = bearer(learner.access_token)
            answer = await self.ask("picture", "POST", "/users/me/avatar", **upload(picture()), headers=headers)
            if answer is not None and answer.is_success:
                self.claims.pictures[learner.id] = answer.json()["avatarUrl"]
            await asyncio.sleep(3)

    async def reads_nothing(self) -> None:
        """Call a learner who sends large offers, and read none: the server has to cut this side off."""
        clients = []
        for _ in range(2):
            http = httpx.AsyncClient(base_url=self.url, headers={"X-Forwarded-For": address()}, timeout=15)
            clients.append(ReconnectingClient(await register(http), lambda: [self.url]))
            await clients[-1].connect()
        sender, reader = (client.phone for client in clients)
        while True:
            try:
                room = await call(sender, reader)
                break
            except AssertionError:  # one of the others was met; they go back to the head of the queue
                for phone in (sender, reader):
                    await phone.send("cancel_search")
        get_transport(reader.client).pause_reading()
        until = time.time() + 15
        with suppress(socketio.exceptions.SocketIOError):
            while time.time() < until and "peer_reconnecting" not in [name for name, _ in sender.received]:
                await sender.client.emit("webrtc_offer", {**room, "sdp": "v=0" + " " * 30_000})
                await asyncio.sleep(0.035)
        self.note("slow reader", "ok" if "peer_reconnecting" in [name for name, _ in sender.received] else "kept")
        with suppress(socketio.exceptions.SocketIOError, TimeoutError):
            await sender.send("end_call", room)
        for client in clients:
            abort_connection(client.phone.client)

    async def watches(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=15, trust_env=False) as http:
            while not self.is_over:
                began = time.time()
                with suppress(httpx.HTTPError):
                    await http.get("/health")
                # What was not answered took as long as one waited for it.
                self.claims.health.append((began, time.time() - began))
                await asyncio.sleep(0.05)

    async def _connect(self, ways: list[str], number: int) -> ReconnectingClient:
        """Register and connect a learner of one of the ways."""
        http = httpx.AsyncClient(base_url=self.url, headers={"X-Forwarded-For": address()}, timeout=15)
        client = ReconnectingClient(await register(http), functools.partial(list, ways[number % 2 : number % 2 + 1]))
        await client.connect(within=60)
        return client

    def _claim(self, invitation: str, state: str) -> None:
        self.claims.invitations.append((invitation, state))

    # --- All together -----------------------------------------------------------------------------------

    async def run(self) -> Claims:
        clients = []
        road = self._road
        ways = [self.url, await road.begin()]
        for number in range(TALKERS):
            clients.append(await self._connect(ways, number))
        inviters = [await self._connect(ways, number) for number in range(2 * PAIRS)]
        pairs = list(zip(inviters[::2], inviters[1::2], strict=True))
        for pair in pairs:
            await befriend(*pair)
        acts: list[Callable[[], Awaitable[None]]] = [self.registers, *[self.stays_signed_in] * KEEPERS]
        acts += [*[self.buys] * BUYERS, self.refunds, self.teaches, self.watches]
        tasks = [asyncio.create_task(_await_result(act)) for act in acts]
        tasks += [asyncio.create_task(self.changes_picture(client.learner)) for client in clients[:PICTURES]]
        tasks += [asyncio.create_task(self.reports([client.learner for client in clients]))]
        inviting = [
            asyncio.create_task(Inviters(*pair, self.note, self._claim, seed).play(lambda: self.is_over))
            for seed, pair in enumerate(pairs)
        ]
        talking = {client.learner.id: asyncio.create_task(self.talks(client)) for client in clients}
        print("begun", flush=True)
        while (line := await asyncio.to_thread(sys.stdin.readline)) not in ("end\n", ""):
            if line == "slow\n":
                tasks += [asyncio.create_task(self.reads_nothing()) for _ in range(5)]
            elif line.startswith("to "):
                road.leads_to(line.split()[1])
            else:
                (road.is_open.clear if line == "cut\n" else road.is_open.set)()
        self.is_over = True
        deadline = time.monotonic() + LAST_CALLS
        while not all(task.done() for task in talking.values()) and time.monotonic() < deadline:
            for user, task in talking.items():
                if not self._callers[user].room:
                    task.cancel()  # who waits for a partner will find none
            await asyncio.sleep(0.1)
        for task in talking.values():
            task.cancel()
        await asyncio.wait([*tasks, *inviting, *talking.values()], timeout=30)
        for client in (*clients, *inviters):
            await client.close()
        await road.end()
        for task in (*tasks, *inviting):
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self.claims


async def _await_result(act: Callable[[], Awaitable[None]]) -> None:
    await act()


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(Load(*sys.argv[1:]).run()))), flush=True)
