"""Logins with a code by e-mail: new, known and unverified accounts, and what a code does not do."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from jobs import send_email_code
from models import Role
from testing.accounts import bearer, credentials, new_email
from testing.authenticators import enroll, make_staff
from testing.containers import run_jobs
from testing.databases import query
from testing.email_codes import MailedCode, add_login_methods, request_code, use_code
from testing.lessons import problem
from testing.logins import Deployment, Visit, log_in, read_status
from testing.polling import eventually

CODE_INVALID = (401, "code_invalid")


async def test_code_opens_one_verified_account(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    mailed = await request_code(deployment, http, email)
    answer = await use_code(http, mailed)
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["email"] == email and answer.json()["user"]["isVerified"]
    again = await request_code(deployment, http, email)
    second = await use_code(http, again, device="tablet")
    assert second.json()["user"]["id"] == answer.json()["user"]["id"]
    profile = await http.get("/users/me", headers=bearer(answer.json()["accessToken"]))
    assert profile.status_code == 200
    # No password gets it in, not even an empty password.
    for password in ("", " ", "x"):
        assert (await visit().post("/auth/login", json=credentials(email, password=password))).status_code in (400, 401)


async def test_code_works_once(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    mailed = await request_code(deployment, http, new_email())
    answers = await asyncio.gather(*(use_code(visit(), mailed, device=f"d{n}") for n in range(4)))
    assert sorted(each.status_code for each in answers) == [200, 401, 401, 401]
    assert problem(await use_code(http, mailed)) == CODE_INVALID


async def test_two_codes_at_once_open_one_account(deployment: Deployment, visit: Visit) -> None:
    email = new_email()
    codes = [await request_code(deployment, visit(), email) for _ in range(4)]
    answers = await asyncio.gather(*(use_code(visit(), each, device=f"d{n}") for n, each in enumerate(codes)))
    assert [each.status_code for each in answers] == [200] * 4, [each.text for each in answers]
    assert len({each.json()["user"]["id"] for each in answers}) == 1


async def test_hundred_guesses_at_once_count_as_five(deployment: Deployment, visit: Visit) -> None:
    mailed = await request_code(deployment, visit(), new_email())
    others = [f"{n:06d}" for n in range(101) if f"{n:06d}" != mailed.code][:100]
    answers = await asyncio.gather(*(use_code(visit(), mailed, code=each) for each in others))
    assert {each.status_code for each in answers} <= {401, 429}
    [row] = await query(deployment.services, "SELECT tries, used FROM email_codes WHERE id = :i", i=mailed.challenge_id)
    assert (row.tries, row.used) == (5, False)
    # Not limited by the address any more, and the right code does not work either.
    await deployment.services.redis.flushall()
    assert problem(await use_code(visit(), mailed)) == CODE_INVALID


async def test_guesses_of_an_address_are_limited_over_challenges(deployment: Deployment, visit: Visit) -> None:
    email, codes = new_email(), []
    for _ in range(8):
        codes.append(await request_code(deployment, visit(), email))
    statuses = [(await use_code(visit(), each, code=each.wrong)).status_code for each in codes for _ in range(4)]
    assert statuses == [401] * 30 + [429] * 2
    # A spelling of the address is the same address.
    shouted = codes[0]._replace(email=email.upper())
    assert (await use_code(visit(), shouted)).status_code == 429


async def test_made_up_challenges_lock_nobody_out(deployment: Deployment, visit: Visit) -> None:
    """Tries that no code could have met are no guesses, and no mail was sent for them."""
    email = new_email()
    for _ in range(32):
        made_up = MailedCode(str(uuid.uuid4()), email, "000000")
        assert (await use_code(visit(), made_up)).status_code == 401
    http = visit()
    assert (await use_code(http, await request_code(deployment, http, email))).status_code == 200


async def test_known_device_is_not_locked_out_by_others(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    first = (await use_code(http, await request_code(deployment, http, email))).json()
    known = {"deviceId": "phone", "deviceProof": first["deviceProof"]}
    strangers = [await visit().post("/auth/email-code", json={"email": email}) for _ in range(14)]
    assert [each.status_code for each in strangers] == [202] * 14
    assert (await visit().post("/auth/email-code", json={"email": email})).status_code == 429
    answer = await http.post("/auth/email-code", json={"email": email, **known})
    assert answer.status_code == 202
    await run_jobs(deployment.services)
    own = answer.json()["challengeId"]
    for number in range(30):
        guess = MailedCode(strangers[number // 5].json()["challengeId"], email, f"{number:06d}")
        assert (await use_code(visit(), guess)).status_code == 401
    assert (await use_code(visit(), MailedCode(own, email, "000000"))).status_code == 429
    # The newest mails come in any order: the right one is among them.
    codes = deployment.outbox.codes(email)[-16:]
    statuses = [(await use_code(http, MailedCode(own, email, each), **known)).status_code for each in codes[-5:]]
    assert 429 not in statuses


async def test_requests_from_one_network_are_limited_apart(deployment: Deployment, visit: Visit) -> None:
    email, attacker = new_email(), visit()
    statuses = [(await attacker.post("/auth/email-code", json={"email": email})).status_code for _ in range(7)]
    assert statuses == [202] * 5 + [429] * 2
    assert (await visit().post("/auth/email-code", json={"email": email})).status_code == 202


@pytest.mark.parametrize("what", ["challenge", "address", "expired", "unmailed"])
async def test_code_of_something_else_is_refused(deployment: Deployment, visit: Visit, what: str) -> None:
    http = visit()
    mailed, other = [await request_code(deployment, http, new_email()) for _ in range(2)]
    if what == "challenge":
        tried = mailed._replace(challenge_id=other.challenge_id)
    elif what == "address":
        tried = mailed._replace(email=other.email)
    elif what == "expired":
        await query(
            deployment.services, "UPDATE email_codes SET expires_at = now() WHERE id = :i", i=mailed.challenge_id
        )
        tried = mailed
    else:
        answer = await http.post("/auth/email-code", json={"email": mailed.email})
        tried = MailedCode(answer.json()["challengeId"], mailed.email, "")
    for code in {tried.code, "000000"} - {""}:
        assert problem(await use_code(http, tried, code=code)) == CODE_INVALID


async def test_code_goes_to_the_accounts_own_spelling(deployment: Deployment, visit: Visit) -> None:
    """At a server that distinguishes case, another spelling is another person's mailbox."""
    http, email = visit(), new_email()
    await log_in(http, email, new=True)
    shouted = email.replace("u", "U", 1)
    answer = await http.post("/auth/email-code", json={"email": shouted})
    await run_jobs(deployment.services)
    assert deployment.outbox.codes(shouted) == []
    mailed = MailedCode(answer.json()["challengeId"], shouted, deployment.outbox.codes(email)[-1])
    assert (await use_code(http, mailed)).status_code == 200


