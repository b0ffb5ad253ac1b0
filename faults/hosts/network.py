"""Network of one run: hosts as network namespaces on one bridge, their names and addresses, and faults of the network.

Nothing leaves the namespaces. A run has an id and holds a lock; what a killed run left behind is removed by the next.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from adapters.child_processes import die_with_parent

#: Addresses by host: two of the product, two of the stores, object storage, the load balancer, delays, clients.
ADDRESSES = {
    "app1": "10.80.0.31",
    "app2": "10.80.0.32",
    "store1": "10.80.0.11",
    "store2": "10.80.0.12",
    "objects": "10.80.0.13",
    "balancer": "10.80.0.40",
    "delay": "10.80.0.45",
    "clients": "10.80.0.50",
}
APPS, STORES = ("app1", "app2"), ("store1", "store2")
#: Addresses of the clients' host beside its own: each learner has one.
CLIENT_ADDRESSES = [f"10.80.1.{number}" for number in range(1, 251)]
#: Debian package of each program.
PROGRAMS = {"ip": "iproute2", "nft": "nftables", "nginx": "nginx"}

#: Beside the namespaces, and as lasting as they are.
_LOCKS = Path("/run/parlance-hosts")
_NAMESPACES = Path("/run/netns")
#: Files that `ip netns exec` mounts over those of /etc.
_ETC = Path("/etc/netns")
_PREFIX = "parlance-"
_SWITCH = "switch"
_CLONE_NEWNET = 0x40000000
_STOP_SECONDS = 3.0


class HostsError(SystemExit):
    """The harness cannot run here; the message is one sentence that says what is missing."""


def require_programs(path: str) -> None:
    """Raise HostsError where a Debian package or the permission to make namespaces is missing."""
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None]
    if missing:
        raise HostsError(f"`make hosts` needs {', '.join(missing)}; install with: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise HostsError("`make hosts` makes network namespaces, which only root may; run it as root")
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        raise HostsError(f"this machine permits no network namespaces ({made.stderr.strip()}); allow CAP_SYS_ADMIN")


def run(command: Sequence[str | Path], *, given: str | None = None, check: bool = True) -> str:
    """Run a command to its end and return its output; raise SystemExit with what it printed where it fails."""
    done = subprocess.run([str(part) for part in command], input=given, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


class Network:
    """The hosts of one run."""

    def __init__(self, directory: Path) -> None:
        """Remove what killed runs left, and claim an id; where this is killed, `directory` is deleted, too."""
        _LOCKS.mkdir(mode=0o700, exist_ok=True)
        remove_stale_runs()
        self.id = secrets.token_hex(3)
        self._lock = _claim(self.id)
        assert self._lock is not None
        self._lock.write(str(directory))
        self._lock.flush()
        self._names: dict[str, str] = {}

    def namespace(self, host: str) -> str:
        return f"{_PREFIX}{self.id}-{host}"

    def build(self) -> None:
        switch = self.namespace(_SWITCH)
        run(["ip", "netns", "add", switch])
        run(["ip", "-n", switch, "link", "add", "br0", "type", "bridge"])
        run(["ip", "-n", switch, "link", "set", "br0", "up"])
        for host, address in ADDRESSES.items():
            own = self.namespace(host)
            run(["ip", "netns", "add", own])
            link = ["type", "veth", "peer", "name", "eth0", "netns", own]
            run(["ip", "link", "add", f"v-{host}", "netns", switch, *link])
            run(["ip", "-n", switch, "link", "set", f"v-{host}", "master", "br0", "up"])
            run(["ip", "-n", own, "link", "set", "lo", "up"])
            run(["ip", "-n", own, "link", "set", "eth0", "up"])
            run(["ip", "-n", own, "addr", "add", f"{address}/16", "dev", "eth0"])
        batch = "\n".join(f"addr add {address}/16 dev eth0" for address in CLIENT_ADDRESSES)
        run(["ip", "-n", self.namespace("clients"), "-batch", "-"], given=batch)
        table = "add table bridge faults; add chain bridge faults drops { type filter hook forward priority 0; }"
        self.execute(_SWITCH, ["nft", table])
        for host in ADDRESSES:
            files = _ETC / self.namespace(host)
            files.mkdir(parents=True)
            # No name server answers here: what /etc/hosts lacks is refused at once.
            (files / "resolv.conf").write_text("nameserver 127.0.0.1\n")
            (files / "hosts").touch()
        self.point({})

    def remove(self) -> None:
        """End all processes of the run and remove its namespaces."""
        assert self._lock is not None
        _remove_run(self.id)
        (_LOCKS / f"{self.id}.lock").unlink(missing_ok=True)
        self._lock.close()

    # --- Processes --------------------------------------------------------------------------------------------------

    def prefix(self, host: str) -> list[str]:
        """Return the beginning of a command that runs on a host."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def execute(self, host: str, command: Sequence[str | Path], *, check: bool = True) -> str:
        return run([*self.prefix(host), *command], check=check)

    def spawn(
        self,
        host: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        when_orphaned: signal.Signals = signal.SIGKILL,
    ) -> subprocess.Popen[bytes]:
        """Start a process on a host; it gets `when_orphaned` when this process ends."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self.prefix(host), *map(str, command)],
                env={**os.environ, **(environment or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Away from the terminal's Ctrl-C, which is for this process to answer.
                start_new_session=True,
                preexec_fn=die_with_parent(when_orphaned),
            )

    @contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Let sockets that this thread opens be those of a host."""
        with Path("/proc/thread-self/ns/net").open() as own, (_NAMESPACES / self.namespace(host)).open() as there:
            _enter(there)
            try:
                yield
            finally:
                _enter(own)

    # --- Names and addresses ----------------------------------------------------------------------------------------

    def point(self, names: dict[str, str]) -> None:
        """Let names lead to addresses from now on, on all hosts, as the DNS of a managed service does."""
        self._names |= names
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._names.items())]
        for host in ADDRESSES:
            # In place: the file is mounted where processes of the host read it.
            with (_ETC / self.namespace(host) / "hosts").open("r+") as file:
                file.write("\n".join(lines) + "\n")
                file.truncate()

    def move_address(self, address: str, host: str) -> None:
        """Give an address to a store host alone, and announce it by gratuitous ARP."""
        for each in STORES:
            run(["ip", "-n", self.namespace(each), "addr", "del", f"{address}/16", "dev", "eth0"], check=False)
        run(["ip", "-n", self.namespace(host), "addr", "add", f"{address}/16", "dev", "eth0"])
        with self.inside(host), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            mac, ip, everyone = raw.getsockname()[4], socket.inet_aton(address), b"\xff" * 6
            for operation in (1, 2):  # request and reply: which of both is believed depends on the receiver
                arp = struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation)
                raw.send(everyone + mac + arp + mac + ip + everyone + ip)

    # --- Faults -----------------------------------------------------------------------------------------------------

    def cut(
        self, host: str, others: Collection[str], port: int | None = None, ways: Collection[str] = ("out", "in")
    ) -> None:
        """Drop without an answer what goes `out` of a host to others and comes `in` from them, or what a port does."""
        for other in others:
            if "out" in ways:
                self._drop(host, other, port)
            if "in" in ways:
                self._drop(other, host, port)

    def _drop(self, source: str, target: str, port: int | None) -> None:
        for match in (f"tcp dport {port}", f"tcp sport {port}") if port else ("",):
            self._add_rule(f"iifname v-{source} oifname v-{target} {match} drop")

    def lose(self, hosts: Collection[str], percent: int) -> None:
        """Drop a share of the packets from and to hosts."""
        for host in hosts:
            for side in ("iifname", "oifname"):
                self._add_rule(f"{side} v-{host} numgen random mod 100 < {percent} drop")

    def _add_rule(self, rule: str) -> None:
        self.execute(_SWITCH, ["nft", f"add rule bridge faults drops {rule}"])

    def heal(self) -> None:
        self.execute(_SWITCH, ["nft", "flush chain bridge faults drops"])

    def unplug(self, host: str) -> None:
        run(["ip", "-n", self.namespace(_SWITCH), "link", "set", f"v-{host}", "down"])

    def plug(self, host: str) -> None:
        run(["ip", "-n", self.namespace(_SWITCH), "link", "set", f"v-{host}", "up"])

    def delay(self, hosts: Collection[str], milliseconds: int) -> bool:
        """Delay what hosts send, by netem; return whether this kernel has it."""
        for host in hosts:
            command = ["tc", "-n", self.namespace(host), "qdisc", "replace", "dev", "eth0", "root", "netem"]
            done = subprocess.run([*command, "delay", f"{milliseconds}ms"], capture_output=True, check=False)
            if done.returncode:
                return False
        return True

    def undelay(self, hosts: Collection[str]) -> None:
        for host in hosts:
            run(["tc", "-n", self.namespace(host), "qdisc", "del", "dev", "eth0", "root"], check=False)


