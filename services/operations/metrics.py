"""Owns the numbers that are watched: what this process counts, what its neighbours count, what the stores hold.

Who does a thing counts it, in plain numbers that nobody reads before a scrape. Whichever worker is asked asks the other
workers of its host over the bus, and tells for all of them (docs/decisions/0018-one-scrape-for-all-workers.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import redis.exceptions
import sqlalchemy as sa
from redis.asyncio import Redis

import errors
from adapters import tasks
from adapters.counting import Histogram
from adapters.database import Database
from adapters.ports import Bus
from services.bus_messages import Message
from services.calls.matchmaking import WAIT_BUCKETS_SECONDS, MatchmakingService
from services.calls.rooms import LEVELS, ROOM_SECONDS, Rooms
from services.payments.webhooks import WebhooksService

log = logging.getLogger("parlance.metrics")

#: Seconds that a neighbour, Redis or PostgreSQL has to answer.
PATIENCE = 2
#: Seconds of an HTTP request.
REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_JOBS = """
    SELECT task_name, CAST(status AS text), count(*), max(extract(epoch FROM now() - coalesce(scheduled_at, (
        SELECT at FROM procrastinate_events WHERE job_id = jobs.id AND type = 'deferred' LIMIT 1
    )))) FILTER (WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()))
    FROM procrastinate_jobs AS jobs WHERE status IN ('todo', 'doing', 'failed') GROUP BY 1, 2
"""
_CALLS = """
    SELECT count(*) - count(connected_at), count(connected_at) FROM call_sessions
    WHERE ended_at IS NULL AND started_at > now() - make_interval(secs => :longest)
"""

Kind = Literal["counter", "gauge", "histogram"]
#: The values of the labels, and a number; of a histogram the count of each bucket, and the sum.
Sample = tuple[list[str], Any]
#: What one worker tells: samples by metric.
Snapshot = dict[str, list[Sample]]
#: A process asks another one of its host for its samples: who asks, the number of the question.
METRICS_WANTED: Message[[str, int]] = Message("metrics_wanted")
#: The answer: the number of the question, the samples.
METRICS_TOLD: Message[[int, Snapshot]] = Message("metrics_told")


@dataclass(slots=True)
class Metric:
    """One metric with its samples. `bounds` are those of a histogram."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    samples: list[Sample] = field(default_factory=list)


def _of_workers() -> list[Metric]:
    """What each worker tells of itself; its id is the first label."""
    return [
        Metric("parlance_http_requests", "counter", "HTTP requests answered.", ("operation", "status")),
        Metric(
            "parlance_http_request_seconds",
            "histogram",
            "From the request to the end of its answer.",
            ("operation",),
            REQUEST_BOUNDS,
        ),
        Metric("parlance_sockets", "gauge", "Sockets connected.", ()),
        Metric(
            "parlance_events", "counter", "Events of clients, by ok or the code of the refusal.", ("event", "outcome")
        ),
        Metric("parlance_matches", "counter", "Pairs made.", ("level",)),
        Metric(
            "parlance_match_wait_seconds",
            "histogram",
            "How long the one who waited had.",
            ("level",),
            WAIT_BUCKETS_SECONDS,
        ),
        Metric("parlance_bus_messages", "counter", "Messages to other workers.", ("way",)),
        Metric("parlance_bus_bytes", "counter", "Bytes of messages to other workers.", ("way",)),
        Metric("parlance_database_connections", "gauge", "Connections of the pool that are in use.", ()),
        Metric("parlance_database_connections_limit", "gauge", "Connections that the pool may have.", ()),
        Metric("parlance_redis_round_trip_seconds", "gauge", "A PING, made for this scrape.", ()),
        Metric("parlance_payment_webhooks", "counter", "Webhooks of payment providers.", ("provider", "outcome")),
    ]


