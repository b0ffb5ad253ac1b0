"""Load of the REST benchmark: `python -m bench.rest.load PORT SECONDS` sends the requests it reads on standard input.

They come as a JSON list, one for each connection, which sends its own again and again, each when the last was answered.
Prints `{requests, seconds, failed, p50, p99}`, latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop


class Connection(asyncio.Protocol):
    """Sends `request` until `stop()`; notes how long each answer took."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self.latencies: list[float] = []
        self.failed = 0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.lower().find(b"content-length: ", 0, end) + len(b"content-length: ")
        length = int(self._buffer[at : self._buffer.index(b"\r\n", at)])
        if len(self._buffer) < end + 4 + length:
            return
        self.latencies.append(time.perf_counter() - self._sent_at)
        self.failed += not self._buffer.startswith(b"HTTP/1.1 200 ")
        self._buffer = b""
        if self.stopped:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exception: Exception | None) -> None:
        self.failed += not self.stopped


async def run(port: int, seconds: float, requests: list[str]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    connections = [Connection(request.encode()) for request in requests]
    started = time.perf_counter()
    for connection in connections:
        await loop.create_connection(lambda each=connection: each, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    for connection in connections:
        connection.stopped = True
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    return {
        "requests": len(latencies),
        "seconds": elapsed,
        "failed": sum(connection.failed for connection in connections),
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(int(sys.argv[1]), float(sys.argv[2]), json.load(sys.stdin)))))