def remove_stale_runs() -> None:
    """Remove what killed runs left: processes, namespaces and directories."""
    ids = {path.stem for path in _LOCKS.glob("*.lock")}
    if _NAMESPACES.is_dir():
        ids |= {path.name.split("-")[1] for path in _NAMESPACES.glob(f"{_PREFIX}*-*")}
    for run_id in ids:
        lock = _claim(run_id)
        if lock is None:  # it runs
            continue
        _remove_run(run_id)
        lock.seek(0)
        directory = Path(lock.read())
        if directory.name.startswith("parlance-hosts-"):
            shutil.rmtree(directory, ignore_errors=True)
        Path(lock.name).unlink(missing_ok=True)
        lock.close()


def _claim(run_id: str) -> IO[str] | None:
    """Take the lock of a run; None where its process lives."""
    lock = (_LOCKS / f"{run_id}.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _remove_run(run_id: str) -> None:
    namespaces = sorted(path.name for path in _NAMESPACES.glob(f"{_PREFIX}{run_id}-*"))
    pids = [pid for each in namespaces for pid in run(["ip", "netns", "pids", each], check=False).split()]
    # PostgreSQL frees its shared memory on SIGQUIT, and would leave it behind on SIGKILL.
    _end([pid for pid in pids if _read_name(pid) == "postgres"], signal.SIGQUIT)
    _end(pids, signal.SIGKILL)
    for name in namespaces:
        run(["ip", "netns", "del", name], check=False)
        shutil.rmtree(_ETC / name, ignore_errors=True)
    with suppress(OSError):
        _ETC.rmdir()  # where nothing else is in it


def _end(pids: Collection[str], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(int(pid), number)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline and any(map(_is_running, pids)):
        time.sleep(0.02)


def _read_name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _is_running(pid: str) -> bool:
    """Say whether a process runs; a zombie, which its parent has not collected yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _enter(namespace: IO[str]) -> None:
    # os.setns is there from Python 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")
