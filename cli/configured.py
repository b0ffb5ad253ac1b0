"""Settings and services of operator commands: those of the environment, or of a running `parlance dev`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

import settings as configuration
import texts
from errors import Refused
from settings import Settings, SettingsError

if TYPE_CHECKING:
    from container import Container

T = TypeVar("T")

#: Written by `parlance dev` while it runs.
DEV_ENV_FILE = Path(".parlance/dev.env")


def operator_settings() -> Settings:
    """Read the settings, with those that a running `parlance dev` adds: its services and stand-ins."""
    settings = configuration.load()
    needed = (settings.db_host, settings.redis, settings.storage_endpoint)
    # An environment that names all services, with a database, does not mean those of `parlance dev`.
    if DEV_ENV_FILE.exists() and (None in needed or "DB_HOST" not in os.environ):
        settings = configuration.load_with(DEV_ENV_FILE)
    return settings


def settings_for_database() -> Settings:
    """Read settings that name a database; raise SettingsError, with what to do, where there is none."""
    settings = operator_settings()
    if settings.db_host is None:
        raise SettingsError("DB_HOST is not set, and no `parlance dev` runs here; set it, or start `parlance dev`")
    return settings


def with_services(use: Callable[[Container], Awaitable[T]]) -> T:
    """Build the services, call `use` with them and close them."""
    # Imported here, so that other commands do not wait for all modules.
    from redis.exceptions import RedisError

    from cli import migrations
    from container import Container
    from services.operations import startup

    settings = settings_for_database()

    async def run() -> T:
        await startup.check_schema(settings, migrations.revisions(settings))
        services = Container(settings)
        try:
            return await use(services)
        except RedisError as error:
            await startup.check_redis(settings)
            raise Refused(f"Redis at {settings.redis_address} failed: {error}; try again, or read its log") from None
        finally:
            await services.close()

    return asyncio.run(run())


def check_text(name: str, text: str, kind: texts.Kind, max_length: int | None = None) -> str:
    """Return a text that others read in its stored form; raise BadParameter where it breaks the rule of its kind."""
    if fault := texts.find_fault(text, kind, min_length=1, max_length=max_length):
        raise typer.BadParameter(f"the {name} {fault}")
    return texts.normalize(text, kind)
