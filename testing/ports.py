"""Ports of 127.0.0.1 for servers that tests start, stop and start again."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import IO

#: Above the ports of embedded services, below the ephemeral ones: no outgoing connection and no listener on port 0
#: gets one of these between the choice and the start.
_PORTS = range(22_000, 32_768)
#: Locked files, one for each port that this process has chosen; the lock ends with the process.
_reservations: list[IO[str]] = []


def free_port() -> int:
    """Return a free port that no other process of any test run on this machine gets."""
    directory = Path(tempfile.gettempdir()) / f"parlance-test-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    while True:
        # Not `random`: a property-based test seeds it.
        port = secrets.choice(_PORTS)
        reservation = (directory / str(port)).open("w")
        try:
            fcntl.flock(reservation, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                _reservations.append(reservation)
                return port
        except OSError:
            reservation.close()
