"""Appeals while an account is deleted, a mail is refused, or PostgreSQL is unavailable."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import sqlalchemy
import sqlalchemy.exc

import errors
from testing.call_history import add_call
from testing.containers import run_jobs
from testing.databases import query
from testing.http_answers import read_all_pages
from testing.lessons import problem
from testing.logins import Deployment, Visit
from testing.polling import eventually
from testing.sanctions import (
    BAN,
    WARNING,
    MakeMember,
    appeal,
    decide,
    get_login_token,
    issue,
    try_login,
)
from testing.servers import PASSWORD, Learner


async def read_mailed_token(deployment: Deployment, learner: Learner) -> str:
    await run_jobs(deployment.services)
    return deployment.outbox.tokens(learner.email, "appeal")[-1]


async def test_deleted_account_closes_its_appeal(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    ada = await member()
    needle = uuid.uuid4().hex
    warning = await issue(admin, ada.id, {**WARNING, "facts": f"You said {needle}."})
    token = await read_mailed_token(deployment, ada)
    text = {"text": f"I said {needle}."}
    made = (await ada.http.post(f"/users/me/sanctions/{warning['id']}/appeal", json=text)).json()
    await issue(admin, ada.id, WARNING)  # whose mail has not left
    assert (await ada.http.post("/users/me/deletion", json={"password": PASSWORD})).status_code == 204
    assert problem(await decide(colleague, made["id"], "overturned")) == (409, "appeal_closed")
    assert problem(await visit().post("/appeals/sanction", json={"token": token})) == (400, "token_invalid")
    assert problem(await appeal(visit(), token)) == (400, "token_invalid")
    items = (await admin.http.get(f"/admin/users/{ada.id}/sanctions")).json()["items"]
    (row,) = [each for each in items if each["id"] == warning["id"]]
    assert (row["ground"], row["facts"]) == ("inappropriate", None)
    assert (row["appeal"]["status"], row["appeal"]["text"]) == ("closed", None)
    sent = len(deployment.outbox.mails)
    await run_jobs(deployment.services)
    assert len(deployment.outbox.mails) == sent, "a deleted account was mailed"


async def test_deletion_of_the_reporter_changes_no_appeal(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    ada, bob = await member(), await member()
    await add_call(deployment.services, ada, bob)
    report = (await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})).json()["id"]
    sanction = {"kind": "ban", "facts": "You sent links."}
    assert (await admin.http.patch(f"/admin/reports/{report}", json={"sanction": sanction})).status_code == 200
    made = (await appeal(visit(), await get_login_token(visit(), bob))).json()
    assert (await ada.http.post("/users/me/deletion", json={"password": PASSWORD})).status_code == 204
    decided = await decide(colleague, made["id"], "overturned")
    assert decided.status_code == 200 and decided.json()["sanction"]["reportId"] == report
    assert (await try_login(visit(), bob)).status_code == 200


async def test_broken_mailer_is_tried_again(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    """The statement that was not sent comes with the next attempt; the ban holds meanwhile."""
    await run_jobs(deployment.services)
    ada = await member()
    await run_jobs(deployment.services)
    sanction = await issue(admin, ada.id, BAN)
    deployment.outbox.broken = errors.Unavailable()
    try:
        await run_jobs(deployment.services)
    finally:
        deployment.outbox.broken = None
    assert not deployment.outbox.tokens(ada.email, "appeal")
    response: httpx.Response = await try_login(visit(), ada)
    assert problem(response) == (403, "account_banned")
    # The job waits for its next attempt; what it does then is this.
    await deployment.services.statements.send_statement(sanction["id"])
    (token,) = deployment.outbox.tokens(ada.email, "appeal")
    assert (await appeal(visit(), token)).status_code == 201


async def test_decision_without_postgresql_changes_nothing(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    """The connection breaks after the decision was written and before its commit: neither it nor the lift is stored."""
    ada = await member()
    await issue(admin, ada.id, BAN)
    made = (await appeal(visit(), await get_login_token(visit(), ada))).json()
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    async with deployment.services.database.transaction() as db:
        # Writers of the audit log wait for this lock, in the middle of their transactions.
        await db.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(55030002)"))
        decision = asyncio.create_task(decide(colleague, made["id"], "overturned"))

        async def find() -> int | None:
            found = await query(deployment.services, waiting)
            return found[0][0] if found else None

        pid = await eventually(find, "the decision waits for the audit log")
        await query(deployment.services, "SELECT pg_terminate_backend(:pid)", pid=pid)
        assert problem(await decision) == (503, "unavailable")
    assert problem(await try_login(visit(), ada)) == (403, "account_banned")
    (row,) = [each for each in await read_all_pages(admin.http, "/admin/appeals", limit=50) if each["id"] == made["id"]]
    assert row["status"] == "open" and row["sanction"]["liftedAt"] is None
    assert (await decide(colleague, made["id"], "overturned")).status_code == 200
    assert (await try_login(visit(), ada)).status_code == 200
    assert (await deployment.services.audit.verify()).broken_at is None
