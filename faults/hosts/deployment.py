"""The deployment of several hosts: stores, two app hosts with a server and a job worker each, nginx before them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from faults.deployment import ROOT
from faults.hosts import stores
from faults.hosts.network import ADDRESSES, APPS, Network
from faults.hosts.stores import ObjectStorage, Postgres, Valkeys, wait_until
from faults.scenarios import clock_environment
from settings import Settings
from testing.debian_programs import certificate

ADMIN, ADMIN_PASSWORD = "operator@example.com", "correct horse battery"
APP_PORT = 5503
CLOCK_OFFSET = "-20s"
#: Seconds that a stopping server may take.
STOP_SECONDS = 60.0
#: How the product finds the primary of its stores: a name that moves, an address that moves, all hosts, Sentinels.
Access = Literal["name", "address", "hosts", "sentinel"]


@dataclass(frozen=True)
class Options:
    """What a scenario needs of its deployment."""

    database: Access = "name"
    cache: Access = "name"
    #: Connections to the stores lead through delays that the scenario turns on.
    is_delayed: bool = False
    #: Those whose clock is `CLOCK_OFFSET`: `app1`, `app2`, or `replica` of Valkey.
    behind: tuple[str, ...] = ()


@dataclass
class AppHost:
    """The processes of one host."""

    server: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]


class HostsDeployment:
    """All hosts of one scenario, built when it begins."""

    def __init__(self, directory: Path, stack: ExitStack, options: Options) -> None:
        self.directory, self.options = directory, options
        self.network = Network(directory)
        stack.callback(self.network.remove)
        self.network.build()
        self.postgres = Postgres(self.network, directory)
        self.valkeys = Valkeys(self.network, directory)
        self.objects = ObjectStorage(self.network, directory)
        self.apps: dict[str, AppHost] = {}
        self._delays: subprocess.Popen[bytes] | None = None
        self._build_stores()
        self.run_command("keys", "generate")
        self.run_command("migrations", "upgrade")
        self.run_command("admins", "create", ADMIN, given=f"{ADMIN_PASSWORD}\n")
        for host in APPS:
            self.start_app(host, wait=False)
        for host in APPS:
            self.wait_for_app(host)
        self._start_balancer()

    # --- Stores -----------------------------------------------------------------------------------------------------

    def _build_stores(self) -> None:
        self.network.move_address(stores.DATABASE_ADDRESS, self.postgres.primary)
        self.network.move_address(stores.CACHE_ADDRESS, self.valkeys.primary)
        self.point_to_primaries()
        self.objects.build()
        self.postgres.build()
        self.valkeys.build(self._clock("replica"))
        if self.options.cache == "sentinel":
            self.valkeys.start_sentinels()
        if self.options.is_delayed:
            proxies = [
                f"{ADDRESSES[self.postgres.primary]}:{stores.DATABASE_PORT}",
                f"{ADDRESSES[self.valkeys.primary]}:{stores.CACHE_PORT}",
            ]
            command = [sys.executable, "-m", "faults.hosts.delay", ADDRESSES["delay"], *proxies]
            self._delays = self.network.spawn("delay", command, self._log("delay"), cwd=ROOT)
            self.network.point(dict.fromkeys((stores.DATABASE_NAME, stores.CACHE_NAME), ADDRESSES["delay"]))

    def point_to_primaries(self) -> None:
        """Let both names lead to the present primaries."""
        self.network.point(
            {
                stores.DATABASE_NAME: ADDRESSES[self.postgres.primary],
                stores.CACHE_NAME: ADDRESSES[self.valkeys.primary],
            }
        )

    def set_delay(self, is_on: bool) -> None:
        """Delay the connections that lead through the proxies."""
        assert self._delays is not None
        self._delays.send_signal(signal.SIGUSR1 if is_on else signal.SIGUSR2)

    # --- The product ------------------------------------------------------------------------------------------------

    def environment(self, host: str) -> dict[str, str]:
        place = self.directory / host
        (place / "tmp").mkdir(parents=True, exist_ok=True)
        return {
            "PARLANCE_ENV_FILE": "/dev/null",
            "PYTHONUNBUFFERED": "1",
            "APP_ENV": "test",
            "APP_URL": "https://api.parlance.test",
            "RATE_LIMITS": "loose",
            "TRUSTED_PROXIES": ADDRESSES["balancer"],
            "BCRYPT_ROUNDS": "4",
            "JWT_PRIVATE_KEY_PATH": str(self.directory / "keys" / "private.pem"),
            "JWT_PUBLIC_KEY_PATH": str(self.directory / "keys" / "public.pem"),
            "BUS_DIRECTORY": str(place / "bus"),
            "TMPDIR": str(place / "tmp"),
            # One for both: the key of a mail names its file.
            "MAIL_DIRECTORY": str(self.directory / "mail"),
            "TURN_SECRET": "turn-secret-of-the-faults",
            # Calls of the load are short.
            "EARLY_LEAVE": "0s",
            # Time in which nginx notices that a server is about to stop.
            "SHUTDOWN_DELAY": "8s",
            **self._database_environment(),
            **self._cache_environment(),
            **self.objects.environment(),
            **self._clock(host),
        }

    def _clock(self, name: str) -> dict[str, str]:
        return clock_environment(CLOCK_OFFSET) if name in self.options.behind else {}

    def _database_environment(self) -> dict[str, str]:
        hosts = {
            "name": stores.DATABASE_NAME,
            "address": stores.DATABASE_ADDRESS,
            "hosts": ",".join(ADDRESSES[host] for host in ("store1", "store2")),
        }
        return {
            "DB_HOST": hosts[self.options.database],
            "DB_USERNAME": "parlance",
            "DB_PASSWORD": stores.PASSWORD,
            "DB_NAME": stores.DATABASE,
        }

    def _cache_environment(self) -> dict[str, str]:
        if self.options.cache == "sentinel" and "redis_url" in Settings.model_fields:
            sentinels = ",".join(f"{ADDRESSES[host]}:{stores.SENTINEL_PORT}" for host in stores.SENTINELS)
            return {"REDIS_URL": f"redis+sentinel://:{stores.PASSWORD}@{sentinels}/{stores.SENTINEL_MASTER}"}
        host = stores.CACHE_ADDRESS if self.options.cache == "address" else stores.CACHE_NAME
        return {"REDIS_HOST": host, "REDIS_PASSWORD": stores.PASSWORD}

    def run_command(self, *arguments: str, given: str | None = None, tree: Path = ROOT, check: bool = True) -> str:
        """Run a command of `parlance` on the first app host, and return what it printed."""
        done = subprocess.run(
            [*self.network.prefix("app1"), sys.executable, "-m", "cli", *arguments],
            env={"PATH": "/usr/bin:/bin", **self.environment("app1")},
            cwd=tree,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise SystemExit(f"parlance {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def start_app(self, host: str, *, tree: Path = ROOT, wait: bool = True) -> None:
        environment = self.environment(host)
        self.apps[host] = AppHost(
            *(
                self.network.spawn(
                    host,
                    [sys.executable, "-m", "cli", *arguments],
                    self._log(f"{host}-{arguments[0]}"),
                    environment=environment,
                    cwd=tree,
                )
                for arguments in (("serve", "--port", str(APP_PORT)), ("worker",))
            )
        )
        if wait:
            self.wait_for_app(host)

    def wait_for_app(self, host: str) -> None:
        app, url = self.apps[host], f"http://{ADDRESSES[host]}:{APP_PORT}/ready"

        answer = "no answer"

        def is_ready() -> bool:
            nonlocal answer
            for process, name in ((app.server, "serve"), (app.worker, "worker")):
                if process.poll() is not None:
                    raise SystemExit(f"{name} of {host} ended:\n{self._log(f'{host}-{name}').read_text()[-2000:]}")
            try:
                response = httpx.get(url, timeout=5, trust_env=False)
            except httpx.HTTPError as error:
                answer = repr(error)
                return False
            answer = response.text
            return response.status_code == 200

        with self.network.inside("clients"):
            try:
                wait_until(is_ready, f"{host} is ready", within=120)
            except SystemExit as error:
                raise SystemExit(f"{error}: {answer}\n{self._log(f'{host}-serve').read_text()[-2000:]}") from None

    def stop_app(self, host: str) -> None:
        """Stop a host's processes in order, as a deployment does."""
        for process in (self.apps[host].server, self.apps[host].worker):
            process.send_signal(signal.SIGTERM)
        for process in (self.apps[host].server, self.apps[host].worker):
            process.wait(STOP_SECONDS)

    def kill_app(self, host: str) -> None:
        """End a host's processes at once."""
        for process in (self.apps[host].server, self.apps[host].worker):
            process.kill()
            process.wait(STOP_SECONDS)

    def _start_balancer(self) -> None:
        place = self.directory / "nginx"
        certificate(place / "tls")
        shutil.copy("/etc/nginx/mime.types", place)
        (place / "nginx.conf").write_text(adapt_nginx((ROOT / "deploy" / "nginx.conf").read_text(), place))
        command: list[str | Path] = ["nginx", "-p", place, "-c", place / "nginx.conf", "-g", "daemon off;"]
        self.network.spawn("balancer", command, self._log("nginx"), when_orphaned=signal.SIGTERM)

        def is_ready() -> bool:
            try:
                return httpx.get(f"{self.url}/ready", timeout=5, trust_env=False, verify=False).status_code == 200
            except httpx.HTTPError:
                return False

        with self.network.inside("clients"):
            wait_until(is_ready, "nginx answers")

    @property
    def url(self) -> str:
        return f"https://{ADDRESSES['balancer']}"

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


def adapt_nginx(configuration: str, place: Path) -> str:
    """Give deploy/nginx.conf the upstreams and files of this deployment; all other lines stay."""

    def replace(pattern: str, new: str) -> None:
        nonlocal configuration
        configuration, count = re.subn(pattern, lambda match: match.expand(new), configuration, flags=re.M)
        if not count:
            raise SystemExit(f"deploy/nginx.conf no longer has {pattern}")

    servers = "".join(rf"        server {ADDRESSES[host]}:{APP_PORT}\1;\n" for host in APPS)
    replace(r"^ *server api:5503( [^;]*)?;\n", servers)
    replace(r"pid /run/nginx\.pid", f"pid {place}/nginx.pid")
    replace(r"access_log /dev/stdout", f"access_log {place}/access.log")
    # The folders that are compiled in are this machine's.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    replace(r"^http \{$", "http {\n" + "\n".join(f"{kind}_temp_path {place}/{kind};" for kind in kinds))
    # Its workers would be a user without access to the folders of a run.
    return f"user root;\n{configuration}"
