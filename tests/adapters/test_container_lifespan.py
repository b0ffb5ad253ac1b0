"""A container stops at any moment of its background work."""

from __future__ import annotations

import asyncio

from container import Container
from settings import Settings
from testing.time_limits import limit


async def test_container_stops_at_any_moment(settings: Settings) -> None:
    async def live_for(seconds: float) -> None:
        async with Container(settings.model_copy(update={"db_pool_size": 2})).lifespan(None):
            await asyncio.sleep(seconds)

    # The watch over revocations looks every 0.3 s: moments around its queries are the delicate ones.
    moments = [0.25 + 0.02 * number for number in range(20)]
    for batch in range(0, len(moments), 10):
        await asyncio.wait_for(asyncio.gather(*(live_for(each) for each in moments[batch : batch + 10])), limit(15))
