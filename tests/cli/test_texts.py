"""`parlance texts` and `parlance pictures`, as operators use them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.migrations import upgrade_to_head
from settings import Settings
from tests.cli.test_operators import parlance


@pytest.fixture(scope="module")
def operators(settings: Settings) -> Settings:
    """The settings of a database without accounts."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE texts")
    own = settings.model_copy(update={"db_name": "texts"})
    upgrade_to_head(own)
    return own


@pytest.fixture
def variables(environment: dict[str, str], operators: Settings) -> dict[str, str]:
    return {**environment, "DB_NAME": operators.db_name}


@pytest.fixture
def learner(variables: dict[str, str], operators: Settings) -> Iterator[str]:
    """The id of a learner whose profile a test may write."""
    email = f"{uuid.uuid4().hex}@example.com"
    created = parlance("admins", "create", email, stdin="correct horse\n", **variables)
    assert created.returncode == 0, created.stderr
    with psycopg.connect(operators.database_url, autocommit=True) as connection:
        row = connection.execute("UPDATE users SET role = 'student' WHERE email = %s RETURNING id", [email]).fetchone()
        assert row is not None
        yield str(row[0])
        connection.execute(
            "UPDATE profiles SET bio = NULL, display_name = NULL, avatar_url = NULL, avatar_held_at = NULL"
            " WHERE user_id = %s",
            [row[0]],
        )


def write_profile(operators: Settings, user_id: str, **values: object) -> None:
    columns = ", ".join(f"{name} = %({name})s" for name in values)
    with psycopg.connect(operators.database_url, autocommit=True) as connection:
        connection.execute(f"UPDATE profiles SET {columns} WHERE user_id = %(user_id)s", {**values, "user_id": user_id})


def test_check_prints_the_entry_of_each_text(variables: dict[str, str]) -> None:
    checked = parlance("texts", "check", "sex education", "s.h.1.t", **variables)
    assert checked.returncode == 1
    assert checked.stdout == "sex education  allowed\ns.h.1.t  en: shit\n"
    assert "1 of 2 texts are refused" in checked.stderr


def test_check_reads_lines_and_writes_json(variables: dict[str, str]) -> None:
    checked = parlance("texts", "check", "--json", stdin="travel\nStaff\n", **variables)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert [each["isRefused"] for each in json.loads(checked.stdout)] == [False, False]
    named = parlance("texts", "check", "--json", "--field", "username", "julia_admin", **variables)
    assert named.returncode == 1
    assert json.loads(named.stdout) == [{"text": "julia_admin", "isRefused": True, "entry": None, "language": None}]
    nothing = parlance("texts", "check", "--json", stdin="", **variables)
    assert (nothing.returncode, json.loads(nothing.stdout)) == (0, [])


def test_check_refuses_an_unknown_field(variables: dict[str, str]) -> None:
    assert parlance("texts", "check", "--field", "avatar", "x", **variables).returncode == 2


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is not a folder"), (b"a\n", "too short"), (b"\xff\xfe", "cannot be read")]
)
def test_check_names_a_broken_list(
    variables: dict[str, str], tmp_path: Path, content: bytes | None, message: str
) -> None:
    folder = tmp_path / "lists"
    if content is not None:
        folder.mkdir()
        (folder / "en.txt").write_bytes(content)
    checked = parlance("texts", "check", "x", **{**variables, "WORD_LISTS_DIRECTORY": str(folder)})
    assert checked.returncode == 1 and message in checked.stderr and str(folder) in checked.stderr
    assert "Traceback" not in checked.stderr


def test_scan_lists_stored_texts(variables: dict[str, str], operators: Settings, learner: str) -> None:
    empty = parlance("texts", "scan", **variables)
    assert (empty.returncode, empty.stdout) == (0, "0 texts to review\n"), empty.stderr
    write_profile(operators, learner, bio="what the fuck", display_name="Parlance Support")
    scanned = json.loads(parlance("texts", "scan", "--json", **variables).stdout)
    assert sorted((each["userId"], each["field"], each["entry"], each["language"]) for each in scanned) == [
        (learner, "bio", "*fuck*", "en"),
        (learner, "displayName", None, None),
    ]
    lines = parlance("texts", "scan", **variables).stdout.splitlines()
    assert f"{learner}  bio  'what the fuck'  en: *fuck*" in lines and lines[-1] == "2 texts to review"
    assert any(line.endswith("reads like staff") for line in lines)


def test_held_pictures_are_listed_and_decided(variables: dict[str, str], operators: Settings, learner: str) -> None:
    empty = parlance("pictures", "list", "--json", **variables)
    assert (empty.returncode, json.loads(empty.stdout)) == (0, []), empty.stderr
    url = f"https://files.example.com/avatars/{learner}/1.webp"
    for command, said in (("keep", "shown"), ("remove", "removed")):
        write_profile(operators, learner, avatar_url=url, avatar_held_at="2026-11-30T10:00:00Z")
        [held] = json.loads(parlance("pictures", "list", "--json", **variables).stdout)
        assert (held["userId"], held["url"]) == (learner, url) and held["waitingSince"].startswith("2026-11-30T10:00")
        assert parlance("pictures", "list", **variables).stdout.endswith(f"{url}\n1 pictures to review\n")
        decided = parlance("pictures", command, url, **variables)
        assert (decided.returncode, decided.stdout) == (0, f"the picture of {learner} is {said}\n"), decided.stderr
        again = parlance("pictures", command, url, **variables)
        assert again.returncode == 1 and again.stderr.startswith("parlance: not_found:")
    assert parlance("pictures", "keep", **variables).returncode == 2
