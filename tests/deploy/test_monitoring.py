"""deploy/prometheus.yml, alerts.yml and grafana.json use metrics and labels that a scrape has."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from testing.debian_programs import DEPLOY
from testing.metrics import scrape
from testing.servers import Server

#: What Prometheus itself knows of a target, and what it adds to each sample.
_OWN, _ADDED = {"up"}, {"instance", "job", "le"}
_ENDINGS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket")
            yield rule["expr"]
    dashboard: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


async def test_dashboard_and_alert_metrics_exist(server: Server) -> None:
    found = await asyncio.to_thread(scrape, server.url)
    there = {f"{name}{ending}" for name, family in found.items() for ending in _ENDINGS[family.type]}
    asked = [name for each in expressions() for name in re.findall(r"\b(?:parlance_\w+|up)\b", each)]
    assert len(set(asked)) > 15
    assert set(asked) - _OWN <= there, set(asked) - _OWN - there
    # And the other way: nothing is counted that nobody looks at.
    assert all(any(f"{name}{ending}" in asked for ending in _ENDINGS[found[name].type]) for name in found)


async def test_dashboard_and_alert_labels_exist(server: Server) -> None:
    found = await asyncio.to_thread(scrape, server.url)
    labels = {label for family in found.values() for sample in family.samples for label in sample.labels}
    # Of these there are no samples before there is anything to count.
    labels |= {"level", "event", "outcome", "provider", "task", "status", "way", "store", "state", "kind"}
    grouped = {
        name.strip()
        for each in expressions()
        for names in re.findall(r"by \(([^)]*)\)", each)
        for name in names.split(",")
    }
    matched = {name for each in expressions() for name in re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)\"", each)}
    assert grouped and matched
    assert grouped | matched <= labels | _ADDED


def test_prometheus_reads_the_rules_and_bypasses_nginx() -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert configuration["rule_files"] == ["alerts.yml"]
    (job,) = configuration["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["api:5503"]}]
