"""The load on several hosts: `python -m faults.hosts.load CONFIGURATION`, until a line comes on standard input.

Pairs of learners stay in a call and send numbered signals both ways; others call one after another; accounts are
registered, read, changed, refreshed, banned and logged out. All go through the load balancer, each from an address of
its own. In the end all hang up, and the record is written to the file that the configuration names.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from faults.hosts.clients import LOST, HostsLearner, http_client
from faults.hosts.records import Record, Revocation
from testing.accounts import bearer, credentials, new_email

#: Calls that last, and those of them whose learners signal seldom: a connection that is not used is not missed by its
#: client, as in most of a real call. Learners who call one after another; accounts to ban and to log out.
LASTING, QUIET, CALLERS, REVOKED = 4, 2, 6, 16
SIGNAL_SECONDS, QUIET_SECONDS, PROBE_SECONDS, REVOKE_SECONDS = 0.4, 20.0, 0.5, 4.0
#: Requests of a probe that may wait at once: each is sent at its time, also while others wait.
PROBES_AT_ONCE = 40
#: Seconds of the end: for signals on their way, and to hang up.
DRAIN_SECONDS, HANG_UP_SECONDS = 4.0, 25.0


@dataclass
class Configuration:
    url: str
    #: Address of each app host, for what is asked of each.
    hosts: dict[str, str]
    addresses: list[str]
    admin: str
    password: str
    output: str


class HostsLoad:
    def __init__(self, configuration: Configuration) -> None:
        self.configuration, self.record, self.over = configuration, Record(), asyncio.Event()
        self._addresses: Iterator[str] = itertools.cycle(configuration.addresses)
        self._tasks: set[asyncio.Task[None]] = set()

    def learner(self) -> HostsLearner:
        return HostsLearner(self.configuration.url, next(self._addresses), self.record, self.over)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run until the load is over; a failure of the load itself is recorded."""

        async def guard() -> None:
            try:
                await work
            except Exception as error:  # an error of any kind spoils the record, and is reported with it
                self.record.failures.append(f"{getattr(work, '__qualname__', work)}: {error!r}")

        task = asyncio.create_task(guard())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- Calls ------------------------------------------------------------------------------------------------------

    async def lasts(self, learner: HostsLearner, topic: str, every: float) -> None:
        """One side of a call that goes on until the load ends; where it is ended, another begins."""
        signaled_at, learner.is_quiet = 0.0, every > SIGNAL_SECONDS
        while not self.over.is_set():
            if not learner.is_connected and learner.side is None and not await learner.connect():
                return
            if learner.side is None and await learner.meet("advanced", topic, is_lasting=True) != "ok":
                await asyncio.sleep(0.5)
                continue
            if learner.must_come_back:
                await learner.come_back()
            elif time.monotonic() >= signaled_at + every:
                signaled_at = time.monotonic()
                await learner.signal()
            await asyncio.sleep(SIGNAL_SECONDS)

    async def calls(self, learner: HostsLearner) -> None:
        """Call, exchange three signals, hang up, rate the call; again and again."""
        while not self.over.is_set():
            if not learner.is_connected and not await learner.connect():
                return
            began = time.time()
            outcome = await learner.meet("beginner", None, is_lasting=False)
            side = learner.side
            if outcome == "ok" and side is not None:
                for _ in range(3):
                    if (outcome := await learner.signal()) != "ok":
                        break
                if outcome == "ok":
                    outcome = await self._ends(learner)
                learner.note("call", outcome, began)
                if outcome == "ok":
                    await self._rates(learner)
            await asyncio.sleep(0.3 if outcome == "ok" else 0.7)

    async def _ends(self, learner: HostsLearner) -> str:
        """Hang up as the caller, or wait until the caller does."""
        side = learner.side
        if side is None:
            return "ok"  # the caller was faster
        if learner.is_caller:
            if await learner.hang_up(within=30):
                self.record.calls.append((side.room, side.user, side.partner))
                return "ok"
            return side.end or "not ended"
        deadline = time.monotonic() + 20
        while learner.side is side and time.monotonic() < deadline and not self.over.is_set():
            if not learner.is_connected and not await learner.come_back():
                break
            await asyncio.sleep(0.05)
        if learner.side is side:
            await learner.hang_up(within=10)
        return "ok" if side.end == "peer_left ended" else side.end or "not ended"

    async def _rates(self, learner: HostsLearner) -> None:
        began, path = time.time(), f"/sessions/{learner.session_id}/rate"
        session = learner.session_id
        with suppress(httpx.HTTPError):
            answer = await learner.http.post(path, json={"stars": 5})
            learner.note("rate", "ok" if answer.is_success else str(answer.status_code), began)
            if answer.is_success:
                self.record.ratings.append((session, learner.id))

    # --- Requests ---------------------------------------------------------------------------------------------------

    async def probe(self, what: str, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        """Send a request at each of its times, however long the earlier ones take."""
        waiting: set[asyncio.Task[None]] = set()

        async def once() -> None:
            began = time.time()
            try:
                answer = await ask()
                outcome = "ok" if answer.is_success else str(answer.status_code)
                if answer.status_code >= 500 and "Retry-After" not in answer.headers:
                    outcome += " without Retry-After"
            except httpx.HTTPError as error:
                outcome = f"{LOST} {type(error).__name__}"
            self.record.tries.append((began, what, outcome))

        while not self.over.is_set():
            if len(waiting) < PROBES_AT_ONCE:
                task = asyncio.create_task(once())
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            await asyncio.sleep(PROBE_SECONDS)
        if waiting:
            await asyncio.wait(waiting, timeout=15)

    async def register_one(self) -> httpx.Response:
        """Register an account: a row, and a job that sends a mail."""
        email = new_email()
        async with http_client(self.configuration.url, next(self._addresses)) as http:
            answer = await http.post("/auth/register", json=credentials(email))
        if answer.is_success:
            self.record.registered.append(email)
            self.record.registered_at[email] = time.time()
        return answer

    async def writes(self, learner: HostsLearner) -> None:
        """Change a profile, one number after another."""
        for number in itertools.count(1):
            if self.over.is_set():
                return
            began = time.time()
            try:
                answer = await learner.http.patch("/users/me", json={"displayName": str(number)})
                learner.note("profile", "ok" if answer.is_success else str(answer.status_code), began)
                if answer.is_success:
                    self.record.written[learner.id] = number
                else:
                    self.record.unanswered.setdefault(learner.id, []).append(number)
            except httpx.HTTPError:
                learner.note("profile", LOST, began)
                self.record.unanswered.setdefault(learner.id, []).append(number)
            await asyncio.sleep(0.2)

    async def refreshes(self, learner: HostsLearner) -> None:
        """Keep a login; after a lost answer the same token is sent again."""
        asked = time.time()
        while not self.over.is_set():
            outcome = await learner.refresh()
            learner.note("refresh", outcome, time.time())
            if outcome == "401":
                # A used token that is sent a minute later revokes its login.
                if time.time() - asked < 10:
                    self.record.signed_out.append(learner.id)
                return
            if outcome == "ok":
                asked = time.time()
            await asyncio.sleep(0.8)

    # --- Bans and logouts -------------------------------------------------------------------------------------------

    async def revokes(self, learners: list[HostsLearner]) -> None:
        async with http_client(self.configuration.url, next(self._addresses)) as operator:
            body = credentials(self.configuration.admin, password=self.configuration.password, device="desk")
            answer = await operator.post("/auth/login", json=body)
            operator.headers.update(bearer(answer.json()["accessToken"]))
            for number, learner in enumerate(learners):
                if self.over.is_set():
                    return
                kind = "ban" if number % 2 == 0 else "logout"
                while not self.over.is_set():
                    try:
                        answer = await self._revoke(kind, operator, learner)
                    except httpx.HTTPError:
                        pass
                    else:
                        # A logout whose answer was lost revoked its own token.
                        if answer.is_success or (kind == "logout" and answer.status_code == 401):
                            break
                    await asyncio.sleep(0.3)
                else:
                    return
                revocation = Revocation(kind, time.time())
                self.record.revocations.append(revocation)
                for host, url in self.configuration.hosts.items():
                    self.begin(self._watch(revocation, host, url, learner))
                await asyncio.sleep(REVOKE_SECONDS)

    @staticmethod
    async def _revoke(kind: str, operator: httpx.AsyncClient, learner: HostsLearner) -> httpx.Response:
        if kind == "ban":
            return await operator.patch(f"/admin/users/{learner.id}/ban", json={"reason": "a fault test"})
        return await learner.http.post("/auth/logout-all")

    async def _watch(self, revocation: Revocation, host: str, url: str, learner: HostsLearner) -> None:
        """Ask one host until it refuses the token."""
        headers = {"Authorization": learner.http.headers["Authorization"]}
        async with http_client(url, learner.address, timeout=3) as http:
            while not self.over.is_set():
                with suppress(httpx.HTTPError):
                    answer = await http.get("/users/me", headers=headers)
                    if answer.status_code in (401, 403):
                        revocation.refused[host] = time.time()
                        return
                await asyncio.sleep(0.2)

    # --- All together -----------------------------------------------------------------------------------------------

    async def _connect_pairs(self, learners: list[HostsLearner]) -> None:
        """Connect all, the two of each pair to different web processes."""
        await asyncio.gather(*(each.connect() for each in learners))
        for one, other in zip(learners[: 2 * LASTING : 2], learners[1 : 2 * LASTING : 2], strict=True):
            for _ in range(10):
                if one.process != other.process:
                    break
                await other.connect()

    async def run(self) -> Record:
        learners = [self.learner() for _ in range(2 * LASTING + CALLERS + REVOKED + 3)]
        for first in range(0, len(learners), 6):
            await asyncio.gather(*(each.register() for each in learners[first : first + 6]))
        lasting, callers = learners[: 2 * LASTING], learners[2 * LASTING : 2 * LASTING + CALLERS]
        reader, writer, keeper = learners[-3:]
        await self._connect_pairs(learners[: 2 * LASTING + CALLERS])
        for number in range(LASTING):
            pair = lasting[2 * number : 2 * number + 2]
            for each in pair:
                every = QUIET_SECONDS if number < QUIET else SIGNAL_SECONDS
                self.begin(self.lasts(each, f"Topic {number}", every))
            # One pair after another, so that these two meet.
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not all(each.side for each in pair):
                await asyncio.sleep(0.05)
        for each in callers:
            self.begin(self.calls(each))
        self.begin(self.probe("write", self.register_one))
        self.begin(self.probe("read", lambda: reader.http.get("/users/me")))
        self.begin(self.writes(writer))
        self.begin(self.refreshes(keeper))
        self.begin(self.revokes(learners[2 * LASTING + CALLERS : -3]))
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return await self._end(learners)

    async def _end(self, learners: list[HostsLearner]) -> Record:
        self.record.stopped_at = time.time()
        for each in learners:
            if each.side is not None:
                each.side.is_connected = each.is_connected
        self.over.set()
        await asyncio.sleep(DRAIN_SECONDS)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=30)
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*(each.hang_up(HANG_UP_SECONDS) for each in learners[::2]))
        await asyncio.gather(*(each.hang_up(HANG_UP_SECONDS) for each in learners[1::2]))
        for each in learners:
            with suppress(Exception):
                await each.close()
        return self.record


async def main(path: str) -> None:
    configuration = Configuration(**json.loads(Path(path).read_text()))
    record = await HostsLoad(configuration).run()
    Path(configuration.output).write_text(json.dumps(asdict(record)))
    print("ended", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
