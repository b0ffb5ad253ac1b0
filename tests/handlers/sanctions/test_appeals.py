"""Appeals: submitted with a token, decided by another administrator, once."""

from __future__ import annotations

import asyncio

import psycopg.errors
import pytest
import sqlalchemy
import sqlalchemy.exc

import errors
from testing.containers import run_jobs
from testing.databases import query, rows, value
from testing.http_answers import count_statuses, read_all_pages
from testing.lessons import MISSING_ID, problem
from testing.logins import Deployment, Visit
from testing.sanctions import (
    BAN,
    SUSPENSION,
    WARNING,
    MakeMember,
    appeal,
    decide,
    get_login_token,
    issue,
    try_login,
)
from testing.servers import Learner


async def read_mailed_token(deployment: Deployment, learner: Learner) -> str:
    await run_jobs(deployment.services)
    return deployment.outbox.tokens(learner.email, "appeal")[-1]


async def test_overturned_appeal_lifts_the_ban(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    ada = await member()
    sanction = await issue(admin, ada.id, BAN)
    token = await read_mailed_token(deployment, ada)
    shown = (await visit().post("/appeals/sanction", json={"token": token})).json()
    assert (shown["id"], shown["appeal"], shown["isAppealable"]) == (sanction["id"], None, True)
    submitted = await appeal(visit(), token, "My brother used my phone.")
    assert submitted.status_code == 201 and submitted.json()["status"] == "open"
    shown = (await visit().post("/appeals/sanction", json={"token": token})).json()
    assert shown["appeal"] == submitted.json() and not shown["isAppealable"]
    refused = (await try_login(visit(), ada)).json()["sanction"]
    assert refused["appeal"] == submitted.json() and refused["appealToken"] is None

    (listed,) = (await colleague.http.get("/admin/appeals", params={"status": "open", "limit": 1})).json()["items"]
    assert listed["text"] == "My brother used my phone." and listed["sanction"]["issuedBy"] == admin.id
    own = await decide(admin, listed["id"], "overturned")
    assert problem(own) == (403, "forbidden") and "another administrator" in own.json()["detail"]
    decided = await decide(colleague, listed["id"], "overturned")
    assert decided.status_code == 200 and decided.json()["decidedBy"] == colleague.id
    assert decided.json()["sanction"]["liftedAt"]
    assert problem(await decide(colleague, listed["id"], "upheld")) == (409, "appeal_closed")
    assert (await try_login(visit(), ada)).status_code == 200
    await run_jobs(deployment.services)
    mail = deployment.outbox.to(ada.email)[-1]
    assert mail.subject == "The decision about your appeal" and "You have shown who it was." in mail.text
    assert "successful" in mail.text
    assert not [each for each in deployment.outbox.to(ada.email) if "was lifted" in each.subject]
    assert (await deployment.services.audit.verify()).broken_at is None


async def test_upheld_appeal_leaves_the_suspension(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    ada = await member()
    await issue(admin, ada.id, SUSPENSION)
    token = await get_login_token(visit(), ada)
    made = (await appeal(visit(), token)).json()
    assert (await decide(colleague, made["id"], "upheld", "The links were yours.")).status_code == 200
    refused = await try_login(visit(), ada)
    assert problem(refused) == (403, "account_suspended")
    shown = refused.json()["sanction"]["appeal"]
    assert (shown["status"], shown["decisionReason"]) == ("upheld", "The links were yours.")
    assert "decidedBy" not in shown
    await run_jobs(deployment.services)
    mail = deployment.outbox.to(ada.email)[-1]
    assert "rejected" in mail.text and "The links were yours." in mail.text and "or to a court" in mail.text


async def test_sanction_has_one_appeal(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    await issue(admin, ada.id, BAN)
    mailed, shown = await read_mailed_token(deployment, ada), await get_login_token(visit(), ada)
    answers = await asyncio.gather(*(appeal(visit(), token) for token in (mailed, shown) * 3))
    assert count_statuses(answers) == {201: 1, 409: 5}
    again = await appeal(visit(), mailed)
    assert problem(again) == (409, "already_appealed") and "e-mail" in again.json()["detail"]


async def test_login_token_is_replaced_by_the_next_login(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    sanction = await issue(admin, ada.id, BAN)
    first, second = [await get_login_token(visit(), ada) for _ in range(2)]
    assert problem(await appeal(visit(), first)) == (400, "token_invalid")
    assert (await appeal(visit(), second)).status_code == 201
    count = "SELECT count(*) FROM appeal_tokens WHERE sanction_id = :s AND source = 'login'"
    assert await value(deployment.services, count, s=sanction["id"]) == 1
    for wrong in ("x", "A" * 43):
        assert problem(await appeal(visit(), wrong)) == (400, "token_invalid")
        assert problem(await visit().post("/appeals/sanction", json={"token": wrong})) == (400, "token_invalid")


async def test_appeal_is_possible_for_six_months(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    sanction = await issue(admin, ada.id, BAN)
    months = "SELECT appeal_until = starts_at + interval '6 months' FROM sanctions WHERE id = :id"
    assert await value(deployment.services, months, id=sanction["id"])
    token = await read_mailed_token(deployment, ada)
    for table, column in (("sanctions", "appeal_until"), ("appeal_tokens", "expires_at")):
        named = "id" if table == "sanctions" else "sanction_id"
        statement = f"UPDATE {table} SET {column} = now() WHERE {named} = :id"
        await query(deployment.services, statement, id=sanction["id"])
    assert problem(await appeal(visit(), token)) == (400, "token_invalid")
    shown = (await try_login(visit(), ada)).json()["sanction"]
    assert not shown["isAppealable"] and shown["appealToken"] is None


async def test_lift_closes_the_appeal(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    ada = await member()
    sanction = await issue(admin, ada.id, BAN)
    token = await get_login_token(visit(), ada)
    made = (await appeal(visit(), token)).json()
    lifted = await admin.http.post(f"/admin/sanctions/{sanction['id']}/lift", json={"reason": "It was a mistake."})
    assert lifted.json()["appeal"]["status"] == "closed"
    assert problem(await decide(colleague, made["id"], "overturned")) == (409, "appeal_closed")
    shown = (await visit().post("/appeals/sanction", json={"token": token})).json()
    assert shown["appeal"]["status"] == "closed" and shown["liftedAt"]

    bob = await member()
    sanction = await issue(admin, bob.id, BAN)
    token = await get_login_token(visit(), bob)
    await admin.http.patch(f"/admin/users/{bob.id}/unban")
    assert problem(await appeal(visit(), token)) == (409, "sanction_lifted")


async def test_lift_and_decision_at_once_end_once(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    for _ in range(3):
        ada = await member()
        sanction = await issue(admin, ada.id, BAN)
        made = (await appeal(visit(), await get_login_token(visit(), ada))).json()
        lift = admin.http.post(f"/admin/sanctions/{sanction['id']}/lift", json={"reason": "A mistake."})
        answers = await asyncio.gather(lift, decide(colleague, made["id"], "overturned"))
        assert sorted(each.status_code for each in answers) == [200, 409]
        statement = "SELECT count(*) FROM audit_log WHERE subject_id = :u AND action = 'user.unban'"
        assert await value(deployment.services, statement, u=ada.id) == 1
        assert (await try_login(visit(), ada)).status_code == 200


async def test_two_decisions_at_once_are_one(
    visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    ada = await member()
    await issue(admin, ada.id, BAN)
    made = (await appeal(visit(), await get_login_token(visit(), ada))).json()
    answers = await asyncio.gather(*(decide(colleague, made["id"], each) for each in ("upheld", "overturned") * 2))
    assert count_statuses(answers) == {200: 1, 409: 3}


async def test_issuer_cannot_decide_by_any_way(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    await issue(admin, ada.id, BAN)
    made = (await appeal(visit(), await get_login_token(visit(), ada))).json()
    with pytest.raises(sqlalchemy.exc.IntegrityError) as refused:
        await query(
            deployment.services,
            "UPDATE appeals SET status = 'upheld', decided_at = now(), decided_by = :a WHERE id = :id",
            a=admin.id,
            id=made["id"],
        )
    assert isinstance(refused.value.orig, psycopg.errors.CheckViolation)
    with pytest.raises(errors.Forbidden):
        await deployment.services.appeals.decide(admin.id, made["id"], "upheld", "No.")
    # An operator decides where there is no second administrator.
    await deployment.services.appeals.decide(None, made["id"], "overturned", "Shown.")
    assert (await try_login(visit(), ada)).status_code == 200


async def test_ended_suspension_can_be_appealed_and_cleared(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    """DSA, article 20(1): six months, also where the suspension was over in a day."""
    ada = await member()
    sanction = await issue(admin, ada.id, SUSPENSION)
    past = "SET starts_at = starts_at - interval '8 days', ends_at = ends_at - interval '8 days'"
    await query(deployment.services, f"UPDATE sanctions {past} WHERE id = :id", id=sanction["id"])
    await query(deployment.services, "UPDATE users SET suspended_until = now() WHERE id = :id", id=ada.id)
    ada.http.headers["Authorization"] = f"Bearer {(await try_login(visit(), ada)).json()['accessToken']}"
    made = await ada.http.post(f"/users/me/sanctions/{sanction['id']}/appeal", json={"text": "Not my links."})
    assert made.status_code == 201, made.text
    decided = await decide(colleague, made.json()["id"], "overturned")
    assert decided.json()["sanction"]["liftedAt"]
    (shown,) = (await ada.http.get("/users/me/sanctions")).json()["items"]
    assert shown["liftedAt"] and shown["appeal"]["status"] == "overturned"


async def test_own_appeal_is_for_own_sanctions(member: MakeMember, admin: Learner) -> None:
    ada, bob = await member(), await member()
    warning = await issue(admin, ada.id, WARNING)
    path = f"/users/me/sanctions/{warning['id']}/appeal"
    assert problem(await bob.http.post(path, json={"text": "Hello."})) == (404, "not_found")
    missing = f"/users/me/sanctions/{MISSING_ID}/appeal"
    assert problem(await ada.http.post(missing, json={"text": "Hello."})) == (404, "not_found")
    assert (await ada.http.post(path, json={"text": "He had asked me."})).status_code == 201
    assert problem(await ada.http.post(path, json={"text": "Again."})) == (409, "already_appealed")


@pytest.mark.parametrize("text", ["", " \n ", "x" * 4001, "bidi \u202e", None])
async def test_text_of_an_appeal_is_checked(visit: Visit, member: MakeMember, admin: Learner, text: str | None) -> None:
    ada = await member()
    await issue(admin, ada.id, BAN)
    token = await get_login_token(visit(), ada)
    answer = await visit().post("/appeals", json={"token": token, "text": text})
    assert problem(answer) == (400, "request_invalid")
    assert (await appeal(visit(), token, "x" * 4000)).status_code == 201, "the refused request used the token up"


async def test_appeals_are_limited_by_address(visit: Visit) -> None:
    http = visit()
    answers = [await appeal(http, "A" * 43) for _ in range(21)]
    assert answers[19].status_code == 400 and problem(answers[20]) == (429, "rate_limited")


async def test_appeal_notifies_the_administrators(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    ada = await member()
    await issue(admin, ada.id, BAN)
    made = (await appeal(visit(), await get_login_token(visit(), ada), "private words")).json()
    statement = "SELECT body FROM notifications WHERE user_id = :u AND data ->> 'appealId' = :a"
    for each in (admin, colleague):
        ((body,),) = await rows(deployment.services, statement, u=each.id, a=made["id"])
        assert "private" not in body


async def test_appeals_are_listed_page_by_page(
    visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    made = []
    for _ in range(3):
        ada = await member()
        await issue(admin, ada.id, BAN)
        made.append((await appeal(visit(), await get_login_token(visit(), ada))).json()["id"])
    await decide(colleague, made[1], "upheld")
    items = await read_all_pages(admin.http, "/admin/appeals", limit=2)
    assert [each["id"] for each in items if each["id"] in made] == made[::-1]
    items = await read_all_pages(admin.http, "/admin/appeals", limit=2, status="open")
    assert [each["id"] for each in items if each["id"] in made] == [made[2], made[0]]
    assert (await admin.http.get("/admin/appeals", params={"status": "lost"})).status_code == 400


async def test_statistics_count_decisions(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner, colleague: Learner
) -> None:
    async def read() -> dict[str, int]:
        await deployment.services.redis.delete("admin:stats")
        counts: dict[str, int] = (await admin.http.get("/admin/stats")).json()["appeals"]
        return counts

    before = await read()
    for outcome in ("upheld", "overturned", None):
        ada = await member()
        await issue(admin, ada.id, BAN)
        made = (await appeal(visit(), await get_login_token(visit(), ada))).json()
        if outcome:
            await decide(colleague, made["id"], outcome)
    after = await read()
    assert {name: after[name] - before[name] for name in after} == {"open": 1, "upheld": 1, "overturned": 1}
