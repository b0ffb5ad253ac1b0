"""A web process's bus in a process of its own: `python -m testing.bus_worker HOST PORT HEARTBEAT DEAD_AFTER [FOLDER]`.

Prints its id, then a line for each process declared dead and each loss of data; answers each `echo` with a `note`.
SIGTERM stops it as a server is stopped.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import settings as configuration
from adapters.bus import LUA, ProcessBus
from adapters.redis_pipeline import RedisPipeline


async def run(host: str, port: str, heartbeat: str, dead_after: str, directory: str = "") -> None:
    settings = configuration.load(None, redis_host=host, redis_port=int(port))
    connections = [RedisPipeline(settings, LUA), RedisPipeline(settings, LUA)]
    bus = ProcessBus(
        *connections,
        directory=Path(directory) if directory else None,
        required=bool(directory),
        heartbeat=float(heartbeat),
        dead_after=int(dead_after),
    )

    def echo(socket_id: str, to: str, number: int, *_ballast: str) -> None:
        bus.post(to, "note", number)

    async def report_lost(process_id: str) -> None:
        print("lost", process_id, flush=True)

    async def report_data_lost() -> None:
        print("data lost", flush=True)

    bus.on("echo", echo)
    bus.on_process_lost(report_lost)
    bus.on_data_lost(report_data_lost)
    await bus.start()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    print(bus.process_id, flush=True)
    await stopping.wait()
    await bus.stop()
    for connection in connections:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
