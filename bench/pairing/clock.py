"""The product's scripts at simulated time: copies that read the clock from a key of Valkey.

Simulated time begins years ahead of Valkey's, so that no key whose time is named expires during a run. Keys that
expire after a duration would do so by Valkey's clock: the scripts may have only the durations below, and the simulation
removes what they would.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.redis_pipeline import RedisPipeline
from bench.pairing.population import SECOND
from services.calls.rooms import LUA_DIRECTORY
from settings import Settings

#: The first midnight (µs since 1970).
EPOCH = int(datetime(2040, 1, 2, tzinfo=UTC).timestamp()) * SECOND
_KEY = "{match}:simulated_clock"
_TIME = re.compile(r"(\w+(?:\.\w+)?)\('TIME'\)")
#: Durations in the scripts: how long two who have met are kept apart, outcomes that wait for a row, and polls. The
#: latest searches of a pool have their times beside them.
RECENT_SECONDS, _OUTCOMES_SECONDS, _POLL_SECONDS = 600, 7200, 3600
_DURATION = re.compile(r"'(?:EX|EXPIRE|SETEX)',\s*(?:\w+,\s*)?'?(\d+)'?")


def copy_scripts(directory: Path) -> None:
    """Copy the scripts with the simulated clock; raise ValueError for a duration that the simulation does not know."""
    shutil.copytree(LUA_DIRECTORY, directory)
    for path in directory.glob("*.lua"):
        source = path.read_text()
        unknown = {int(each) for each in _DURATION.findall(source)} - {RECENT_SECONDS, _OUTCOMES_SECONDS, _POLL_SECONDS}
        if unknown:
            raise ValueError(f"{path.name} has keys that expire after {unknown} s: the simulation has to remove them")
        path.write_text(_TIME.sub(rf"\1('HMGET', '{_KEY}', 'seconds', 'microseconds')", source))


class SimulatedClock:
    """The clock of the copied scripts, in microseconds since the first midnight."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        copy_scripts(directory)
        self.pipeline = RedisPipeline(settings, directory)
        self.now = -1

    def set(self, at: int) -> None:
        """Set the time for what is sent after this."""
        if at != self.now:
            self.now = at
            seconds, microseconds = divmod(EPOCH + at, SECOND)
            self._send("HSET", _KEY, "seconds", str(seconds), "microseconds", str(microseconds))

    def part_again(self, one: str, other: str) -> None:
        """Remove what keeps two learners apart: it has expired."""
        self._send("DEL", f"{{match}}:recent:{':'.join(sorted((one, other)))}")

    async def close(self) -> None:
        """Wait for what was sent, and close the connection."""
        await self.pipeline.execute("PING")
        await self.pipeline.close()

    def _send(self, *command: str) -> None:
        self.pipeline.execute(*command).add_done_callback(_raise)


def _raise(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.result()
