"""Processes to be killed: `python -m testing.payment_processes` forks servers and job workers on request.

Importing the product and binding it to its specs takes seconds, which two hundred lives do not have. So this process
does it once and forks, before anything is connected; each child serves, or works, as `parlance serve` and `parlance
worker` do, until it is killed. A line `serve` or `work` on standard input begins a life; `serve PID PORT` or
`work PID` on standard output says that it has begun.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import NoReturn

import uvicorn
from sqlalchemy import orm
from starlette.types import ASGIApp

import settings as configuration
from adapters import logs
from app import create
from cli import worker
from container import Container
from contract import http_server


def main() -> None:
    # Nothing is connected, and no loop runs, before the fork.
    orm.configure_mappers()
    app = create()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if line.strip() == "serve":
                _serve(app)
            _work()


def _serve(app: ASGIApp) -> NoReturn:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _say(f"serve {os.getpid()} {listener.getsockname()[1]}")
        config = uvicorn.Config(app, http=http_server.HttpProtocol, ws="none", access_log=False, log_config=None)
        uvicorn.Server(config).run([listener])
    os._exit(0)


def _work() -> NoReturn:
    settings = configuration.load()
    logs.configure(settings)
    _say(f"work {os.getpid()}")
    asyncio.run(worker._work(Container(settings), stopping=asyncio.Event()))
    os._exit(0)


def _say(text: str) -> None:
    # One write: the lines of several children stay whole.
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main()
