"""Parent of several web processes: starts them, replaces those that end or hang, and stops them.

Private parts, held to their source by `tests/contract/test_seams.py`: of uvicorn's `Multiprocess`, the list of its
processes and the loop over them, and the end of a process's pipe that it keeps open.
"""

from __future__ import annotations

import logging
import time
from socket import socket

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

log = logging.getLogger("parlance.serve")

#: Seconds between two attempts to start a web process; each costs seconds of a CPU.
RESTART_PAUSE_SECONDS = 5


class Supervisor(Multiprocess):
    """uvicorn's, for which a process that fails to start ends all the others only while none has served.

    Until then it is a mistake of the installation. Later it is most often an outage of Redis, in which the other
    processes keep their sockets.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        #: Whether it stopped because no web process could start.
        self.has_failed = False
        self._has_served = False
        #: By the id of a process that failed to start, the time of the next attempt (monotonic clock).
        self._restarts: dict[int | None, float] = {}

    def terminate_all(self) -> None:
        super().terminate_all()
        # Held open here, it would accept connections after the last process has stopped listening.
        for listener in self.sockets:
            listener.close()

    def keep_subprocess_alive(self) -> None:
        if self.should_exit.is_set():
            return
        timeout = self.config.timeout_worker_healthcheck
        for process in self.processes:
            # Held open here, it would keep a ping to a process that has just ended waiting for the whole timeout.
            process.child_conn.close()
        if not self._has_served:  # before any is judged: one that failed may come before one that serves
            self._has_served = any(each.process.is_alive() and each.is_ready(timeout) for each in self.processes)
        # Those that have ended come first: a ping to one that hangs takes its whole time.
        for process in sorted(self.processes, key=lambda each: each.process.is_alive()):
            if not self.should_exit.is_set() and not process.is_alive(timeout):
                self._replace(process)

    def _replace(self, process: Process) -> None:
        if process.pid not in self._restarts:
            process.kill()  # it may hang
            process.join()
        if process.exitcode == STARTUP_FAILURE and not self._may_restart(process):
            return
        log.warning("web_process_replaced pid=%d exit_code=%s", process.pid, process.exitcode)
        replacement = self.processes[self.processes.index(process)] = Process(self.config, self.sockets)
        replacement.start()

    def _may_restart(self, process: Process) -> bool:
        """Say whether a process that failed to start is to be started again now; stop all where none has served."""
        if not self._has_served:
            self.has_failed = True
            self.should_exit.set()
            return False
        now = time.monotonic()
        if process.pid not in self._restarts:
            log.warning("web_process_start_failed pid=%d next_attempt_seconds=%d", process.pid, RESTART_PAUSE_SECONDS)
        if now < self._restarts.setdefault(process.pid, now + RESTART_PAUSE_SECONDS):
            return False
        del self._restarts[process.pid]
        return True
