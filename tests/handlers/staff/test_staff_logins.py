"""Accounts of staff and their logins, as administrators see and end them."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from models import Role
from testing.databases import rows, value
from testing.http_answers import read_all_pages, read_code
from testing.logins import Visit
from testing.polling import eventually
from testing.servers import register
from tests.handlers.staff.conftest import MakeStaff

pytestmark = pytest.mark.rest_paths


async def test_staff_are_listed_with_factor_and_logins(visit: Visit, make_enrolled: MakeStaff) -> None:
    admin, moderator, learner = await make_enrolled(), await make_enrolled(Role.MODERATOR), await register(visit())
    assert (await moderator.log_in(visit(), moderator.code())).status_code == 200
    bare = await admin.services.administrators.create(f"{uuid.uuid4().hex}@example.com", "correct horse battery")
    listed = {each["id"]: each for each in await read_all_pages(admin.http, "/admin/staff", limit=3)}
    found = listed[moderator.id]
    assert (found["email"], found["role"], found["isSecondFactorEnrolled"], found["logins"]) == (
        moderator.email, "moderator", True, 2
    )  # fmt: skip
    assert found["lastUsedAt"] and listed[admin.id]["role"] == "admin"
    none = listed[str(bare.id)]
    assert (none["isSecondFactorEnrolled"], none["logins"], none["lastUsedAt"]) == (False, 0, None)
    assert learner.id not in listed


async def test_admin_ends_a_login_of_staff(visit: Visit, make_enrolled: MakeStaff) -> None:
    admin, moderator, other = await make_enrolled(), await make_enrolled(Role.MODERATOR), visit()
    assert (await moderator.log_in(other, moderator.code())).status_code == 200
    path = f"/admin/staff/{moderator.id}/logins"
    logins = (await admin.http.get(path)).json()["items"]
    assert len(logins) == 2 and all(each["factorProvenAt"] and not each["isCurrent"] for each in logins)
    newest = logins[0]
    assert newest["deviceId"].startswith("desk-") and logins[1]["deviceId"] == "desk"
    assert (await admin.http.delete(f"{path}/{newest['id']}")).status_code == 204

    async def ended() -> bool:
        return (await other.get("/users/me")).status_code == 401

    await eventually(ended, "the login has ended", within=1)
    assert (await moderator.http.get("/users/me")).status_code == 200
    assert read_code(await admin.http.delete(f"{path}/{newest['id']}")) == (404, "not_found")
    assert [each["id"] for each in (await admin.http.get(path)).json()["items"]] == [logins[1]["id"]]
    (entry,) = await rows(
        admin.services,
        "SELECT actor_id::text, detail FROM audit_log WHERE action = 'staff.logout' AND subject_id = :u",
        u=moderator.id,
    )
    assert tuple(entry) == (admin.id, {"login": newest["id"]})


async def test_logins_of_learners_are_not_shown(visit: Visit, make_enrolled: MakeStaff) -> None:
    admin, learner = await make_enrolled(), await register(visit())
    login = admin.services.logins.identify(learner.access_token).family_id
    assert read_code(await admin.http.get(f"/admin/staff/{learner.id}/logins")) == (404, "not_found")
    assert read_code(await admin.http.delete(f"/admin/staff/{learner.id}/logins/{login}")) == (404, "not_found")
    own = await admin.http.get(f"/admin/staff/{admin.id}/logins")
    other = f"/admin/staff/{admin.id}/logins/{login}"
    assert [each["isCurrent"] for each in own.json()["items"]] == [True]
    assert read_code(await admin.http.delete(other)) == (404, "not_found")
    assert (await learner.http.get("/users/me")).status_code == 200


async def test_login_of_staff_expires_sooner(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff, learner = await make_enrolled(), await register(visit())
    statement = "SELECT max(expires_at) - now() FROM refresh_tokens WHERE user_id = :u"
    assert await value(staff.services, statement, u=staff.id) <= timedelta(days=7)
    await staff.age_proof(0)
    assert await value(staff.services, statement, u=staff.id) <= timedelta(days=7)
    assert await value(staff.services, statement, u=learner.id) > timedelta(days=29)
