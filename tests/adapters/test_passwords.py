"""Passwords: one prepared form, older hashes that are still accepted, and refusal of the commonest."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
import uuid
from typing import Any

import bcrypt
import pytest

import errors
from adapters import passwords
from adapters.passwords import Passwords, Verdict, prepare
from container import Container
from services.identity.administrators import AdministratorsService
from services.identity.login_opening import Client
from testing.accounts import credentials, new_email
from testing.databases import query
from testing.servers import PASSWORD, client

NFC, NFD = "r\u00e9sum\u00e9 caf\u00e9", unicodedata.normalize("NFD", "r\u00e9sum\u00e9 caf\u00e9")
COMMON = ["password123", "PASSWORD123", "michelle", "Jennifer", "december", "iloveyou", "1q2w3e4r", "football1"]


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        (NFD, NFC),
        ("a\u00a0b\u3000c", "a b c"),
        ("Ａ\u212a", "ＡK"),  # width is kept; NFC alone decides
        ("Case Kept", "Case Kept"),
        ("a\tb", None),
        ("a\u0085b", None),
        ("a\u0378b", None),
        ("a\ue000b", None),
        ("", None),
    ],
)
def test_password_is_prepared_as_opaque_string(typed: str, prepared: str | None) -> None:
    """RFC 8265, 4.2: spaces to U+0020, NFC, nothing else; controls, unassigned and private characters refused."""
    assert prepare(typed) == prepared
    if prepared is not None:
        assert prepare(prepared) == prepared


async def test_new_password_is_counted_after_preparation() -> None:
    hasher = Passwords(4)
    composed, decomposed = "é" * 36, "e\u0301" * 36
    for fits in (composed, decomposed):
        assert await hasher.verify(composed, await hasher.hash_new(fits, "password")) is Verdict.RIGHT
    for refused in (composed + "é", "e\u0301" * 37, "e\u0301" * 7, "seven\u0301 c", "a\x00bcdefgh", "bell \x07 bell"):
        with pytest.raises(errors.RequestInvalid, match="'newPassword'"):
            await hasher.hash_new(refused, "newPassword")
    hasher.close()


async def test_hash_count_depends_on_the_typed_form_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many bcrypt checks for a missing account as for an old hash and a new one."""
    hasher, real, checked = Passwords(4), bcrypt.checkpw, 0

    def check(password: bytes, known: bytes) -> bool:
        nonlocal checked
        checked += 1
        return real(password, known)

    monkeypatch.setattr(bcrypt, "checkpw", check)
    old = bcrypt.hashpw(NFD.encode(), bcrypt.gensalt(4)).decode()
    new = await hasher.hash(NFC)
    for typed, expected in ((NFD, 2), (NFC, 1), ("plain words", 1)):
        counts = []
        for known in (None, old, new, await hasher.hash("another one")):
            checked = 0
            await hasher.verify(typed, known)
            counts.append(checked)
        assert counts == [expected] * 4
    hasher.close()


async def test_old_hash_is_accepted_and_renewed(container: Container) -> None:
    """A hash of the bytes that a Mac typed: it opens as before, and from then on in the other form as well."""
    account = await container.authentication.register(email := new_email(), PASSWORD, "phone", "ios")
    old = bcrypt.hashpw(NFD.encode(), bcrypt.gensalt(4)).decode()
    await query(container, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=account.user.id)
    with pytest.raises(errors.InvalidCredentials):
        await container.authentication.login(email, NFC + "!", Client("phone", "ios"))
    assert (await container.authentication.login(email, NFD, Client("phone", "ios"))).user.id == account.user.id
    [row] = await query(container, "SELECT password_hash FROM users WHERE id = :id", id=account.user.id)
    assert row.password_hash != old and bcrypt.checkpw(NFC.encode(), row.password_hash.encode())
    for typed in (NFC, NFD):
        await container.authentication.login(email, typed, Client("phone", "ios"))
    [after] = await query(container, "SELECT password_hash FROM users WHERE id = :id", id=account.user.id)
    assert after.password_hash == row.password_hash


async def test_old_hash_of_a_common_password_is_accepted(container: Container) -> None:
    account = await container.authentication.register(email := new_email(), PASSWORD, "phone", "ios")
    old = bcrypt.hashpw(b"tab\tand bell\x07", bcrypt.gensalt(4)).decode()
    await query(container, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=account.user.id)
    assert (
        await container.authentication.login(email, "tab\tand bell\x07", Client("phone", "ios"))
    ).user.id == account.user.id


async def test_concurrent_logins_with_an_old_hash_all_succeed(container: Container) -> None:
    import asyncio

    account = await container.authentication.register(email := new_email(), PASSWORD, "phone", "ios")
    old = bcrypt.hashpw(NFD.encode(), bcrypt.gensalt(4)).decode()
    await query(container, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=account.user.id)
    logins = [container.authentication.login(email, NFD, Client(f"device-{number}", "ios")) for number in range(6)]
    assert {each.user.id for each in await asyncio.gather(*logins)} == {account.user.id}


@pytest.mark.parametrize("password", COMMON)
async def test_common_password_is_refused(asgi: Any, container: Container, password: str) -> None:
    async with client(asgi) as http:
        answer = await http.post("/auth/register", json=credentials(new_email(), password=password))
    assert (answer.status_code, answer.json()["code"]) == (400, "password_too_common")
    assert password not in answer.text
    with pytest.raises(errors.PasswordTooCommon):
        await admins(container).create(new_email(), password)


def admins(container: Container) -> AdministratorsService:
    return container.administrators


async def test_common_password_is_refused_by_a_reset(container: Container) -> None:
    account = await container.authentication.register(new_email(), PASSWORD, "phone", "ios")
    token = uuid.uuid4().hex
    await query(
        container,
        "INSERT INTO password_reset_tokens (id, user_id, token_hash, expires_at) VALUES"
        " (gen_random_uuid(), :user, encode(sha256(:token), 'hex'), now() + interval '1 hour')",
        user=account.user.id,
        token=token.encode(),
    )
    with pytest.raises(errors.PasswordTooCommon):
        await container.passwords.reset(token, "password123")
    await container.passwords.reset(token, "no common words here")


async def test_account_with_a_common_password_can_log_in(container: Container) -> None:
    account = await container.authentication.register(email := new_email(), PASSWORD, "phone", "ios")
    old = bcrypt.hashpw(b"password123", bcrypt.gensalt(4)).decode()
    await query(container, "UPDATE users SET password_hash = :old WHERE id = :id", old=old, id=account.user.id)
    await container.authentication.login(email, "password123", Client("phone", "ios"))


def test_common_passwords_are_loaded_when_needed() -> None:
    """Neither the command line nor a process that makes no password pays for the list, which is small once read."""
    script = (
        "import sys, cli.main, adapters.passwords as p;"
        "assert not p._read_common.cache_info().currsize and 'zxcvbn' not in sys.modules;"
        "found = p._read_common(); assert 'zxcvbn' not in sys.modules;"
        "print(len(found), sys.getsizeof(found) + sum(map(sys.getsizeof, found)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ})
    count, size = map(int, ran.stdout.split())
    assert count > 5000 and size < 2_000_000
    assert all(len(word) >= passwords.MIN_PASSWORD_LENGTH for word in passwords._read_common())
