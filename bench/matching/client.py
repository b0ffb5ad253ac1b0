"""One process of the matching benchmark: `python -m bench.matching.client` takes an order a line, as peer.mjs does.

An order is `{operation, users, concurrency}`; the answer `{seconds, cpu, latencies}`, these in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

import settings as configuration
from adapters.redis_pipeline import RedisPipeline
from services.calls.rooms import LUA_DIRECTORY, Rooms

BARE = Path(__file__).parent / "bare"


def make_entry(user: str, since: int, socket: str = "bench.socket") -> dict[str, Any]:
    """Make an entry of a learner whose features the id decides; a find compares them."""
    choose = random.Random(user)
    mu, sigma = choose.randint(1500, 3500), choose.randint(300, 833)
    points = choose.choice((0, 0, 0, 0, 0, 0, 0, 50, 100, 200))
    language = choose.choice(("de", "es", "pt", "hi", "ja", "zh", "ar", "tr"))
    goal = choose.choice(("fluency", "business", "travel", "exam"))
    card = {"displayName": "Ada", "avatarUrl": None, "level": "beginner"}
    return {
        "pool": "18_plus",
        "fit": f"{mu:05} {points:04} {sigma:04} 0 {language} {goal}",
        "userId": user,
        "socket": socket,
        "level": "all",
        "topic": "",
        "since": since,
        "card": card,
    }


async def main() -> None:
    settings = configuration.load(None)
    scripts, bare = RedisPipeline(settings, LUA_DIRECTORY), RedisPipeline(settings, BARE)
    rooms = Rooms(scripts)

    async def find(user: str) -> None:
        await rooms.find_partner(make_entry(user, int(time.time() * 1000)), str(uuid.uuid4()), str(uuid.uuid4()))

    async def leave(user: str) -> None:
        await rooms.leave_queue(user)

    async def limit(user: str) -> None:
        await bare.call("bare", [user])

    operations: dict[str, Callable[[str], Awaitable[None]]] = {"find": find, "leave": leave, "limit": limit}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        print(json.dumps(await _run(operations[order["operation"]], order["users"], order["concurrency"])), flush=True)
    await scripts.close()
    await bare.close()


async def _run(operation: Callable[[str], Awaitable[None]], users: list[str], concurrency: int) -> dict[str, Any]:
    todo = users[::-1]
    latencies: list[float] = []

    async def caller() -> None:
        while todo:
            user = todo.pop()
            began = time.perf_counter()
            await operation(user)
            latencies.append((time.perf_counter() - began) * 1000)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "latencies": latencies}


if __name__ == "__main__":
    uvloop.run(main())
