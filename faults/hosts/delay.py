"""Delay of connections, where the kernel has no netem: `python -m faults.hosts.delay ADDRESS HOST:PORT...`.

It listens on each port of ADDRESS and passes bytes on to its host: at once at the start and after SIGUSR2, and
after SIGUSR1 each way `MILLISECONDS` later. A connection therefore takes as long as it does on a long line, apart from
its handshake.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

MILLISECONDS = 150


class DelayProxy:
    """Connections to one port, passed on to another host with a delay each way."""

    def __init__(self, address: str, target: str, port: int, seconds: Callable[[], float]) -> None:
        self._address, self._target, self._port, self._seconds = address, target, port, seconds

    async def serve(self) -> None:
        server = await asyncio.start_server(self._pass, self._address, self._port)
        await server.serve_forever()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._target, self._port)
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what is read, each piece by its own delay, so that a stream of pieces keeps its pace."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)
        clock = asyncio.get_running_loop().time

        async def write() -> None:
            while True:
                deadline, data = await pieces.get()
                await asyncio.sleep(max(0.0, deadline - clock()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        writing = asyncio.create_task(write())
        with suppress(OSError):
            while data := await reader.read(65536):
                await pieces.put((clock() + self._seconds(), data))
        await pieces.put((clock() + self._seconds(), b""))
        with suppress(OSError):
            await writing


async def main(address: str, targets: list[str]) -> None:
    seconds = 0.0

    def set_delay(value: float) -> None:
        nonlocal seconds
        seconds = value

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, set_delay, MILLISECONDS / 1000)
    loop.add_signal_handler(signal.SIGUSR2, set_delay, 0.0)
    proxies = [
        DelayProxy(address, target, int(port), lambda: seconds)
        for target, port in (each.split(":") for each in targets)
    ]
    await asyncio.gather(*(proxy.serve() for proxy in proxies))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
