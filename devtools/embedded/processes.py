"""Child process of an embedded service, from start to stop."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import errors
import parlance
from adapters.child_processes import die_with_parent

INSTALL_HINT = "`pip install 'parlance[dev]'` installs it" if parlance.IS_INSTALLED else "`make env` installs it"
START_TIMEOUT_SECONDS = 60


class EmbeddedError(errors.Refused):
    """An embedded service could not start, or died; the message says what happened and names the log."""


class PortTaken(Exception):
    """Another program listens on a port that was free when it was chosen."""


class EmbeddedProcess:
    """One child process. A subclass launches it in `launch` and returns its settings from `prepare`."""

    name: ClassVar[str]
    title: ClassVar[str]
    port_count: ClassVar[int] = 1
    #: What `prepare` raises while the service is not ready.
    not_ready: ClassVar[tuple[type[Exception], ...]]
    #: Signal sent when the owner was killed; seconds that a stop waits before it kills.
    orphan_signal: ClassVar[signal.Signals] = signal.SIGINT
    grace: ClassVar[float] = 10

    process: subprocess.Popen[bytes]

    def __init__(self, directory: Path, state: Mapping[str, Any], durable: bool, lock: int) -> None:
        self.data = directory / self.name
        self.log = directory / "logs" / f"{self.name}.log"
        self.state = state
        self.ports: list[int] = state["ports"][self.name]
        self.durable = durable
        self._lock = lock

    def launch(self) -> None:
        raise NotImplementedError

    def prepare(self) -> dict[str, str]:
        """Make what the product expects to find and return the settings."""
        raise NotImplementedError

    def wait(self) -> dict[str, str]:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            if self.process.poll() is not None:
                if re.search("address already in use|is not available on", self.log_text(), re.IGNORECASE):
                    raise PortTaken
                raise EmbeddedError(self.describe_exit("did not start"))
            try:
                return self.prepare()
            except self.not_ready as error:
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"{self.title} does not answer after {START_TIMEOUT_SECONDS} seconds ({error}); "
                        f"its log is {self.log}"
                    ) from error
            time.sleep(0.02)

    def spawn(self, command: list[str | Path]) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - a program of an installed package
                command,
                cwd=self.data.parent,
                # A locale that is not installed stops PostgreSQL on macOS.
                env=os.environ | {"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Away from the terminal's Ctrl-C, which is the owner's to answer.
                start_new_session=True,
                preexec_fn=die_with_parent(self.orphan_signal),
                pass_fds=[self._lock],
            )

    def ask_to_stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def finish(self, deadline: float) -> None:
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def describe_exit(self, verb: str) -> str:
        code = self.process.returncode
        if code < 0:
            cause = f"by signal {-code}"
        else:
            lines = [line.strip() for line in self.log_text().splitlines() if line.strip()]
            failures = [line for line in lines if re.search("fatal|panic|error|failed", line, re.IGNORECASE)]
            cause = f"exit {code}: " + (failures or lines or ["nothing was logged"])[-1][:300]
        return f"{self.title} {verb} ({cause}); its log is {self.log}"


def find_package(module: str, distribution: str) -> Path:
    """Find the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"the package {distribution} is missing; {INSTALL_HINT}")
    return Path(spec.origin).parent
