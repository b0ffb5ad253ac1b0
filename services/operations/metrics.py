"""Metrics: counts of every web process of this host, and numbers of the stores.

Each module counts its own work in plain integers. The process that is scraped requests the numbers of the other
processes of its host over the bus, and reports all of them (docs/decisions/0018-one-scrape-per-host.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from redis.asyncio import Redis

import errors
from adapters.counting import Histogram
from adapters.database import Database
from adapters.ports import Bus
from adapters.redis import UNAVAILABLE
from adapters.tasks import BackgroundTasks
from services.bus_messages import Message
from services.calls.call_history import CallHistoryService
from services.calls.matchmaking import MatchmakingService
from services.calls.room_reader import LEVELS
from services.calls.rooms import ROOM_SECONDS, Rooms
from services.calls.wait_estimates import WAIT_BUCKETS_SECONDS
from services.payments.webhooks import WebhooksService

log = logging.getLogger("parlance.metrics")

#: Of another process, Redis and PostgreSQL.
TIMEOUT_SECONDS = 2
#: Buckets of the duration of an HTTP request, in seconds.
REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_JOBS_QUERY = """
    SELECT task_name, CAST(status AS text), count(*), max(extract(epoch FROM now() - coalesce(scheduled_at, (
        SELECT at FROM procrastinate_events WHERE job_id = jobs.id AND type = 'deferred' LIMIT 1
    )))) FILTER (WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()))
    FROM procrastinate_jobs AS jobs WHERE status IN ('todo', 'doing', 'failed') GROUP BY 1, 2
"""
_CALLS_QUERY = """
    SELECT count(*) - count(connected_at), count(connected_at) FROM call_sessions
    WHERE ended_at IS NULL AND started_at > now() - make_interval(secs => :longest)
"""
_APPEALS_QUERY = """
    SELECT CAST(status AS text), count(*) FROM appeals
    WHERE status = 'open' OR decided_at > now() - interval '30 days' GROUP BY 1
"""
_INVITATIONS_QUERY = """
    SELECT CAST(state AS text), count(*) FROM invitations
    WHERE state = 'open' OR answered_at > now() - interval '1 hour' GROUP BY 1
"""

_REPORTS_QUERY = """
    SELECT is_urgent, count(*), count(*) FILTER (WHERE due_at < now()), extract(epoch FROM now() - min(created_at))
    FROM reports WHERE status = 'pending' GROUP BY 1
"""

Kind = Literal["counter", "gauge", "histogram"]
#: The values of the labels, and the number; of a histogram the counts of its buckets, and the sum.
Sample = tuple[list[str], Any]
#: Samples of one process by metric.
Snapshot = dict[str, list[Sample]]
#: Requests the samples of another process of this host: the id of the requester, the number of the request.
METRICS_REQUESTED: Message[[str, int]] = Message("metrics_requested")
#: The response: the number of the request, the samples.
METRICS_REPORTED: Message[[int, Snapshot]] = Message("metrics_reported")


@dataclass(slots=True)
class Metric:
    """One metric with its samples. `bounds` are those of a histogram."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    samples: list[Sample] = field(default_factory=list)


