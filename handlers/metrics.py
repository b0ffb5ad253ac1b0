"""Metrics in Prometheus's text format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString
from starlette.requests import Request

import errors
from services.operations.metrics import Metric

if TYPE_CHECKING:
    from container import Container


async def get_metrics(services: Container, request: Request) -> tuple[bytes, dict[str, str]]:
    # A request through a proxy comes from outside; scrapers reach the server directly.
    if "x-forwarded-for" in request.headers:
        raise errors.NotFound()
    metrics = await services.metrics.read()
    # In a thread: a deployment with many web processes has thousands of lines.
    return await asyncio.to_thread(_format, metrics), {"Content-Type": CONTENT_TYPE_LATEST}


class _Read(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        for metric in self._metrics:
            if metric.kind == "histogram":
                yield _histogram(metric)
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.samples:
                family.add_metric(labels, value)
            yield family


def _histogram(metric: Metric) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
    for labels, (counts, total) in metric.samples:
        family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return family


def _format(metrics: Sequence[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Read(metrics))
    return generate_latest(registry)
