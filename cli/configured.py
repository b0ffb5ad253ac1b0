"""Owns what operator commands work with: the environment's settings, else those of a running `parlance dev`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import settings as configuration
from settings import Settings, SettingsError

if TYPE_CHECKING:
    from container import Container

T = TypeVar("T")

#: Written by `parlance dev` while it runs.
DEV_ENV = Path(".parlance/dev.env")


def settings_for_database() -> Settings:
    """Read settings whose database is known, or raise SettingsError saying how to name one."""
    settings = configuration.load()
    if settings.db_host is None and DEV_ENV.exists():
        settings = configuration.load(DEV_ENV)
    if settings.db_host is None:
        raise SettingsError("DB_HOST is not set, and no `parlance dev` is running here whose database could be used")
    return settings


def with_services(use: Callable[[Container], Awaitable[T]]) -> T:
    """Construct the product's services, use them and close them."""
    # Imported here: the other commands should not wait for the whole product.
    from container import Container

    async def run() -> T:
        services = Container(settings_for_database())
        try:
            return await use(services)
        finally:
            await services.close()

    return asyncio.run(run())