class MetricsService:
    def __init__(
        self,
        database: Database,
        redis: Redis,
        bus: Bus,
        rooms: Rooms,
        matchmaking: MatchmakingService,
        webhooks: WebhooksService,
    ) -> None:
        self._database = database
        self._redis = redis
        self._bus = bus
        self._rooms = rooms
        self._matchmaking = matchmaking
        self._webhooks = webhooks
        self._requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._seconds: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(REQUEST_BOUNDS))
        #: Events by name and outcome, counted by the socket door.
        self.events: defaultdict[tuple[str, str], int] = defaultdict(int)
        #: How many sockets are connected; the socket door knows.
        self.sockets: Callable[[], int] = int
        self._asked = 0
        self._told: dict[int, asyncio.Future[Snapshot]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        METRICS_WANTED.on(bus, self._wanted)
        METRICS_TOLD.on(bus, self._hear)

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count an HTTP request; `operation` is empty where it was for none."""
        self._requests[operation, status] += 1
        self._seconds[operation].add(seconds)

    async def read(self) -> list[Metric]:
        """Tell everything: of all workers of this host, and of the stores, as far as they answer."""
        neighbours = self._bus.neighbours()
        (own, *others), house = await asyncio.gather(
            asyncio.gather(self._snapshot(), *(self._ask(each) for each in neighbours)), self._house()
        )
        answers = {self._bus.worker_id: own, **dict(zip(neighbours, others, strict=True))}
        metrics = _of_workers()
        for metric in metrics:
            metric.labels = ("worker", *metric.labels)
            metric.samples = [
                ([worker_id, *labels], value)
                for worker_id, snapshot in answers.items()
                if snapshot is not None
                for labels, value in snapshot.get(metric.name, ())
            ]
        silent = sum(snapshot is None for snapshot in answers.values())
        workers: list[Sample] = [(["answering"], len(answers) - silent), (["silent"], silent)]
        return [*metrics, Metric("parlance_workers", "gauge", "Workers of this host.", ("state",), (), workers), *house]

    async def _snapshot(self) -> Snapshot:
        """What this worker counts."""
        pool = self._database.engine.pool
        assert isinstance(pool, sa.QueuePool)
        traffic = self._bus.traffic()
        snapshot: Snapshot = {
            "parlance_http_requests": [
                ([operation or "none", str(status or "none")], count)
                for (operation, status), count in self._requests.items()
            ],
            "parlance_http_request_seconds": [([name or "none"], _told(each)) for name, each in self._seconds.items()],
            "parlance_sockets": [([], self.sockets())],
            "parlance_events": [(list(labels), count) for labels, count in self.events.items()],
            "parlance_matches": [([level], count) for level, count in self._matchmaking.matches.items()],
            "parlance_match_wait_seconds": [([name], _told(each)) for name, each in self._matchmaking.waits.items()],
            "parlance_bus_messages": [([way], each.messages) for way, each in traffic.items()],
            "parlance_bus_bytes": [([way], each.bytes) for way, each in traffic.items()],
            "parlance_database_connections": [([], pool.checkedout())],
            "parlance_database_connections_limit": [([], pool.size())],
            "parlance_payment_webhooks": [(list(labels), count) for labels, count in self._webhooks.received.items()],
        }
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE / 2):
                await self._redis.ping()
            snapshot["parlance_redis_round_trip_seconds"] = [([], time.perf_counter() - began)]
        except (redis.exceptions.RedisError, OSError):
            pass
        return snapshot

    async def _ask(self, worker_id: str) -> Snapshot | None:
        """Have another worker tell; None where it does not."""
        self._asked += 1
        number = self._asked
        told: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._told[number] = told
        try:
            async with asyncio.timeout(PATIENCE):
                await METRICS_WANTED.send(self._bus, f"{worker_id}.", self._bus.worker_id, number)
                return await told
        except (errors.Unavailable, TimeoutError):
            return None
        finally:
            del self._told[number]

    def _wanted(self, _socket: str, asker: str, number: int) -> None:
        # In a task: what comes from that worker next should not wait for it.
        task = asyncio.create_task(self._tell(asker, number))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, asker: str, number: int) -> None:
        try:
            await METRICS_TOLD.send(self._bus, f"{asker}.", number, await self._snapshot())
        except errors.Unavailable:
            log.info("worker %s is gone, and hears no metrics", asker)

    def _hear(self, _socket: str, number: int, snapshot: Snapshot) -> None:
        told = self._told.get(number)
        if told is not None and not told.done():
            told.set_result(snapshot)

    async def _house(self) -> list[Metric]:
        """What the stores hold, the same whichever host is asked; a store that is away is told as down."""
        up: list[Sample] = []
        found = [Metric("parlance_up", "gauge", "Whether a store answers.", ("store",), (), up)]
        for store, ask in (("database", self._of_database()), ("redis", self._of_redis())):
            try:
                async with asyncio.timeout(PATIENCE):
                    found += [metric async for metric in ask]
                up.append(([store], 1))
            except (redis.exceptions.RedisError, sa.exc.SQLAlchemyError, OSError):
                up.append(([store], 0))
        return found

    async def _of_database(self) -> AsyncIterator[Metric]:
        async with self._database.engine.connect() as connection:
            jobs = (await connection.execute(sa.text(_JOBS))).all()
            ((unjoined, joined),) = (await connection.execute(sa.text(_CALLS), {"longest": ROOM_SECONDS})).all()
        counts: list[Sample] = [([task, status], count) for task, status, count, _ in jobs]
        ages: list[Sample] = [([task], max(0.0, float(age))) for task, _, _, age in jobs if age is not None]
        rooms: list[Sample] = [(["unjoined"], unjoined), (["joined"], joined)]
        yield Metric("parlance_jobs", "gauge", "Jobs that wait, run or were given up.", ("task", "status"), (), counts)
        yield Metric("parlance_job_age_seconds", "gauge", "How long the oldest that is due waits.", ("task",), (), ages)
        yield Metric("parlance_rooms", "gauge", "Rooms that are open.", ("state",), (), rooms)

    async def _of_redis(self) -> AsyncIterator[Metric]:
        waiting = await self._rooms.count_searches_by_level()
        searches: list[Sample] = [([level], waiting[level]) for level in LEVELS]
        yield Metric("parlance_searches", "gauge", "Who waits for a partner.", ("level",), (), searches)

    async def stop(self) -> None:
        await tasks.end(*self._telling)


def _told(histogram: Histogram) -> tuple[list[int], float]:
    return list(histogram.counts), histogram.sum
