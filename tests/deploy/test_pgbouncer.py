"""A real PgBouncer before PostgreSQL: sessions are pooled with the default settings, transactions by a setting."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import app
from adapters import postgresql
from cli.migrations import upgrade_to_head
from container import Container
from devtools.embedded.postgres import get_unprivileged_prefix
from jobs import send_verification
from settings import Settings
from testing.databases import own_database, value
from testing.debian_programs import find_program, is_listening, running
from testing.payments import fake_providers, with_payment_accounts
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import client, register
from testing.shop import run_job_worker

pytestmark = pytest.mark.system

#: Connections to PostgreSQL in transaction mode: fewer than those of the product, so that each serves several.
SHARED = 2


@contextmanager
def pgbouncer(settings: Settings, directory: Path, mode: str) -> Iterator[Settings]:
    """Run PgBouncer with the options of Debian's file but for names and the mode; yield settings that lead to it."""
    program, port = find_program("pgbouncer", "pgbouncer"), free_port()
    ((host, server_port),) = settings.database_hosts
    directory.mkdir(parents=True)
    login = f"user={settings.db_username} password={settings.db_password.get_secret_value()}"
    size = "" if mode == "session" else f"default_pool_size = {SHARED}"
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={host} port={server_port} {login}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\n{size}\n"
    )
    command = [str(part) for part in (*get_unprivileged_prefix(), program, directory / "pgbouncer.ini")]
    with running(command, directory / "pgbouncer.log", lambda: is_listening(port)):
        yield settings.model_copy(
            update={"db_host": "127.0.0.1", "db_port": port, "db_transaction_pooling": mode == "transaction"}
        )


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_product_works_behind_pgbouncer(
    mode: str, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    """Migrations, requests side by side, and jobs."""
    with own_database(settings) as own, pgbouncer(own, tmp_path / "pgbouncer", mode) as pooled:
        upgrade_to_head(pooled)  # nothing is left to run, but its lock is taken
        with_accounts = with_payment_accounts(pooled)
        services = Container(with_accounts, payment_providers=fake_providers(with_accounts))
        async with services.lifespan(None), client(app.create(services)) as http:
            learner = await register(http)

            async def use(number: int) -> list[int]:
                written = await http.patch("/users/me", json={"displayName": f"Ada {number}"})
                reads = [await http.get("/users/me") for _ in range(3)]
                return [each.status_code for each in (written, *reads)]

            for _ in range(8):  # psycopg prepares what it has executed five times
                assert await asyncio.gather(*(use(number) for number in range(6))) == [[200] * 4] * 6
            assert (await http.get("/ready")).status_code == 200
            async with services.database.transaction() as db:
                for name, expected in (("statement_timeout", "8s"), ("timezone", "UTC")):
                    assert (await db.execute(sa.text(f"SHOW {name}"))).scalar_one() == expected

            async def is_empty() -> bool:
                statement = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'auth.send_verification'"
                return bool(await value(services, statement) == 0)

            variables = {
                **environment,
                "DB_NAME": own.db_name,
                "DB_HOST": "127.0.0.1",
                "DB_PORT": str(pooled.db_port),
                "DB_TRANSACTION_POOLING": str(pooled.db_transaction_pooling).lower(),
            }
            with run_job_worker(variables, tmp_path / "worker.log"):
                for _ in range(3):
                    async with services.database.transaction() as db:
                        await services.jobs.enqueue(db, send_verification, user_id=str(uuid.uuid4()))
                    await eventually(is_empty, (tmp_path / "worker.log").read_text, within=20)
            assert learner.id


async def test_transaction_pooling_without_the_setting_fails(settings: Settings, tmp_path: Path) -> None:
    """So the test above would fail without what the setting does."""
    with own_database(settings) as own, pgbouncer(own, tmp_path / "pgbouncer", "transaction") as pooled:
        wrong = pooled.model_copy(update={"db_transaction_pooling": False, "db_pool_size": 5})
        engine = postgresql.engine(wrong)

        async def use() -> None:
            async with engine.begin() as connection:
                for number in range(6):
                    await connection.execute(sa.text("SELECT CAST(:number AS int)"), {"number": number})

        results: list[BaseException | None] = []
        for _ in range(10):
            results += await asyncio.gather(*(use() for _ in range(5)), return_exceptions=True)
        failures = [each for each in results if isinstance(each, sa.exc.DBAPIError)]
        assert any(isinstance(each.orig, psycopg.errors.DuplicatePreparedStatement) for each in failures) or any(
            isinstance(each.orig, psycopg.errors.InvalidSqlStatementName) for each in failures
        ), results
        await engine.dispose()
