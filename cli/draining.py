"""End of a web process: on SIGTERM it is not ready first, and stops after a delay.

Load balancers notice by `/ready`, and proxies that only notice refused connections lose none: until the delay is over,
every request is answered, and each answer closes its connection, so that no request is on its way over a connection
that ends. Then nothing listens any more, and what was connected before is still accepted: a proxy may have sent a
request over it, and must not send a POST twice. `contract.http_server` lets such connections be quiet for a moment.

uvicorn closes its listeners while connections wait in them, which the kernel then resets. Its `Server` is reached by
its handler of the signal; `tests/contract/test_seams.py` holds what is read of it to its source.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from uvicorn import Server

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.serve")


def stop_gracefully(services: Container, delay: timedelta) -> None:
    """Delay the stop that the server's own handler of SIGTERM begins; called in the running loop of that server.

    A second SIGTERM changes nothing: a process group and its parent both send one. SIGINT stops at once.
    """
    stop = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def end() -> None:
        try:
            if isinstance(server := getattr(stop, "__self__", None), Server):
                await stop_listening(server)
        except Exception as error:
            log.error("listeners_not_closed error=%s", error, exc_info=error)
        finally:
            if callable(stop):
                stop(signal.SIGTERM, None)

    def begin() -> None:
        if not services.stopping.is_set():
            services.stopping.set()
            log.info("server_stopping delay_seconds=%g", delay.total_seconds())
            loop.call_later(delay.total_seconds(), lambda: tasks.add(loop.create_task(end())))

    loop.add_signal_handler(signal.SIGTERM, begin)


async def stop_listening(server: Server) -> None:
    """Close the listeners of a server, and accept what was connected to them before."""
    waiting: list[socket.socket] = []
    for listening in getattr(server, "servers", []):
        with ExitStack() as copies:
            accepting = [copies.enter_context(copy) for each in listening.sockets if (copy := duplicate(each.fileno()))]
            listening.close()
            for copy in accepting:
                waiting += accept_all(copy)

    def make_protocol() -> asyncio.Protocol:
        options = {"server_state": server.server_state, "app_state": server.lifespan.state}
        return server.config.http_protocol_class(config=server.config, **options)  # type: ignore[call-arg]

    connecting = (asyncio.get_running_loop().connect_accepted_socket(make_protocol, each) for each in waiting)
    made = await asyncio.gather(*connecting, return_exceptions=True)
    for connection, outcome in zip(waiting, made, strict=True):
        if isinstance(outcome, BaseException):  # its client has gone
            connection.close()


def duplicate(descriptor: int) -> socket.socket | None:
    """Return another descriptor of a listener, which outlives its close; None where this process may open no more."""
    try:
        return socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        log.warning("listener_not_duplicated error=%s", error)
        return None


def accept_all(listener: socket.socket) -> list[socket.socket]:
    """Accept each connection that waits at a listener, as far as this process may open more."""
    accepted: list[socket.socket] = []
    listener.setblocking(False)
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return accepted
        except ConnectionAbortedError:
            continue
        except OSError as error:
            log.warning("connections_not_accepted error=%s", error)
            return accepted
        connection.setblocking(False)
        accepted.append(connection)
