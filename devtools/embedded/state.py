"""State of an embedded services' directory between starts: credentials, ports and locks."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from typing import IO, Any

from devtools.embedded.processes import EmbeddedError, EmbeddedProcess

#: Below the ephemeral range: an outgoing connection never gets one of these between the choice and the start.
_PORTS = range(10_240, 22_000)


def load_state(path: Path, kinds: list[type[EmbeddedProcess]]) -> dict[str, Any]:
    """Read the credentials and the ports of the last start, making what is missing or no longer free."""
    try:
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        state.setdefault("password", secrets.token_urlsafe(24))
        state.setdefault("access_key", secrets.token_hex(10))
        state.setdefault("secret_key", secrets.token_urlsafe(30))
        ports: dict[str, list[int]] = state.setdefault("ports", {})
        for kind in kinds:
            # The ports of the last start are kept: links to files that a browser still shows stay good.
            kept = ports.get(kind.name, [])
            if len(kept) != kind.port_count or not all(is_free(port) for port in kept):
                taken = {port for numbers in ports.values() for port in numbers}
                ports[kind.name] = free_ports(kind.port_count, taken)
    except (ValueError, TypeError, AttributeError):
        raise EmbeddedError(f"{path} is not readable as JSON; remove {path.parent} to start afresh") from None
    write_private(path, json.dumps(state, indent=2))
    return state


def free_ports(count: int, taken: set[int]) -> list[int]:
    """Find free ports of 127.0.0.1 that are not `taken`."""
    found: list[int] = []
    for port in random.sample(_PORTS, 5000):
        if port not in taken and is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise EmbeddedError(f"no free ports were found between {_PORTS.start} and {_PORTS.stop}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def write_private(path: Path, content: str) -> None:
    """Write, by rename, a file that only its owner reads."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(content)
    draft.rename(path)


def try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def rewrite(file: IO[str], content: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(content)
    file.flush()


def signal_processes(pids: list[str], directory: Path, number: signal.Signals) -> None:
    """Signal those of `pids` that still are services of `directory`; off Linux nothing else did."""
    for pid in pids:
        ps = ["ps", "-o", "command=", "-p", pid]
        command = subprocess.run(ps, check=False, capture_output=True, text=True).stdout  # noqa: S603 - pids, ours
        if str(directory) in command:
            os.kill(int(pid), number)
