"""One account and one limit for each e-mail address, in any spelling."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.util import CommandError

from adapters.mail.mailbox import Mailbox
from adapters.ports import Mail
from cli.migrations import _config
from container import Container
from models.email_addresses import to_canonical, to_deliverable
from services.identity.login_opening import Client
from settings import Settings
from testing.accounts import credentials
from testing.databases import own_database, query
from testing.servers import PASSWORD, client

#: Spellings of one address each; `{}` makes it unique.
SPELLINGS = {
    "case": ["Ada{}@example.com", "ADA{}@EXAMPLE.COM"],
    "turkish i": ["i{}@example.com", "İ{}@example.com", "ı{}@example.com", "I{}@example.com"],
    "long s": ["s{}@example.com", "ſ{}@example.com"],
    "kelvin": ["k{}@example.com", "\u212a{}@example.com"],
    "sharp s": ["ss{}@example.com", "ß{}@example.com", "ẞ{}@example.com"],
    "nfd": ["jos\u00e9{}@example.com", "jose\u0301{}@example.com", "JOSE\u0301{}@example.com"],
    "full width": ["ada{}@example.com", "ａｄａ{}@ｅｘａｍｐｌｅ．com", "ada{}@example。com"],
    "root dot": ["ada{}@example.com", "ada{}@example.com."],
    "idn": [
        "ada{}@bücher.example",
        "ada{}@xn--bcher-kva.example",
        "ada{}@XN--BCHER-KVA.example",
        "ada{}@BÜCHER.example",
    ],
}
REFUSED = {
    "comma": "a,victim@example.com",
    "angle bracket": "a<victim@example.com",
    "display name": "Ada <ada@example.com>",
    "quoted": '"a b"@example.com',
    "comment": "a(b)@example.com",
    "group": "a:b;@example.com",
    "encoded word": "=?utf-8?q?victim?=@example.com",
    "full-width comma": "a，victim@example.com",
    "next line": "a\u0085b@example.com",
    "line break": "ada@example.com\n",
    "tab": "a\tb@example.com",
    "no-break space": "a\u00a0b@example.com",
    "zero width": "a\u200bb@example.com",
    "joiner": "a\u200db@example.com",
    "soft hyphen": "a\u00adb@example.com",
    "soft hyphen in the domain": "ada@exam\u00adple.com",
    "bidi override": "a\u202eb@example.com",
    "variation selector": "a\ufe0fb@example.com",
    "hangul filler": "a\u3164b@example.com",
    "tag": "a\U000e0061b@example.com",
    "ip address": "ada@127.0.0.1",
    "ip literal": "ada@[127.0.0.1]",
    "ipv6 literal": "ada@[IPv6:::1]",
    "no dot": "ada@localhost",
    "bad punycode": "ada@xn--zz.example",
    "two at": "a@b@example.com",
    "nothing": "@example.com",
}


def every_spelling(kind: str) -> list[str]:
    name = uuid.uuid4().hex[:12]
    return [each.format(name) for each in SPELLINGS[kind]]


@pytest.mark.parametrize("kind", SPELLINGS)
async def test_email_spellings_are_one_account(asgi: Any, kind: str) -> None:
    spellings = every_spelling(kind)
    async with client(asgi) as http:
        first = await http.post("/auth/register", json=credentials(spellings[0]))
        assert first.status_code == 201, first.text
        for each in spellings[1:]:
            taken = await http.post("/auth/register", json=credentials(each))
            assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")
    for each in spellings:
        async with client(asgi) as http:
            login = await http.post("/auth/login", json=credentials(each))
            assert login.json()["user"]["id"] == first.json()["user"]["id"]


async def test_email_spellings_share_limits(asgi: Any) -> None:
    """Twenty guesses and three reset mails for an account, from any number of addresses, in any spelling."""
    for path, limit, body in (
        ("/auth/login", 20, credentials("", password="wrong password")),
        ("/auth/forgot-password", 3, {}),
    ):
        spellings = every_spelling("turkish i")
        statuses = []
        for number in range(limit + 4):
            async with client(asgi) as http:
                email = spellings[number % len(spellings)]
                statuses.append((await http.post(path, json={**body, "email": email})).status_code)
        assert 429 not in statuses[:limit] and set(statuses[limit:]) == {429}, path


@pytest.mark.rest_paths
@pytest.mark.parametrize("kind", REFUSED)
async def test_ambiguous_email_is_refused(asgi: Any, kind: str) -> None:
    async with client(asgi) as http:
        for path, body in (
            ("/auth/register", credentials(REFUSED[kind])),
            ("/auth/forgot-password", {"email": REFUSED[kind]}),
        ):
            answer = await http.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid"), answer.text
            assert "'email'" in answer.json()["detail"] and "victim" not in answer.text


async def test_database_refuses_a_second_account_of_an_address(container: Container) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    await container.authentication.register(email, PASSWORD, "phone", "ios")
    with pytest.raises(Exception, match="users_email_key"):
        await query(
            container,
            "INSERT INTO users (id, email, email_canonical, password_hash)"
            " VALUES (gen_random_uuid(), 'other@example.com', :form, '')",
            form=to_canonical(email),
        )


async def test_cli_finds_an_account_by_any_email_spelling(
    container: Container, make_learner: Callable[..., Any]
) -> None:
    stored, *others = every_spelling("nfd")
    account = await container.authentication.register(stored, PASSWORD, "phone", "ios")
    for each in (stored, *others):
        assert (await container.administrators.promote(each)).id == account.user.id
        await container.notifications.send(each, "Title", "Body")
        page = await container.user_directory.list_all(limit=5, search=each.rpartition("@")[0])
        assert [found.user.id for found in page.items] == [account.user.id]
    assert account.user.email == to_deliverable(stored) == stored


def test_canonical_email_is_stable() -> None:
    for kind in SPELLINGS:
        forms = {to_canonical(each) for each in every_spelling_of_one(kind)}
        assert len(forms) == 1 and {to_canonical(each) for each in forms} == forms
    for each in REFUSED.values():
        assert to_deliverable(each) is None and to_canonical(to_canonical(each)) == to_canonical(each)


def every_spelling_of_one(kind: str) -> list[str]:
    return [each.format("x") for each in SPELLINGS[kind]]


async def test_mail_to_an_international_address_has_one_recipient(settings: Settings, tmp_path: Path) -> None:
    mailbox = Mailbox(settings.model_copy(update={"mail_directory": tmp_path}))
    for to in ("josé@xn--bcher-kva.example", "ada@example.com"):
        await mailbox.send(Mail(to, "Subject", "<p>Text</p>", "Text", "http://x"), idempotency_key=to[:3])
        written = (tmp_path / f"{to[:3]}.eml").read_bytes()
        assert f"To: {to}\r\n".encode() in written
        assert len(message_from_bytes(written, policy=policy.SMTPUTF8)["To"].addresses) == 1


# --- Accounts from before ---------------------------------------------------------------------

_BEFORE = "3f0c5d1b7a94"


def _add_users(settings: Settings, *emails: str) -> list[str]:
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        return [
            str(
                connection.execute(
                    "INSERT INTO users (id, email, password_hash) VALUES (gen_random_uuid(), %s, '') RETURNING id",
                    (email,),
                ).fetchall()[0][0]
            )
            for email in emails
        ]


def _column(settings: Settings, statement: str) -> list[Any]:
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        return [row[0] for row in connection.execute(statement.encode()).fetchall()]


def test_migration_reports_collisions_and_changes_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_database(settings) as own:
        command.downgrade(_config(own), _BEFORE)
        alone, nfc, nfd, odd = _add_users(
            own, "Ada@Example.com", "jos\u00e9@example.com", "jose\u0301@example.com", "a,victim@example.com"
        )
        with pytest.raises(CommandError) as refused:
            command.upgrade(_config(own), "head")
        report = str(refused.value)
        assert nfc in report and nfd in report and alone not in report and odd not in report
        assert "nothing was changed" in report and "UPDATE users SET email" in report
        assert _column(own, "SELECT version_num FROM alembic_version") == [_BEFORE]
        assert len(_column(own, "SELECT email FROM users")) == 4

        _column(own, f"UPDATE users SET email = 'other@example.com' WHERE id = '{nfd}' RETURNING 1")
        command.upgrade(_config(own), "head")
        assert f"address_not_deliverable user_id={odd}" in capsys.readouterr().out
        forms = _column(own, "SELECT email_canonical FROM users ORDER BY 1")
        assert forms == ["a,victim@example.com", "ada@example.com", "jos\u00e9@example.com", "other@example.com"]
        assert "Ada@Example.com" in _column(own, "SELECT email FROM users")
        command.downgrade(_config(own), _BEFORE)
        assert "Ada@Example.com" in _column(own, "SELECT email FROM users")


async def test_account_with_an_undeliverable_address_can_log_in(asgi: Any, container: Container) -> None:
    """Accounts from before the rule can log in, and get no mail that another person could read."""
    name = uuid.uuid4().hex
    account = await container.authentication.register(f"{name}@example.com", PASSWORD, "phone", "ios")
    odd = f"a,{name}@example.com"
    await query(
        container,
        "UPDATE users SET email = :odd, email_canonical = :form WHERE id = :id",
        odd=odd,
        form=to_canonical(odd),
        id=account.user.id,
    )
    login = await container.authentication.login(odd.upper(), PASSWORD, Client("phone", "ios"))
    assert login.user.id == account.user.id
    await container.passwords.send_reset(odd)
    await container.email_verification.send(str(account.user.id))
    for table in ("password_reset_tokens", "email_verification_tokens"):
        assert await query(container, f"SELECT 1 FROM {table} WHERE user_id = :id", id=account.user.id) == []