async def test_code_of_another_spelling_opens_no_account(deployment: Deployment, visit: Visit) -> None:
    """The account was opened, in another spelling, after the code was mailed."""
    http, email = visit(), new_email()
    mailed = await request_code(deployment, http, email.replace("u", "U", 1))
    await log_in(visit(), email, new=True)
    assert problem(await use_code(http, mailed)) == CODE_INVALID


async def test_attempt_after_a_failed_mail_sends_another_code(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    mailed = await request_code(deployment, http, email)
    async with deployment.services.database.transaction() as db:
        await deployment.services.jobs.enqueue(db, send_email_code, challenge_id=mailed.challenge_id)
    await run_jobs(deployment.services)
    first, second = deployment.outbox.codes(email)
    if first != second:
        assert problem(await use_code(http, mailed, code=first)) == CODE_INVALID
    assert (await use_code(http, mailed, code=second)).status_code == 200
    keys = [key for key in deployment.outbox.keys if mailed.challenge_id in key]
    assert len(set(keys)) == 2, "a provider would take the second for a repetition of the first"


async def test_code_takes_over_an_account_never_verified(deployment: Deployment, visit: Visit) -> None:
    """What who has opened it with another person's address has set up is gone."""
    attacker, owner, email = visit(), visit(), new_email()
    opened = (await log_in(attacker, email, new=True)).json()
    await add_login_methods(deployment, opened["user"]["id"])
    change = await attacker.post(
        "/users/me/email-change",
        json={"newEmail": new_email(), "proof": {"password": credentials(email)["password"]}},
        headers=bearer(opened["accessToken"]),
    )
    assert change.status_code == 202
    assert (await attacker.post("/auth/forgot-password", json={"email": email})).status_code == 202
    mailed = await request_code(deployment, owner, email)
    tokens = (await use_code(owner, mailed)).json()
    assert tokens["user"]["id"] == opened["user"]["id"] and tokens["user"]["isVerified"]
    await run_jobs(deployment.services)
    assert "had not been confirmed before" in deployment.outbox.to(email)[-1].text
    mine = (await owner.get("/users/me/login-methods", headers=bearer(tokens["accessToken"]))).json()
    assert (mine["hasPassword"], mine["identities"], mine["passkeys"]) == (False, [], [])

    async def is_out() -> bool:
        return await read_status(attacker, opened["accessToken"]) == 401

    await eventually(is_out)
    assert (await attacker.post("/auth/refresh", json={"refreshToken": opened["refreshToken"]})).status_code == 401
    assert problem(await attacker.post("/auth/login", json=credentials(email))) == (401, "invalid_credentials")
    assert (
        await query(deployment.services, "SELECT 1 FROM email_codes WHERE user_id = :u", u=opened["user"]["id"]) == []
    )
    [reset] = deployment.outbox.tokens(email, "reset-password")
    used = await attacker.post("/auth/reset-password", json={"token": reset, "newPassword": "an attacker's one"})
    assert problem(used) == (400, "token_invalid")


async def test_code_keeps_what_a_verified_account_has(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    opened = (await log_in(http, email, new=True)).json()
    await run_jobs(deployment.services)
    token = deployment.outbox.tokens(email, "verify-email")[-1]
    assert (await http.post("/auth/verify-email", json={"token": token})).status_code == 204
    await add_login_methods(deployment, opened["user"]["id"])
    assert (await use_code(http, await request_code(deployment, http, email), device="tablet")).status_code == 200
    assert await read_status(http, opened["accessToken"]) == 200
    mine = (await http.get("/users/me/login-methods", headers=bearer(opened["accessToken"]))).json()
    assert (mine["hasPassword"], len(mine["identities"]), len(mine["passkeys"])) == (True, 1, 1)


async def test_codes_log_no_sanctioned_account_in(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    opened = (await log_in(http, email, new=True)).json()
    ban = "UPDATE users SET is_banned = true, banned_at = now(), ban_reason = 'a test' WHERE id = :u"
    await query(deployment.services, ban, u=opened["user"]["id"])
    mailed = await request_code(deployment, http, email)
    assert problem(await use_code(http, mailed, code=mailed.wrong)) == CODE_INVALID
    assert problem(await use_code(http, mailed)) == (403, "account_banned")


async def test_deleted_account_is_not_opened_again(deployment: Deployment, visit: Visit) -> None:
    """The address is free for a new account, and a code from before the deletion does not open it."""
    http, email = visit(), new_email()
    opened = (await use_code(http, await request_code(deployment, http, email))).json()
    earlier = await request_code(deployment, http, email)
    proof = await request_code(deployment, http, email)
    gone = await http.post("/users/me/deletion", json={"proof": proof.proof}, headers=bearer(opened["accessToken"]))
    assert gone.status_code == 204, gone.text
    assert await query(deployment.services, "SELECT 1 FROM email_codes WHERE email = :e", e=email) == []
    assert problem(await use_code(http, earlier)) == CODE_INVALID
    reopened = await use_code(http, await request_code(deployment, http, email))
    assert reopened.json()["user"]["id"] != opened["user"]["id"]


async def test_staff_need_their_second_factor(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    staff = await enroll(deployment.services, http, *await make_staff(deployment.services, http, Role.ADMIN))
    phone = visit()
    mailed = await request_code(deployment, phone, staff.email)
    assert problem(await use_code(phone, mailed)) == (401, "second_factor_required")
    assert problem(await use_code(phone, mailed, secondFactorCode="000000")) == (403, "second_factor_invalid")
    answer = await use_code(phone, mailed, secondFactorCode=await staff.fresh_code())
    assert answer.status_code == 200, answer.text
