"""One end of the bus benchmark: `python -m bench.bus.worker send|receive [DIRECTORY]` takes an order a line.

The receiver first prints its id; any line makes it print and forget the received: `{count, cpu, latencies}`, these in
milliseconds. The sender takes `{to, rate, seconds}`, posts that many relay-like messages a second in bursts, as events
come off sockets, and prints `{count, cpu}`; without a `to` it only goes through the motions.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

import settings as configuration
from adapters.bus import LUA, ProcessBus
from adapters.redis_pipeline import RedisPipeline

CANDIDATE = (
    '42["webrtc_ice",{"candidate":{"candidate":"candidate:842163049 1 udp 1677729535 203.0.113.77 46154 typ srflx'
)
CANDIDATE += ' raddr 10.0.0.17 rport 46154 generation 0 ufrag EEtu network-cost 999","sdpMid":"0","sdpMLineIndex":0}}]'


async def main(role: str, directory: str = "") -> None:
    settings = configuration.load(None)
    connections = [RedisPipeline(settings, LUA), RedisPipeline(settings, LUA)]
    bus = ProcessBus(*connections, directory=Path(directory) if directory else None, required=bool(directory))
    latencies: list[float] = []

    def relay(_socket: str, _frame: str, sent_at: int) -> None:
        latencies.append((time.monotonic_ns() - sent_at) / 1e6)

    bus.on("relay", relay)
    await bus.start()
    loop = asyncio.get_running_loop()
    if role == "receive":
        print(bus.process_id, flush=True)
    cpu = time.process_time()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if role == "send":
            order = json.loads(line)
            began = time.process_time()
            count = await _send(bus, order["to"], order["rate"], order["seconds"])
            print(json.dumps({"count": count, "cpu": time.process_time() - began}), flush=True)
        else:
            used = time.process_time() - cpu
            print(json.dumps({"count": len(latencies), "cpu": used, "latencies": latencies}), flush=True)
            latencies.clear()
            cpu = time.process_time()
    await bus.stop()
    for connection in connections:
        await connection.close()


async def _send(bus: ProcessBus, to: str | None, rate: int, seconds: float) -> int:
    socket = f"{to}.socket"
    began, count, total = time.perf_counter(), 0, int(rate * seconds)
    while count < total:
        for _ in range(min(total, int((time.perf_counter() - began) * rate)) - count):
            if to is not None:
                bus.post(socket, "relay", CANDIDATE, time.monotonic_ns())
            count += 1
        await asyncio.sleep(0.001)
    return count


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
