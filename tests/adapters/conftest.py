"""Fixtures of the adapters' tests: Resend's HTTP API for sending, and a collector of traces."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from testing.email_outbox import ResendStandIn
from testing.telemetry_receivers import Collector, receiving


@pytest.fixture
def resend_api() -> Iterator[ResendStandIn]:
    server = ResendStandIn()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    with receiving(made):
        yield made
