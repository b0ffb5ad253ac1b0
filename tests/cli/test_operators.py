"""Commands of operators: administrators and keys."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from minio import Minio

from adapters.keys import KeyFiles
from cli.migrations import upgrade_to_head
from settings import Settings
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[2]


def parlance(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )


@pytest.fixture(scope="module")
def variables(environment: dict[str, str], settings: Settings) -> dict[str, str]:
    """The settings of a database without accounts, so that its administrators are those of these tests."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE operators")
    upgrade_to_head(settings.model_copy(update={"db_name": "operators"}))
    return {**environment, "DB_NAME": "operators"}


def test_operator_notifies_one_user_or_all(variables: dict[str, str], settings: Settings) -> None:
    for email in ("ada@example.com", "bob@example.com"):
        assert parlance("admins", "create", email, stdin="correct horse\n", **variables).returncode == 0
    try:
        one = parlance("notifications", "send", "Hello", "Ada.", "--to", "ADA@example.com", **variables)
        assert (one.returncode, one.stdout) == (0, "notified ADA@example.com\n"), one.stderr
        everybody = parlance("notifications", "send", "Maintenance", "On Sunday.", "--everybody", **variables)
        assert everybody.returncode == 0 and everybody.stdout.startswith("notified "), everybody.stderr
        nobody = parlance("notifications", "send", "Hello", "You.", "--to", "nobody@example.com", **variables)
        assert nobody.returncode == 1 and nobody.stderr.startswith("parlance: not_found:")
        for misused in ((), ("--everybody", "--to", "ada@example.com")):
            assert parlance("notifications", "send", "Hello", "You.", *misused, **variables).returncode == 2
        assert parlance("notifications", "send", " ", "You.", "--everybody", **variables).returncode == 2
        operators = settings.model_copy(update={"db_name": "operators"})
        with psycopg.connect(operators.database_url, autocommit=True) as connection:
            stored = connection.execute(
                "SELECT email, title, type::text FROM notifications JOIN users ON users.id = user_id"
                " WHERE email IN ('ada@example.com', 'bob@example.com') ORDER BY email, title"
            ).fetchall()
            assert stored == [
                ("ada@example.com", "Hello", "system"),
                ("ada@example.com", "Maintenance", "system"),
                ("bob@example.com", "Maintenance", "system"),
            ]
    finally:
        operators = settings.model_copy(update={"db_name": "operators"})
        with psycopg.connect(operators.database_url, autocommit=True) as connection:
            connection.execute("UPDATE users SET role = 'student'")


def test_last_administrator_cannot_be_removed(variables: dict[str, str]) -> None:
    made = parlance("admins", "create", "ops@example.com", stdin="correct horse\n", **variables)
    assert made.returncode == 0, made.stderr
    assert parlance("admins", "create", "OPS@example.com", stdin="correct horse\n", **variables).returncode == 1

    last = parlance("admins", "demote", "ops@example.com", **variables)
    assert last.returncode == 1 and last.stderr.startswith("parlance: last_admin:")
    nobody = parlance("admins", "promote", "nobody@example.com", **variables)
    assert nobody.returncode == 1 and nobody.stderr.startswith("parlance: not_found:")

    parlance("admins", "create", "second@example.com", stdin="correct horse\n", **variables)
    with ThreadPoolExecutor(2) as pool:
        names = ("ops@example.com", "second@example.com")
        both = list(pool.map(lambda name: parlance("admins", "demote", name, **variables), names))
    assert sorted(each.returncode for each in both) == [0, 1]
    (left,) = json.loads(parlance("admins", "list", "--json", **variables).stdout)
    assert left["email"] == names[[each.returncode for each in both].index(1)]


def test_roles_of_staff_are_given_and_listed(variables: dict[str, str]) -> None:
    for email, role in (("root@example.com", "admin"), ("mod@example.com", "moderator")):
        made = parlance("admins", "create", email, "--role", role, stdin="correct horse\n", **variables)
        assert made.returncode == 0 and f"{email} is a" in made.stdout, made.stderr
    assert parlance("admins", "create", "x@example.com", "--role", "student", **variables).returncode == 2
    listed = json.loads(parlance("admins", "list", "--json", **variables).stdout)
    roles = {each["email"]: each["role"] for each in listed}
    assert roles["root@example.com"] == "admin" and roles["mod@example.com"] == "moderator"
    assert "mod@example.com  moderator\n" in parlance("admins", "list", **variables).stdout
    for email in roles.keys() - {"root@example.com", "mod@example.com"}:
        assert parlance("admins", "demote", email, **variables).returncode == 0
    # An administrator who becomes a moderator is one less, too.
    last = parlance("admins", "promote", "root@example.com", "--role", "moderator", **variables)
    assert last.returncode == 1 and last.stderr.startswith("parlance: last_admin:")
    raised = parlance("admins", "promote", "mod@example.com", **variables)
    assert raised.stdout == "mod@example.com is an administrator\n"
    lowered = parlance("admins", "promote", "root@example.com", "--role", "moderator", **variables)
    assert lowered.stdout == "root@example.com is a moderator\n"
    assert parlance("admins", "promote", "root@example.com", **variables).returncode == 0


