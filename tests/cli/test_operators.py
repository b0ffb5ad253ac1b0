"""What operators do at the command line: administrators and keys."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from adapters.keys import KeyFiles
from cli.migrations import upgrade_to_head
from settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def parlance(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def house(environment: dict[str, str], settings: Settings) -> dict[str, str]:
    """The settings of a database without accounts, so that its administrators are those of these tests."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE operators")
    upgrade_to_head(settings.model_copy(update={"db_name": "operators"}))
    return {**environment, "DB_NAME": "operators"}


def test_an_operator_tells_one_user_or_everybody(house: dict[str, str], settings: Settings) -> None:
    for email in ("ada@example.com", "bob@example.com"):
        assert parlance("admins", "create", email, stdin="correct horse\n", **house).returncode == 0
    try:
        one = parlance("notifications", "send", "Hello", "Ada.", "--to", "ADA@example.com", **house)
        assert (one.returncode, one.stdout) == (0, "notified ADA@example.com\n"), one.stderr
        everybody = parlance("notifications", "send", "Maintenance", "On Sunday.", "--everybody", **house)
        assert everybody.returncode == 0 and everybody.stdout.startswith("notified "), everybody.stderr
        nobody = parlance("notifications", "send", "Hello", "You.", "--to", "nobody@example.com", **house)
        assert nobody.returncode == 1 and nobody.stderr.startswith("parlance: not_found:")
        for misused in ((), ("--everybody", "--to", "ada@example.com")):
            assert parlance("notifications", "send", "Hello", "You.", *misused, **house).returncode == 2
        assert parlance("notifications", "send", " ", "You.", "--everybody", **house).returncode == 2
        operators = settings.model_copy(update={"db_name": "operators"})
        with psycopg.connect(operators.database_url, autocommit=True) as connection:
            told = connection.execute(
                "SELECT email, title, type::text FROM notifications JOIN users ON users.id = user_id"
                " WHERE email IN ('ada@example.com', 'bob@example.com') ORDER BY email, title"
            ).fetchall()
            assert told == [
                ("ada@example.com", "Hello", "system"),
                ("ada@example.com", "Maintenance", "system"),
                ("bob@example.com", "Maintenance", "system"),
            ]
    finally:
        operators = settings.model_copy(update={"db_name": "operators"})
        with psycopg.connect(operators.database_url, autocommit=True) as connection:
            connection.execute("UPDATE users SET role = 'student'")


def test_administrators_come_and_go_but_the_last_one_stays(house: dict[str, str]) -> None:
    made = parlance("admins", "create", "ops@example.com", stdin="correct horse\n", **house)
    assert made.returncode == 0, made.stderr
    assert parlance("admins", "create", "OPS@example.com", stdin="correct horse\n", **house).returncode == 1

    last = parlance("admins", "demote", "ops@example.com", **house)
    assert last.returncode == 1 and last.stderr.startswith("parlance: last_admin:")
    nobody = parlance("admins", "promote", "nobody@example.com", **house)
    assert nobody.returncode == 1 and nobody.stderr.startswith("parlance: not_found:")

    parlance("admins", "create", "second@example.com", stdin="correct horse\n", **house)
    with ThreadPoolExecutor(2) as pool:
        names = ("ops@example.com", "second@example.com")
        both = list(pool.map(lambda name: parlance("admins", "demote", name, **house), names))
    assert sorted(each.returncode for each in both) == [0, 1]
    (left,) = json.loads(parlance("admins", "list", "--json", **house).stdout)
    assert left["email"] == names[[each.returncode for each in both].index(1)]


def test_a_password_that_is_too_short_is_refused(house: dict[str, str]) -> None:
    refused = parlance("admins", "create", "third@example.com", stdin="short\n", **house)
    assert refused.returncode == 1 and "request_invalid" in refused.stderr


def test_keys_are_made_rotated_listed_and_pruned(tmp_path: Path) -> None:
    paths = {
        "JWT_PRIVATE_KEY_PATH": str(tmp_path / "private.pem"),
        "JWT_PUBLIC_KEY_PATH": str(tmp_path / "public.pem"),
    }
    assert parlance("keys", "generate", **paths).returncode == 0
    assert stat.S_IMODE((tmp_path / "private.pem").stat().st_mode) == 0o600
    again = parlance("keys", "generate", **paths)
    assert again.returncode == 1 and "keys rotate" in again.stderr
    assert parlance("keys", "rotate", **paths).returncode == 0
    listed = json.loads(parlance("keys", "list", "--json", **paths).stdout)
    assert [(key["kid"], key["signs"]) for key in listed] == [("key-v2", True), ("key-v1", False)]
    assert "nothing to prune" in parlance("keys", "prune", **paths).stdout
    (tmp_path / "published" / "key-v1.retired").write_text("2020-01-01T00:00:00+00:00")
    assert "key-v1" in parlance("keys", "prune", **paths).stdout


def test_what_is_not_configured_is_named_all_at_once(tmp_path: Path) -> None:
    refused = parlance(
        "serve", DB_HOST="", REDIS_HOST="", STORAGE_ENDPOINT="", PARLANCE_ENV_FILE=str(tmp_path / "none"), APP_ENV=""
    )
    assert refused.returncode == 1
    assert all(name in refused.stderr for name in ("DB_HOST", "REDIS_HOST", "STORAGE_ENDPOINT"))


def test_a_bad_setting_is_named_without_its_value() -> None:
    refused = parlance("keys", "list", JWT_ACCESS_EXPIRY="s3cret", DB_PORT="lots")
    assert refused.returncode == 1
    assert "JWT_ACCESS_EXPIRY" in refused.stderr and "DB_PORT" in refused.stderr and "s3cret" not in refused.stderr


def test_misuse_exits_with_two() -> None:
    assert parlance("keys", "paint").returncode == 2


def test_migrations_say_where_they_are(house: dict[str, str]) -> None:
    assert "(head)" in parlance("migrations", "current", **house).stdout
    refused = parlance("migrations", "upgrade", "nowhere", **house)
    assert refused.returncode == 1 and "nowhere" in refused.stderr


def test_a_pair_that_was_not_made_by_us_rotates(settings: Settings, tmp_path: Path) -> None:
    files = KeyFiles(
        settings.model_copy(
            update={"jwt_private_key_path": tmp_path / "private.pem", "jwt_public_key_path": tmp_path / "public.pem"}
        )
    )
    files.generate()
    for path in (tmp_path / "published").iterdir():
        path.unlink()
    assert files.rotate() == "key-v2"
    assert [key.key_id for key in files.published()] == ["key-v2", "key-v1"]
