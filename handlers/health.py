"""Liveness and readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instants import format_instant, utc_now
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def check_health(services: Container) -> rest.Health:
    return {"status": "ok", "timestamp": format_instant(utc_now())}


async def check_readiness(services: Container) -> rest.Readiness:
    timings = await services.health.check_ready()
    checks: rest.ReadinessChecks = {
        "database": _check(timings["database"]),
        "redis": _check(timings["redis"]),
        "storage": _check(timings["storage"]),
    }
    return {"status": "ok", "checks": checks}


def _check(milliseconds: float) -> rest.Check:
    return {"isAvailable": True, "answerMilliseconds": milliseconds}
