"""Changes of an account's address: a thief's, that the owner undoes, and what each address can do when."""

from __future__ import annotations

import asyncio

import pytest

from models import SanctionGround, SanctionKind
from services.safety.sanctions import SanctionOrder
from testing.accounts import bearer, credentials, new_email
from testing.containers import run_jobs
from testing.databases import query
from testing.email_codes import (
    add_login_methods,
    change_email,
    confirm_change,
    request_change,
    request_code,
    undo,
    use_code,
)
from testing.lessons import problem
from testing.logins import Deployment, Visit, log_in, read_status
from testing.polling import eventually

CODE_INVALID, TOKEN_INVALID, EMAIL_TAKEN = (401, "code_invalid"), (400, "token_invalid"), (409, "email_taken")


async def open_account(deployment: Deployment, visit: Visit, email: str) -> tuple[str, str]:
    """Open an account with a verified address and a password; return its id and an access token."""
    tokens = (await log_in(visit(), email, new=True)).json()
    await run_jobs(deployment.services)
    token = deployment.outbox.tokens(email, "verify-email")[-1]
    assert (await visit().post("/auth/verify-email", json={"token": token})).status_code == 204
    return tokens["user"]["id"], tokens["accessToken"]


async def read_email(deployment: Deployment, user_id: str) -> str:
    [row] = await query(deployment.services, "SELECT email FROM users WHERE id = :u", u=user_id)
    return str(row.email)


def undo_token(deployment: Deployment, email: str) -> str:
    return deployment.outbox.tokens(email, "undo-email-change")[-1]


async def test_change_needs_the_code_of_the_new_address(deployment: Deployment, visit: Visit) -> None:
    http, old, new = visit(), new_email(), new_email()
    user_id, token = await open_account(deployment, visit, old)
    mailed = await request_change(deployment, http, token, new)
    assert "was requested" in deployment.outbox.to(old)[-1].text
    assert await read_email(deployment, user_id) == old
    assert problem(await confirm_change(http, token, mailed, mailed.wrong)) == CODE_INVALID
    # Neither another account nor a login can use the code.
    _, other = await open_account(deployment, visit, new_email())
    assert problem(await confirm_change(visit(), other, mailed)) == CODE_INVALID
    assert problem(await use_code(visit(), mailed)) == CODE_INVALID
    assert (await confirm_change(http, token, mailed)).status_code == 204
    assert problem(await confirm_change(http, token, mailed)) == CODE_INVALID
    assert await read_email(deployment, user_id) == new
    await run_jobs(deployment.services)
    assert "was changed" in deployment.outbox.to(old)[-1].subject and undo_token(deployment, old)
    assert "new address" in deployment.outbox.to(new)[-1].subject
    assert await read_status(http, token) == 200
    mine = (await http.get("/users/me/login-methods", headers=bearer(token))).json()
    assert (mine["email"], mine["isVerified"], mine["undoableEmailChange"]["oldEmail"]) == (new, True, old)


async def test_change_needs_a_proof(deployment: Deployment, visit: Visit) -> None:
    http, old = visit(), new_email()
    _, token = await open_account(deployment, visit, old)
    strangers = await request_code(deployment, visit(), new_email())
    for proof, expected in (
        ({"password": "not the password"}, (401, "invalid_credentials")),
        (strangers.proof, CODE_INVALID),
        ({}, (400, "request_invalid")),
        ({"password": "x", **strangers.proof}, (400, "request_invalid")),
    ):
        body = {"newEmail": new_email(), "proof": proof}
        answer = await http.post("/users/me/email-change", json=body, headers=bearer(token))
        assert problem(answer) == expected
    mine = await request_code(deployment, http, old)
    await change_email(deployment, http, token, new_email(), mine.proof)


async def test_request_does_not_show_which_addresses_are_taken(deployment: Deployment, visit: Visit) -> None:
    http, taken = visit(), new_email()
    await log_in(visit(), taken, new=True)
    user_id, token = await open_account(deployment, visit, old := new_email())
    mailed = await request_change(deployment, http, token, taken.upper().replace("@EXAMPLE.COM", "@example.com"))
    assert problem(await confirm_change(http, token, mailed)) == EMAIL_TAKEN
    assert await read_email(deployment, user_id) == old
    same = {"newEmail": old.upper(), "proof": {"password": credentials(old)["password"]}}
    assert problem(await http.post("/users/me/email-change", json=same, headers=bearer(token)))[0] == 400


async def test_address_taken_meanwhile_is_refused(deployment: Deployment, visit: Visit) -> None:
    http, new = visit(), new_email()
    _, token = await open_account(deployment, visit, new_email())
    mailed = await request_change(deployment, http, token, new)
    await log_in(visit(), new, new=True)
    assert problem(await confirm_change(http, token, mailed)) == EMAIL_TAKEN


