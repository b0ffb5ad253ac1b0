"""Identities linked to accounts: by a verified address, by the password, by their owner; and removed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from contract import rate_limits, schemas
from models import Role
from services.identity.identity_login import PASSWORD_LIMIT
from testing.accounts import bearer, credentials, new_email
from testing.authenticators import enroll, make_staff
from testing.containers import run_jobs
from testing.databases import query, rows, value
from testing.identities import IdentityDeployment, log_in_with, make_token, on_device, read_problem
from testing.logins import Visit, log_in
from testing.servers import PASSWORD

PROVEN = {"proof": {"password": PASSWORD}}


async def register(
    deployment: IdentityDeployment, http: httpx.AsyncClient, email: str, *, is_verified: bool = True
) -> str:
    """Open an account with a password; return its id."""
    tokens = (await log_in(http, email, new=True)).json()
    http.headers["Authorization"] = f"Bearer {tokens['accessToken']}"
    if is_verified:
        await query(deployment.services, "UPDATE users SET is_verified = true WHERE id = :id", id=tokens["user"]["id"])
    return str(tokens["user"]["id"])


async def list_identities(deployment: IdentityDeployment, user_id: str) -> list[Any]:
    return list(await rows(deployment.services, "SELECT * FROM identities WHERE user_id = :id", id=user_id))


async def link(http: httpx.AsyncClient, token: dict[str, str], **more: Any) -> httpx.Response:
    return await http.post("/users/me/identities", json={**token, **PROVEN, **more})


# --- At a login ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_verified", [True, False])
@pytest.mark.parametrize(("provider", "claims"), [("apple", {}), ("google", {"hd": "example.com"}), ("google", {})])
async def test_address_links_only_where_both_sides_verified_it(
    deployment: IdentityDeployment, visit: Visit, provider: str, claims: dict[str, Any], is_verified: bool
) -> None:
    email, issuer = new_email(), deployment.issuers.by_id[provider]
    user_id = await register(deployment, visit(), email, is_verified=is_verified)
    links = is_verified and (provider == "apple" or "hd" in claims)
    answer = await visit().post("/auth/id-token", json=on_device(make_token(issuer, email, **claims), device="new"))
    if links:
        assert answer.status_code == 200 and answer.json()["user"]["id"] == user_id
    else:
        assert read_problem(answer) == (409, "password_required")
    assert len(await list_identities(deployment, user_id)) == int(links)
    await run_jobs(deployment.services)
    notices = [mail for mail in deployment.outbox.to(email) if "identity was linked" in mail.text]
    assert len(notices) == int(links)


async def test_email_claim_of_an_open_issuer_takes_no_account_over(
    deployment: IdentityDeployment, visit: Visit
) -> None:
    """An issuer whose administrators may type any address, and call it verified (known of Microsoft Entra's)."""
    email, http = new_email(), visit()
    user_id = await register(deployment, http, email)
    for claims in ({}, {"email_verified": True}, {"email_verified": "true", "hd": "example.com", "xms_edov": True}):
        token = make_token(deployment.issuers.oidc, email, **claims)
        answer = await visit().post("/auth/id-token", json=on_device(token))
        assert read_problem(answer) == (409, "password_required")
    assert await list_identities(deployment, user_id) == []


async def test_new_owner_of_a_domain_takes_no_account_over(deployment: IdentityDeployment, visit: Visit) -> None:
    """A domain with its addresses was sold: the same address is another subject at Google, with `hd` as before."""
    email, google = new_email(), deployment.issuers.google
    first = await log_in_with(visit(), make_token(google, email, hd="example.com"))
    later = make_token(google, email, subject=f"2{new_email()}", hd="example.com")
    answer = await visit().post("/auth/id-token", json=on_device(later))
    assert read_problem(answer) == (409, "password_required")
    assert len(await list_identities(deployment, first.json()["user"]["id"])) == 1


@pytest.mark.parametrize("spelling", ["ſ", "K", "ｓ"])
async def test_address_that_is_only_equal_when_folded_does_not_link(
    deployment: IdentityDeployment, visit: Visit, spelling: str
) -> None:
    """Long s, Kelvin sign and full-width s: another mailbox at a server that does not fold them."""
    name = new_email().partition("@")[0]
    await register(deployment, visit(), f"sk{name}@example.com")
    twin = {"ſ": f"ſk{name}", "K": f"s\u212a{name}", "ｓ": f"ｓk{name}"}[spelling]
    token = make_token(deployment.issuers.apple, f"{twin}@example.com")
    answer = await visit().post("/auth/id-token", json=on_device(token))
    if spelling == "K":  # normalised to an ordinary K by every mail program (NFC), and so the very address
        assert answer.status_code == 200
    else:
        assert answer.status_code in (400, 409) and answer.json()["code"] in ("email_missing", "password_required")


async def test_password_links_what_the_address_may_not(deployment: IdentityDeployment, visit: Visit) -> None:
    email, http, oidc = new_email(), visit(), deployment.issuers.oidc
    user_id = await register(deployment, visit(), email, is_verified=False)
    token = make_token(oidc, email)
    wrong = await http.post("/auth/id-token", json=on_device(token, password="not the password"))
    assert read_problem(wrong) == (401, "invalid_credentials")
    # The very token, because it was not used.
    linked = await log_in_with(http, token, password=PASSWORD)
    assert linked.json()["user"] == {**linked.json()["user"], "id": user_id, "isVerified": False}
    again = await log_in_with(http, make_token(oidc, email))
    assert again.json()["user"]["id"] == user_id


async def test_wrong_passwords_count_as_failed_logins(deployment: IdentityDeployment, visit: Visit) -> None:
    """Twenty in fifteen minutes for an account, wherever they are tried."""
    email = new_email()
    await register(deployment, visit(), email)
    token = make_token(deployment.issuers.oidc, email)
    for number in range(20):
        if number % 2:
            answer = await visit().post("/auth/login", json=credentials(email, password="not the password"))
        else:
            body = on_device(token, password="not the password")
            answer = await visit().post("/auth/id-token", json=body)
        assert read_problem(answer) == (401, "invalid_credentials"), number
    body = on_device(token, password=PASSWORD)
    assert read_problem(await visit().post("/auth/id-token", json=body)) == (429, "rate_limited")
    assert read_problem(await visit().post("/auth/login", json=credentials(email))) == (429, "rate_limited")


async def test_prepared_account_is_not_shared_with_the_owner(deployment: IdentityDeployment, visit: Visit) -> None:
    """An account was opened with another person's address: the ID token of its owner does not log in to it."""
    email, attacker = new_email(), visit()
    user_id = await register(deployment, attacker, email, is_verified=False)
    assert (await link(attacker, make_token(deployment.issuers.google, new_email()))).status_code == 201
    token = make_token(deployment.issuers.apple, email)
    answer = await visit().post("/auth/id-token", json=on_device(token))
    assert read_problem(answer) == (409, "password_required")
    assert len(await list_identities(deployment, user_id)) == 1


async def test_parallel_links_by_address_make_one_identity(deployment: IdentityDeployment, visit: Visit) -> None:
    email = new_email()
    user_id = await register(deployment, visit(), email)
    bodies = [on_device(make_token(deployment.issuers.apple, email), device=f"device-{number}") for number in range(20)]
    answers = await asyncio.gather(*(visit().post("/auth/id-token", json=each) for each in bodies))
    assert {each.status_code for each in answers} == {200}
    assert {each.json()["user"]["id"] for each in answers} == {user_id}
    assert len(await list_identities(deployment, user_id)) == 1


async def test_staff_need_their_second_factor(deployment: IdentityDeployment, visit: Visit) -> None:
    http, apple, services = visit(), deployment.issuers.apple, deployment.services
    staff = await enroll(services, http, *await make_staff(services, http, Role.MODERATOR))
    email = new_email()
    assert (await link(http, make_token(apple, email))).status_code == 201
    entries = await rows(services, "SELECT action FROM audit_log WHERE subject_id = :id", id=staff.id)
    assert "identity.link" in {each.action for each in entries}

    token = make_token(apple, email)
    answer = await visit().post("/auth/id-token", json=on_device(token))
    assert read_problem(answer) == (401, "second_factor_required")
    answer = await visit().post("/auth/id-token", json=on_device(token, secondFactorCode="000000"))
    assert read_problem(answer) == (403, "second_factor_invalid")
    # The very token, because it was not used.
    answer = await log_in_with(visit(), token, secondFactorCode=await staff.fresh_code())
    assert answer.json()["user"]["id"] == staff.id


# --- By the owner --------------------------------------------------------------------------------


async def test_owner_links_and_removes_an_identity(deployment: IdentityDeployment, visit: Visit) -> None:
    http, google = visit(), deployment.issuers.google
    email, other = new_email(), new_email()
    user_id = await register(deployment, http, email)
    answer = await link(http, make_token(google, other))
    assert answer.status_code == 201, answer.text
    identity = answer.json()
    assert (identity["provider"], identity["email"], identity["lastUsedAt"]) == ("google", other, None)
    # Linked already: the same row.
    assert (await link(http, make_token(google, other))).json()["id"] == identity["id"]
    used = await log_in_with(visit(), make_token(google, other), device="tablet")
    assert used.json()["user"]["id"] == user_id
    answer = await http.get("/users/me/export")
    assert answer.status_code == 200, answer.text
    exported = answer.json()["identities"]
    assert [(each["provider"], each["email"]) for each in exported] == [("google", other)] and exported[0]["lastUsedAt"]

    assert (await http.delete(f"/users/me/identities/{identity['id']}")).status_code == 204
    assert read_problem(await http.delete(f"/users/me/identities/{identity['id']}")) == (404, "not_found")
    await run_jobs(deployment.services)
    sentences = " ".join(mail.text for mail in deployment.outbox.to(email))
    assert "identity was linked" in sentences and "identity was removed" in sentences
    # It opens an account of its own now.
    assert (await log_in_with(visit(), make_token(google, other))).json()["user"]["id"] != user_id


async def test_link_needs_a_proof(deployment: IdentityDeployment, visit: Visit) -> None:
    http = visit()
    await register(deployment, http, new_email())
    token = make_token(deployment.issuers.google, new_email())
    assert read_problem(await http.post("/users/me/identities", json=token)) == (400, "request_invalid")
    wrong = {"proof": {"password": "not the password"}}
    assert read_problem(await link(http, token, **wrong)) == (401, "invalid_credentials")
    # The token is not used by that.
    assert (await link(http, token)).status_code == 201


async def test_id_token_is_a_proof_of_its_account_alone(deployment: IdentityDeployment, visit: Visit) -> None:
    google, apple, http, email = deployment.issuers.google, deployment.issuers.apple, visit(), new_email()
    http.headers.update(bearer((await log_in_with(http, make_token(apple, email))).json()["accessToken"]))
    new = make_token(google, new_email())
    # Not itself, nor one of another account, nor one from before.
    await log_in_with(visit(), make_token(google, "other@example.com", subject="of-another-account"))
    for proof in (
        new,
        make_token(google, "other@example.com", subject="of-another-account"),
        make_token(apple, email, iat=int(time.time()) - 11 * 60),
    ):
        answer = await link(http, new, proof={"idToken": proof})
        assert read_problem(answer) == (401, "id_token_invalid")
    answer = await link(http, new, proof={"idToken": make_token(apple, email)})
    assert answer.status_code == 201, answer.text


async def test_identity_of_another_account_is_taken(deployment: IdentityDeployment, visit: Visit) -> None:
    google, email, http = deployment.issuers.google, new_email(), visit()
    await log_in_with(visit(), make_token(google, email))
    await register(deployment, http, new_email())
    assert read_problem(await link(http, make_token(google, email))) == (409, "identity_taken")


async def test_parallel_links_of_two_accounts_have_one_winner(deployment: IdentityDeployment, visit: Visit) -> None:
    google, subject = deployment.issuers.google, f"s{new_email()}"
    clients = [visit() for _ in range(6)]
    for http in clients:
        await register(deployment, http, new_email())
    tokens = [make_token(google, new_email(), subject=subject) for _ in clients]
    answers = await asyncio.gather(*(link(http, each) for http, each in zip(clients, tokens, strict=True)))
    assert sorted(read_problem(each) for each in answers if each.status_code != 201) == [(409, "identity_taken")] * 5
    found = "SELECT count(*) FROM identities WHERE subject = :subject"
    assert await value(deployment.services, found, subject=subject) == 1


async def test_account_has_at_most_ten_identities(deployment: IdentityDeployment, visit: Visit) -> None:
    google, http = deployment.issuers.google, visit()
    user_id = await register(deployment, http, new_email())
    for number in range(9):
        await query(
            deployment.services,
            "INSERT INTO identities (id, user_id, provider, subject)"
            " VALUES (gen_random_uuid(), :id, 'google', :subject)",
            id=user_id,
            subject=f"{user_id}-{number}",
        )
    tokens = [make_token(google, new_email()) for _ in range(4)]
    answers = await asyncio.gather(*(link(http, each) for each in tokens))
    assert sorted(each.status_code for each in answers) == [201, 409, 409, 409]
    assert {read_problem(each) for each in answers if each.status_code == 409} == {(409, "too_many_login_methods")}
    assert len(await list_identities(deployment, user_id)) == 10


@pytest.mark.parametrize("is_verified", [True, False])
async def test_last_way_in_stays(deployment: IdentityDeployment, visit: Visit, is_verified: bool) -> None:
    """Without a password, the last identity may go only where a code by e-mail logs in."""
    http, issuer, email = visit(), deployment.issuers.google, new_email()
    claims = {"hd": "example.com"} if is_verified else {}
    tokens = (await log_in_with(http, make_token(issuer, email, **claims))).json()
    http.headers.update(bearer(tokens["accessToken"]))
    (identity,) = await list_identities(deployment, tokens["user"]["id"])
    answer = await http.delete(f"/users/me/identities/{identity.id}")
    if is_verified:
        assert answer.status_code == 204
    else:
        assert read_problem(answer) == (409, "last_login_method")
        assert len(await list_identities(deployment, tokens["user"]["id"])) == 1


async def test_parallel_removals_leave_a_way_in(deployment: IdentityDeployment, visit: Visit) -> None:
    http, google, email = visit(), deployment.issuers.google, new_email()
    tokens = (await log_in_with(http, make_token(google, email))).json()
    http.headers.update(bearer(tokens["accessToken"]))
    for _ in range(3):
        proof = {"idToken": make_token(google, email)}
        answer = await link(http, make_token(google, new_email()), proof=proof)
        assert answer.status_code == 201, answer.text
    found = await list_identities(deployment, tokens["user"]["id"])
    answers = await asyncio.gather(*(http.delete(f"/users/me/identities/{each.id}") for each in found))
    assert sorted(each.status_code for each in answers) == [204, 204, 204, 409]


async def test_identity_of_another_account_is_not_found(deployment: IdentityDeployment, visit: Visit) -> None:
    http = visit()
    user = (await log_in_with(visit(), make_token(deployment.issuers.google, new_email()))).json()["user"]
    (identity,) = await list_identities(deployment, user["id"])
    await register(deployment, http, new_email())
    assert read_problem(await http.delete(f"/users/me/identities/{identity.id}")) == (404, "not_found")
    assert len(await list_identities(deployment, user["id"])) == 1


def test_password_limit_is_that_of_the_contract() -> None:
    login = schemas.load(schemas.OPENAPI)["paths"]["/auth/login"]["post"]
    (limit,) = (each for each in rate_limits.read(login) if each.per == "account")
    assert limit.failures and (login["operationId"], limit.calls, limit.seconds) == PASSWORD_LIMIT
