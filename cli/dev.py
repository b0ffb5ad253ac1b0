"""`parlance dev`: the server, the job worker and every service that they need, on one machine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import parlance
import settings as configuration
from cli.listening import require_free
from devtools import stand_in_plan
from errors import Refused
from settings import Settings

if TYPE_CHECKING:
    from devtools.embedded import EmbeddedServices

_PAYMENT_PAGES = {
    "STRIPE_SUCCESS_URL": "/payment/success",
    "STRIPE_CANCEL_URL": "/payment/cancel",
    "RAZORPAY_CALLBACK_URL": "/payment/success",
}
#: Seconds after which a slow start is reported.
_SLOW_START_SECONDS = 20
_STOP_SECONDS = 5


def dev(
    reload: Annotated[bool, typer.Option("--reload", help="Restart when a source file changes.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Web processes that share the port.")] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets the network in.")] = "127.0.0.1",
    directory: Annotated[Path, typer.Option(help="Data and logs of the embedded services.")] = Path(".parlance"),
) -> None:
    """Run the server and the job worker, with embedded PostgreSQL, Redis and S3 where none is configured.

    Without keys of Stripe or Razorpay, stand-ins of both accept payments: no money moves. Without clients of Google,
    Apple or another identity provider, stand-ins let anybody log in as anybody. Creates signing keys and runs
    migrations too. Ctrl-C stops everything; the data is kept for the next start.

    Examples:

      parlance dev

      PORT=8080 parlance dev --reload

      DB_HOST=localhost parlance dev
    """
    # Imported here, so that other commands do not wait for the clients of the services.
    from devtools.embedded import EmbeddedServices, free_ports, write_private

    settings = configuration.load()
    if settings.is_production:
        raise Refused("`parlance dev` is for development and APP_ENV is production; use `parlance serve`")
    if reload and workers > 1:
        raise typer.BadParameter("--reload runs one process; leave --workers out")
    port = settings.port or free_ports(1, set())[0]
    require_free(host, port)

    missing = _not_configured(settings)
    processes = _Processes(EmbeddedServices(directory, only=missing))
    processes.stop_on_signals()
    environment_file = directory / "dev.env"
    environment = None
    try:
        if missing:
            _print(f"starting {', '.join(sorted(missing))} in {directory}")
        environment = processes.embedded.start()
        stand_ins = stand_in_plan.plan(directory, f"http://{_reachable_host(host)}:{port}")
        if stand_ins:
            environment |= stand_ins.environment
        environment |= _choose_addresses(settings, port)
        settings = _prepare(environment)
        write_private(environment_file, "".join(f"{name}={value}\n" for name, value in environment.items()))
        if stand_ins:
            # Refuses to send a browser elsewhere, as the real ones do.
            redirect = f"--redirect-uri={settings.app_url}/oauth/callback"
            processes.run("the stand-ins", *stand_ins.command, redirect)
        serve = (f"--host={host}", f"--port={port}", f"--workers={workers}", *["--reload"] * reload)
        processes.run("`parlance serve`", "cli", "serve", *serve)
        processes.run("`parlance worker`", "cli", "worker")
        _wait_for_health(host, port, processes)
        _print(_build_welcome(port, directory, stand_ins, settings))
        processes.watch_until_stopped()
    except KeyboardInterrupt:
        _print("stopping")
    finally:
        processes.stop()
        if environment is not None:
            environment_file.unlink(missing_ok=True)
        processes.embedded.stop()


def _choose_addresses(settings: Settings, port: int) -> dict[str, str]:
    """Return the port, and addresses of this server where none are configured."""
    site = f"http://localhost:{port}"
    # After a payment the browser returns to a page of this server.
    pages = {"APP_URL": "", **_PAYMENT_PAGES}
    chosen = {name: f"{site}{page}" for name, page in pages.items() if name.lower() not in settings.model_fields_set}
    return {"PORT": str(port), **chosen}


def _prepare(environment: Mapping[str, str]) -> Settings:
    """Set the environment of the processes, generate missing signing keys and run the migrations.

    Returns the settings of that environment.
    """
    from adapters.keys import KeyFiles
    from cli import migrations
    from services.operations import startup

    os.environ.update(environment)
    settings = configuration.load()
    if KeyFiles(settings).generate_if_missing():
        _print(f"created the signing keys {settings.jwt_private_key_path} and {settings.jwt_public_key_path}")
    asyncio.run(startup.check_database(settings))
    migrations.upgrade_to_head(settings)
    return settings


class _Processes:
    """Processes of `parlance dev`: the server, the job worker, the stand-ins and the embedded services."""

    def __init__(self, embedded: EmbeddedServices) -> None:
        self.embedded = embedded
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._asked_to_stop = False

    def stop_on_signals(self) -> None:
        """Raise KeyboardInterrupt on the first signal to stop; on the second kill everything and exit."""
        stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

        def kill(_number: int, _frame: object) -> None:
            for process in self._processes.values():
                _kill_group(process)
            self.embedded.kill()
            os._exit(1)

        def stop(_number: int, _frame: object) -> None:
            for number in stops:
                signal.signal(number, kill)
            # Recorded too: an exception raised inside a finaliser is printed and dropped.
            self._asked_to_stop = True
            raise KeyboardInterrupt

        for number in stops:
            signal.signal(number, stop)

    def run(self, title: str, module: str, *arguments: str) -> None:
        """Start a module of Parlance as a process; messages name it by `title`."""
        from adapters.child_processes import die_with_parent

        self._processes[title] = subprocess.Popen(  # noqa: S603 - a fixed command
            parlance.python_command(module, *arguments),
            # Not in the process group of Ctrl-C: they are stopped before the services that they use.
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )

    def watch(self) -> None:
        """Raise Refused with the process that has ended, or KeyboardInterrupt after a signal to stop. Never waits."""
        if self._asked_to_stop:
            raise KeyboardInterrupt
        self.embedded.watch()
        for title, process in self._processes.items():
            if process.poll() is not None:
                raise Refused(f"{title} ended (exit {process.returncode}); its last lines of log are above")

    def watch_until_stopped(self) -> None:
        """Call `watch` until it raises."""
        while True:
            self.watch()
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the processes that `run` started; kill those that take longer than five seconds."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # Also after it ended: a killed server leaves child processes.
            _kill_group(process)
            process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers the latter for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)


def _not_configured(settings: Settings) -> set[str]:
    hosts = {"postgres": settings.db_host, "valkey": settings.redis, "s3": settings.storage_endpoint}
    return {service for service, host in hosts.items() if host is None}


def _wait_for_health(host: str, port: int, processes: _Processes) -> None:
    """Wait until the server answers, without a limit, as long as every process runs."""
    slow = time.monotonic() + _SLOW_START_SECONDS
    while True:
        processes.watch()
        try:
            with urllib.request.urlopen(f"http://{_reachable_host(host)}:{port}/health", timeout=2):
                return
        except OSError:
            if time.monotonic() > slow:
                _print("the server is still starting; Ctrl-C stops everything")
                slow = float("inf")
        time.sleep(0.1)


def _reachable_host(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - a comparison


def _build_welcome(port: int, directory: Path, stand_ins: stand_in_plan.StandInPlan | None, settings: Settings) -> str:
    site = f"http://localhost:{port}"
    pages = {
        "Practice": f"{site}/ (for a second learner, open a private window)",
        "API docs": f"{site}/docs",
        "Events docs": f"{site}/docs/events",
        "Admin": f"{site}/admin-ui",
        "Health": f"{site}/health",
    }
    if stand_ins:
        names = f"{', '.join(stand_ins.names[:-1])} and {stand_ins.names[-1]}"
        pages["Stand-ins"] = f"{stand_ins.dashboard} (of {names}: no money moves, no account is used)"
    factor = settings.rate_limit_factor
    limits = (
        f"Rate limits are loose, {factor} times those of the contract; RATE_LIMITS=strict makes them the contract's."
        if factor > 1
        else "Rate limits are those of the contract."
    )
    # As it was typed: `make run` installs it into .venv, which is not in PATH.
    command = sys.argv[0] if Path(sys.argv[0]).name == "parlance" else "parlance"
    return "\n".join(
        [
            "ready; open one of",
            "",
            *(f"  {name:<12} {url}" for name, url in pages.items()),
            "",
            limits,
            f"Ctrl-C stops everything; data and logs stay in {directory}. In another terminal",
            f"`{command} seed` adds learners, calls, courses and an administrator, and prints their password;",
            f"`{command} doctor` and other commands find these services by themselves.",
        ]
    )


def _print(message: str) -> None:
    print(f"parlance: {message}", flush=True)
