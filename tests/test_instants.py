"""Instants as they are written on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from instants import format_instant

MOMENT = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)


@pytest.mark.parametrize(
    "zone",
    [UTC, ZoneInfo("Etc/UTC"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Sao_Paulo"), timezone(timedelta(0))],
)
@pytest.mark.parametrize(
    ("microsecond", "fraction"), [(589793, "589"), (999999, "999"), (5000, "005"), (999, "000"), (0, "000")]
)
def test_timestamp_is_utc_in_milliseconds(zone: timezone | ZoneInfo, microsecond: int, fraction: str) -> None:
    moment = MOMENT.replace(microsecond=microsecond).astimezone(zone)
    assert format_instant(moment) == f"2026-03-14T09:26:53.{fraction}Z"


def test_missing_timestamp_is_null() -> None:
    assert format_instant(None) is None
