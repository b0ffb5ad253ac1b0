"""Review of reports, and bans."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from container import Container
from contract import operations, schemas
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.databases import rows, value
from testing.http_answers import read_all_pages
from testing.lessons import MISSING_ID
from testing.polling import eventually
from testing.servers import PASSWORD, Learner

OPERATIONS = {
    operation_id: operation
    for operation_id, operation in operations.definitions(schemas.load(schemas.OPENAPI)).items()
    if "admin" in operation["tags"]
}


@pytest.fixture
async def admin(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(container, (await make_learner(ready=False)).http)


async def reported(container: Container, make_learner: MakeLearner, **more: Any) -> tuple[Learner, Learner, str]:
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    body = {"reportedId": bob.id, "reason": "harassment", "description": "Shouted.", **more}
    answer = await ada.http.post("/reports", json=body)
    assert answer.status_code == 201, answer.text
    return ada, bob, answer.json()["id"]


async def audited(container: Container, subject: str) -> list[tuple[str, str]]:
    found = await rows(
        container, "SELECT action, actor_id FROM audit_log WHERE subject_id = :s ORDER BY number", s=subject
    )
    return [(action, str(actor)) for action, actor in found]


def test_admin_and_course_writes_need_an_administrator() -> None:
    document = schemas.load(schemas.OPENAPI)
    learners = {"enroll", "setLessonProgress", "completeLesson"}
    for operation_id, operation in operations.definitions(document).items():
        is_admin = operation["path"].startswith("/admin/")
        assert is_admin == ("admin" in operation["tags"])
        is_course = operation["path"].startswith(("/courses", "/lessons"))
        writes = is_course and operation_id not in learners and operation["method"] not in ("get", "options")
        assert (operation.get("security") == [{"admin": []}]) == (is_admin or writes), operation_id


@pytest.mark.parametrize("operation_id", OPERATIONS)
async def test_admin_operations_refuse_students_and_anonymous(
    api: httpx.AsyncClient, make_learner: MakeLearner, operation_id: str
) -> None:
    operation = OPERATIONS[operation_id]
    path = re.sub(r"\{\w+\}", MISSING_ID, operation["path"])
    anonymous = await api.request(operation["method"], path, json={})
    assert (anonymous.status_code, anonymous.json()["code"]) == (401, "unauthenticated")
    student = await (await make_learner(ready=False)).http.request(operation["method"], path, json={})
    assert (student.status_code, student.json()["code"]) == (403, "forbidden")


async def test_review_stores_a_note_and_settles(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob, report = await reported(container, make_learner)
    answer = await admin.http.patch(f"/admin/reports/{report}", json={"adminNote": "Asked both."})
    assert answer.status_code == 200
    assert answer.json()["status"] == "pending" and answer.json()["adminNote"] == "Asked both."
    assert answer.json()["reporterId"] == ada.id and answer.json()["actionedAt"] is None
    settled = (await admin.http.patch(f"/admin/reports/{report}", json={"status": "actioned"})).json()
    assert settled["status"] == "actioned" and settled["actionedAt"] and settled["adminNote"] == "Asked both."
    # The reporter sees that a decision was made, not which.
    assert (await ada.http.get("/reports/mine")).json()["items"][0]["status"] == "reviewed"
    assert (await bob.http.get("/users/me")).status_code == 200
    assert await audited(container, report) == [("report.review", admin.id)] * 2
    assert (await admin.http.patch(f"/admin/reports/{report}", json={})).status_code == 400
    missing = await admin.http.patch(f"/admin/reports/{MISSING_ID}", json={"status": "reviewed"})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_review_with_a_ban_bans(
    container: Container, make_learner: MakeLearner, admin: Learner, api: httpx.AsyncClient
) -> None:
    _, bob, report = await reported(container, make_learner)
    answer = await admin.http.patch(f"/admin/reports/{report}", json={"isBanned": True, "status": "dismissed"})
    assert answer.json()["status"] == "actioned"
    (ban,) = await rows(
        container, "SELECT is_banned, ban_reason, banned_by, banned_at FROM users WHERE id = :i", i=bob.id
    )
    assert ban[:2] == (True, "harassment") and str(ban[2]) == admin.id and ban[3] is not None
    assert (await bob.http.get("/users/me")).status_code == 401
    login = {"email": bob.email, "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
    refused = await api.post("/auth/login", json=login)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_banned")
    wrong = await api.post("/auth/login", json={**login, "password": "wrong password"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_credentials")
    refresh = await api.post("/auth/refresh", json={"refreshToken": bob.refresh_token})
    assert refresh.status_code == 401
    assert await audited(container, bob.id) == [("user.ban", admin.id)]
    assert await audited(container, report) == [("report.review", admin.id)]


async def test_repeated_ban_is_one_and_unban_restores_access(
    container: Container, make_learner: MakeLearner, admin: Learner, api: httpx.AsyncClient
) -> None:
    bob = await make_learner()
    for reason in ("Spam links", "Something else"):
        assert (await admin.http.patch(f"/admin/users/{bob.id}/ban", json={"reason": reason})).status_code == 204
    assert await value(container, "SELECT ban_reason FROM users WHERE id = :i", i=bob.id) == "Spam links"
    for _ in range(2):
        assert (await admin.http.patch(f"/admin/users/{bob.id}/unban")).status_code == 204
    assert await audited(container, bob.id) == [("user.ban", admin.id), ("user.unban", admin.id)]
    login = {"email": bob.email, "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
    signed_in = await api.post("/auth/login", json=login)
    assert signed_in.status_code == 200
    bearer = {"Authorization": f"Bearer {signed_in.json()['accessToken']}"}
    assert (await api.get("/users/me", headers=bearer)).status_code == 200
    assert (await bob.http.get("/users/me")).status_code == 401, "a token from before the ban works again"


async def test_administrator_cannot_be_banned(
    container: Container, make_learner: MakeLearner, admin: Learner, api: httpx.AsyncClient
) -> None:
    colleague = await make_admin(container, (await make_learner(ready=False)).http)
    for target in (colleague, admin):
        answer = await admin.http.patch(f"/admin/users/{target.id}/ban", json={"reason": "No."})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    ada = await make_learner()
    await add_call(container, ada, colleague)
    report = (await ada.http.post("/reports", json={"reportedId": colleague.id, "reason": "spam"})).json()["id"]
    answer = await admin.http.patch(f"/admin/reports/{report}", json={"isBanned": True})
    assert answer.status_code == 403
    # Nothing of it happened: neither the settling nor an entry of the log.
    assert (await ada.http.get("/reports/mine")).json()["items"][0]["status"] == "pending"
    assert await audited(container, report) == []
    assert (await colleague.http.get("/users/me")).status_code == 200
    for verb, body in (("ban", {"reason": "Nobody."}), ("unban", None)):
        missing = await admin.http.patch(f"/admin/users/{MISSING_ID}/{verb}", json=body)
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_reports_are_listed_by_status_page_by_page(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    ada, bob = await make_learner(), await make_learner()
    made: list[str] = []
    for _ in range(5):
        call = await add_call(container, ada, bob)
        body = {"reportedId": bob.id, "reason": "spam", "sessionId": call}
        made.append((await ada.http.post("/reports", json=body)).json()["id"])
    for report in made[:2]:
        await admin.http.patch(f"/admin/reports/{report}", json={"status": "reviewed"})
    listed = [each["id"] for each in await read_all_pages(admin.http, "/admin/reports", limit=3)]
    assert len(listed) == len(set(listed)) and [each for each in listed if each in made] == made[::-1]
    for status, expected in (("reviewed", made[:2]), ("pending", made[2:])):
        items = await read_all_pages(admin.http, "/admin/reports", limit=3, status=status)
        assert {each["status"] for each in items} == {status}
        assert [each["id"] for each in items if each["id"] in made] == expected[::-1]
    assert (await admin.http.get("/admin/reports", params={"status": "open"})).status_code == 400
    assert (await admin.http.get("/admin/reports", params={"cursor": "abc"})).status_code == 400


async def test_demoted_administrator_loses_access_at_once(
    container: Container, make_learner: MakeLearner, admin: Learner
) -> None:
    other = await make_admin(container, (await make_learner(ready=False)).http)
    await container.administrators.demote(other.email)

    async def refused() -> bool:
        return (await other.http.get("/admin/reports")).status_code == 401

    await eventually(refused, "the old token is refused", within=1)
