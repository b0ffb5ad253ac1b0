"""Owns the settings of operator commands: the environment's, else those of a running `parlance dev`."""

from __future__ import annotations

from pathlib import Path

import settings as configuration
from settings import Settings, SettingsError

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
