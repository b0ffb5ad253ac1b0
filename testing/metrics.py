"""Reading of a Prometheus scrape."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from testing.polling import wait_until
from testing.time_limits import limit

Scrape = dict[str, Metric]


def scrape(url: str) -> Scrape:
    """Ask for the metrics as Prometheus does; answer them by name."""
    answer = httpx.get(f"{url}/metrics", timeout=limit(10))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def scrape_all(url: str) -> Scrape:
    """The same, once every process has answered in time."""
    found: Scrape = {}

    def is_whole() -> bool:
        nonlocal found
        found = scrape(url)
        return not total(found, "parlance_workers", state="silent")

    wait_until(is_whole, "every web process answers", within=20)
    return found


def total(found: Scrape, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels; of a histogram, of how many values."""
    family = found[name]
    ending = {"counter": "_total", "histogram": "_count"}.get(family.type, "")
    return sum(
        each.value for each in family.samples if each.name == name + ending and labels.items() <= each.labels.items()
    )


def growth(before: Scrape, after: Scrape) -> Callable[..., float]:
    """Return a function that says by how much a metric has grown."""
    return lambda name, **labels: total(after, name, **labels) - total(before, name, **labels)
