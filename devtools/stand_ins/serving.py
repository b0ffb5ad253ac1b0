"""Servers of stand-ins in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve an app at a listening socket until the block ends."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="stand-ins")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the stand-ins did not start"
            time.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        thread.join(10)
