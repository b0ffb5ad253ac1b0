"""A worker's bus in a process of its own: `python -m tests.bus_worker REDIS_HOST REDIS_PORT [DIRECTORY]`.

Prints its id, then a line for each worker lost and each loss of data; posts back what it hears as `echo`. Ends in an
orderly way on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import settings as configuration
from adapters.bus import LUA, WorkerBus
from adapters.redis_pipeline import RedisPipeline


async def run(host: str, port: str, directory: str = "") -> None:
    settings = configuration.load(None, redis_host=host, redis_port=int(port))
    connections = [RedisPipeline(settings, LUA), RedisPipeline(settings, LUA)]
    bus = WorkerBus(*connections, directory=Path(directory) if directory else None, required=bool(directory))

    def echo(socket: str, to: str, number: int, *_ballast: str) -> None:
        bus.post(to, "note", number)

    async def say_lost(worker_id: str) -> None:
        print("lost", worker_id, flush=True)

    async def say_data_lost() -> None:
        print("data lost", flush=True)

    bus.on("echo", echo)
    bus.on_worker_lost(say_lost)
    bus.on_data_lost(say_data_lost)
    await bus.start()
    asked_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_stop.set)
    print(bus.worker_id, flush=True)
    await asked_to_stop.wait()
    await bus.stop()
    for connection in connections:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
