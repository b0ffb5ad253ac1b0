"""Owns `parlance dev`: the whole product on one machine, from nothing, in one command."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import settings as configuration
from cli.listening import require_free
from devtools import payment_stand_ins
from errors import Refused
from settings import Settings

if TYPE_CHECKING:
    from devtools.embedded import EmbeddedServices

_PAYMENT_PAGES = {
    "STRIPE_SUCCESS_URL": "/payment/success",
    "STRIPE_CANCEL_URL": "/payment/cancel",
    "RAZORPAY_CALLBACK_URL": "/payment/success",
}
#: Seconds after which a start is said to go on.
_SLOW_SECONDS = 20
_STOP_SECONDS = 5


def dev(
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a source file changes.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Server processes that share the port.")] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets the network in.")] = "127.0.0.1",
    directory: Annotated[Path, typer.Option(help="Data and logs of the embedded services.")] = Path(".parlance"),
) -> None:
    """Run the server and the worker, with embedded PostgreSQL, Redis and S3 for those not configured.

    Without keys of Stripe or Razorpay, stand-ins of both take payments: no money moves.

    Makes signing keys and runs migrations too. Ctrl-C stops everything; the data stays for the next time.

    Examples:

      parlance dev

      PORT=8080 parlance dev --reload

      DB_HOST=localhost parlance dev
    """
    # Imported here: the other commands should not wait for the services' clients.
    from adapters.keys import KeyFiles
    from cli import migrations
    from devtools.embedded import EmbeddedServices, write_private
    from services.operations import startup

    settings = configuration.load()
    if settings.is_production:
        raise Refused("`parlance dev` is for development and APP_ENV is production; use `parlance serve`")
    if reload and workers > 1:
        raise typer.BadParameter("--reload runs one process; leave --workers out")
    port = settings.port or _any_port()
    require_free(host, port)

    missing = _not_configured(settings)
    family = _Family(EmbeddedServices(directory, only=missing))
    family.stop_on_signals()
    environment_file = directory / "dev.env"
    environment = None
    payments = None
    try:
        if missing:
            _say(f"starting {', '.join(sorted(missing))} in {directory}")
        environment = family.embedded.start()
        if not payment_stand_ins.replaced_by_real_keys():
            if payment_stand_ins.installed():
                payments = payment_stand_ins.plan(directory, f"http://{_reachable(host)}:{port}")
                environment |= payments.environment
            else:
                _say(payment_stand_ins.MISSING)
        os.environ.update(environment, PORT=str(port))
        if "app_url" not in settings.model_fields_set:
            os.environ["APP_URL"] = f"http://localhost:{port}"
        # Whoever has paid, or not, comes back to this server's page.
        for name, page in _PAYMENT_PAGES.items():
            if name.lower() not in settings.model_fields_set:
                os.environ[name] = f"http://localhost:{port}{page}"
        settings = configuration.load()
        if KeyFiles(settings).generate_if_missing():
            _say(f"made the signing keys {settings.jwt_private_key_path} and {settings.jwt_public_key_path}")
        asyncio.run(startup.check_database(settings))
        migrations.upgrade_to_head(settings)
        write_private(environment_file, "".join(f"{name}={value}\n" for name, value in environment.items()))

        if payments:
            family.run("the payment stand-ins", *payments.command, cwd=payment_stand_ins.ROOT)
        serve = ("serve", f"--host={host}", f"--port={port}", f"--workers={workers}", *["--reload"] * reload)
        family.run("`parlance serve`", "cli", *serve)
        family.run("`parlance worker`", "cli", "worker")
        _wait_for_health(host, port, family)
        _say(_welcome(port, directory, payments, settings))
        while True:
            family.watch()
            time.sleep(0.2)
    except KeyboardInterrupt:
        _say("stopping")
    finally:
        family.stop()
        if environment is not None:
            environment_file.unlink(missing_ok=True)
        family.embedded.stop()


class _Family:
    """The processes of one `parlance dev`: the product's own, and the services they live on."""

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
            # Remembered too: raised inside a finaliser, it would be printed and forgotten.
            self._asked_to_stop = True
            raise KeyboardInterrupt

        for number in stops:
            signal.signal(number, stop)

    def run(self, title: str, module: str, *arguments: str, cwd: Path | None = None) -> None:
        """Start a module of ours as a process, which messages call by its title."""
        from adapters.child_processes import die_with_parent

        self._processes[title] = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            # Out of reach of the terminal's Ctrl-C: they are stopped before what they depend on.
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )

    def watch(self) -> None:
        """Raise Refused, naming it, if one has ended by itself; KeyboardInterrupt if asked to stop. Never waits."""
        if self._asked_to_stop:
            raise KeyboardInterrupt
        self.embedded.watch()
        for title, process in self._processes.items():
            if process.poll() is not None:
                raise Refused(f"{title} ended by itself (exit {process.returncode}); its last words are above")

    def stop(self) -> None:
        """Stop the product's own processes, by force where it takes longer than five seconds."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # Also after it ended: a server killed by somebody else leaves children.
            _kill_group(process)
            process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers the latter for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)


def _not_configured(settings: Settings) -> set[str]:
    hosts = {"postgres": settings.db_host, "valkey": settings.redis_host, "s3": settings.storage_endpoint}
    return {service for service, host in hosts.items() if host is None}


def _any_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_for_health(host: str, port: int, family: _Family) -> None:
    """Wait until the server answers, for as long as it lives; a slow machine takes its time."""
    slow = time.monotonic() + _SLOW_SECONDS
    while True:
        family.watch()
        try:
            with urllib.request.urlopen(f"http://{_reachable(host)}:{port}/health", timeout=2):
                return
        except OSError:
            if time.monotonic() > slow:
                _say("the server is still starting; Ctrl-C stops everything")
                slow = float("inf")
        time.sleep(0.1)


def _reachable(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - a comparison


def _welcome(port: int, directory: Path, payments: payment_stand_ins.Plan | None, settings: Settings) -> str:
    site = f"http://localhost:{port}"
    pages = {
        "Practice": f"{site}/ (for a second learner, open a private window)",
        "API docs": f"{site}/docs",
        "Events docs": f"{site}/docs/events",
        "Admin": f"{site}/admin-ui",
        "Health": f"{site}/health",
    }
    if payments:
        pages["Payments"] = f"{payments.dashboard} (Stripe and Razorpay, stand-ins)"
    factor = settings.rate_limit_factor
    limits = (
        f"Rate limits are loose, {factor} times those of the contract; RATE_LIMITS=strict makes them the contract's."
        if factor > 1
        else "Rate limits are those of the contract."
    )
    return "\n".join(
        [
            "ready; open next",
            "",
            *(f"  {name:<12} {url}" for name, url in pages.items()),
            "",
            limits,
            f"Ctrl-C stops everything; data and logs stay in {directory}. Operator commands, such as",
            "`parlance migrations current`, find these services by themselves in another terminal;",
            "`parlance seed` fills the database with learners, calls and reports to look at.",
        ]
    )


def _say(message: str) -> None:
    print(f"parlance: {message}", flush=True)
