"""Liveness and readiness."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from handlers import shapes

if TYPE_CHECKING:
    from container import Container


async def health(services: Container) -> dict[str, Any]:
    return {"status": "ok", "timestamp": shapes.instant(datetime.now(UTC))}


async def ready(services: Container) -> dict[str, Any]:
    timings = await services.health.check_ready()
    return {"status": "ok", "checks": {name: {"ok": True, "milliseconds": ms} for name, ms in timings.items()}}
