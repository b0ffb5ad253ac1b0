"""Containers outside the test session's: with settings of their own, and with the job worker's part."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import settings as configuration
from cli.worker import bind
from container import Container
from settings import Settings


def load_settings(environment: dict[str, str]) -> Settings:
    """The settings that a process with this environment has."""
    return configuration.load(None, **{name.lower(): value for name, value in environment.items()})


@asynccontextmanager
async def running_container(settings: Settings, **doubles: Any) -> AsyncIterator[Container]:
    """A container that serves, as one worker process has it, with its jobs bound and their queue open."""
    services = Container(settings, **doubles)
    bind(services.jobs.app, services)
    async with services.jobs.app.open_async(), services.lifespan(None):
        yield services


async def run_jobs(services: Container) -> None:
    """Run every job that is due, as `parlance worker` would, until none is left."""
    await services.jobs.app.run_worker_async(
        wait=False, install_signal_handlers=False, concurrency=4, delete_jobs="successful", update_heartbeat_interval=1
    )
