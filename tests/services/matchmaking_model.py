"""Model of matchmaking: users on workers that die or are suspended, a Redis that loses data, and what must hold.

The services and their scripts are real, over a real Valkey; what PostgreSQL would answer comes from the model, which
knows who exists, who must not meet whom and which calls are open.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import orjson

import errors
from adapters.redis_pipeline import RedisPipeline
from models import AgeBand, CallSession
from services.calls.outcomes import (
    Match,
    Partner,
    PartnerCancelled,
    PeerLeft,
    SearchExpired,
    Searching,
    SearchRefused,
    SocketReplaced,
)
from services.calls.pools import ANYONE, PARTNERS, Pool, name_queue, read_among
from services.calls.room_reader import LEVELS
from services.calls.room_state import Paired, Queued, QueueEntry
from services.calls.rooms import Rooms
from services.calls.seekers import Seeker, Wishes, build_entry
from services.safety.gates import Gates, Standing
from settings import Settings
from testing.redis_copies import RedisCopy
from tests.services.model_fit import WEIGHTS, Expectation, Newcomer, WaitingSearch, choose_features
from tests.services.model_processes import Rows, Worker

USERS, WORKERS = 48, 3
TOPICS = ("", "", "food", "travel")
AMONG = (*[ANYONE] * 8, PARTNERS, "course:52a0e5f6-3c5b-4c53-8f5e-6f0f4bb1f3c7")
#: What never happens: `check_match` fails instead.
NEVER = ("matches across bands", "matches of refused learners", "matches across pools", "strict searches widened")
#: Of those that may search; a few users are of none, or too young.
BANDS = (AgeBand.FROM_13, AgeBand.FROM_16, AgeBand.ADULT)
ALL_BANDS = (*BANDS * 6, AgeBand.UNDER_13, None)
VERSIONS = {"terms": "2", "rules": "1"}
#: Keys that expire within this time are removed: one that expired between a look and a find would change its result.
ALMOST_OVER_MS = 1000


@dataclass
class Held:
    """What Redis holds."""

    searching: dict[str, WaitingSearch] = field(default_factory=dict)
    in_room: dict[str, str] = field(default_factory=dict)
    rooms: dict[str, dict[str, str]] = field(default_factory=dict)


class WatchedRooms(Rooms):
    """Rooms that note what the two searches of each pair asked for, as their entries have it."""

    def __init__(self, pipeline: RedisPipeline, wishes: dict[str, tuple[bool, str]], **settings: Any) -> None:
        super().__init__(pipeline, **settings)
        self._wishes = wishes

    async def find_partner(self, entry: QueueEntry, *arguments: Any, **options: Any) -> Queued | Paired:
        found = await super().find_partner(entry, *arguments, **options)
        if isinstance(found, Paired):
            for each in (entry, found.partner_entry):
                wishes = Wishes.of_entry(each)
                self._wishes[each["userId"]] = wishes.is_strict, wishes.among
        return found


class Model:
    """Users with up to two sockets each, on workers that share one Redis; `random` chooses what happens."""

    def __init__(self, scripts: RedisPipeline, seed: int, port: int) -> None:
        """`port` is that of the Redis of `scripts`."""
        self.seed = seed
        self.random = random.Random(seed)
        self.scripts = scripts
        self.port = port
        # Nothing is due by the clock of a slow machine: `time_passes` decides.
        hour = timedelta(hours=1)
        #: The wishes of both searches of the last pair of each user.
        self.wishes: dict[str, tuple[bool, str]] = {}
        self.rooms = WatchedRooms(
            scripts, self.wishes, search=hour, join=hour, grace=hour, process_loss_grace=hour, weights=WEIGHTS
        )
        self.gates = Gates(
            Settings(age_gate="on", terms_gate="on", email_gate="on", minimum_age=13, minor_pools="on"), VERSIONS
        )
        self.rows = Rows(self)
        self.workers: dict[str, Worker] = {}
        #: Those that Redis knows of.
        self.known: set[str] = set()
        self.unnoticed: list[str] = []
        #: Workers that do nothing for a while, and are declared dead meanwhile.
        self.suspended: set[str] = set()
        #: The last copy of Redis's data; and whether Redis has lost data that not all workers have restored yet.
        self.copy: RedisCopy | None = None
        self.is_data_lost = False
        self.users = [str(uuid.UUID(int=self.random.getrandbits(128), version=4)) for _ in range(USERS)]
        self.enemies: dict[str, set[str]] = {user: set() for user in self.users}
        for _ in range(USERS * 2):
            one, other = self.random.sample(self.users, 2)
            self.enemies[one].add(other)
            self.enemies[other].add(one)
        self.standings = {user: self.a_standing() for user in self.users}
        #: What each brings into a search, who are partners, and whom each has met last.
        self.features = {user: choose_features(self.random) for user in self.users}
        self.partners: dict[str, set[str]] = {user: set() for user in self.users}
        for _ in range(USERS * 2):
            one, other = self.random.sample(self.users, 2)
            self.partners[one].add(other)
            self.partners[other].add(one)
        self.last_met: dict[str, deque[str]] = {user: deque(maxlen=3) for user in self.users}
        #: The clock of rounds over waiting searches (s).
        self.clock = 0.0
        #: Users of whom a job is still to check what they do; as in PostgreSQL, nothing loses it.
        self.jobs: list[str] = []
        #: Searches that their web process is still to check or to resume.
        self.pending_checks: list[Callable[[], Awaitable[None]]] = []
        #: Changes a user between the choice of a partner and the row of the call.
        self.change_before_row: Callable[[str, str], None] | None = None
        #: The sockets there are, and whose they are.
        self.sockets: dict[str, str] = {}
        #: What each socket believes: searching, or the room of its match.
        self.belief: dict[str, str] = {}
        #: The rooms in the order of their matches.
        self.room_numbers: dict[str, int] = {}
        self.counts: Counter[str] = Counter(dict.fromkeys(NEVER, 0))
        self.numbers = 0
        #: What the last expectation was made of.
        self.explanation = ""
        #: Whether the find that runs met a change of `change_before_row`.
        self.is_changed = False

    async def begin(self) -> None:
        await self.scripts.execute("FLUSHALL")
        for _ in range(WORKERS):
            await self.start_worker()

    async def start_worker(self) -> None:
        self.numbers += 1
        worker = Worker(self, f"worker{self.numbers}")
        self.workers[worker.id] = worker
        await self.introduce(worker)

    async def introduce(self, worker: Worker) -> None:
        """Let Redis know of a worker, as its heartbeat does."""
        await self.scripts.execute("SET", f"worker:{{match}}:{worker.id}", "1")
        self.known.add(worker.id)

    def find_process(self, socket: str) -> Worker:
        return self.workers[socket.partition(".")[0]]

    def any_worker(self) -> Worker:
        return self.workers[self.random.choice(sorted(self.workers.keys() - self.suspended))]

    # --- Outcomes ----------------------------------------------------------------------------------------

    def apply(self, outcome: object) -> None:
        match outcome:
            case Match() as found:
                self.check_match(found)
                self.room_numbers[found.room_id] = len(self.room_numbers) + 1
                for side in (found.waiting, found.seeker):
                    if self.is_reachable(side.socket_id):
                        self.belief[side.socket_id] = found.room_id
            case Searching(socket, median, p90, _):
                assert 0 < median <= p90 <= 3600
                if self.is_reachable(socket):
                    self.belief[socket] = "searching"
            case SearchRefused(socket, _):
                if self.is_reachable(socket):
                    self.belief.pop(socket, None)
            case SearchExpired(socket) | PeerLeft(socket, _) | SocketReplaced(socket):
                if self.is_reachable(socket):
                    self.belief.pop(socket, None)
            case PartnerCancelled(socket, then):
                if self.is_reachable(socket):
                    self.belief.pop(socket, None)
                self.apply(then)
        if outcome is not None:
            self.counts[type(outcome).__name__] += 1

    def is_reachable(self, socket: str) -> bool:
        """Whether an event reaches a socket: a worker that is declared dead is sent nothing."""
        return socket in self.sockets and socket.partition(".")[0] not in self.suspended

    def check_match(self, found: Match) -> None:
        one, other = found.waiting.user_id, found.seeker.user_id
        assert one != other, "met themselves"
        assert other not in self.enemies[one], "met whom they must not meet"
        bands = {self.standings[user].age_band for user in (one, other)}
        self.counts["matches across bands"] += len(bands) > 1
        assert len(bands) == 1, f"met across bands: {bands}"
        refusals = [code for user in (one, other) for code in self.gates.list_refusals(self.standings[user])]
        self.counts["matches of refused learners"] += bool(refusals)
        assert not refusals, f"met without what the gates ask for: {refusals}"
        amongs = [self.wishes[user][1] for user in (one, other)]
        # A search among partners meets them wherever they search; all others stay in their pool.
        is_apart = amongs[0] != amongs[1] and PARTNERS not in amongs
        is_stranger = PARTNERS in amongs and other not in self.partners[one]
        self.counts["matches across pools"] += is_apart or is_stranger
        assert not is_apart and not is_stranger, f"met across pools: {amongs}"
        strict = [self.wishes[user][0] for user in (one, other)]
        self.counts["strict searches widened"] += found.is_level_widened and any(strict)
        assert not (found.is_level_widened and any(strict)), "a strict search met a neighbouring level"
        self.counts["matches of neighbouring levels"] += found.is_level_widened
        self.counts["matches of partners"] += PARTNERS in amongs
        self.last_met[one].append(other)
        self.last_met[other].append(one)

    # --- What happens ----------------------------------------------------------------------------------

    async def connect(self) -> None:
        user = self.random.choice(self.users)
        if sum(owner == user for owner in self.sockets.values()) < 2:
            self.numbers += 1
            worker = self.any_worker()
            socket = f"{worker.id}.{self.numbers}"
            self.sockets[socket] = user
            worker.matchmaking.connect(socket)

    def a_socket(self) -> str | None:
        there = [each for each in self.sockets if each.partition(".")[0] not in self.suspended]
        return self.random.choice(there) if there else None

    def sockets_in_rooms(self) -> list[str]:
        """The sockets that believe to be in a room, and can say so."""
        return [
            socket
            for socket, belief in self.belief.items()
            if belief != "searching" and socket.partition(".")[0] not in self.suspended
        ]

    async def find(self, socket: str | None = None) -> None:
        if (socket := socket or self.a_socket()) is None:
            return
        user, level, topic = self.sockets[socket], self.random.choice(LEVELS), self.random.choice(TOPICS)
        is_strict, among = self.random.random() < 0.2, self.random.choice(AMONG)
        if self.random.random() < 0.1:
            self.change_before_row = self.change_one_of
        # Levels and topics are compared with Redis: after a loss a process may put back an earlier search of a user.
        expected, is_doubtful = await self.expect(user, self.a_search(user, Wishes(level, topic, is_strict, among)))
        refused_before = self.counts["pairs refused"]
        try:
            outcome = await self.find_process(socket).matchmaking.find_partner(
                user, socket, level=level, topic=topic, is_strict=is_strict, among=among
            )
        except (errors.AlreadySearching, errors.AlreadyInRoom, errors.GateClosed) as refusal:
            assert expected == refusal.code or self.is_changed, (expected, refusal.code)
            return
        finally:
            is_changed, self.is_changed, self.change_before_row = self.is_changed, False, None
        # Once a pair is refused, the find goes on with what is there then.
        is_doubtful |= is_changed or self.counts["pairs refused"] != refused_before
        self.check_found(user, outcome, expected, is_doubtful=is_doubtful)
        self.apply(outcome)
        await self.handle_checks()

    def check_found(self, user: str, outcome: object, expected: str | None, *, is_doubtful: bool) -> None:
        found = outcome.waiting.user_id if isinstance(outcome, Match) else None
        self.counts["finds not foreseen"] += is_doubtful
        assert found == expected or is_doubtful, (
            f"{user} met {found} and should have met {expected}: {self.explanation}"
        )

    def a_search(self, user: str, wishes: Wishes) -> WaitingSearch:
        """The search that a user would begin."""
        standing = self.standings[user]
        seeker = Seeker(Partner(user, "Ada", None, "beginner", ""), [], standing.pool, **self.features[user])
        pool = Pool(name_queue(standing.pool, wishes.among), None)
        entry = build_entry(seeker, wishes, pool, at_head=False)
        return WaitingSearch(wishes.level, wishes.topic, "", 0, dict(entry))

    async def expect(
        self, user: str, own: WaitingSearch, *, holding: Held | None = None, is_settled: bool = False
    ) -> tuple[str | None, bool]:
        """Whom a search should find by the rules, or the code of its refusal; and whether that is in doubt.

        `holding`: it waits already. `is_settled`: those beyond the threshold and those met a moment ago do not count.
        """
        held = holding or await self.held()
        refusal = next(self.gates.list_refusals(self.standings[user]), None)
        if refusal is not None:
            return refusal.code, False
        if user in held.in_room:
            return "already_in_room", False
        if user in held.searching and not holding:
            return "already_searching", False
        among, band = read_among(own.queue), self.standings[user].pool
        found = {
            other: each
            for other, each in held.searching.items()
            if other not in self.enemies[user]
            and (other in self.partners[user] if among == PARTNERS else each.queue == own.queue)
            and each.queue == name_queue(band, read_among(each.queue))
            and other != user
            and each.socket.partition(".")[0] in self.known
        }
        recent = {other: await self.read_recent(user, other) for other in found}
        seconds, microseconds = map(int, await self.scripts.execute("TIME"))
        now_us = seconds * 1_000_000 + microseconds
        came = await self.scripts.execute("LRANGE", f"{{match}}:came:{own.queue}", 0, -1)
        enemies = self.enemies[user]
        expectation = Expectation(
            *(user, own if own.since else own._replace(since=now_us), now_us),
            *(recent, self.list_met(user)),
            [each for each in map(Newcomer.read, came) if each.user not in enemies],
            self.rooms.search.total_seconds(),
            is_patient=True if is_settled else None,
        )
        # Whom a job is still to check counts as one who waits, and is refused where the row is written.
        refused = {
            other
            for other in found
            if self.standings[other].pool != band or any(self.gates.list_refusals(self.standings[other]))
        }
        if is_settled:
            found = {other: each for other, each in found.items() if not recent[other] and other not in refused}
        choose = expectation.choose_partner if among == PARTNERS else expectation.choose
        chosen = choose(found)
        self.explanation = f"{expectation}, of {found}, of whom {refused} are refused"
        return chosen, expectation.is_doubtful or chosen in refused

    def list_met(self, user: str) -> dict[str, int]:
        """How often a user has met others, which both of a pair know alike."""
        times = {other: max(self.last_met[user].count(other), self.last_met[other].count(user)) for other in self.users}
        return {other: count for other, count in times.items() if count}

    # --- Waiting -----------------------------------------------------------------------------------------

    def waiting_entries(self) -> list[tuple[Worker, QueueEntry]]:
        """The searches that wait, of workers that are not suspended, in an order that the seed decides."""
        return [
            (worker, entry)
            for worker in self.workers.values()
            if worker.id not in self.suspended
            for entry in worker.matchmaking.list_queue_entries()
        ]

    async def retry(self) -> None:
        """A web process tries one of its searches again; at times it does so for all that are due."""
        if not (waiting := self.waiting_entries()):
            return
        worker, entry = self.random.choice(waiting)
        if self.random.random() < 0.3:
            self.clock += self.random.choice((1, 5, 50))
            async for outcome in worker.search_rounds.retry():
                self.counts["retried in rounds"] += 1
                self.apply(outcome)
            await self.handle_checks()
            return
        user, socket = entry["userId"], entry["socket"]
        held = await self.held()
        own = held.searching.get(user)
        is_there = (
            own is not None
            and own.socket == socket
            and own.queue == name_queue(self.standings[user].pool, read_among(entry["pool"]))
        )
        expected, is_doubtful = await self.expect(user, own, holding=held) if own and is_there else (None, True)
        refused_before = self.counts["pairs refused"]
        result: object = await worker.matchmaking.retry_search(entry)
        self.counts["retries"] += 1
        if isinstance(result, Match):
            self.counts["matches of retries"] += 1
        if is_there and not isinstance(result, SearchRefused):
            is_doubtful |= self.counts["pairs refused"] != refused_before
            self.check_found(user, result, expected, is_doubtful=is_doubtful)
            assert isinstance(result, Match) or user in (await self.held()).searching, "a retry lost its search"
        self.apply(result)
        await self.handle_checks()

    async def wait_long(self) -> None:
        """A search has waited for longer: neighbouring levels meet, or it is about to leave."""
        if waiting := self.waiting_entries():
            _, entry = self.random.choice(waiting)
            held = (await self.held()).searching.get(entry["userId"])
            if held is not None and held.socket == entry["socket"]:
                since = held.since - self.random.choice((50, 50, 100, 3545)) * 1_000_000
                key = f"{{match}}:searching:{entry['userId']}"
                lines = (held.level, held.topic, held.socket, str(since), orjson.dumps(held.entry).decode())
                await self.scripts.execute("SET", key, "\n".join(lines), "KEEPTTL")
                queue = f"{{match}}:queue:{held.queue}:{held.level}"
                for each in (queue, *([f"{queue}:{held.topic}"] if held.topic else [])):
                    await self.scripts.execute("ZADD", each, since, entry["userId"])
                entry["since"] = since

    async def read_recent(self, user: str, other: str) -> str | None:
        """Read the room in which two met a while ago, or that their match was refused."""
        key = f"{{match}}:recent:{min(user, other)}:{max(user, other)}"
        if 0 <= await self.scripts.execute("PTTL", key) < ALMOST_OVER_MS:
            await self.forget_key(key)
        room: str | None = await self.scripts.execute("GET", key)
        return room

    async def cancel(self) -> None:
        if (socket := self.a_socket()) is None:
            return
        user = self.sockets[socket]
        try:
            self.apply(await self.find_process(socket).matchmaking.cancel_search(user, socket))
        except errors.NotSearching:
            held = await self.held()
            assert user not in held.searching
            return
        self.forget(user)

    def forget(self, user: str) -> None:
        for socket, owner in self.sockets.items():
            if owner == user:
                self.belief.pop(socket, None)

    async def disconnect(self) -> None:
        if (socket := self.a_socket()) is not None:
            worker, user = self.find_process(socket), self.sockets.pop(socket)
            self.belief.pop(socket, None)
            banned: Literal["banned"] | None = "banned" if self.random.random() < 0.05 else None
            self.apply(await worker.signaling.disconnect(user, socket, final_reason=banned))

    async def join(self) -> None:
        """A matched user joins the room, at times with their other device."""
        if not (in_rooms := self.sockets_in_rooms()):
            return
        socket = self.random.choice(in_rooms)
        room, user = self.belief[socket], self.sockets[socket]
        others = [
            other
            for other, owner in self.sockets.items()
            if owner == user and other.partition(".")[0] not in self.suspended
        ]
        socket = self.random.choice(others) if self.random.random() < 0.2 else socket
        try:
            joined = await self.find_process(socket).signaling.join_room(user, socket, room)
        except errors.NotInRoom:
            assert (await self.held()).in_room.get(user) != room
            self.forget(user)
            return
        self.belief[socket] = room
        if joined.replaced_socket_id:
            self.belief.pop(joined.replaced_socket_id, None)
        self.counts["joined"] += 1

    async def hang_up(self) -> None:
        if not (in_rooms := self.sockets_in_rooms()):
            return
        socket = self.random.choice(in_rooms)
        user = self.sockets[socket]
        try:
            self.apply(await self.find_process(socket).signaling.end_call(user, socket, self.belief[socket]))
        except (errors.NotInRoom, errors.RoomClosed):
            assert (await self.held()).in_room.get(user) != self.belief[socket]
        self.forget(user)

    # --- Changes of what a user may do ---------------------------------------------------------------

    def a_standing(self) -> Standing:
        return Standing(
            self.random.random() < 0.95,
            self.random.choice(ALL_BANDS),
            VERSIONS if self.random.random() < 0.95 else {**VERSIONS, "terms": "1"},
        )

    def change(self, user: str) -> None:
        """Change the band, a consent or the address of a user; the job is written with it."""
        before, after = self.standings[user], self.a_standing()
        self.standings[user] = self.random.choice(
            (
                before._replace(age_band=after.age_band),
                before._replace(accepted_versions={} if before.accepted_versions == VERSIONS else VERSIONS),
                before._replace(is_verified=not before.is_verified),
            )
        )
        if self.random.random() < 0.8:  # else most would end without the right to search
            self.standings[user] = self.standings[user]._replace(is_verified=True, accepted_versions=VERSIONS)
        self.jobs.append(user)
        self.counts["users changed"] += 1

    async def change_user(self) -> None:
        """Change a user; half of the time one who searches."""
        searching = sorted({self.sockets[socket] for socket, belief in self.belief.items() if belief == "searching"})
        self.change(self.random.choice(searching if searching and self.random.random() < 0.5 else self.users))

    def change_one_of(self, *users: str) -> None:
        """Change one of a pair after its choice, and before its row."""
        self.is_changed = True
        self.change(self.random.choice(users))

    def is_forbidden(self, call: CallSession) -> bool:
        """Whether a call is of two bands, or of learners who are too young."""
        bands = {self.standings[str(user)].pool for user in (call.user_a_id, call.user_b_id)}
        return len(bands) > 1 or not bands <= set(self.gates.allowed_bands)

    async def run_jobs(self) -> None:
        """A job worker runs the oldest job; it is tried again where a process cannot be reached."""
        if self.jobs:
            user = self.jobs.pop(0)
            try:
                await self.any_worker().pairing_checks.check_user(user)
            except errors.Unavailable:
                await self.notice()
                await self.resume_workers()
                self.jobs.append(user)

    async def handle_checks(self) -> None:
        while self.pending_checks:
            await self.pending_checks.pop(0)()

    async def time_passes(self) -> None:
        """Something that is to happen later is due now."""
        entries = await self.scripts.execute("ZRANGE", "{match}:due", 0, -1)
        if entries:
            # In an order that the seed decides: that of Redis depends on the ids of rooms, and on the machine's speed.
            entry = self.random.choice(sorted(entries, key=self.name_deadline))
            if entry.startswith("grace:"):
                _, room, user = entry.split(":")
                await self.scripts.execute("HSET", f"{{match}}:room:{room}:meta", f"away:{user}", "1")
            await self.scripts.execute("ZADD", "{match}:due", 0, entry)
            for _ in range(2):  # two workers look; one does it
                async for outcome in self.any_worker().recovery.handle_deadlines():
                    self.apply(outcome)
            self.counts[f"due {entry.partition(':')[0]}"] += 1

    def name_deadline(self, entry: str) -> tuple[str, int, str]:
        kind, name, *rest = entry.split(":")
        number = self.room_numbers.get(name, 0)
        return kind, number, rest[0] if number and rest else name

    async def kill_worker(self, process_id: str) -> None:
        """A worker dies with its sockets; no other process has noticed yet."""
        del self.workers[process_id]
        self.known.discard(process_id)
        await self.scripts.execute("DEL", f"worker:{{match}}:{process_id}")
        for socket in [each for each in self.sockets if each.startswith(f"{process_id}.")]:
            del self.sockets[socket]
            self.belief.pop(socket, None)
        self.unnoticed.append(process_id)
        await self.start_worker()
        self.counts["workers killed"] += 1

    async def notice(self) -> None:
        """Every process learns of the dead ones, as at its next heartbeat."""
        for process_id in self.unnoticed:
            await self.declare_dead(process_id)
        self.unnoticed.clear()

    async def declare_dead(self, process_id: str) -> None:
        for worker in [each for each in self.workers.values() if each.id not in self.suspended][:2]:
            async for outcome in worker.recovery.recover_process(process_id):
                self.apply(outcome)

    async def suspend_worker(self) -> None:
        """A worker stands still for long enough to be declared dead; its sockets stay."""
        if len(self.workers) - len(self.suspended) < 2:
            return
        worker = self.any_worker()
        self.suspended.add(worker.id)
        self.known.discard(worker.id)
        await self.scripts.execute("DEL", f"worker:{{match}}:{worker.id}")
        await self.declare_dead(worker.id)
        self.counts["workers suspended"] += 1

    async def resume_workers(self) -> None:
        """Suspended workers go on, and learn that they were declared dead."""
        if not self.suspended:
            return
        for process_id in sorted(self.suspended):
            self.suspended.discard(process_id)
            worker = self.workers[process_id]
            await self.introduce(worker)
            async for outcome in worker.recovery.begin_restoring():
                self.apply(outcome)
            async for outcome in worker.recovery.finish_restoring():
                self.apply(outcome)
        await self.check_rooms()

    async def check_rooms(self) -> None:
        """Every worker compares its rooms with Redis, as it does each second: a difference is repaired."""
        for _ in range(6):
            for worker in self.workers.values():
                async for outcome in worker.recovery.check_rooms():
                    self.apply(outcome)

    async def take_copy(self) -> None:
        await self.notice()
        self.copy = await RedisCopy.take(self.port)

    async def restart_all(self) -> None:
        """All workers are killed and started again with Redis, which has an older copy of its data, or none."""
        await self.resume_workers()
        for process_id in list(self.workers):
            await self.kill_worker(process_id)
        self.unnoticed.clear()
        await self.lose_data(self.copy)
        self.counts["restarts of all"] += 1

    async def lose_data(self, copy: RedisCopy | None = None) -> None:
        """Redis loses its data, or has an older copy of it; at the next heartbeat each worker finds out."""
        await self.resume_workers()
        self.is_data_lost = True
        self.known.clear()
        await self.scripts.execute("FLUSHALL")
        if copy is not None:
            await copy.restore()
            for key in await self.scripts.execute("KEYS", "worker:*"):
                # A heartbeat lasts for seconds.
                process_id = key.rpartition(":")[2]
                await (self.introduce(self.workers[process_id]) if process_id in self.workers else self.forget_key(key))
        in_order = self.random.sample(sorted(self.workers.values(), key=lambda each: each.id), len(self.workers))
        for worker in in_order:
            for _ in range(self.random.choice((0, 0, 1, 3))):
                await self.random.choice(
                    (self.find_before_notice, self.find_before_notice, self.hang_up, self.cancel)
                )()
            await self.introduce(worker)
            async for outcome in worker.recovery.begin_restoring():
                self.apply(outcome)
        for worker in in_order:
            async for outcome in worker.recovery.finish_restoring():
                self.apply(outcome)
        await self.check_rooms()
        self.is_data_lost = False
        held = await self.held()
        for user, own in held.searching.items():
            if read_among(own.queue) != PARTNERS:
                fits, is_doubtful = await self.expect(user, own, holding=held, is_settled=True)
                assert fits is None or is_doubtful, f"{user} and {fits} wait, and fit each other"
        self.counts["flushed" if copy is None else "older copies"] += 1

    async def forget_key(self, key: str) -> None:
        await self.scripts.execute("DEL", key)

    async def find_before_notice(self) -> None:
        """Search, while Redis has forgotten everything; not beside the user's other device, whose search will go on."""
        waiting = {
            entry["socket"] for worker in self.workers.values() for entry in worker.matchmaking.list_queue_entries()
        }
        waiting_users = {self.sockets[socket] for socket in waiting if socket in self.sockets}
        free = [each for each, user in self.sockets.items() if each in waiting or user not in waiting_users]
        if free:
            await self.find(self.random.choice(free))

    async def step(self) -> None:
        happens = self.random.choices(
            (
                *(self.connect, self.find, self.cancel, self.disconnect, self.join, self.hang_up, self.time_passes),
                *(self.change_user, self.run_jobs, self.retry, self.wait_long),
            ),
            (14, 34, 5, 9, 24, 6, 7, 4, 6, 12, 3),
        )[0]
        await happens()
        await self.handle_checks()
        chance = self.random.random()
        if chance < 0.0015:
            await self.kill_worker(self.any_worker().id)
        elif chance < 0.002:
            await self.lose_data()
        elif chance < 0.003:
            await self.suspend_worker()
        elif chance < 0.005:
            await self.take_copy()
        elif chance < 0.0055 and self.copy is not None:
            await self.lose_data(self.copy)
        elif chance < 0.006:
            await self.restart_all()
        if self.unnoticed and self.random.random() < 0.1:
            await self.notice()
        if self.suspended and self.random.random() < 0.03:
            await self.resume_workers()

    # --- What must hold ---------------------------------------------------------------------------------

    async def held(self) -> Held:
        held = Held()
        searching = await self.scripts.execute("MGET", *(f"{{match}}:searching:{user}" for user in self.users))
        in_room = await self.scripts.execute("MGET", *(f"{{match}}:in_room:{user}" for user in self.users))
        for user, search, room in zip(self.users, searching, in_room, strict=True):
            if search:
                level, topic, socket, since, entry = search.split("\n", 4)
                held.searching[user] = WaitingSearch(level, topic, socket, int(since), orjson.loads(entry))
            if room:
                held.in_room[user] = room.partition("\n")[0]
        return held

    async def audit(self) -> None:
        await self.notice()
        await self.resume_workers()
        while self.jobs:
            await self.run_jobs()
        await self.handle_checks()
        held = await self.held()
        assert not held.searching.keys() & held.in_room.keys(), "searches, and is in a room"
        for user, search in held.searching.items():
            queue = name_queue(self.standings[user].pool, read_among(search.queue))
            assert search.queue == queue, "searches in the pool of another band"
            self.gates.require_all(self.standings[user])
        assert not [call for call in self.rows.open.values() if self.is_forbidden(call)], "a call across bands"
        for room in set(held.in_room.values()):
            meta = await self.scripts.execute("HGETALL", f"{{match}}:room:{room}:meta")
            held.rooms[room] = dict(zip(meta[::2], meta[1::2], strict=True))
            members = {user for user, their in held.in_room.items() if their == room}
            known = held.rooms[room]
            assert members == {known["userAId"], known["userBId"]}, "a room of another size than two"
            assert set(await self.scripts.execute("SMEMBERS", f"{{match}}:room:{room}:users")) == members
        assert held.rooms.keys() == self.rows.open.keys(), "a room without an open row, or the other way round"
        assert not [room for room, times in self.rows.ends.items() if times > 1], "a call that ended twice"
        due = set()
        for user, search in held.searching.items():
            due.add(f"search:{user}")
            assert search.socket in self.sockets, "a queue entry whose socket is gone"
            queue = f"{{match}}:queue:{search.queue}:{search.level}"
            queues = [queue, *([f"{queue}:{search.topic}"] if search.topic else [])]
            for queue in queues:
                assert await self.scripts.execute("ZSCORE", queue, user) is not None, "a queue entry in no queue"
        for room, meta in held.rooms.items():
            due.add(f"room:{room}" if "connected" in meta else f"join:{room}")
            due |= {f"grace:{room}:{key.partition(':')[2]}" for key in meta if key.startswith("away:")}
            for user in (meta["userAId"], meta["userBId"]):
                joined = meta.get(f"socket:{user}")
                assert joined is None or joined in self.sockets, "a participant whose socket is gone"
                assert "connected" not in meta or (joined is None) == (f"away:{user}" in meta), "neither here nor away"
        assert set(await self.scripts.execute("ZRANGE", "{match}:due", 0, -1)) == due
        for key in await self.scripts.execute("KEYS", "{match}:queue:*"):
            assert set(await self.scripts.execute("ZRANGE", key, 0, -1)) <= held.searching.keys(), "a ghost in a queue"
        for socket, belief in self.belief.items():
            if belief == "searching":
                search_held = held.searching.get(self.sockets[socket])
                assert search_held is not None and search_held.socket == socket, "a search that was lost"
        self.check_participants(held)
        self.counts["audits"] += 1

    def check_participants(self, held: Held) -> None:
        """No call is half-open: the workers of both participants and Redis know the same of each other."""
        there = set()
        for worker in self.workers.values():
            for socket, participant in worker.signaling.list_participants():
                meta = held.rooms.get(participant.room_id, {})
                me, peer = participant.user_id, participant.peer_id
                here = "" if participant.is_peer_away else participant.peer_socket_id or ""
                known = socket, participant.joins, here, participant.peer_joins
                kept = (
                    *(meta.get(f"socket:{me}"), int(meta.get(f"joins:{me}", 0))),
                    *(meta.get(f"socket:{peer}", ""), int(meta.get(f"joins:{peer}", 0))),
                )
                assert known == kept, f"a participant of whom Redis has something else: {known} {kept}"
                there.add(socket)
        for room, meta in held.rooms.items():
            bound = {value for key, value in meta.items() if key.startswith("socket:")}
            assert bound <= there, f"a participant of {room} who is in no worker"
