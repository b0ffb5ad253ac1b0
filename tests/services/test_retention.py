"""Retention: what the nightly job erases, what stays, and the audit log's chain before and afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from cli import migrations
from container import Container
from instants import utc_now
from models import AuditEntry
from services.identity.logins import Identity
from services.operations import retention
from services.operations.audit import GENESIS, AuditBroken, compute_hash
from services.operations.retention import RetentionService
from settings import Settings, SettingsError
from testing.accounts import new_email
from testing.call_history import add_call
from testing.containers import load_settings, run_jobs, running_container
from testing.databases import execute, own_database, query
from testing.polling import eventually
from testing.servers import PASSWORD

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def template(settings: Settings) -> Iterator[Settings]:
    with own_database(settings) as found:
        yield found


@pytest.fixture
def own(settings: Settings, template: Settings) -> Iterator[Settings]:
    """A copy of the migrated database for each test, because the audit log cannot be emptied."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    execute(settings, f"CREATE DATABASE {name} TEMPLATE {template.db_name}")
    yield settings.model_copy(update={"db_name": name})
    execute(settings, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def services(own: Settings) -> AsyncIterator[Container]:
    async with running_container(own) as made:
        yield made


async def learner(services: Container) -> Identity:
    signed_in = await services.authentication.register(new_email(), PASSWORD, "phone", "ios")
    return services.logins.identify(signed_in.access_token)


async def add_old_call(services: Container, one: Identity, other: Identity, days: int, **options: Any) -> str:
    started = utc_now() - timedelta(days=days)
    call = await add_call(services, one.user_id, other.user_id, started_at=started, topic="travel", **options)
    statement = "INSERT INTO session_ratings (id, session_id, rater_id, rated_id, stars) VALUES (:i, :s, :a, :b, 5)"
    await query(services, statement, i=uuid.uuid4(), s=call, a=one.user_id, b=other.user_id)
    return call


async def add_report(services: Container, one: Identity, other: Identity, call: str, status: str, days: int) -> str:
    report = str(uuid.uuid4())
    await query(
        services,
        "INSERT INTO reports (id, reporter_id, reported_id, session_id, reason, description, admin_note, status,"
        " created_at) VALUES (:i, :a, :b, :s, 'spam', 'private words', 'a note', CAST(:t AS report_status),"
        " now() - make_interval(days => :d))",
        i=report,
        a=one.user_id,
        b=other.user_id,
        s=call,
        t=status,
        d=days,
    )
    return report


async def add_entries(services: Container, count: int, days: int, **detail: Any) -> None:
    """Add entries of the audit log that are some days old, as `AuditService.write` would have."""
    async with services.database.transaction() as db:
        last = (await db.execute(sa.text("SELECT number, hash FROM audit_log ORDER BY number DESC LIMIT 1"))).first()
        number, previous = (last.number, last.hash) if last else (0, GENESIS)
        for index in range(count):
            entry = AuditEntry(
                number=number + index + 1,
                at=utc_now() - timedelta(days=days) + timedelta(seconds=index),
                actor_id=uuid.uuid4(),
                action="user.ban",
                subject_id=uuid.uuid4(),
                detail=detail or {"reason": f"words {index}"},
                hash="",
                previous_hash=previous,
            )
            previous = entry.hash = compute_hash(entry)
            await db.execute(sa.insert(AuditEntry).values(entry.model_dump()))


async def table(services: Container, name: str) -> int:
    return int((await query(services, f"SELECT count(*) FROM {name}"))[0][0])


async def test_old_calls_are_deleted_and_totals_stay(services: Container) -> None:
    ada, bob = await learner(services), await learner(services)
    await query(services, "UPDATE profiles SET total_sessions = 7, total_practice_mins = 35, streak_days = 2")
    await add_old_call(services, ada, bob, 366)
    await add_old_call(services, ada, bob, 400, connected=False)
    recent = await add_old_call(services, bob, ada, 364)
    unfinished = await add_old_call(services, ada, bob, 500, ended=False)
    assert (await services.retention.erase())["call_sessions"] == 2
    kept = {str(row.id) for row in await query(services, "SELECT id FROM call_sessions")}
    assert kept == {recent, unfinished} and await table(services, "session_ratings") == 2
    totals = await query(services, "SELECT total_sessions, total_practice_mins, streak_days FROM profiles")
    assert [tuple(row) for row in totals] == [(7, 35, 2)] * 2
    export = await services.data_export.export(ada.user_id)
    assert {str(each.id) for each in export.sessions} == kept and len(export.ratings) == 1
    assert (await services.retention.erase())["call_sessions"] == 0


async def test_texts_of_decided_reports_are_erased(services: Container) -> None:
    """Pending ones and those decided later stay with their calls, however old they are."""
    ada, bob = await learner(services), await learner(services)
    reports = {}
    for name, status in (("old", "dismissed"), ("pending", "pending"), ("decided late", "actioned")):
        call = await add_old_call(services, ada, bob, 500)
        reports[name] = await add_report(services, ada, bob, call, status, 500)
    async with services.database.transaction() as db:
        await services.audit.write(db, uuid.UUID(bob.user_id), "report.review", uuid.UUID(reports["decided late"]))
    erased = {"reports": 1, "sanctions": 0, "call_sessions": 1, "partner_wishes": 0, "audit_log": 0}
    assert await services.retention.erase() == erased
    rows = await query(
        services, "SELECT id, reporter_id, reason, status, description, admin_note, session_id FROM reports"
    )
    found = {str(row.id): row for row in rows}
    old = found[reports["old"]]
    assert (old.description, old.admin_note, old.session_id) == (None, None, None)
    assert (str(old.reporter_id), old.reason, old.status) == (ada.user_id, "spam", "dismissed")
    for name in ("pending", "decided late"):
        assert found[reports[name]].description == "private words" and found[reports[name]].session_id


async def add_sanction(
    services: Container, user: Identity, kind: str, days: int, *, ended: int | None = None, lifted: int | None = None
) -> str:
    """Add a sanction; every number is of days ago."""
    sanction = str(uuid.uuid4())
    await query(
        services,
        "INSERT INTO sanctions (id, user_id, kind, ground, facts, starts_at, ends_at, appeal_until, lifted_at,"
        " lift_reason) VALUES (:i, :u, CAST(:k AS sanction_kind), 'spam', 'private words',"
        " now() - make_interval(days => :d), now() - make_interval(days => CAST(:e AS integer)),"
        " now() - make_interval(days => :d) + interval '6 months',"
        " now() - make_interval(days => CAST(:l AS integer)), :r)",
        i=sanction,
        u=user.user_id,
        k=kind,
        d=days,
        e=ended,
        l=lifted,
        r="private reason" if lifted else None,
    )
    return sanction


async def add_appeal(services: Container, sanction: str, decided: int | None) -> str:
    """Add an appeal, open or decided some days ago; return the id of its sanction."""
    await query(
        services,
        "INSERT INTO appeals (id, sanction_id, text, status, decided_at, decision_reason) VALUES (:i, :s,"
        " 'private appeal', CAST(:t AS appeal_status), now() - make_interval(days => CAST(:d AS integer)), :r)",
        i=uuid.uuid4(),
        s=sanction,
        t="upheld" if decided else "open",
        d=decided,
        r="private decision" if decided else None,
    )
    return sanction


async def test_texts_of_ended_sanctions_are_erased(services: Container) -> None:
    """Those of a ban in force, of a recent end, of a recent decision and of an open appeal stay; the export follows."""
    ada, bob = await learner(services), await learner(services)
    erased = {
        await add_sanction(services, ada, "warning", 400),
        await add_appeal(services, await add_sanction(services, ada, "suspension", 800, ended=400), 380),
        await add_sanction(services, ada, "ban", 800, lifted=366),
    }
    kept = {
        await add_sanction(services, ada, "warning", 364),
        await add_sanction(services, ada, "suspension", 800, ended=364),
        await add_appeal(services, await add_sanction(services, ada, "suspension", 800, ended=700), 360),
        await add_appeal(services, await add_sanction(services, ada, "suspension", 800, ended=700), None),
        await add_sanction(services, ada, "ban", 800, lifted=364),
        await add_sanction(services, bob, "ban", 4000),
    }
    assert (await services.retention.erase())["sanctions"] == len(erased)
    rows = await query(
        services,
        "SELECT s.id, kind, facts, lift_reason, lifted_at, text, decision_reason, decided_at, a.id AS appeal"
        " FROM sanctions s LEFT JOIN appeals a ON a.sanction_id = s.id",
    )
    assert {str(row.id) for row in rows} == erased | kept
    for row in rows:
        texts = (row.facts, row.lift_reason, row.text, row.decision_reason)
        if str(row.id) in erased:
            assert texts == (None,) * 4 and row.kind
            continue
        has_decision, has_appeal = row.decided_at is not None, row.appeal is not None
        assert [each is not None for each in texts] == [True, row.lifted_at is not None, has_appeal, has_decision]
    export = await services.data_export.export(ada.user_id)
    facts = {str(each.sanction.id): each.sanction.facts for each in export.sanctions}
    assert {name for name, text in facts.items() if text is None} == erased
    assert (await services.retention.erase())["sanctions"] == 0


async def test_audit_log_is_proved_after_an_erasure(services: Container) -> None:
    await add_entries(services, 5, 800)
    await add_entries(services, 2, 10)
    before = await services.audit.verify()
    assert (await services.retention.erase())["audit_log"] == 5
    after = await services.audit.verify(before.last_hash)
    assert (after.entries, after.broken_at, after.has_known_hash) == (8, None, True)
    rows = await query(services, "SELECT number, action, detail, erased_by FROM audit_log ORDER BY number")
    assert [row.erased_by for row in rows] == [8] * 5 + [None] * 3
    assert all(row.detail == {} for row in rows[:5]) and rows[5].detail == {"reason": "words 0"}
    assert (rows[7].action, rows[7].detail["entries"]) == ("audit.erase", 5)
    assert (await services.retention.erase())["audit_log"] == 0
    # The chain goes on, and a later erasure is another entry.
    await query(services, "ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
    assert (await services.audit.verify(after.last_hash)).broken_at is None


@pytest.mark.parametrize(
    ("tampering", "found_at"),
    [
        ("UPDATE audit_log SET action = 'user.unban' WHERE number = 2", 1),
        ("UPDATE audit_log SET at = at + interval '1 second' WHERE number = 3", 1),
        ("UPDATE audit_log SET actor_id = NULL WHERE number = 1", 1),
        ("UPDATE audit_log SET detail = '{}', erased_by = 5 WHERE number = 4", 1),
        ("UPDATE audit_log SET erased_by = NULL WHERE number = 2", 2),
        ("UPDATE audit_log SET erased_by = 4 WHERE number = 2", 1),
        ("""UPDATE audit_log SET detail = '{"entries": 3, "digest": "0"}' WHERE number = 5""", 5),
        ("DELETE FROM audit_log WHERE number = 2", 2),
    ],
)
async def test_tampering_with_erased_entries_is_found(services: Container, tampering: str, found_at: int) -> None:
    await add_entries(services, 3, 800)
    await add_entries(services, 1, 10)
    await services.retention.erase()
    assert (await services.audit.verify()).broken_at is None
    await query(services, "ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
    await query(services, tampering)
    assert (await services.audit.verify()).broken_at == found_at


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET detail = '{}' WHERE number = 1",
        "UPDATE audit_log SET detail = '{}', erased_by = 4, action = 'user.unban' WHERE number = 1",
        """UPDATE audit_log SET detail = '{"reason": "other"}', erased_by = 4 WHERE number = 1""",
        "UPDATE audit_log SET detail = '{}', erased_by = 5 WHERE number = 4",
        "UPDATE audit_log SET erased_by = NULL WHERE number = 2",
        "DELETE FROM audit_log WHERE number = 1",
        "TRUNCATE audit_log",
    ],
)
async def test_trigger_permits_erasures_alone(services: Container, statement: str) -> None:
    """Detail of recent entries, other columns, and entries as a whole stay, also for a program with the password."""
    await add_entries(services, 3, 800)
    await add_entries(services, 2, 10)
    await query(services, "UPDATE audit_log SET detail = '{}', erased_by = 4 WHERE number = 2")
    with pytest.raises(sa.exc.ProgrammingError, match="append-only"):
        await query(services, statement)


async def test_changed_entry_is_not_erased(services: Container) -> None:
    """An erasure would hide that the detail was changed."""
    await add_entries(services, 3, 800)
    await query(services, "ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
    await query(services, """UPDATE audit_log SET detail = '{"reason": "none"}' WHERE number = 2""")
    with pytest.raises(AuditBroken, match="entry 2 "):
        await services.retention.erase()
    assert (await services.audit.verify()).broken_at == 2


def small(services: Container, rows: int = 3) -> RetentionService:
    year = timedelta(days=365)
    return RetentionService(
        services.database, services.audit, calls=year, reports=year, sanctions=year, audit_detail=year, batch_rows=rows
    )


async def test_two_job_workers_erase_at_once(services: Container) -> None:
    ada, bob = await learner(services), await learner(services)
    for _ in range(20):
        call = await add_old_call(services, ada, bob, 500)
    await add_report(services, ada, bob, call, "dismissed", 500)
    await add_entries(services, 20, 800)
    counts = await asyncio.gather(*(small(services).erase() for _ in range(3)))
    again = await small(services).erase()
    assert sum(each["audit_log"] for each in counts) == 20 and again["audit_log"] == 0
    assert sum(each["call_sessions"] for each in (*counts, again)) == 20
    assert sum(each["reports"] for each in counts) == 1
    assert await table(services, "call_sessions") == 0
    assert (await services.audit.verify()).broken_at is None


_ERASE_ONE_BY_ONE = """
import asyncio
from datetime import timedelta
import settings
from container import Container
from services.operations.retention import RetentionService
async def run():
    services = Container(settings.load(None))
    day = timedelta(days=365)
    await RetentionService(
        services.database, services.audit, calls=day, reports=day, sanctions=day, audit_detail=day, batch_rows=1
    ).erase()
asyncio.run(run())
"""


async def test_killed_erasure_goes_on_later(environment: dict[str, str], services: Container) -> None:
    """A process is killed amid its batches; the chain holds, and the next run erases the rest."""
    await add_entries(services, 400, 800)
    process = subprocess.Popen(
        [sys.executable, "-c", _ERASE_ONE_BY_ONE],
        env={**os.environ, **environment, "DB_NAME": services.settings.db_name},
        cwd=ROOT,
    )

    async def has_begun() -> bool:
        assert process.poll() is None, "it ended before it was killed"
        return bool(await query(services, "SELECT 1 FROM audit_log WHERE number > 403"))

    try:
        await eventually(has_begun, within=30)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (erased,) = (await query(services, "SELECT count(*) FROM audit_log WHERE erased_by IS NOT NULL"))[0]
    assert 0 < erased < 400
    assert (await services.audit.verify()).broken_at is None
    assert (await services.retention.erase())["audit_log"] == 400 - erased
    assert (await services.audit.verify()).broken_at is None


async def test_retention_reads_indexes(services: Container) -> None:
    """Where sequential scans are forbidden, PostgreSQL finds an index for each of the statements."""
    cases = {
        retention._DELETE_CALLS: "call_sessions_started_idx",
        retention._ERASE_REPORTS: "reports_texts_idx",
        retention._ERASE_SANCTIONS: "sanctions_texts_idx",
        "SELECT number FROM audit_log WHERE erased_by IS NULL AND detail <> '{}' AND action <> 'audit.erase'"
        " AND at < :before ORDER BY at LIMIT :rows": "audit_log_detail_idx",
    }
    for statement, index in cases.items():
        async with services.database.transaction() as db:
            await db.execute(sa.text("SET LOCAL enable_seqscan = off"))
            explained = sa.text(f"EXPLAIN {statement}")
            plan = (await db.execute(explained, {"before": utc_now(), "rows": 10})).scalars().all()
        assert index in "\n".join(plan), plan


async def test_nightly_job_erases(services: Container) -> None:
    await add_entries(services, 2, 800)
    await services.jobs.app.configure_task("retention.erase").defer_async(timestamp=0)
    await run_jobs(services)
    assert (await query(services, "SELECT count(*) FROM audit_log WHERE erased_by = 3"))[0][0] == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETAIN_CALLS_FOR", "30d"),
        ("RETAIN_REPORTS_FOR", "182d"),
        ("RETAIN_SANCTIONS_FOR", "182d"),
        ("RETAIN_AUDIT_DETAIL_FOR", "30d"),
    ],
)
def test_retention_settings_have_a_least(environment: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**environment, name: value})


async def test_migration_works_both_ways_on_a_filled_log(services: Container) -> None:
    """What was written before the migration is erased after it."""
    await add_entries(services, 3, 800)
    before = await services.audit.verify()
    config = migrations._config(services.settings)
    earlier = ScriptDirectory.from_config(config).get_revision("0c96e5a17d42").down_revision
    assert isinstance(earlier, str)
    await asyncio.to_thread(command.downgrade, config, earlier)
    with psycopg.connect(services.settings.database_url) as connection, pytest.raises(psycopg.errors.RaiseException):
        connection.execute("DELETE FROM audit_log")
    await asyncio.to_thread(migrations.upgrade_to_head, services.settings)
    assert (await services.retention.erase())["audit_log"] == 3
    assert (await services.audit.verify(before.last_hash)).has_known_hash
