"""Passkeys as the second factor of staff, and what a thief with a part of the account cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

import errors
from models import Role
from testing.accounts import bearer, credentials
from testing.authenticators import enroll, keep_tokens, make_staff
from testing.containers import run_jobs
from testing.databases import query, rows, value
from testing.http_answers import read_code
from testing.logins import Deployment, Visit, request_reset, reset_password
from testing.passkeys import (
    Authenticator,
    Json,
    add_passkey,
    begin_registration,
    log_in_with,
    make_proof,
    proof_of,
    send_passkey,
)
from testing.polling import eventually
from testing.servers import PASSWORD, address
from tests.handlers.passkeys.conftest import MakeUser

pytestmark = pytest.mark.rest_paths
REQUIRED, INVALID = (403, "second_factor_required"), (401, "passkey_invalid")


@dataclass
class Member:
    """An account of staff whose only second factor is a passkey; `http` is the login that added it."""

    id: str
    email: str
    authenticator: Authenticator
    passkey: Json
    http: httpx.AsyncClient


MakeMember = Callable[..., Awaitable[Member]]


@pytest.fixture
def make_member(deployment: Deployment, visit: Visit) -> MakeMember:
    async def make(role: Role = Role.ADMIN) -> Member:
        http = visit()
        user_id, email = await make_staff(deployment.services, http, role)
        authenticator, passkey = await add_passkey(http)
        await refresh(http)
        return Member(user_id, email, authenticator, passkey, http)

    return make


async def refresh(http: httpx.AsyncClient) -> None:
    """Let the access token of a login have the time of its proof."""
    answer = await http.post("/auth/refresh", json={"refreshToken": http.headers["X-Test-Refresh"]})
    assert answer.status_code == 200, answer.text
    keep_tokens(http, answer)


async def log_in(http: httpx.AsyncClient, email: str, **more: Any) -> httpx.Response:
    body = {**credentials(email, device=f"desk-{id(http)}"), **more}
    answer = await http.post("/auth/login", json=body, headers={"X-Forwarded-For": address()})
    if answer.status_code == 200:
        keep_tokens(http, answer)
    return answer


async def age_proofs(deployment: Deployment, user_id: str) -> None:
    """Let each login of an account have proven its factor eleven minutes ago."""
    statement = (
        "UPDATE refresh_tokens SET factor_proven_at = factor_proven_at - interval '11 minutes' WHERE user_id = :u"
    )
    await query(deployment.services, statement, u=user_id)


async def prove(http: httpx.AsyncClient, authenticator: Authenticator) -> httpx.Response:
    answer = await http.post("/auth/second-factor/proof", json={"passkey": await make_proof(http, authenticator)})
    if answer.status_code == 200:
        http.headers.update(bearer(answer.json()["accessToken"]))
    return answer


async def test_first_passkey_of_staff_is_their_factor(deployment: Deployment, visit: Visit) -> None:
    http, other = visit(), visit()
    _, email = await make_staff(deployment.services, http)
    assert (await log_in(other, email)).status_code == 200
    assert read_code(await http.get("/admin/stats")) == REQUIRED
    await add_passkey(http)
    assert read_code(await http.get("/admin/stats")) == REQUIRED, "the access token is that of before"
    await refresh(http)
    assert (await http.get("/admin/stats")).status_code == 200
    state = (await http.get("/auth/second-factor")).json()
    assert (state["isEnrolled"], state["enrolledAt"], state["passkeyCount"]) == (True, None, 1)
    assert state["provenAt"] is not None and state["recoveryCodesLeft"] == 0

    async def ended() -> bool:
        return (await other.get("/users/me")).status_code == 401

    await eventually(ended, "the other login has ended", within=1)


async def test_login_with_a_passkey_proves_both(visit: Visit, make_member: MakeMember) -> None:
    member, http = await make_member(), visit()
    assert (await log_in_with(http, member.authenticator)).status_code == 200
    assert (await http.get("/admin/stats")).status_code == 200


async def test_password_login_asks_for_the_passkey(visit: Visit, make_member: MakeMember) -> None:
    member, http = await make_member(), visit()
    wrong = await log_in(http, member.email, password="not the password")
    assert read_code(wrong) == (401, "invalid_credentials"), "nothing of the factor before the password"
    assert read_code(await log_in(http, member.email)) == (401, "second_factor_required")
    no_code = await log_in(http, member.email, secondFactorCode="123456")
    assert read_code(no_code) == (403, "second_factor_invalid")
    proof = await make_proof(http, member.authenticator)
    refused = await log_in(http, member.email, password="not the password", secondFactorPasskey=proof)
    assert read_code(refused) == (401, "invalid_credentials")
    done = await log_in(http, member.email, secondFactorPasskey=proof)
    assert done.status_code == 200, "the answer was not spent by the wrong password"
    assert (await http.get("/admin/stats")).status_code == 200
    assert read_code(await log_in(visit(), member.email, secondFactorPasskey=proof)) == INVALID, "now it is"


async def test_factor_is_one_of_the_account(visit: Visit, make_member: MakeMember, make_user: MakeUser) -> None:
    """A phisher with the password, and with a passkey of an account of their own (w3c/webauthn, 753)."""
    member, other, learner = await make_member(), await make_member(), await make_user()
    own, _ = await add_passkey(learner.http)
    for authenticator in (other.authenticator, own):
        proof = await make_proof(visit(), authenticator)
        assert read_code(await log_in(visit(), member.email, secondFactorPasskey=proof)) == INVALID
        answer = await member.http.post("/auth/second-factor/proof", json={"passkey": proof})
        assert read_code(answer) == INVALID
    unverified = Authenticator(**{**vars(member.authenticator), "flags": 0x01})
    proof = await make_proof(visit(), unverified)
    assert read_code(await log_in(visit(), member.email, secondFactorPasskey=proof)) == INVALID


async def test_code_and_passkey_are_each_enough(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    staff = await enroll(deployment.services, http, *await make_staff(deployment.services, http))
    authenticator, _ = await add_passkey(http)
    assert (await staff.log_in(visit(), await staff.fresh_code())).status_code == 200
    proof = await make_proof(visit(), authenticator)
    assert (await log_in(visit(), staff.email, secondFactorPasskey=proof)).status_code == 200
    assert (await prove(http, authenticator)).status_code == 200
    assert (await staff.prove(await staff.fresh_code())).status_code == 200
    state = (await http.get("/auth/second-factor")).json()
    assert (state["isEnrolled"], state["passkeyCount"], state["enrolledAt"] is None) == (True, 1, False)


async def test_proof_is_a_code_or_a_passkey(visit: Visit, make_member: MakeMember) -> None:
    member = await make_member()
    proof = await make_proof(visit(), member.authenticator)
    wrong: list[Json] = [{}, {"code": "123456", "passkey": proof}, {"passkey": {}}, {"passkey": "x"}]
    for body in wrong:
        answer = await member.http.post("/auth/second-factor/proof", json=body)
        assert read_code(answer) == (400, "request_invalid"), body
    code = await member.http.post("/auth/second-factor/proof", json={"code": "123456"})
    assert read_code(code) == (404, "not_found"), "there is no app"


async def test_old_proof_is_renewed_by_a_passkey(
    deployment: Deployment, make_member: MakeMember, make_user: MakeUser
) -> None:
    member, learner = await make_member(), await make_user()
    await age_proofs(deployment, member.id)
    await refresh(member.http)
    body = {"kind": "ban", "ground": "harassment", "facts": "You shouted at everybody."}
    assert read_code(await member.http.post(f"/admin/users/{learner.id}/sanctions", json=body)) == REQUIRED
    assert (await prove(member.http, member.authenticator)).status_code == 200
    answer = await member.http.post(f"/admin/users/{learner.id}/sanctions", json=body)
    assert answer.status_code == 201, answer.text


async def test_passkey_proves_once(visit: Visit, make_member: MakeMember) -> None:
    member = await make_member()
    proof = await make_proof(visit(), member.authenticator)
    sends = (member.http.post("/auth/second-factor/proof", json={"passkey": proof}) for _ in range(5))
    answers = await asyncio.gather(*sends)
    assert sorted(each.status_code for each in answers) == [200] + [401] * 4


async def test_password_alone_adds_no_factor(deployment: Deployment, visit: Visit, make_member: MakeMember) -> None:
    """Neither a passkey nor an app, to an account that has a factor which this login has not proven lately."""
    http = visit()
    staff = await enroll(deployment.services, http, *await make_staff(deployment.services, http))
    member = await make_member()
    for user_id, login in ((staff.id, http), (member.id, member.http)):
        begun = await begin_registration(login)
        await age_proofs(deployment, user_id)
        body = {"proof": {"password": PASSWORD}}
        assert read_code(await login.post("/users/me/passkeys/challenge", json=body)) == REQUIRED
        late = Authenticator().register(begun["optionsJson"])
        answer = await login.post("/users/me/passkeys", json={**proof_of(begun, late), "name": "Thief's"})
        assert read_code(answer) == REQUIRED
    answer = await member.http.post("/auth/second-factor", json={"password": PASSWORD})
    assert read_code(answer) == REQUIRED
    assert (await prove(member.http, member.authenticator)).status_code == 200
    answer = await member.http.post("/auth/second-factor", json={"password": PASSWORD})
    assert answer.status_code == 201, answer.text


async def test_passkey_as_the_proof_adds_another(deployment: Deployment, visit: Visit, make_member: MakeMember) -> None:
    member = await make_member()
    await age_proofs(deployment, member.id)
    proof = {"passkey": await make_proof(visit(), member.authenticator)}
    assert (await send_passkey(member.http, Authenticator(), proof=proof)).status_code == 201


async def test_removal_needs_a_recent_proof(deployment: Deployment, visit: Visit, make_member: MakeMember) -> None:
    """And ends every login where it was the last factor, as the removal of the app does."""
    member, other = await make_member(), visit()
    _, second = await add_passkey(member.http)
    await log_in_with(other, member.authenticator)
    await age_proofs(deployment, member.id)
    path = "/users/me/passkeys/{}".format
    assert read_code(await member.http.delete(path(second["id"]))) == REQUIRED
    await prove(member.http, member.authenticator)
    assert (await member.http.delete(path(second["id"]))).status_code == 204
    assert (await other.get("/users/me")).status_code == 200
    assert (await member.http.delete(path(member.passkey["id"]))).status_code == 204
    for http in (member.http, other):
        assert (await http.get("/users/me")).status_code == 401
    again = visit()
    assert (await log_in(again, member.email)).status_code == 200, "no factor is left"
    assert read_code(await again.get("/admin/stats")) == REQUIRED


async def test_removed_app_leaves_the_passkey(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    staff = await enroll(deployment.services, http, *await make_staff(deployment.services, http))
    authenticator, _ = await add_passkey(http)
    await refresh_all(staff.email, http, authenticator)
    assert (await http.delete("/auth/second-factor")).status_code == 204
    assert read_code(await log_in(visit(), staff.email)) == (401, "second_factor_required")
    code = await log_in(visit(), staff.email, secondFactorCode=staff.recovery_codes[0])
    assert read_code(code) == (403, "second_factor_invalid"), "recovery codes are the app's"
    assert (await log_in_with(visit(), authenticator)).status_code == 200


async def refresh_all(email: str, http: httpx.AsyncClient, authenticator: Authenticator) -> None:
    """Log in again on the client, with the passkey as the factor."""
    answer = await log_in(http, email, secondFactorPasskey=await make_proof(http, authenticator))
    assert answer.status_code == 200, answer.text


async def test_lost_phone_is_reset(deployment: Deployment, visit: Visit, make_member: MakeMember) -> None:
    member, http = await make_member(), visit()
    both = await enroll(deployment.services, http, *await make_staff(deployment.services, http))
    await add_passkey(http)
    for user_id, email in ((member.id, member.email), (both.id, both.email)):
        await deployment.services.administrators.reset_factor(email)
        assert await value(deployment.services, "SELECT count(*) FROM passkeys WHERE user_id = :u", u=user_id) == 0
        assert (await log_in(visit(), email)).status_code == 200
    assert (await member.http.get("/users/me")).status_code == 401
    with pytest.raises(errors.NotFound):
        await deployment.services.administrators.reset_factor(member.email)


async def test_passkeys_of_learners_are_not_reset(deployment: Deployment, visit: Visit, make_user: MakeUser) -> None:
    learner = await make_user()
    authenticator, _ = await add_passkey(learner.http)
    with pytest.raises(errors.NotFound):
        await deployment.services.administrators.reset_factor(learner.email)
    assert (await log_in_with(visit(), authenticator)).status_code == 200


async def test_demoted_and_promoted_keep_their_passkeys(
    deployment: Deployment, visit: Visit, make_member: MakeMember
) -> None:
    member = await make_member(Role.MODERATOR)
    await deployment.services.administrators.demote(member.email)
    assert (await log_in(visit(), member.email)).status_code == 200, "a learner needs no factor"
    http = visit()
    assert (await log_in_with(http, member.authenticator)).status_code == 200
    assert (await http.get("/users/me")).json()["role"] == "student"
    await deployment.services.administrators.promote(member.email, Role.MODERATOR)
    assert read_code(await log_in(visit(), member.email)) == (401, "second_factor_required")
    http = visit()
    assert (await log_in_with(http, member.authenticator)).status_code == 200
    assert (await http.get("/admin/reports")).status_code == 200


async def test_changes_of_staff_are_audited_and_mailed(deployment: Deployment, make_member: MakeMember) -> None:
    member = await make_member()
    await add_passkey(member.http)
    await member.http.delete(f"/users/me/passkeys/{member.passkey['id']}")
    actions = "SELECT action FROM audit_log WHERE actor_id = :u ORDER BY number"
    found = [action for (action,) in await rows(deployment.services, actions, u=member.id)]
    assert found == ["passkey.add", "passkey.add", "passkey.remove"]
    await run_jobs(deployment.services)
    texts = [mail.text for mail in deployment.outbox.to(member.email)]
    assert sum("A passkey was added" in text for text in texts) == 2
    assert sum("A passkey was removed" in text for text in texts) == 1


async def test_staff_list_counts_passkeys_as_a_factor(make_member: MakeMember) -> None:
    member = await make_member()
    listed = (await member.http.get("/admin/staff?limit=100")).json()["items"]
    (own,) = [each for each in listed if each["id"] == member.id]
    assert own["isSecondFactorEnrolled"] is True


async def test_factor_added_between_the_steps_is_asked_for(
    deployment: Deployment, visit: Visit, make_member: MakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that looked for a factor before there was one does not get in without it."""
    opening, http = deployment.services.login_opening, visit()
    _, email = await make_staff(deployment.services, http)
    looked, go_on = asyncio.Event(), asyncio.Event()
    needs_factor = opening._needs_factor

    async def wait_after(proof: Any) -> bool:
        found = await needs_factor(proof)
        looked.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(opening, "_needs_factor", wait_after)
    login = asyncio.create_task(log_in(visit(), email))
    await looked.wait()
    await add_passkey(http)
    go_on.set()
    assert read_code(await login) == (401, "second_factor_required")


async def test_mailbox_alone_removes_no_factor_of_staff(
    deployment: Deployment, visit: Visit, make_member: MakeMember
) -> None:
    """A thief of the mailbox sets a new password, and is still asked for the passkey."""
    member = await make_member()
    await query(deployment.services, "UPDATE users SET is_verified = false WHERE id = :u", u=member.id)
    await request_reset(visit(), member.email)
    await run_jobs(deployment.services)
    token = deployment.outbox.tokens(member.email, "reset-password")[-1]
    assert (await reset_password(visit(), token, "a brand new password")).status_code == 204
    login = {"email": member.email, "password": "a brand new password", "deviceId": "thief", "platform": "ios"}
    assert read_code(await visit().post("/auth/login", json=login)) == (401, "second_factor_required")
    proof = await make_proof(visit(), member.authenticator)
    assert (await visit().post("/auth/login", json={**login, "secondFactorPasskey": proof})).status_code == 200
