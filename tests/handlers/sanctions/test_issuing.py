"""Warnings, suspensions and bans: issued, in force, lifted."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

import errors
from testing.accounts import make_admin
from testing.call_history import add_call
from testing.containers import run_jobs
from testing.databases import query, value
from testing.http_answers import read_all_pages
from testing.lessons import MISSING_ID, problem
from testing.logins import Deployment, Visit, log_in
from testing.sanctions import BAN, FACTS, SUSPENSION, WARNING, MakeMember, issue, try_login
from testing.servers import Learner


async def read_audit(deployment: Deployment, subject: str) -> list[str]:
    statement = "SELECT action FROM audit_log WHERE subject_id = :s ORDER BY number"
    return [row[0] for row in await query(deployment.services, statement, s=subject)]


async def test_suspension_refuses_logins_until_it_ends(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    sanction = await issue(admin, ada.id, SUSPENSION)
    starts, ends = (datetime.fromisoformat(sanction[each]) for each in ("startsAt", "endsAt"))
    assert ends - starts == timedelta(days=7)
    assert (await ada.http.get("/users/me")).status_code == 401
    refused = await try_login(visit(), ada)
    assert problem(refused) == (403, "account_suspended")
    shown = refused.json()["sanction"]
    assert (shown["ground"], shown["facts"], shown["endsAt"]) == ("spam", SUSPENSION["facts"], sanction["endsAt"])
    assert shown["isAppealable"] and shown["appealToken"] and shown["appeal"] is None
    refreshed = await visit().post("/auth/refresh", json={"refreshToken": ada.refresh_token})
    assert refreshed.status_code == 401
    # Time passes: nothing runs, and the account can log in.
    await query(
        deployment.services,
        "UPDATE sanctions SET starts_at = starts_at - interval '8 days', ends_at = ends_at - interval '8 days'"
        " WHERE id = :id",
        id=sanction["id"],
    )
    await query(
        deployment.services,
        "UPDATE users SET suspended_until = suspended_until - interval '8 days' WHERE id = :id",
        id=ada.id,
    )
    assert (await try_login(visit(), ada)).status_code == 200
    assert await read_audit(deployment, ada.id) == ["user.suspend"]


async def test_refusal_says_nothing_without_the_password(visit: Visit, member: MakeMember, admin: Learner) -> None:
    ada = await member()
    await issue(admin, ada.id, SUSPENSION)
    wrong = await visit().post(
        "/auth/login", json={"email": ada.email, "password": "not the password", "deviceId": "x", "platform": "ios"}
    )
    assert problem(wrong) == (401, "invalid_credentials")
    assert "sanction" not in wrong.json()


async def test_duration_belongs_to_suspensions_alone(member: MakeMember, admin: Learner) -> None:
    ada = await member()
    for body in ({**SUSPENSION, "days": None}, {**BAN, "days": 3}, {**WARNING, "days": 3}, {**SUSPENSION, "days": 0}):
        given = {name: each for name, each in body.items() if each is not None}
        answer = await admin.http.post(f"/admin/users/{ada.id}/sanctions", json=given)
        assert problem(answer) == (400, "request_invalid"), body
    assert (await ada.http.get("/users/me")).status_code == 200


async def test_two_sanctions_at_once_leave_one_in_force(member: MakeMember, admin: Learner, colleague: Learner) -> None:
    for body in (BAN, SUSPENSION):
        ada = await member()
        path = f"/admin/users/{ada.id}/sanctions"
        answers = await asyncio.gather(*(each.http.post(path, json=body) for each in (admin, colleague) * 3))
        assert sorted(each.status_code for each in answers) == [201] + [409] * 5
        assert {each.json()["code"] for each in answers if each.status_code == 409} == {"already_sanctioned"}
        assert len((await admin.http.get(path)).json()["items"]) == 1


async def test_ban_during_a_suspension_is_in_force(visit: Visit, member: MakeMember, admin: Learner) -> None:
    ada = await member()
    suspension = await issue(admin, ada.id, SUSPENSION)
    ban = await issue(admin, ada.id, BAN)
    assert problem(await try_login(visit(), ada)) == (403, "account_banned")
    after = await admin.http.post(f"/admin/users/{ada.id}/sanctions", json=SUSPENSION)
    assert problem(after) == (409, "already_sanctioned")
    # Without the ban the suspension is in force again.
    lifted = await admin.http.post(f"/admin/sanctions/{ban['id']}/lift", json={"reason": "Too much."})
    assert lifted.status_code == 200 and lifted.json()["liftReason"] == "Too much."
    assert problem(await try_login(visit(), ada)) == (403, "account_suspended")
    again = await admin.http.post(f"/admin/sanctions/{ban['id']}/lift", json={"reason": "Too much."})
    assert problem(again) == (409, "sanction_lifted")
    await admin.http.post(f"/admin/sanctions/{suspension['id']}/lift", json={"reason": "A mistake."})
    assert (await try_login(visit(), ada)).status_code == 200


async def test_older_ban_operation_writes_a_sanction(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    await admin.http.patch(f"/admin/users/{ada.id}/ban", json={"reason": "Bob saw it."})
    (sanction,) = (await admin.http.get(f"/admin/users/{ada.id}/sanctions")).json()["items"]
    assert (sanction["kind"], sanction["ground"], sanction["issuedBy"]) == ("ban", "other", admin.id)
    assert sanction["isInternal"] and sanction["facts"] == "Bob saw it."
    shown = (await try_login(visit(), ada)).json()["sanction"]
    assert shown["facts"] is None and shown["isAppealable"]
    await run_jobs(deployment.services)
    (mail,) = [mail for mail in deployment.outbox.to(ada.email) if "/appeal?" in mail.link]
    assert "Bob" not in mail.text + mail.html
    assert (await admin.http.patch(f"/admin/users/{ada.id}/unban")).status_code == 204
    assert (await try_login(visit(), ada)).status_code == 200
    (sanction,) = (await admin.http.get(f"/admin/users/{ada.id}/sanctions")).json()["items"]
    assert sanction["liftedAt"] and sanction["liftedBy"] == admin.id


@pytest.mark.parametrize("ground", ["fraud", None])
async def test_review_of_a_report_issues_a_sanction(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, ground: str | None
) -> None:
    ada, bob = await member(), await member()
    await add_call(deployment.services, ada, bob)
    report = (await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "hate_speech"})).json()["id"]
    body: dict[str, Any] = {"kind": "suspension", "facts": "You insulted a people.", "days": 2}
    if ground:
        body["ground"] = ground
    reviewed = await admin.http.patch(f"/admin/reports/{report}", json={"sanction": body, "adminNote": "Ada is right."})
    assert reviewed.status_code == 200 and reviewed.json()["status"] == "actioned"
    shown = (await try_login(visit(), bob)).json()["sanction"]
    assert (shown["ground"], shown["facts"]) == (ground or "hate_speech", "You insulted a people.")
    (sanction,) = (await admin.http.get(f"/admin/users/{bob.id}/sanctions")).json()["items"]
    assert sanction["reportId"] == report
    again = await admin.http.patch(f"/admin/reports/{report}", json={"sanction": body, "adminNote": "Changed."})
    assert problem(again) == (409, "already_sanctioned")
    stored = await value(deployment.services, "SELECT admin_note FROM reports WHERE id = :r", r=report)
    assert stored == "Ada is right.", "half of a refused review was stored"


async def test_report_of_a_sanction_is_about_the_account(
    deployment: Deployment, member: MakeMember, admin: Learner
) -> None:
    ada, bob = await member(), await member()
    await add_call(deployment.services, ada, bob)
    report = (await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})).json()["id"]
    for user, expected in ((ada, 400), (bob, 201)):
        answer = await admin.http.post(f"/admin/users/{user.id}/sanctions", json={**WARNING, "reportId": report})
        assert answer.status_code == expected, answer.text


async def test_staff_is_sanctioned_after_demotion_alone(
    deployment: Deployment, visit: Visit, admin: Learner, colleague: Learner
) -> None:
    for body in (WARNING, SUSPENSION, BAN):
        answer = await admin.http.post(f"/admin/users/{colleague.id}/sanctions", json=body)
        assert problem(answer) == (403, "forbidden")
    await make_admin(deployment.services, visit())
    await deployment.services.administrators.demote(colleague.email)
    await issue(admin, colleague.id, BAN)
    missing = await admin.http.post(f"/admin/users/{MISSING_ID}/sanctions", json=BAN)
    assert problem(missing) == (404, "not_found")
    assert problem(await admin.http.get(f"/admin/users/{MISSING_ID}/sanctions")) == (404, "not_found")


async def test_warning_stays_until_it_is_acknowledged(visit: Visit, member: MakeMember, admin: Learner) -> None:
    ada, bob = await member(), await member()
    warning = await issue(admin, ada.id, WARNING)
    assert (await ada.http.get("/users/me")).status_code == 200
    (shown,) = (await ada.http.get("/users/me/sanctions")).json()["items"]
    assert (shown["facts"], shown["acknowledgedAt"]) == (WARNING["facts"], None)
    path = f"/users/me/sanctions/{warning['id']}/acknowledge"
    assert problem(await bob.http.post(path)) == (404, "not_found")
    for _ in range(2):
        assert (await ada.http.post(path)).status_code == 204
    (shown,) = (await ada.http.get("/users/me/sanctions")).json()["items"]
    assert shown["acknowledgedAt"]
    assert "issuedBy" not in shown and "liftReason" not in shown


async def test_sanctions_are_listed_page_by_page(member: MakeMember, admin: Learner) -> None:
    ada = await member()
    made = [(await issue(admin, ada.id, WARNING))["id"] for _ in range(4)]
    for http, path in ((ada.http, "/users/me/sanctions"), (admin.http, f"/admin/users/{ada.id}/sanctions")):
        assert [each["id"] for each in await read_all_pages(http, path, limit=3)] == made[::-1]


async def test_repeated_request_issues_one_sanction(member: MakeMember, admin: Learner) -> None:
    ada = await member()
    path, key = f"/admin/users/{ada.id}/sanctions", {"Idempotency-Key": f"once-{ada.id}"}
    first, second = [await admin.http.post(path, json=WARNING, headers=key) for _ in range(2)]
    assert first.json() == second.json()
    assert len((await admin.http.get(path)).json()["items"]) == 1


async def test_statement_is_mailed_and_notified(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    await issue(admin, ada.id, {**SUSPENSION, "ground": "harassment", "facts": FACTS + "\n<b>& more</b>"})
    await run_jobs(deployment.services)
    (mail,) = [mail for mail in deployment.outbox.to(ada.email) if "/appeal?" in mail.link]
    for part in (
        "suspended until",
        "The ground is harassment",
        "who had asked you to stop.",
        "no automated means",
        "appeal free of charge",
        "out-of-court dispute settlement",
        "download your data or delete your account",
    ):
        assert part in mail.text and part in mail.html
    assert "<b>& more" in mail.text and "&lt;b&gt;&amp; more" in mail.html
    titles = "SELECT title, body FROM notifications WHERE user_id = :u AND data ->> 'kind' = 'sanction'"
    ((title, body),) = await query(deployment.services, titles, u=ada.id)
    assert title == "Your account is suspended" and "shouting" not in body


async def test_statement_of_a_lifted_sanction_is_not_mailed(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    await run_jobs(deployment.services)
    sanction = await issue(admin, ada.id, SUSPENSION)
    await admin.http.post(f"/admin/sanctions/{sanction['id']}/lift", json={"reason": "The wrong account."})
    await run_jobs(deployment.services)
    (mail,) = deployment.outbox.to(ada.email)[1:]
    assert mail.subject == "Your suspension was lifted" and "The wrong account." in mail.text
    assert (await log_in(visit(), ada.email)).status_code == 200


async def test_export_has_the_sanctions(member: MakeMember, admin: Learner) -> None:
    ada = await member()
    warning = await issue(admin, ada.id, WARNING)
    await ada.http.post(f"/users/me/sanctions/{warning['id']}/appeal", json={"text": "He had asked me."})
    (exported,) = (await ada.http.get("/users/me/export")).json()["sanctions"]
    assert exported["facts"] == WARNING["facts"] and exported["appeal"]["text"] == "He had asked me."


async def test_account_shows_its_suspension(member: MakeMember, admin: Learner) -> None:
    ada = await member()
    sanction = await issue(admin, ada.id, SUSPENSION)
    detail = (await admin.http.get(f"/admin/users/{ada.id}")).json()
    assert detail["suspendedUntil"] == sanction["endsAt"] and not detail["isBanned"]


@pytest.mark.parametrize("sanction", [BAN, SUSPENSION], ids=["ban", "suspension"])
async def test_sanctioned_account_is_not_promoted(
    deployment: Deployment, member: MakeMember, admin: Learner, sanction: dict[str, Any]
) -> None:
    """It could not log in, and staff cannot be sanctioned; afterwards it can be promoted."""
    ada = await member()
    administrators = deployment.services.administrators
    issued = await issue(admin, ada.id, sanction)
    with pytest.raises(errors.Forbidden, match="lift it first"):
        await administrators.promote(ada.email)
    assert ada.email not in [each.email for each in await administrators.list()]
    lifted = await admin.http.post(f"/admin/sanctions/{issued['id']}/lift", json={"reason": "It was another one."})
    assert lifted.status_code == 200
    assert (await administrators.promote(ada.email)).email == ada.email
    await administrators.demote(ada.email)


async def test_login_without_a_sanction_row_is_refused(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    """A process of the release before, during an upgrade, bans without a sanction."""
    ada = await member()
    await query(
        deployment.services,
        "UPDATE users SET is_banned = true, banned_at = now(), ban_reason = 'old' WHERE id = :u",
        u=ada.id,
    )
    refused: httpx.Response = await try_login(visit(), ada)
    assert problem(refused) == (403, "account_banned") and "sanction" not in refused.json()
    assert (await admin.http.patch(f"/admin/users/{ada.id}/unban")).status_code == 204
    assert (await try_login(visit(), ada)).status_code == 200
