"""Second factors: enrollment, codes, recovery codes, and the attacks on them."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

import httpx
import pyotp
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

import errors
from adapters.passwords import Passwords
from adapters.rate_limiter import RateLimiter
from adapters.secret_box import SecretBox
from models import Role
from services.identity.second_factors import SecondFactorsService
from testing.accounts import credentials
from testing.authenticators import enroll, keep_tokens, make_staff
from testing.containers import run_jobs
from testing.databases import rows, value
from testing.http_answers import read_code
from testing.logins import Deployment, Visit
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import PASSWORD, register
from tests.handlers.staff.conftest import KEY, MakeStaff

pytestmark = pytest.mark.rest_paths
REQUIRED, INVALID = (403, "second_factor_required"), (403, "second_factor_invalid")


async def test_staff_without_factor_can_only_enroll(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    user_id, email = await make_staff(deployment.services, http)
    assert (await http.get("/users/me")).json()["role"] == "admin"
    for path in ("/admin/stats", "/admin/users", "/admin/staff"):
        assert read_code(await http.get(path)) == REQUIRED, path
    assert read_code(await http.post("/courses", json={})) == REQUIRED, "the body is not looked at"
    state = (await http.get("/auth/second-factor")).json()
    assert state == {
        "isEnrolled": False, "isRequired": True, "enrolledAt": None, "provenAt": None, "recoveryCodesLeft": 0,
        "passkeyCount": 0
    }  # fmt: skip
    staff = await enroll(deployment.services, http, user_id, email)
    assert (await http.get("/admin/stats")).status_code == 200
    state = (await http.get("/auth/second-factor")).json()
    assert state["isEnrolled"] and state["enrolledAt"] and state["provenAt"] and state["recoveryCodesLeft"] == 10
    await staff.age_proof(1)
    assert (await http.get("/admin/stats")).status_code == 200, "a refreshed token has the proof"


async def test_administrator_without_factor_sees_no_drafts(
    deployment: Deployment, visit: Visit, make_enrolled: MakeStaff
) -> None:
    enrolled, other = await make_enrolled(), visit()
    await make_staff(deployment.services, other)
    made = await enrolled.http.post("/courses", json={"title": "Idioms", "price": 0, "level": "beginner"})
    path = f"/courses/{made.json()['id']}"
    assert (await enrolled.http.get(path)).status_code == 200
    assert (await other.get(path)).status_code == 404


async def test_secret_is_for_authenticator_apps(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    _, email = await make_staff(deployment.services, http)
    answer = await http.post("/auth/second-factor", json={"password": PASSWORD})
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    made = answer.json()
    parsed = pyotp.parse_uri(made["otpauthUri"])
    assert (parsed.secret, parsed.name, parsed.issuer) == (made["secret"], email, "Parlance")
    size = len(made["qrCode"])
    assert {len(row) for row in made["qrCode"]} == {size} and (size - 21) % 4 == 0
    finder = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]
    assert [row[:7] for row in made["qrCode"][:7]] == finder == [row[-7:] for row in made["qrCode"][:7]]


async def test_login_needs_a_code_after_the_password(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff, http = await make_enrolled(), visit()
    wrong = await staff.log_in(http, None, password="not the password")
    assert read_code(wrong) == (401, "invalid_credentials"), "nothing of the factor before the password"
    assert read_code(await staff.log_in(http, staff.code(), password="no password")) == (401, "invalid_credentials")
    assert read_code(await staff.log_in(http, None)) == (401, "second_factor_required")
    assert read_code(await staff.log_in(http, "000000" if staff.code() != "000000" else "111111")) == INVALID
    done = await staff.log_in(http, f"{staff.code()[:3]} {staff.code()[3:]}")
    assert done.status_code == 200, done.text
    assert (await http.get("/admin/stats")).status_code == 200


async def test_learner_may_send_a_code_and_has_no_factor(visit: Visit) -> None:
    learner = await register(visit())
    body = {"email": learner.email, "password": PASSWORD, "deviceId": "desk", "platform": "ios"}
    assert (await visit().post("/auth/login", json={**body, "secondFactorCode": "123456"})).status_code == 200
    assert read_code(await learner.http.get("/auth/second-factor")) == (403, "forbidden")
    answer = await learner.http.post("/auth/second-factor", json={"password": PASSWORD})
    assert read_code(answer) == (403, "forbidden")


async def test_code_is_accepted_once(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled()
    code = staff.code()
    assert (await staff.log_in(visit(), code)).status_code == 200
    assert read_code(await staff.log_in(visit(), code)) == INVALID
    assert read_code(await staff.prove(code)) == INVALID
    assert read_code(await staff.prove(staff.code(-1))) == INVALID, "an older one either"
    assert (await staff.prove(staff.code(1))).status_code == 200


async def test_two_logins_with_one_code_are_one(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled()
    for code in (staff.code(), staff.recovery_codes[0]):
        answers = await asyncio.gather(*(staff.log_in(visit(), code) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
        await staff.services.redis.delete(f"limit:second_factor:{staff.id}")


@pytest.mark.parametrize(("steps", "status"), [(-1, 200), (1, 200), (-3, 403), (3, 403)])
async def test_clock_may_be_thirty_seconds_off(make_enrolled: MakeStaff, steps: int, status: int) -> None:
    staff, before, after = await make_enrolled(), 0, 1
    while before != after:  # until no time step ends between the code and the answer
        await staff.forget_codes()
        before = int(time.time()) // 30
        answer = await staff.prove(staff.code(steps))
        after = int(time.time()) // 30
    assert answer.status_code == status


async def test_wrong_codes_are_limited_by_account(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff, other = await make_enrolled(), await make_enrolled()
    wrong = "000000" if staff.code() != "000000" else "111111"
    guesses = await asyncio.gather(*(staff.log_in(visit(), wrong) for _ in range(8)))
    assert sorted(read_code(each) for each in guesses) == [INVALID] * 5 + [(429, "rate_limited")] * 3
    refused = await staff.log_in(visit(), staff.code())
    assert read_code(refused) == (429, "rate_limited") and int(refused.headers["retry-after"]) > 0
    for path, body in (("proof", {"code": staff.code()}), ("confirmation", {"code": staff.code()})):
        assert (await staff.http.post(f"/auth/second-factor/{path}", json=body)).status_code == 429, path
    assert (await other.log_in(visit(), other.code())).status_code == 200


async def test_right_codes_are_not_counted(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled()
    for _ in range(7):
        assert (await staff.prove(await staff.fresh_code())).status_code == 200
    for _ in range(7):
        assert read_code(await staff.log_in(visit(), None)) == (401, "second_factor_required")
    assert (await staff.log_in(visit(), await staff.fresh_code())).status_code == 200


async def test_wrong_codes_are_limited_without_redis(deployment: Deployment, make_enrolled: MakeStaff) -> None:
    staff, services = await make_enrolled(), deployment.services
    identity = services.logins.identify(staff.http.headers["Authorization"].removeprefix("Bearer "))
    async with Redis(port=free_port()) as nowhere:
        apart = SecondFactorsService(
            services.database, Passwords(4), services.logins, services.security_notices, RateLimiter(nowhere),
            SecretBox(SecretStr(KEY)), required=True,
        )  # fmt: skip
        for _ in range(5):
            with pytest.raises(errors.SecondFactorInvalid):
                await apart.prove(identity, "not a code")
        with pytest.raises(errors.RateLimited):
            await apart.prove(identity, staff.code())


async def test_recovery_code_works_once_in_any_spelling(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled()
    codes = staff.recovery_codes
    assert len(set(codes)) == 10 and all(re.fullmatch("[a-z2-7]{4}(-[a-z2-7]{4}){3}", each) for each in codes)
    spelled = codes[3].upper().replace("-", " ")
    assert (await staff.log_in(visit(), spelled)).status_code == 200
    assert read_code(await staff.log_in(visit(), codes[3])) == INVALID
    assert (await staff.http.get("/auth/second-factor")).json()["recoveryCodesLeft"] == 9
    new = (await staff.http.post("/auth/second-factor/recovery-codes")).json()["recoveryCodes"]
    assert len(new) == 10 and not set(new) & set(codes)
    assert read_code(await staff.log_in(visit(), codes[4])) == INVALID
    assert (await staff.prove(new[0])).status_code == 200
    stored = await rows(staff.services, "SELECT code_hash FROM recovery_codes WHERE user_id = :u", u=staff.id)
    assert len(stored) == 10 and not {row[0] for row in stored} & set(new)
    actions = await rows(staff.services, "SELECT action FROM audit_log WHERE actor_id = :u ORDER BY number", u=staff.id)
    names = ["enroll", "recovery", "codes", "recovery"]
    assert [action for (action,) in actions] == [f"second_factor.{name}" for name in names]


async def test_recovery_code_used_twice_at_once_works_once(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled()
    answers = await asyncio.gather(*(staff.log_in(visit(), staff.recovery_codes[0]) for _ in range(4)))
    assert sorted(each.status_code for each in answers) == [200, 403, 403, 403]
    assert (await staff.http.get("/auth/second-factor")).json()["recoveryCodesLeft"] == 9


async def test_owner_is_mailed_each_change(deployment: Deployment, visit: Visit, make_enrolled: MakeStaff) -> None:
    """Of the factor and of its codes, by an operator too; without a code, and nothing for a code that was refused."""
    staff = await make_enrolled()
    assert read_code(await staff.log_in(visit(), "aaaa-bbbb-cccc-dddd")) == INVALID
    assert (await staff.log_in(visit(), staff.recovery_codes[0])).status_code == 200
    codes = (await staff.http.post("/auth/second-factor/recovery-codes")).json()["recoveryCodes"]
    assert (await staff.http.delete("/auth/second-factor")).status_code == 204
    await staff.log_in(staff.http, None)
    keep_tokens(staff.http, await staff.http.post("/auth/login", json=credentials(staff.email, device="desk")))
    await enroll(deployment.services, staff.http, staff.id, staff.email)
    await deployment.services.administrators.reset_factor(staff.email)
    await run_jobs(deployment.services)
    mails = deployment.outbox.to(staff.email)
    expected = ["was set up", "recovery code of your account was used", "were replaced", "was removed", "was set up"]
    expected.append("An operator removed")
    unmatched = [each.text for each in mails]
    for words in expected:
        unmatched.remove(next(text for text in unmatched if words in text))
    assert unmatched == []
    assert len({mail.subject for mail in mails}) == 1 and all("If this was not you" in mail.text for mail in mails)
    assert not any(code in mail.text for code in (*codes, *staff.recovery_codes, staff.secret) for mail in mails)


async def test_stolen_access_token_enrolls_nothing(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    user_id, email = await make_staff(deployment.services, http)
    assert (await http.post("/auth/second-factor", json={})).status_code == 400
    wrong = await http.post("/auth/second-factor", json={"password": "not the password"})
    assert read_code(wrong) == (401, "invalid_credentials")
    assert read_code(await http.post("/auth/second-factor/confirmation", json={"code": "123456"})) == (404, "not_found")
    staff = await enroll(deployment.services, http, user_id, email)
    # With the password too, a factor is replaced only by who has the present one.
    answer = await http.post("/auth/second-factor", json={"password": PASSWORD})
    assert read_code(answer) == REQUIRED
    answer = await http.post("/auth/second-factor", json={"password": PASSWORD, "code": staff.code(-1)})
    assert read_code(answer) == INVALID


async def test_replaced_factor_counts_until_confirmed(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled()
    old_codes, old_secret = staff.recovery_codes, staff.secret
    body = {"password": PASSWORD, "code": staff.code()}
    new = (await staff.http.post("/auth/second-factor", json=body)).json()["secret"]
    assert (await staff.prove(staff.code(1))).status_code == 200, "the old one counts"
    other = visit()
    assert (await staff.log_in(other, await staff.fresh_code())).status_code == 200
    staff.secret = new
    done = await staff.http.post("/auth/second-factor/confirmation", json={"code": staff.code()})
    assert done.status_code == 200, done.text
    again = await staff.http.post("/auth/second-factor/confirmation", json={"code": staff.code(1)})
    assert read_code(again) == (404, "not_found")

    async def ended() -> bool:
        return (await other.get("/users/me")).status_code == 401

    await eventually(ended, "the other login has ended", within=1)
    assert read_code(await staff.prove(old_codes[0])) == INVALID
    assert read_code(await staff.prove(pyotp.TOTP(old_secret).now())) == INVALID
    assert (await staff.prove(staff.code(1))).status_code == 200


async def test_pending_secret_expires(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    user_id, _ = await make_staff(deployment.services, http)
    secret = (await http.post("/auth/second-factor", json={"password": PASSWORD})).json()["secret"]
    await rows(
        deployment.services,
        "UPDATE second_factors SET pending_until = now() - interval '1 second' WHERE user_id = :u RETURNING 1",
        u=user_id,
    )
    answer = await http.post("/auth/second-factor/confirmation", json={"code": pyotp.TOTP(secret).now()})
    assert read_code(answer) == (404, "not_found")


async def test_removal_needs_a_recent_proof_and_ends_logins(visit: Visit, make_enrolled: MakeStaff) -> None:
    staff = await make_enrolled(Role.MODERATOR)
    await staff.age_proof(11)
    assert read_code(await staff.http.delete("/auth/second-factor")) == REQUIRED
    assert (await staff.prove(await staff.fresh_code())).status_code == 200
    assert (await staff.http.delete("/auth/second-factor")).status_code == 204

    async def ended() -> bool:
        return (await staff.http.get("/users/me")).status_code == 401

    await eventually(ended, "the login has ended", within=1)
    assert (await staff.log_in(staff.http, None)).status_code == 200
    assert read_code(await staff.http.get("/admin/reports")) == REQUIRED


async def test_reset_and_demotion_remove_the_factor(visit: Visit, make_enrolled: MakeStaff) -> None:
    lost, demoted = await make_enrolled(), await make_enrolled()
    services = lost.services
    await services.administrators.reset_factor(lost.email)
    await services.administrators.demote(demoted.email)
    with pytest.raises(errors.NotFound):
        await services.administrators.reset_factor(lost.email)
    for staff in (lost, demoted):

        async def ended(http: httpx.AsyncClient = staff.http) -> bool:
            return (await http.get("/users/me")).status_code == 401

        await eventually(ended, "the logins have ended", within=1)
        assert (await staff.log_in(staff.http, None)).status_code == 200
        assert await value(services, "SELECT count(*) FROM recovery_codes WHERE user_id = :u", u=staff.id) == 0
    assert read_code(await lost.http.get("/admin/stats")) == REQUIRED
    assert read_code(await demoted.http.get("/admin/stats")) == (403, "forbidden")
    entries = await rows(services, "SELECT action FROM audit_log WHERE subject_id = :u ORDER BY number", u=lost.id)
    assert entries[-1][0] == "second_factor.reset"


async def test_secret_is_encrypted_with_the_first_key(deployment: Deployment, make_enrolled: MakeStaff) -> None:
    staff, services = await make_enrolled(), deployment.services
    statement = "SELECT secret FROM second_factors WHERE user_id = :u"
    stored = await value(services, statement, u=staff.id)
    assert staff.secret not in stored and SecretBox(SecretStr(KEY)).open(stored) == staff.secret
    identity = services.logins.identify(staff.http.headers["Authorization"].removeprefix("Bearer "))

    def with_keys(keys: str | None) -> SecondFactorsService:
        box = SecretBox(SecretStr(keys) if keys else None)
        limiter = RateLimiter(services.redis)
        return SecondFactorsService(
            services.database, Passwords(4), services.logins, services.security_notices, limiter, box, required=True
        )

    other = uuid.uuid4().hex * 2
    for lacking in (None, other):
        with pytest.raises(errors.Unavailable, match="SECOND_FACTOR_KEYS"):
            await with_keys(lacking).prove(identity, staff.code())
    await with_keys(f"{other}, {KEY}").prove(identity, staff.code())
    renewed = await value(services, statement, u=staff.id)
    assert SecretBox(SecretStr(other)).open(renewed) == staff.secret, "a used secret gets the first key"


def test_secret_without_keys_is_stored_as_it_is() -> None:
    plain, keyed = SecretBox(None), SecretBox(SecretStr(KEY))
    assert keyed.open(plain.seal("JBSWY3DP")) == plain.open(plain.seal("JBSWY3DP")) == "JBSWY3DP"
    assert not keyed.is_current(plain.seal("JBSWY3DP")) and keyed.is_current(keyed.seal("JBSWY3DP"))
    assert keyed.seal("JBSWY3DP") != keyed.seal("JBSWY3DP"), "equal secrets do not show"
