"""`parlance serve`: the HTTP and Socket.IO server."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import parlance
import settings as configuration
from errors import Refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp


log = logging.getLogger("parlance.serve")


def application(openapi: dict[str, Any] | None = None) -> ASGIApp:
    """Build the application of a web process; benchmarks pass an `openapi` with an operation of theirs."""
    # A connection has a hundred objects that stay, which the garbage collector scans again and again: with the default
    # thresholds a connection takes half as much time again where three thousand sockets are open (bench/sockets).
    # Imports are quicker too.
    gc.set_threshold(50_000, 20, 100)
    from uvicorn.config import STARTUP_FAILURE

    from app import create
    from cli import draining
    from container import Container

    try:
        services = Container(configuration.load())
        app = create(services, openapi)
        draining.stop_gracefully(services, services.settings.shutdown_delay)
        return app
    except Exception as error:
        if multiprocessing.parent_process() is None:
            raise
        # One of several processes: after any other exit code it would be started again at once.
        log.error("startup_failed reason=%s", error, exc_info=None if isinstance(error, Refused) else error)
        sys.exit(STARTUP_FAILURE)


def server_options(trusted_proxies: list[str]) -> dict[str, Any]:
    """Return the options of uvicorn, for this command and for benchmarks."""
    from contract import http_server, websocket

    return {
        "proxy_headers": True,
        "forwarded_allow_ips": trusted_proxies,
        "http": http_server.HttpProtocol,
        "ws": websocket.Connection,
        "ws_max_size": websocket.MAX_FRAME_BYTES,
        "ws_per_message_deflate": False,
        "ws_ping_interval": None,  # Engine.IO has its own
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "timeout_keep_alive": 30,
        # By itself uvicorn would take a failure at startup for an app without a lifespan, and serve all the same.
        "lifespan": "on",
    }


def run_web_processes(
    app: str, *, host: str, port: int, workers: int = 1, reload: bool = False, trusted_proxies: list[str]
) -> None:
    """Serve until stopped; raise Refused where a web process fails at startup. `app` is the path of a function."""
    # Imported here, so that other commands do not wait for the web stack.
    import uvicorn

    from cli.supervisor import Supervisor

    options = {
        "factory": True,
        "host": host,
        "port": port,
        "workers": workers,
        "timeout_graceful_shutdown": 10,
        # A process that still imports does not answer: after uvicorn's 5 s a slow machine would kill each at its start.
        "timeout_worker_healthcheck": 60,
        **server_options(trusted_proxies),
    }

    is_failed = False
    if workers > 1:
        # As `uvicorn.run` does it, which returns in the same way when it is stopped and when a process has failed.
        config = uvicorn.Config(app, **options)
        supervisor = Supervisor(config, sockets=[config.bind_socket()])
        supervisor.run()
        is_failed = supervisor.has_failed
    else:
        # uvicorn, whose own handler comes first, raises the signal again at the end, where process 1 is to end with 0.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            uvicorn.run(
                app,
                **(_reload_options() if reload else {}),
                **options,
            )
        except SystemExit as ended:
            is_failed = bool(ended.code)
    if is_failed:
        raise Refused("the server could not start; correct what the last lines of its log name")


def _reload_options() -> dict[str, Any]:
    """Return the options by which uvicorn watches the source, wherever it was started."""
    source = Path(__file__).resolve().parent.parent
    ignored = [source / name for name in (".venv", ".parlance", "node_modules", "tests")]
    return {
        "reload": True,
        "reload_dirs": [str(source)],
        "reload_includes": ["*.py", "*.yaml", "*.lua"],
        # uvicorn accepts no absolute path of a folder that is missing.
        "reload_excludes": [str(folder) for folder in ignored if folder.is_dir()],
    }


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - a server
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; PORT by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Web processes that share the port; use one for each core.")] = 1,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when a source file changes.")] = False,
) -> None:
    """Serve the REST and Socket.IO contracts. PostgreSQL, Redis and S3 must be configured.

    Examples:

      parlance serve --workers 4

      PORT=8080 parlance serve --host 127.0.0.1
    """
    # Imported here, so that other commands do not wait for all modules.
    from adapters import logs
    from cli import migrations
    from cli.listening import require_free
    from services.operations import startup

    if reload and workers > 1:
        raise typer.BadParameter("--reload runs one process; leave --workers out")
    settings = configuration.load()
    settings.require_services()
    logs.configure(settings)
    port = settings.port if port is None else port
    # Here and not in each process, so that a mistake is reported once, without restarts.
    require_free(host, port)
    asyncio.run(startup.require_ready(settings, migrations.revisions(settings)))
    if settings.rate_limit_factor > 1:
        log.warning(
            "rate_limits_loose factor=%d; RATE_LIMITS=strict applies those of the contract", settings.rate_limit_factor
        )
    run_web_processes(
        parlance.qualify("cli.serve:application"),
        host=host,
        port=port,
        workers=workers,
        reload=reload,
        trusted_proxies=settings.trusted_proxies,
    )
