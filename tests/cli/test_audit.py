"""`parlance audit verify`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from cli import migrations
from container import Container
from settings import Settings
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
async def scratch(settings: Settings) -> AsyncIterator[Settings]:
    """A database of its own with three entries: what is broken here breaks nothing else."""
    with migrations._scratch(settings) as own:
        await asyncio.to_thread(migrations.upgrade_to_head, own)
        services = Container(own)
        for _ in range(3):
            async with services.database.transaction() as db:
                await services.audit.write(db, None, "admin.create", uuid.uuid4())
        await services.close()
        yield own


async def parlance(environment: dict[str, str], database: Settings, *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli", *arguments],
        env={**os.environ, **environment, "DB_NAME": database.db_name},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def test_verify_names_a_changed_audit_entry(environment: dict[str, str], scratch: Settings) -> None:
    whole = await parlance(environment, scratch, "audit", "verify")
    assert whole[0] == 0 and whole[1].startswith("the audit log is intact: 3 entries, the last hash is ")
    last_hash = whole[1].split()[-1]

    with psycopg.connect(scratch.database_url) as connection:
        connection.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only")
        connection.execute("DELETE FROM audit_log WHERE number = 3")
    cut = await parlance(environment, scratch, "audit", "verify", "--holds", last_hash, "--json")
    assert cut[0] == 1 and cut[2].startswith("parlance: no entry of the audit log has that hash")
    facts = json.loads(cut[1])
    assert (facts["entries"], facts["brokenAt"]) == (2, None) and facts["lastHash"] != last_hash

    with psycopg.connect(scratch.database_url) as connection:
        connection.execute("UPDATE audit_log SET action = 'user.unban' WHERE number = 2")
    broken = await parlance(environment, scratch, "audit", "verify")
    assert broken == (1, "", "parlance: entry 2 of the audit log does not fit the one before it\n")
