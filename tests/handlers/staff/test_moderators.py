"""Moderators: what they see and do, and the proofs that operations ask of all staff."""

from __future__ import annotations

import uuid

import httpx
import pytest

from models import Role
from testing.call_history import add_call
from testing.databases import rows
from testing.http_answers import read_code
from testing.logins import Deployment, Visit
from testing.payments import add_course, completed, deliver
from testing.servers import Learner, register
from tests.handlers.staff.conftest import MakeStaff

pytestmark = pytest.mark.rest_paths
REQUIRED = (403, "second_factor_required")


async def report(deployment: Deployment, visit: Visit) -> tuple[Learner, str]:
    """Make a learner and a report about them."""
    ada, bob = await register(visit()), await register(visit())
    await add_call(deployment.services, ada, bob)
    made = await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "harassment"})
    assert made.status_code == 201, made.text
    return bob, made.json()["id"]


async def test_moderator_sees_an_account_without_orders(
    deployment: Deployment, visit: Visit, make_enrolled: MakeStaff
) -> None:
    services, buyer = deployment.services, await register(visit())
    order = await services.checkout.start(buyer.id, await add_course(services))
    await deliver(services, completed(order))
    seen = {}
    for role in (Role.ADMIN, Role.MODERATOR):
        staff = await make_enrolled(role)
        seen[role] = (await staff.http.get(f"/admin/users/{buyer.id}")).json()
    assert [each["id"] for each in seen[Role.ADMIN].pop("orders")] == [str(order.id)]
    assert seen[Role.MODERATOR].pop("orders") == []
    assert seen[Role.MODERATOR] == seen[Role.ADMIN]


async def test_moderator_reads_own_audit_entries(visit: Visit, make_enrolled: MakeStaff) -> None:
    moderator, admin = await make_enrolled(Role.MODERATOR), await make_enrolled()
    learner = await register(visit())
    for staff in (moderator, admin):
        assert (await staff.http.patch(f"/admin/users/{learner.id}/unban")).status_code == 204
        answer = await staff.http.patch(f"/admin/users/{learner.id}/ban", json={"reason": "Spam."})
        assert answer.status_code == 204, answer.text
    own = (await moderator.http.get("/admin/audit")).json()["items"]
    assert {each["actorId"] for each in own} == {moderator.id} and own[0]["action"] == "user.ban"
    assert (await moderator.http.get("/admin/audit", params={"actorId": moderator.id})).json()["items"] == own
    answer = await moderator.http.get("/admin/audit", params={"actorId": admin.id})
    assert read_code(answer) == (403, "forbidden")
    of_all = (await admin.http.get("/admin/audit", params={"targetId": learner.id})).json()["items"]
    assert {each["actorId"] for each in of_all} == {moderator.id, admin.id}


async def test_staff_cannot_be_banned(make_enrolled: MakeStaff) -> None:
    moderator, other = await make_enrolled(Role.MODERATOR), await make_enrolled(Role.MODERATOR)
    answer = await moderator.http.patch(f"/admin/users/{other.id}/ban", json={"reason": "A quarrel."})
    assert read_code(answer) == (403, "forbidden")
    answer = await moderator.http.post("/users/me/deletion", json={"password": "correct horse battery"})
    assert read_code(answer) == (403, "forbidden")


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.ADMIN])
async def test_ban_needs_a_recent_proof(
    deployment: Deployment, visit: Visit, make_enrolled: MakeStaff, role: Role
) -> None:
    staff = await make_enrolled(role)
    learner, report_id = await report(deployment, visit)
    await staff.age_proof(11)
    assert (await staff.http.get(f"/admin/users/{learner.id}")).status_code == 200
    review = f"/admin/reports/{report_id}"
    asked: list[tuple[str, dict[str, object]]] = [
        (f"/admin/users/{learner.id}/ban", {"reason": "Spam."}),
        (review, {"status": "actioned", "isBanned": True}),
    ]
    for path, body in asked:
        assert read_code(await staff.http.patch(path, json=body)) == REQUIRED, path
    assert (await staff.http.patch(review, json={"status": "reviewed", "isBanned": False})).status_code == 200
    assert await rows(deployment.services, "SELECT 1 FROM users WHERE id = :u AND is_banned", u=learner.id) == []
    assert (await staff.prove(await staff.fresh_code())).status_code == 200
    for path, body in asked:
        assert (await staff.http.patch(path, json=body)).status_code in (200, 204), path


async def test_refund_needs_a_recent_proof(deployment: Deployment, visit: Visit, make_enrolled: MakeStaff) -> None:
    staff, services = await make_enrolled(), deployment.services
    order = await services.checkout.start((await register(visit())).id, await add_course(services))
    await deliver(services, completed(order))
    await staff.age_proof(11)
    path, key = f"/admin/orders/{order.id}/refund", {"Idempotency-Key": uuid.uuid4().hex}

    async def refund() -> httpx.Response:
        return await staff.http.post(path, json={"amount": 100}, headers=key)

    assert read_code(await refund()) == REQUIRED
    assert (await staff.prove(await staff.fresh_code())).status_code == 200
    done = await refund()
    assert done.status_code == 201, done.text
    await staff.age_proof(11)
    assert read_code(await refund()) == REQUIRED, "also to repeat the answer"


async def test_proof_is_of_one_login(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff, other = await make_enrolled(), visit()
    assert (await staff.log_in(other, await staff.fresh_code())).status_code == 200
    await staff.age_proof(11)
    path = f"/admin/staff/{staff.id}/logins/{uuid.uuid4()}"
    assert read_code(await staff.http.delete(path)) == REQUIRED
    assert read_code(await other.delete(path)) == (404, "not_found")


async def test_proof_of_an_ended_login_is_refused(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled()
    services = staff.services
    identity = services.logins.identify(staff.http.headers["Authorization"].removeprefix("Bearer "))
    await services.logins.end_all(staff.id)
    answer = await staff.prove(await staff.fresh_code())
    assert read_code(answer) == (401, "unauthenticated")
    # As in a process that does not know yet that the login has ended.
    with pytest.raises(Exception, match="login has ended"):
        await services.second_factors.prove(identity, staff.code())
