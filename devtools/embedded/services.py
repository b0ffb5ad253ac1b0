"""The embedded services of one directory: started together, watched, stopped, deleted."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO

from devtools.embedded.postgres import Postgres
from devtools.embedded.processes import EmbeddedError, EmbeddedProcess, PortTaken
from devtools.embedded.seaweedfs import SeaweedFS
from devtools.embedded.state import load_state, rewrite, signal_processes, try_lock
from devtools.embedded.valkey import Valkey

SERVICES = ("postgres", "valkey", "s3")
ORPHAN_STOP_SECONDS = 5


class EmbeddedServices:
    """PostgreSQL, Valkey and S3 as child processes, their data under `directory`.

    `durable=False` is for tests: nothing is synced to disk. `only` leaves services out.
    """

    def __init__(self, directory: Path, *, durable: bool = True, only: Collection[str] = SERVICES) -> None:
        self.directory = directory.absolute()
        self._durable = durable
        kinds: tuple[type[EmbeddedProcess], ...] = (
            SeaweedFS,
            Valkey,
            Postgres,
        )  # initdb, the longest wait, while others start
        self._kinds = [kind for kind in kinds if kind.name in only]
        self._services: list[EmbeddedProcess] = []
        self._owner_lock: IO[str] | None = None
        self._children_lock: IO[str] | None = None

    def start(self) -> dict[str, str]:
        """Start the services side by side, wait until each answers and return the settings that reach them."""
        if threading.current_thread() is not threading.main_thread():
            # Linux kills the children when the thread that made them ends, not when the process does.
            raise EmbeddedError("the embedded services have to be started from the main thread")
        if self._services:
            raise EmbeddedError(f"the embedded services in {self.directory} are running already")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.directory / "logs").mkdir(mode=0o700, exist_ok=True)
            self._lock()
            for _ in range(3):
                try:
                    return self._start_all()
                except PortTaken:
                    self._stop_all()
            raise EmbeddedError(f"the ports chosen were taken three times in a row; see {self.directory / 'logs'}")
        except OSError as error:
            self.stop()
            raise EmbeddedError(f"the embedded services cannot start in {self.directory}: {error}") from error
        except BaseException:
            self.stop()
            raise

    def watch(self) -> None:
        """Raise EmbeddedError, naming it and its log, if a service has died by itself. Never waits."""
        for service in self._services:
            if service.process.poll() is not None:
                raise EmbeddedError(service.describe_exit("died"))

    def stop(self) -> None:
        """Stop every service, by force where it takes too long: ten seconds at most."""
        self._stop_all()
        for lock in (self._children_lock, self._owner_lock):
            if lock:
                lock.close()
        self._children_lock = self._owner_lock = None

    def has_data(self) -> bool:
        """Whether services were ever started here."""
        return (self.directory / "state.json").is_file()

    def delete_data(self) -> None:
        """Delete what the services of this directory keep; raise EmbeddedError where they run."""
        if not self.has_data():
            raise EmbeddedError(f"{self.directory} has no data of embedded services")
        try:
            self._lock()
            for name in (*SERVICES, "postgres.new", "logs", "mail", "payments"):
                path = self.directory / name
                # A link would lead to the data of another program.
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            # Last: as long as it is there, what was broken off can be done again.
            (self.directory / "state.json").unlink()
        except OSError as error:
            raise EmbeddedError(f"the data in {self.directory} cannot be deleted: {error}") from error
        finally:
            self.stop()

    def kill(self) -> None:
        """End every service at once and wait for none; what was committed stays."""
        for service in self._services:
            # PostgreSQL frees its shared memory on SIGQUIT, and would leave it behind on SIGKILL.
            service.process.send_signal(signal.SIGQUIT if isinstance(service, Postgres) else signal.SIGKILL)

    def __enter__(self) -> dict[str, str]:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_all(self) -> dict[str, str]:
        assert self._children_lock
        state = load_state(self.directory / "state.json", self._kinds)
        for kind in self._kinds:
            service = kind(self.directory, state, self._durable, self._children_lock.fileno())
            service.launch()
            self._services.append(service)
            rewrite(self._children_lock, " ".join(str(service.process.pid) for service in self._services))
        environment: dict[str, str] = {}
        for service in self._services:
            environment |= service.wait()
        return environment

    def _stop_all(self) -> None:
        for service in self._services:
            service.ask_to_stop()
        asked = time.monotonic()
        while self._services:
            self._services[-1].finish(asked + self._services[-1].grace)
            self._services.pop()

    def _lock(self) -> None:
        """Claim the directory, and wait for the children of an owner that was killed.

        The owner alone holds the first lock; its children inherit the second, so that one is free exactly when the
        last of them has ended, and nothing found in their directories can belong to a living process.
        """
        self._owner_lock = (self.directory / "owner.lock").open("a+")
        if not try_lock(self._owner_lock):
            self._owner_lock.seek(0)
            owner = self._owner_lock.read().strip() or "another process"
            raise EmbeddedError(f"the directory {self.directory} is in use by process {owner}; stop that one first")
        rewrite(self._owner_lock, str(os.getpid()))

        self._children_lock = (self.directory / "children.lock").open("a+")
        self._children_lock.seek(0)
        pids = self._children_lock.read().split()
        for number in (signal.SIGINT, signal.SIGKILL):
            if try_lock(self._children_lock):
                return
            signal_processes(pids, self.directory, number)
            deadline = time.monotonic() + ORPHAN_STOP_SECONDS
            while time.monotonic() < deadline:
                if try_lock(self._children_lock):
                    return
                time.sleep(0.05)
        raise EmbeddedError(
            f"services that an earlier start left in {self.directory} do not end; kill the processes {', '.join(pids)}"
        )
