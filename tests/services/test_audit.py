"""The audit log: changes by administrators are recorded in their transaction, and never change."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc

import errors
from cli import migrations
from container import Container
from services.operations.audit import GENESIS
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.databases import rows, value
from testing.servers import Learner

ENTRIES = "SELECT count(*) FROM audit_log"


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(container, (await make_learner(ready=False)).http)


async def test_every_admin_mutation_writes_one_entry(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    report = (await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})).json()["id"]

    async def written(doing: object) -> list[tuple[str, str | None, str]]:
        before = await value(container, "SELECT coalesce(max(number), 0) FROM audit_log")
        await doing  # type: ignore[misc]
        found = await rows(
            container,
            "SELECT action, actor_id, subject_id FROM audit_log WHERE number > :n ORDER BY number",
            n=before,
        )
        return [(action, str(actor) if actor else None, str(subject)) for action, actor, subject in found]

    bans, reports, admins = container.sanctions, container.reports, container.administrators
    note = {"status": "reviewed", "admin_note": "Seen.", "ban": False}
    assert await written(reports.review(admin.id, report, **note)) == [("report.review", admin.id, report)]  # type: ignore[arg-type]
    assert await written(bans.ban(admin.id, bob.id, "Spam.")) == [("user.ban", admin.id, bob.id)]
    assert await written(bans.ban(admin.id, bob.id, "Spam.")) == []
    assert await written(bans.unban(admin.id, bob.id)) == [("user.unban", admin.id, bob.id)]
    assert await written(bans.unban(admin.id, bob.id)) == []
    both = reports.review(admin.id, report, status=None, admin_note=None, ban=True)
    # Two things done to two subjects.
    assert await written(both) == [("user.ban", admin.id, bob.id), ("report.review", admin.id, report)]
    assert await written(admins.promote(ada.email)) == [("admin.role", None, ada.id)]
    assert await written(admins.promote(ada.email)) == []
    assert await written(admins.demote(ada.email)) == [("admin.role", None, ada.id)]
    (created,) = await written(admins.create(f"{uuid.uuid4().hex}@example.com", "a good password"))
    assert created[:2] == ("admin.create", None)
    detail = await value(
        container, "SELECT detail FROM audit_log WHERE subject_id = :s ORDER BY number LIMIT 1", s=report
    )
    assert detail == {"before": "pending", "after": "reviewed", "banned": False}


async def test_rolled_back_mutation_writes_no_entry(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    bob = await make_learner()
    before = await value(container, ENTRIES)
    with pytest.raises(sqlalchemy.exc.IntegrityError):  # no account has that id
        await container.sanctions.ban(str(uuid.uuid4()), bob.id, "By nobody.")
    with pytest.raises(errors.Forbidden):
        await container.sanctions.ban(admin.id, admin.id, "Own account.")
    with pytest.raises(RuntimeError):
        async with container.database.transaction() as db:
            await container.audit.write(db, uuid.UUID(admin.id), "test.broken", uuid.UUID(bob.id))
            await db.flush()
            raise RuntimeError
    assert await value(container, ENTRIES) == before
    assert (await bob.http.get("/users/me")).status_code == 200
    await container.sanctions.ban(admin.id, bob.id, "Spam.")
    assert (await container.audit.verify()).broken_at is None


async def test_concurrent_writers_make_one_chain(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    learners = [await make_learner(ready=False) for _ in range(30)]
    before = await container.audit.verify()
    answers = await asyncio.gather(
        *(admin.http.patch(f"/admin/users/{each.id}/ban", json={"reason": "Spam."}) for each in learners)
    )
    assert {answer.status_code for answer in answers} == {204}
    after = await container.audit.verify(before.last_hash)
    assert after.broken_at is None and after.has_known_hash and after.entries == before.entries + 30
    assert await value(container, "SELECT max(number) - count(*) FROM audit_log") == 0
    assert not (await container.audit.verify("0" * 63 + "1")).has_known_hash


async def test_entries_hold_no_ip_address(container: Container, admin: Learner) -> None:
    assert await value(container, ENTRIES) > 0
    assert await value(container, "SELECT count(*) FROM audit_log WHERE audit_log::text LIKE '%@example.com%'") == 0


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log", "TRUNCATE audit_log CASCADE"],
)
async def test_database_refuses_to_change_an_entry(
    container: Container, settings: Settings, admin: Learner, statement: str
) -> None:
    before = await value(container, ENTRIES)
    with psycopg.connect(settings.database_url) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            connection.execute(statement)
        connection.rollback()
    assert await value(container, ENTRIES) == before


@pytest.fixture(scope="module")
async def chain(settings: Settings) -> AsyncIterator[Container]:
    """A log of five entries in a database of its own, and a copy to restore it from."""
    with migrations._scratch(settings) as scratch:
        await asyncio.to_thread(migrations.upgrade_to_head, scratch)
        services = Container(scratch)
        for number in range(5):
            async with services.database.transaction() as db:
                await services.audit.write(db, uuid.uuid4(), "user.ban", uuid.uuid4(), number=number, word="é")
        await run(scratch, "CREATE TABLE kept AS TABLE audit_log")
        yield services
        await services.close()


async def run(settings: Settings, *statements: str) -> None:
    """Do what only the owner of the database can: with the trigger off."""
    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        await connection.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
        for statement in statements:
            await connection.execute(statement)
        await connection.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_append_only")


@pytest.mark.parametrize(
    ("tampering", "found_at"),
    [
        ("""UPDATE audit_log SET detail = '{"number": 9}' WHERE number = 3""", 3),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE number = 2", 2),
        ("UPDATE audit_log SET actor_id = gen_random_uuid() WHERE number = 1", 1),
        ("UPDATE audit_log SET actor_id = NULL WHERE number = 5", 5),
        ("UPDATE audit_log SET subject_id = gen_random_uuid() WHERE number = 4", 4),
        ("UPDATE audit_log SET action = 'user.unban' WHERE number = 4", 4),
        ("UPDATE audit_log SET hash = repeat('a', 64) WHERE number = 5", 5),
        ("DELETE FROM audit_log WHERE number = 3", 3),
        ("DELETE FROM audit_log WHERE number = 1", 1),
        ("DELETE FROM audit_log WHERE number = 2; UPDATE audit_log SET number = number - 1 WHERE number > 2", 2),
        (
            "INSERT INTO audit_log SELECT 6, at, actor_id, action, subject_id, detail, repeat('b', 64), hash"
            " FROM audit_log WHERE number = 5",
            6,
        ),
        (
            "UPDATE audit_log SET number = 9 WHERE number = 2; UPDATE audit_log SET number = 2 WHERE number = 3;"
            " UPDATE audit_log SET number = 3 WHERE number = 9",
            2,
        ),
    ],
)
async def test_verify_names_the_tampered_entry(chain: Container, tampering: str, found_at: int) -> None:
    assert (await chain.audit.verify()).broken_at is None
    try:
        await run(chain.settings, *tampering.split("; "))
        verdict = await chain.audit.verify()
        assert verdict.broken_at == found_at and verdict.entries == found_at - 1
    finally:
        await run(chain.settings, "DELETE FROM audit_log", "INSERT INTO audit_log SELECT * FROM kept")


async def test_verify_finds_a_truncated_log_by_its_last_hash(chain: Container) -> None:
    whole = await chain.audit.verify()
    assert (await chain.audit.verify(GENESIS)).has_known_hash
    try:
        await run(chain.settings, "DELETE FROM audit_log WHERE number > 3")
        verdict = await chain.audit.verify(whole.last_hash)
        assert verdict.broken_at is None and verdict.entries == 3 and not verdict.has_known_hash
    finally:
        await run(chain.settings, "DELETE FROM audit_log", "INSERT INTO audit_log SELECT * FROM kept")
    assert (await chain.audit.verify(whole.last_hash)).has_known_hash


ODD_DETAILS: dict[str, dict[str, Any]] = {
    "negative zero": {"price": -0.0},
    "floats": {"a": 1.0, "b": 0.1 + 0.2, "c": 5e-324, "d": 1.7976931348623157e308, "e": 1e22, "f": 1e16, "g": -1e-7},
    "integers": {"a": 2**53 + 1, "b": 2**63, "c": 2**64, "d": 10**40, "e": -(2**70)},
    "key order": {"bb": 1, "a": 2, "ä": 3, "": 4, "A": 5},
    "text": {"a": 'é e\u0301 \u2028 \U0001f600 \x1f \x7f \\ " /', "\u202e": "\uffff"},
    "deep": {"a": [[[{"b": [None, True, {"c": [-0.0, {}]}]}]]]},
}


@pytest.mark.parametrize("case", ODD_DETAILS)
async def test_entry_seals_what_is_stored(container: Container, case: str) -> None:
    """Every kind of value verifies: JSONB normalises numbers, keys and escapes before they are sealed."""
    subject = uuid.uuid4()
    async with container.database.transaction() as db:
        await container.audit.write(db, None, "test.odd", subject, **ODD_DETAILS[case])
    async with container.database.transaction() as db:
        await container.audit.write(db, None, "test.after", subject)
    verdict = await container.audit.verify()
    assert verdict.broken_at is None
    assert verdict.entries == await value(container, ENTRIES)


async def test_entry_with_a_huge_integer_is_listed(container: Container, admin: Learner) -> None:
    """JSONB holds integers of more than 64 bits: the log is read and verified with one of them."""
    subject = uuid.uuid4()
    detail = {"price": 10**40, "float": 1e22}
    async with container.database.transaction() as db:
        await container.audit.write(db, None, "test.odd", subject, **detail)
    answer = await admin.http.get("/admin/audit", params={"targetId": str(subject)})
    assert answer.status_code == 200, answer.text
    assert [entry["details"] for entry in answer.json()["items"]] == [{"price": 10**40, "float": 10**22}]
    assert (await container.audit.verify()).broken_at is None


#: An entry of version 0.1.0: what stands in its row, and the bytes that it was sealed over.
OLD_ROW = {
    "number": 1,
    "at": "2025-03-01T09:30:00.000120+00:00",
    "actor_id": "0b2e5d2c-3f3c-4b63-9f39-6c1c3a1c5a10",
    "action": "course.update",
    "subject_id": "7f1f9d0e-8f5a-4d3e-b6b1-58c2f2b6a9d4",
    "detail": '{"title": "Caf\u00e9 \u4f60\u597d", "price": 49900, "before": {"free": false, "rate": 0.25}}',
}
OLD_BYTES = (
    b'["0000000000000000000000000000000000000000000000000000000000000000",1,"2025-03-01T09:30:00.000120+00:00",'
    b'"0b2e5d2c-3f3c-4b63-9f39-6c1c3a1c5a10","course.update","7f1f9d0e-8f5a-4d3e-b6b1-58c2f2b6a9d4",'
    b'{"before":{"free":false,"rate":0.25},"price":49900,"title":"Caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd"}]'
)


async def test_entry_sealed_by_an_earlier_version_verifies(chain: Container) -> None:
    row = {**OLD_ROW, "hash": hashlib.sha256(OLD_BYTES).hexdigest(), "previous_hash": GENESIS}
    values = ", ".join(f"'{each}'" for each in row.values())
    try:
        await run(
            chain.settings, "DELETE FROM audit_log", f"INSERT INTO audit_log ({', '.join(row)}) VALUES ({values})"
        )
        old = await chain.audit.verify(hashlib.sha256(OLD_BYTES).hexdigest())
        assert old.broken_at is None and old.entries == 1 and old.has_known_hash
        async with chain.database.transaction() as db:
            await chain.audit.write(db, None, "user.ban", uuid.uuid4())
        assert (await chain.audit.verify()).broken_at is None
    finally:
        await run(chain.settings, "DELETE FROM audit_log", "INSERT INTO audit_log SELECT * FROM kept")
