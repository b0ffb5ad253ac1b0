"""The deployment under fault: its own stores, a server, job workers, and provider stand-ins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from adapters.keys import KeyFiles
from cli.migrations import upgrade_to_head
from devtools import stand_ins
from devtools.embedded import EmbeddedServices
from settings import Settings
from testing.containers import load_settings
from testing.servers import Server, start_server, stop_server
from testing.shop import SUBSCRIBED

ROOT = Path(__file__).resolve().parent.parent
STORES = ("postgres", "valkey", "s3")
#: Seconds that a dropped member of a call has, and that a match waits for both.
GRACE, PROCESS_LOSS_GRACE, JOIN = 10, 30, 20


class FaultDeployment:
    """The whole product on this machine; made, and its stores started again, in the main thread."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        #: What server and job workers use for what they have not finished.
        self.scratch = directory / "tmp"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._logs = 0
        self.stores = {name: EmbeddedServices(directory / name, only=(name,)) for name in STORES}
        self.stand_ins = stack.enter_context(stand_ins.running())
        self.stand_ins.webhooks.configure(enabled=SUBSCRIBED, backoff_cap=1, attempts=500)
        self.environment = {
            **self.stand_ins.environment,
            **self.stand_ins.fcm.environment,
            "APP_ENV": "test",
            "TMPDIR": str(self.scratch),
            "APP_URL": "http://127.0.0.1:5503",
            "BCRYPT_ROUNDS": "4",
            "JWT_PRIVATE_KEY_PATH": str(directory / "keys" / "private.pem"),
            "JWT_PUBLIC_KEY_PATH": str(directory / "keys" / "public.pem"),
            "MAIL_DIRECTORY": str(directory / "mail"),
            "TURN_SECRET": "turn-secret-of-the-faults",
            "RECONNECT_GRACE": f"{GRACE}s",
            "PROCESS_LOSS_GRACE": f"{PROCESS_LOSS_GRACE}s",
            "JOIN_DEADLINE": f"{JOIN}s",
            # Calls of the load are short.
            "EARLY_LEAVE": "0s",
            "SOCKETS_PER_USER": "1000",
        }
        for store in self.stores.values():
            self.environment |= store.start()
        stack.callback(self._stop_stores)
        self.settings: Settings = load_settings(self.environment)
        KeyFiles(self.settings).generate()
        upgrade_to_head(self.settings)
        self.server: Server = start_server(self.environment, self._log("server"), workers=2)
        stack.callback(lambda: stop_server(self.server))
        self.stand_ins.webhooks.url = f"{self.server.url}/payments/webhook"
        #: Sends a line to the load while it runs; set by `play`.
        self.send_to_load: Callable[[str], None]
        #: What a scenario itself saw that should not be.
        self.complaints: list[str] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        stack.callback(self._stop_workers)
        self.start_worker()

    def _log(self, name: str) -> Path:
        self._logs += 1
        return self.directory / f"{self._logs:02d}-{name}.log"

    def logs(self) -> list[Path]:
        return sorted(self.directory.glob("[0-9][0-9]-*.log"))

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a job worker, and wait until it is ready."""
        log = self._log("worker")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli", "worker"],
                env={**os.environ, **self.environment, "PYTHONUNBUFFERED": "1", **environment},
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.workers.append(process)
        deadline = time.monotonic() + 60
        while "job_worker_ready" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the job worker did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        return process

    def start_server(self, **environment: str) -> Server:
        """Start another server of one process, beside the first; the caller stops it."""
        return start_server({**self.environment, **environment}, self._log("server"), workers=1)

    def kill_server_worker(self) -> None:
        """Kill one of the server's processes with -9; its parent starts another."""
        parent = self.server.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        serving = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(int(serving[0]), signal.SIGKILL)

    def kill_worker(self) -> None:
        process = self.workers.pop(0)
        process.kill()
        process.wait()

    def restart(self, name: str, *, away: float) -> None:
        """Kill a store and start it again, on its port and its data, `away` seconds later."""
        store = self.stores[name]
        store.kill()
        store.stop()
        time.sleep(away)
        self.stores[name] = EmbeddedServices(store.directory, only=(name,))
        self.stores[name].start()

    def _stop_workers(self) -> None:
        for process in self.workers:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.workers:
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _stop_stores(self) -> None:
        for store in self.stores.values():
            store.stop()
