"""End of a web process: on SIGTERM it is not ready first, and stops after a delay.

Load balancers notice by `/ready`, and proxies that only notice refused connections lose none: until the delay is over,
every request is answered, and each answer closes its connection, so that no request is on its way over a connection
that ends.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.serve")


def stop_gracefully(services: Container, delay: timedelta) -> None:
    """Delay the stop that the server's own handler of SIGTERM begins; called in the running loop of that server.

    A second SIGTERM changes nothing: a process group and its parent both send one. SIGINT stops at once.
    """
    stop = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def end() -> None:
        if callable(stop):
            stop(signal.SIGTERM, None)

    def begin() -> None:
        if not services.stopping.is_set():
            services.stopping.set()
            log.info("server_stopping delay_seconds=%g", delay.total_seconds())
            loop.call_later(delay.total_seconds(), end)

    loop.add_signal_handler(signal.SIGTERM, begin)
