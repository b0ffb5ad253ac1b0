"""`parlance sanctions` and `parlance appeals`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

from container import Container
from testing.accounts import new_email
from testing.call_history import MakeLearner
from testing.databases import query
from testing.lessons import MISSING_ID
from testing.servers import PASSWORD
from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[2]


async def parlance(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cli", *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def test_operator_sanctions_and_decides(
    environment: dict[str, str], container: Container, make_learner: MakeLearner
) -> None:
    ada = await make_learner()
    issued = await parlance(
        environment, "sanctions", "issue", ada.id, "suspension", "spam", "--days", "3", "--facts", "You sent links."
    )
    assert issued[0] == 0 and issued[1].startswith("suspension "), issued
    sanction = issued[1].split()[1]
    twice = await parlance(environment, "sanctions", "issue", ada.id, "ban", "spam", "--days", "3", "--facts", "Links.")
    assert twice[0] == 1 and "request_invalid" in twice[2]
    appeal = await container.appeals.submit(ada.id, sanction, "It was not me.")
    listed = await parlance(environment, "appeals", "list", "--json")
    (row,) = [each for each in json.loads(listed[1]) if each["id"] == str(appeal.id)]
    assert (row["kind"], row["status"], row["issuedBy"]) == ("suspension", "open", None)
    shown = await parlance(environment, "appeals", "show", str(appeal.id))
    assert "text: It was not me." in shown[1] and "facts: You sent links." in shown[1]
    decide = ("appeals", "decide", str(appeal.id), "overturned")
    blank = await parlance(environment, *decide, "--reason", " ")
    assert blank[0] == 2
    decided = await parlance(environment, *decide, "--reason", "Another learner was meant.")
    assert decided[:2] == (0, f"the suspension of user {ada.id} is lifted\n"), decided
    again = await parlance(environment, *decide, "--reason", "Another learner was meant.")
    assert again[0] == 1 and again[2].startswith("parlance: appeal_closed:")
    listed = await parlance(environment, "sanctions", "list", ada.id)
    assert "lifted" in listed[1] and "appeal overturned" in listed[1]
    entries = await container.audit.list_all(limit=5, target_id=ada.id)
    assert [(each.action, each.actor_id) for each in entries.items] == [
        ("user.unsuspend", None),
        ("user.suspend", None),
    ]


async def test_operator_lets_an_address_in_again(
    environment: dict[str, str], container: Container, make_learner: MakeLearner
) -> None:
    """The account was deleted during a ban, and its owner wrote to the operator."""
    ada = await make_learner()
    issued = await parlance(environment, "sanctions", "issue", ada.id, "ban", "fraud", "--facts", "A stolen card.")
    sanction = issued[1].split()[1]
    await query(container, "UPDATE users SET is_verified = true WHERE id = :i", i=ada.id)
    async with container.database.transaction() as db:
        await container.account_deletion.delete_within(db, uuid.UUID(ada.id))
    found = await parlance(environment, "sanctions", "find", ada.email)
    assert found[0] == 0 and found[1].startswith(f"{sanction} ban for fraud keeps the address out until "), found
    lifted = await parlance(environment, "sanctions", "lift", sanction, "--reason", "It was another card.")
    assert lifted[:2] == (0, f"ban {sanction} is lifted\n"), lifted
    absent = await parlance(environment, "sanctions", "find", ada.email)
    assert absent[0] == 1 and absent[2].startswith("parlance: not_found: no sanction of a deleted account")
    tokens = await container.authentication.register(ada.email, PASSWORD, "phone", "ios")
    assert str(tokens.user.id) != ada.id


async def test_operator_mistakes_are_one_sentence(environment: dict[str, str], container: Container) -> None:
    user = await container.administrators.create(new_email(), PASSWORD)
    staff = await parlance(
        environment, "sanctions", "issue", str(user.id), "warning", "other", "--facts", "Late again."
    )
    assert staff[0] == 1 and staff[2].startswith("parlance: forbidden:") and staff[2].count("\n") == 1
    for arguments in (("appeals", "show", MISSING_ID), ("sanctions", "lift", MISSING_ID, "--reason", "A mistake.")):
        missing = await parlance(environment, *arguments)
        assert missing[0] == 1 and missing[2].startswith("parlance: not_found:")
    unreadable = await parlance(environment, "appeals", "show", f"x{uuid.uuid4()}")
    assert unreadable[0] == 2
