"""Oracle of local times: dateutil reads the same database with code of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources

from dateutil import tz

HOUR = timedelta(hours=1)


@cache
def read_rules(name: str) -> tz.tzfile:
    with (resources.files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as rules:
        return tz.tzfile(rules)


def read_offset(name: str, at: datetime) -> timedelta:
    """Return what the clocks of a zone are ahead of UTC at an instant."""
    offset = at.astimezone(read_rules(name)).utcoffset()
    assert offset is not None
    return offset


def search_instants(name: str, local: datetime) -> list[datetime]:
    """Find the instants at which the clocks show a local time, by trying each offset that is valid around it."""
    about = local.replace(tzinfo=UTC)
    offsets = {read_offset(name, about + hours * HOUR) for hours in (-48, -24, -12, 0, 12, 24, 48)}
    tried = (about - offset for offset in offsets)
    return sorted(at for at in tried if read_offset(name, at) == about - at)


def write_local(name: str, at: datetime) -> str:
    """Write an instant as a reminder does."""
    shown = at.astimezone(read_rules(name))
    return shown.strftime(f"%A, {shown.day} %B %Y at %H:%M ({name})")
