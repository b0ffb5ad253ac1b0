"""Time zones of the IANA database: local times, the instants that they name, and how a reader's clock shows them.

The rules are those of the package `tzdata`, never the machine's: slim images have none, and two machines with different
ones would compute different instants. Names of the past, such as Asia/Calcutta, stay valid.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]

#: Version of the rules, such as `2026a`; a later one is the greater text.
VERSION: str = tzdata.IANA_VERSION
#: No places: what a machine is set to before anybody has chosen a zone, and copies of the rules of some place.
_NO_PLACES = {"Factory", "localtime", "posixrules"}
#: Read once.
NAMES = frozenset((resources.files("tzdata") / "zones").read_text().split()) - _NO_PLACES


@cache
def find_zone(name: str) -> ZoneInfo | None:
    """Find a time zone by its name; return None for a name that the database does not have."""
    if name not in NAMES:
        return None
    with (resources.files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


def get_zone(*names: str | None) -> ZoneInfo:
    """Return the first of some time zones that the database has; UTC where it has none of them."""
    for name in (*names, "UTC"):
        zone = find_zone(name) if name else None
        if zone is not None:
            return zone
    raise LookupError("UTC")


def find_instants(local: datetime, zone: ZoneInfo) -> list[datetime]:
    """List the instants in UTC at which the clocks of a zone show a time (naive), the earlier one first.

    One as a rule; none for a time that the clocks skip, two for one that they show twice.
    """
    # Of a time that is skipped, both readings (PEP 495) are shown as another time.
    readings = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return sorted({each for each in readings if each.astimezone(zone).replace(tzinfo=None) == local})


def find_instant_after_change(local: datetime, zone: ZoneInfo, offset: timedelta) -> datetime:
    """Return the instant of a local time (naive) by rules that may have changed since `offset` from UTC was valid.

    It stays as it was where that is still possible. A time that the clocks now skip is as much later as they skip.
    """
    before = (local - offset).replace(tzinfo=UTC)
    instants = find_instants(local, zone) or [local.replace(tzinfo=zone, fold=0).astimezone(UTC)]
    return before if before in instants else instants[0]


def format_local(at: datetime, zone: ZoneInfo) -> str:
    """Write an instant as the clocks of a zone show it, in English, with the zone's name."""
    shown = at.astimezone(zone)
    return f"{shown:%A}, {shown.day} {shown:%B} {shown.year} at {shown:%H:%M} ({zone.key})"


def format_offset(offset: timedelta) -> str:
    """Write an offset from UTC as `+05:45`."""
    minutes = round(offset / timedelta(minutes=1))
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
