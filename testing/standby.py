"""A PostgreSQL with a streaming standby, from the embedded binaries."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from adapters.child_processes import die_with_parent
from devtools.embedded.postgres import find_programs, get_unprivileged_prefix
from testing.polling import wait_until
from testing.ports import free_port
from testing.time_limits import limit

NAME = "parlance"
_ACCESS = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"


@dataclass
class PostgresServer:
    """One PostgreSQL server on 127.0.0.1."""

    data: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a product that uses this server."""
        return {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self.port),
            "DB_USERNAME": NAME,
            "DB_PASSWORD": "none",
            "DB_NAME": NAME,
        }

    def start(self) -> None:
        log = self.data.with_suffix(".log")
        options = {"port": self.port, "unix_socket_directories": "", "fsync": "off", "listen_addresses": "127.0.0.1"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*get_unprivileged_prefix(), find_programs() / "postgres", "-D", self.data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGINT),
            )
        wait_until(lambda: self.execute("SELECT 1") is not None, log.read_text, within=30)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]] | None:
        """Run one statement, and return its rows; None while the server does not answer."""
        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(
                f"host=127.0.0.1 port={self.port} user={NAME} dbname={database} connect_timeout=5", autocommit=True
            ) as connection,
        ):
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
        return None

    def demote(self) -> None:
        """Restart it as a standby without a primary: it lives on, and can only read."""
        self.stop(signal.SIGINT)
        (self.data / "standby.signal").touch()
        self.start()

    def promote(self) -> None:
        self.execute("SELECT pg_promote()")
        wait_until(lambda: self.execute("SELECT pg_is_in_recovery()") == [(False,)], lambda: "promoted", within=30)

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(limit(15))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def primary_and_standby(directory: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Run a primary, with an empty database, and a standby that has caught up."""
    programs = find_programs()
    prefix = [str(part) for part in get_unprivileged_prefix()]
    primary = PostgresServer(directory / "primary", free_port())
    standby = PostgresServer(directory / "standby", free_port())
    access = ["--username", NAME, "--auth=trust"]
    initdb = ["-D", str(primary.data), *access, "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]
    subprocess.run([*prefix, programs / "initdb", *initdb], check=True, capture_output=True)
    (primary.data / "pg_hba.conf").write_text(_ACCESS)
    try:
        primary.start()
        primary.execute(f"CREATE DATABASE {NAME}")
        copy = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", NAME, "-D", str(standby.data), "-R", "-c", "fast"]
        subprocess.run([*prefix, programs / "pg_basebackup", *copy, "--no-sync"], check=True, capture_output=True)
        standby.start()
        yield primary, standby
    finally:
        standby.stop()
        primary.stop()


def wait_for_replay(primary: PostgresServer, standby: PostgresServer) -> None:
    """Wait until the standby has what the primary has written so far."""
    ((position,),) = primary.execute("SELECT pg_current_wal_lsn()") or [(None,)]
    wait_until(
        lambda: standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == [(True,)],
        lambda: "the standby has caught up",
        within=30,
    )