def test_logins_and_factors_of_staff_are_managed(variables: dict[str, str], settings: Settings) -> None:
    email = "keeper@example.com"
    parlance("admins", "create", email, "--role", "moderator", stdin="correct horse\n", **variables)
    family = uuid.uuid4()
    operators = settings.model_copy(update={"db_name": "operators"})
    with psycopg.connect(operators.database_url, autocommit=True) as connection:
        (user_id,) = connection.execute("SELECT id FROM users WHERE email = %s", [email]).fetchone() or ()
        connection.execute(
            "INSERT INTO refresh_tokens (id, user_id, family_id, token_hash, device_id, platform, expires_at)"
            " VALUES (gen_random_uuid(), %s, %s, %s, 'desk', 'web', now() + interval '1 day')",
            [user_id, family, "ab" * 32],
        )
        connection.execute(
            "INSERT INTO second_factors (user_id, secret, enrolled_at) VALUES (%s, 'plain:JBSWY3DP', now())", [user_id]
        )
    (login,) = json.loads(parlance("admins", "logins", email, "--json", **variables).stdout)
    assert (login["id"], login["deviceId"], login["factorProvenAt"]) == (str(family), "desk", None)
    assert str(family) in parlance("admins", "logins", email, **variables).stdout
    assert parlance("admins", "logins", email, "--end", str(uuid.uuid4()), **variables).returncode == 1
    assert parlance("admins", "logins", email, "--end", str(family), **variables).returncode == 0
    assert json.loads(parlance("admins", "logins", email, "--json", **variables).stdout) == []
    assert parlance("admins", "logins", "nobody@example.com", **variables).stderr.startswith("parlance: not_found:")

    assert parlance("admins", "reset-factor", email, **variables).returncode == 0
    again = parlance("admins", "reset-factor", email, **variables)
    assert again.returncode == 1 and "has no second factor" in again.stderr
    with psycopg.connect(operators.database_url) as connection:
        entries = connection.execute(
            "SELECT action FROM audit_log WHERE subject_id = %s ORDER BY number", [user_id]
        ).fetchall()
    assert entries == [("admin.create",), ("staff.logout",), ("second_factor.reset",)]


def test_short_password_is_refused(variables: dict[str, str]) -> None:
    refused = parlance("admins", "create", "third@example.com", stdin="short\n", **variables)
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


def test_missing_settings_are_named_together(tmp_path: Path) -> None:
    refused = parlance(
        "serve", DB_HOST="", REDIS_HOST="", STORAGE_ENDPOINT="", PARLANCE_ENV_FILE=str(tmp_path / "none"), APP_ENV=""
    )
    assert refused.returncode == 1
    assert all(name in refused.stderr for name in ("DB_HOST", "REDIS_HOST", "STORAGE_ENDPOINT"))


def test_bad_setting_is_named_without_its_value() -> None:
    refused = parlance("keys", "list", JWT_ACCESS_EXPIRY="s3cret", DB_PORT="lots")
    assert refused.returncode == 1
    assert "JWT_ACCESS_EXPIRY" in refused.stderr and "DB_PORT" in refused.stderr and "s3cret" not in refused.stderr


def test_usage_error_exits_with_two() -> None:
    assert parlance("keys", "paint").returncode == 2


def test_migrations_current_prints_the_revision(variables: dict[str, str]) -> None:
    assert "(head)" in parlance("migrations", "current", **variables).stdout
    refused = parlance("migrations", "upgrade", "nowhere", **variables)
    assert refused.returncode == 1 and "nowhere" in refused.stderr


def test_foreign_key_pair_rotates(settings: Settings, tmp_path: Path) -> None:
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


def test_bucket_is_created_with_public_pictures(variables: dict[str, str], settings: Settings) -> None:
    own = {**variables, "STORAGE_BUCKET_NAME": "made-by-an-operator"}
    for _ in range(2):
        made = parlance("bucket", "create", **own)
        assert (made.returncode, made.stdout) == (0, "the bucket made-by-an-operator is ready\n"), made.stderr
    store = Minio(
        urlsplit(variables["STORAGE_ENDPOINT"]).netloc,
        access_key=variables["STORAGE_ACCESS_KEY"],
        secret_key=variables["STORAGE_SECRET_KEY"],
        secure=False,
    )
    assert "made-by-an-operator/avatars/*" in store.get_bucket_policy("made-by-an-operator")


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("STORAGE_ENDPOINT", "", r"STORAGE_ENDPOINT is not set; .*"),
        ("STORAGE_ENDPOINT", "http://127.0.0.1:9", r"the storage at http://127\.0\.0\.1:9 does not answer \(.*\)"),
        ("STORAGE_SECRET_KEY", "wrong", r"the storage at http://\S+ refused \(\S+\); check STORAGE_\*"),
        ("STORAGE_BUCKET_NAME", "No Bucket", r"STORAGE_BUCKET_NAME is No Bucket: .*"),
    ],
)
def test_bucket_refusal_is_one_sentence(variables: dict[str, str], setting: str, value: str, sentence: str) -> None:
    refused = parlance("bucket", "create", **{**variables, setting: value})
    assert (refused.returncode, refused.stdout) == (1, "")
    assert re.fullmatch(f"parlance: {sentence}\n", refused.stderr), refused.stderr


def test_operator_sets_the_age_of_an_account(variables: dict[str, str]) -> None:
    assert parlance("admins", "create", "minor@example.com", stdin="correct horse\n", **variables).returncode == 0
    done = parlance("users", "set-age", "MINOR@example.com", "16_17", **variables)
    assert (done.returncode, done.stdout) == (0, "minor@example.com is in the age band 16_17\n"), done.stderr
    nobody = parlance("users", "set-age", "nobody@example.com", "18_plus", **variables)
    assert nobody.returncode == 1 and nobody.stderr.startswith("parlance: not_found:")
    assert parlance("users", "set-age", "minor@example.com", "19", **variables).returncode == 2