def _build_process_metrics() -> list[Metric]:
    """Build the metrics of a web process, without samples; the label `worker` with its id comes first."""
    return [
        Metric("parlance_http_requests", "counter", "HTTP requests answered.", ("operation", "status")),
        Metric(
            "parlance_http_request_seconds",
            "histogram",
            "From the request to the end of its response.",
            ("operation",),
            REQUEST_BOUNDS,
        ),
        Metric("parlance_sockets", "gauge", "Sockets connected.", ()),
        Metric("parlance_events", "counter", "Events of clients, by ok or error code.", ("event", "outcome")),
        Metric("parlance_matches", "counter", "Matches.", ("level",)),
        Metric(
            "parlance_match_wait_seconds",
            "histogram",
            "Wait of the user matched from the queue.",
            ("level",),
            WAIT_BUCKETS_SECONDS,
        ),
        Metric("parlance_match_outcomes", "counter", "How learners kept ended matches.", ("outcome",)),
        Metric("parlance_pairing_consequences", "counter", "Warnings and rests of learners.", ("kind",)),
        Metric("parlance_bus_messages", "counter", "Messages to other web processes.", ("way",)),
        Metric("parlance_bus_bytes", "counter", "Bytes of messages to other web processes.", ("way",)),
        Metric("parlance_database_connections", "gauge", "Connections of the pool in use.", ()),
        Metric("parlance_database_connections_limit", "gauge", "Size of the connection pool.", ()),
        Metric("parlance_redis_round_trip_seconds", "gauge", "Duration of a PING at this scrape.", ()),
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
        history: CallHistoryService,
    ) -> None:
        self._database = database
        self._redis = redis
        self._bus = bus
        self._rooms = rooms
        self._matchmaking = matchmaking
        self._webhooks = webhooks
        self._history = history
        self._requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._seconds: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(REQUEST_BOUNDS))
        #: Events of clients by name and outcome, counted in `realtime/`.
        self.events: defaultdict[tuple[str, str], int] = defaultdict(int)
        #: Returns the number of connected sockets; set by `realtime/`.
        self.sockets: Callable[[], int] = int
        self._request_number = 0
        self._responses: dict[int, asyncio.Future[Snapshot]] = {}
        self._tasks = BackgroundTasks()
        METRICS_REQUESTED.on(bus, self._on_request)
        METRICS_REPORTED.on(bus, self._on_response)

    def count_request(self, operation: str, status: int, seconds: float) -> None:
        """Count an HTTP request; `operation` is empty where none matches."""
        self._requests[operation, status] += 1
        self._seconds[operation].add(seconds)

    async def read(self) -> list[Metric]:
        """Read the metrics of all web processes of this host, and of the stores, as far as they answer."""
        neighbours = self._bus.neighbours()
        (own, *others), stores = await asyncio.gather(
            asyncio.gather(self._take_snapshot(), *(self._request_snapshot(each) for each in neighbours)),
            self._read_stores(),
        )
        answers = {self._bus.process_id: own, **dict(zip(neighbours, others, strict=True))}
        metrics = _build_process_metrics()
        for metric in metrics:
            metric.labels = ("worker", *metric.labels)
            metric.samples = [
                ([process_id, *labels], value)
                for process_id, snapshot in answers.items()
                if snapshot is not None
                for labels, value in snapshot.get(metric.name, ())
            ]
        silent = sum(snapshot is None for snapshot in answers.values())
        workers: list[Sample] = [(["answering"], len(answers) - silent), (["silent"], silent)]
        return [
            *metrics,
            Metric("parlance_workers", "gauge", "Web processes of this host.", ("state",), (), workers),
            *stores,
        ]

    async def _take_snapshot(self) -> Snapshot:
        """Take the samples of this process."""
        pool = self._database.engine.pool
        assert isinstance(pool, sa.QueuePool)
        traffic = self._bus.traffic()
        snapshot: Snapshot = {
            "parlance_http_requests": [
                ([operation or "none", str(status or "none")], count)
                for (operation, status), count in self._requests.items()
            ],
            "parlance_http_request_seconds": [
                ([name or "none"], _encode_histogram(each)) for name, each in self._seconds.items()
            ],
            "parlance_sockets": [([], self.sockets())],
            "parlance_events": [(list(labels), count) for labels, count in self.events.items()],
            "parlance_matches": [([level], count) for level, count in self._matchmaking.matches.items()],
            "parlance_match_wait_seconds": [
                ([name], _encode_histogram(each)) for name, each in self._matchmaking.waits.items()
            ],
            "parlance_match_outcomes": [([kind.value], count) for kind, count in self._history.outcomes.items()],
            "parlance_pairing_consequences": [([kind], count) for kind, count in self._history.consequences.items()],
            "parlance_bus_messages": [([way], each.messages) for way, each in traffic.items()],
            "parlance_bus_bytes": [([way], each.bytes) for way, each in traffic.items()],
            "parlance_database_connections": [([], pool.checkedout())],
            "parlance_database_connections_limit": [([], pool.size())],
            "parlance_payment_webhooks": [(list(labels), count) for labels, count in self._webhooks.received.items()],
        }
        began = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS / 2):
                await self._redis.ping()
            snapshot["parlance_redis_round_trip_seconds"] = [([], time.perf_counter() - began)]
        except UNAVAILABLE:
            pass
        return snapshot

    async def _request_snapshot(self, process_id: str) -> Snapshot | None:
        """Request the samples of another process; return None where it does not answer."""
        self._request_number += 1
        number = self._request_number
        response: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._responses[number] = response
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await METRICS_REQUESTED.send(self._bus, f"{process_id}.", self._bus.process_id, number)
                return await response
        except (errors.Unavailable, TimeoutError):
            return None
        finally:
            del self._responses[number]

    def _on_request(self, _socket_id: str, requester_id: str, number: int) -> None:
        # In a task: the next message of that process must not wait for it.
        self._tasks.start(self._respond(requester_id, number))

    async def _respond(self, requester_id: str, number: int) -> None:
        try:
            await METRICS_REPORTED.send(self._bus, f"{requester_id}.", number, await self._take_snapshot())
        except errors.Unavailable:
            log.info("metrics_response_failed process_id=%s", requester_id)

    def _on_response(self, _socket_id: str, number: int, snapshot: Snapshot) -> None:
        response = self._responses.get(number)
        if response is not None and not response.done():
            response.set_result(snapshot)

    async def _read_stores(self) -> list[Metric]:
        """Read the numbers of the stores, equal on every host; an unavailable store is reported as down."""
        up: list[Sample] = []
        found = [Metric("parlance_up", "gauge", "Whether a store answers.", ("store",), (), up)]
        for store, ask in (("database", self._read_database()), ("redis", self._read_redis())):
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    found += [metric async for metric in ask]
                up.append(([store], 1))
            except (*UNAVAILABLE, sa.exc.SQLAlchemyError):
                up.append(([store], 0))
        return found

    async def _read_database(self) -> AsyncIterator[Metric]:
        async with self._database.engine.connect() as connection:
            jobs = (await connection.execute(sa.text(_JOBS_QUERY))).all()
            reports = (await connection.execute(sa.text(_REPORTS_QUERY))).all()
            ((unjoined, joined),) = (await connection.execute(sa.text(_CALLS_QUERY), {"longest": ROOM_SECONDS})).all()
            appeals: list[Sample] = [
                ([status], count) for status, count in await connection.execute(sa.text(_APPEALS_QUERY))
            ]
            invitations: list[Sample] = [
                ([state], count) for state, count in await connection.execute(sa.text(_INVITATIONS_QUERY))
            ]
        counts: list[Sample] = [([task, status], count) for task, status, count, _ in jobs]
        ages: list[Sample] = [([task], max(0.0, float(age))) for task, _, _, age in jobs if age is not None]
        rooms: list[Sample] = [(["unjoined"], unjoined), (["joined"], joined)]
        yield Metric("parlance_jobs", "gauge", "Jobs that wait, run or have failed.", ("task", "status"), (), counts)
        yield Metric("parlance_job_age_seconds", "gauge", "Age of the oldest job to start.", ("task",), (), ages)
        yield Metric("parlance_rooms", "gauge", "Open rooms.", ("state",), (), rooms)
        for metric in _build_report_metrics({row[0]: (row[1], row[2], row[3]) for row in reports}):
            yield metric
        help_text = "Open invitations of partners, and those of the last hour by their end."
        yield Metric("parlance_invitations", "gauge", help_text, ("state",), (), invitations)
        help_text = "Open appeals, and those of the last 30 days by outcome."
        yield Metric("parlance_appeals", "gauge", help_text, ("status",), (), appeals)

    async def _read_redis(self) -> AsyncIterator[Metric]:
        waiting = await self._rooms.count_searches_by_level()
        searches: list[Sample] = [([level], waiting[level]) for level in LEVELS]
        yield Metric("parlance_searches", "gauge", "Users who wait for a partner.", ("level",), (), searches)

    async def stop(self) -> None:
        await self._tasks.stop()


def _build_report_metrics(found: dict[bool, tuple[int, int, float]]) -> list[Metric]:
    """Build the metrics of the review queue: how many reports, how many overdue, the age of the oldest."""
    rows = [(urgent, found.get(urgent == "yes", (0, 0, 0.0))) for urgent in ("yes", "no")]

    def build(name: str, text: str, index: int) -> Metric:
        return Metric(name, "gauge", text, ("urgent",), (), [([urgent], float(row[index])) for urgent, row in rows])

    return [
        build("parlance_reports_open", "Reports to review.", 0),
        build("parlance_reports_overdue", "Reports to review whose deadline has passed.", 1),
        build("parlance_report_age_seconds", "Age of the oldest report to review.", 2),
    ]


def _encode_histogram(histogram: Histogram) -> tuple[list[int], float]:
    return list(histogram.counts), histogram.sum