async def test_newest_request_alone_can_be_confirmed(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    _, token = await open_account(deployment, visit, new_email())
    first = await request_change(deployment, http, token, new_email())
    second = await request_change(deployment, http, token, new_email())
    assert problem(await confirm_change(http, token, first)) == CODE_INVALID
    assert (await confirm_change(http, token, second)).status_code == 204


async def test_new_password_withdraws_a_requested_change(deployment: Deployment, visit: Visit) -> None:
    http, old = visit(), new_email()
    _, token = await open_account(deployment, visit, old)
    mailed = await request_change(deployment, http, token, new_email())
    body = {"newPassword": "a brand new password", "proof": {"password": credentials(old)["password"]}}
    assert (await http.put("/users/me/password", json=body, headers=bearer(token))).status_code == 204
    assert problem(await confirm_change(http, token, mailed)) == CODE_INVALID


async def test_owner_undoes_a_thiefs_change(deployment: Deployment, visit: Visit) -> None:
    owner, thief, mine, foreign = visit(), visit(), new_email(), new_email()
    user_id, _ = await open_account(deployment, visit, mine)
    stolen = (await log_in(thief, mine, device="thief")).json()
    await add_login_methods(deployment, user_id)
    await query(
        deployment.services,
        "UPDATE passkeys SET created_at = now() - interval '73 hours' WHERE user_id = :u",
        u=user_id,
    )
    await change_email(deployment, thief, stolen["accessToken"], foreign)
    reset = await request_reset_link(deployment, foreign)
    token = undo_token(deployment, mine)
    assert (await undo(owner, token)).status_code == 204
    assert problem(await undo(owner, token)) == TOKEN_INVALID
    assert await read_email(deployment, user_id) == mine

    async def is_out() -> bool:
        return await read_status(thief, stolen["accessToken"]) == 401

    await eventually(is_out)
    assert problem(await thief.post("/auth/login", json=credentials(mine))) == (401, "invalid_credentials")
    used = await thief.post("/auth/reset-password", json={"token": reset, "newPassword": "the thief's password"})
    assert problem(used) == TOKEN_INVALID
    tokens = (await use_code(owner, await request_code(deployment, owner, mine))).json()
    assert tokens["user"]["id"] == user_id
    left = (await owner.get("/users/me/login-methods", headers=bearer(tokens["accessToken"]))).json()
    # What was there long before is the owner's.
    assert (left["hasPassword"], left["identities"], len(left["passkeys"])) == (False, [], 1)
    assert "undone" in deployment.outbox.to(mine)[-2].text
    # The thief's address opens an account of its own.
    other = (await use_code(thief, await request_code(deployment, thief, foreign))).json()
    assert other["user"]["id"] != user_id


async def request_reset_link(deployment: Deployment, email: str) -> str:
    await deployment.services.passwords.request_reset(email)
    await run_jobs(deployment.services)
    return deployment.outbox.tokens(email, "reset-password")[-1]


async def test_first_address_of_a_chain_wins(deployment: Deployment, visit: Visit) -> None:
    """A to B to C: B gives the account back to B, and A to A, after which B can do nothing."""
    http, a, b, c = visit(), new_email(), new_email(), new_email()
    user_id, token = await open_account(deployment, visit, a)
    await change_email(deployment, http, token, b)
    await change_email(deployment, http, token, c)
    assert (await undo(visit(), undo_token(deployment, b))).status_code == 204
    assert await read_email(deployment, user_id) == b
    assert (await undo(visit(), undo_token(deployment, a))).status_code == 204
    assert await read_email(deployment, user_id) == a
    assert problem(await undo(visit(), undo_token(deployment, b))) == TOKEN_INVALID


async def test_undone_chain_undoes_its_later_changes(deployment: Deployment, visit: Visit) -> None:
    http, a, b, c = visit(), new_email(), new_email(), new_email()
    user_id, token = await open_account(deployment, visit, a)
    await change_email(deployment, http, token, b)
    await change_email(deployment, http, token, c)
    assert (await undo(visit(), undo_token(deployment, a))).status_code == 204
    assert problem(await undo(visit(), undo_token(deployment, b))) == TOKEN_INVALID
    assert await read_email(deployment, user_id) == a
    for free in (b, c):
        assert (await log_in(visit(), free, new=True)).status_code == 201


async def test_thiefs_address_cannot_undo_the_way_back(deployment: Deployment, visit: Visit) -> None:
    """The owner, still logged in, changes the address back: the thief's, in between, gets no link that works."""
    http, mine, foreign = visit(), new_email(), new_email()
    user_id, token = await open_account(deployment, visit, mine)
    await change_email(deployment, http, token, foreign)
    await change_email(deployment, http, token, mine)
    assert deployment.outbox.tokens(foreign, "undo-email-change") == []
    # The owner's link still ends the thief's logins.
    assert (await undo(visit(), undo_token(deployment, mine))).status_code == 204
    assert await read_email(deployment, user_id) == mine


async def test_undo_and_another_change_at_once(deployment: Deployment, visit: Visit) -> None:
    mine = new_email()
    user_id, token = await open_account(deployment, visit, mine)
    await change_email(deployment, visit(), token, foreign := new_email())
    proof = await request_code(deployment, visit(), foreign)
    mailed = await request_change(deployment, visit(), token, new_email(), proof.proof)
    link = undo_token(deployment, mine)
    answers = await asyncio.gather(confirm_change(visit(), token, mailed), *(undo(visit(), link) for _ in range(3)))
    assert sorted(each.status_code for each in answers[1:]) == [204, 400, 400]
    assert answers[0].status_code in (204, 401)
    assert await read_email(deployment, user_id) == mine
    undoable = "SELECT 1 FROM email_changes WHERE user_id = :u AND undone_at IS NULL AND undo_until > now()"
    assert await query(deployment.services, undoable, u=user_id) == []


async def test_old_address_is_kept_while_it_can_undo(deployment: Deployment, visit: Visit) -> None:
    http, old = visit(), new_email()
    _, token = await open_account(deployment, visit, old)
    await change_email(deployment, http, token, new_email())
    for spelling in (old, old.upper()):
        assert problem(await visit().post("/auth/register", json=credentials(spelling))) == EMAIL_TAKEN
    assert problem(await use_code(visit(), await request_code(deployment, visit(), old))) == EMAIL_TAKEN
    _, other = await open_account(deployment, visit, new_email())
    assert problem(await confirm_change(visit(), other, await request_change(deployment, visit(), other, old))) == (
        EMAIL_TAKEN
    )
    await query(deployment.services, "UPDATE email_changes SET undo_until = now() WHERE old_email = :e", e=old)
    assert problem(await undo(visit(), undo_token(deployment, old))) == TOKEN_INVALID
    assert (await log_in(visit(), old, new=True)).status_code == 201


async def test_unverified_address_cannot_undo(deployment: Deployment, visit: Visit) -> None:
    """It may be a stranger's, whom a misspelled address would give the account."""
    http, misspelled = visit(), new_email()
    token = (await log_in(http, misspelled, new=True)).json()["accessToken"]
    await change_email(deployment, http, token, new_email())
    assert deployment.outbox.tokens(misspelled, "undo-email-change") == []
    assert "no longer the address" in deployment.outbox.to(misspelled)[-1].subject
    assert (await use_code(visit(), await request_code(deployment, visit(), misspelled))).status_code == 200


async def test_links_to_the_old_address_stop_working(deployment: Deployment, visit: Visit) -> None:
    http, old = visit(), new_email()
    _, token = await open_account(deployment, visit, old)
    reset = await request_reset_link(deployment, old)
    await change_email(deployment, http, token, new_email())
    used = await http.post("/auth/reset-password", json={"token": reset, "newPassword": "another password"})
    assert problem(used) == TOKEN_INVALID


async def test_notices_go_to_the_old_address_too(deployment: Deployment, visit: Visit) -> None:
    http, old, new = visit(), new_email(), new_email()
    _, token = await open_account(deployment, visit, old)
    await change_email(deployment, http, token, new)
    body = {"newPassword": "a brand new password", "proof": {"password": credentials(old)["password"]}}
    assert (await http.put("/users/me/password", json=body, headers=bearer(token))).status_code == 204
    await run_jobs(deployment.services)
    for address in (old, new):
        assert "password of your account was changed" in deployment.outbox.to(address)[-1].text


async def test_deletion_frees_the_old_address(deployment: Deployment, visit: Visit) -> None:
    http, old = visit(), new_email()
    _, token = await open_account(deployment, visit, old)
    await change_email(deployment, http, token, new_email())
    body = {"password": credentials(old)["password"]}
    assert (await http.post("/users/me/deletion", json=body, headers=bearer(token))).status_code == 204
    assert problem(await undo(visit(), undo_token(deployment, old))) == TOKEN_INVALID
    assert (await log_in(visit(), old, new=True)).status_code == 201


async def test_sanctioned_account_bars_its_old_address_too(deployment: Deployment, visit: Visit) -> None:
    http, old, new = visit(), new_email(), new_email()
    user_id, token = await open_account(deployment, visit, old)
    await change_email(deployment, http, token, new)
    services = deployment.services
    ban = SanctionOrder(SanctionKind.BAN, SanctionGround.SPAM, "A test.")
    await services.sanctions.issue(None, user_id, ban)
    await services.deletion_links.request(new)
    await run_jobs(services)
    await services.deletion_links.delete(deployment.outbox.tokens(new, "delete-account")[-1])
    for barred in (old, new):
        answer = await visit().post("/auth/register", json=credentials(barred))
        assert problem(answer) == (403, "account_banned")
        mailed = await request_code(deployment, visit(), barred)
        assert problem(await use_code(visit(), mailed)) == (403, "account_banned")
    _, other = await open_account(deployment, visit, new_email())
    mailed = await request_change(deployment, visit(), other, old)
    assert problem(await confirm_change(visit(), other, mailed)) == (403, "account_banned")


@pytest.mark.parametrize("token", ["a" * 43, "x"])
async def test_invented_link_undoes_nothing(visit: Visit, token: str) -> None:
    assert (await undo(visit(), token)).status_code == 400
