"""Apple's grants: kept sealed, revoked once when the account or the identity goes, and again while Apple is away."""

from __future__ import annotations

import json
from typing import Any

import httpx

from devtools.stand_ins.issuers import Revocation
from testing.accounts import bearer, new_email
from testing.containers import run_jobs
from testing.databases import query, rows
from testing.identities import IdentityDeployment, log_in_with, make_token, new_nonce, read_problem
from testing.logins import Visit


async def log_in_at_apple(
    deployment: IdentityDeployment, http: httpx.AsyncClient, email: str, *, issuer: str = "apple", **more: Any
) -> str:
    """Log in as an app does, with the code of its SDK; return the account."""
    provider = deployment.issuers.by_id[issuer]
    token = make_token(provider, email)
    code = provider.issue_code(email, client_id=provider.client_ids["ios"], nonce=new_nonce())
    answer = await log_in_with(http, token, authorizationCode=code, **more)
    http.headers.update(bearer(answer.json()["accessToken"]))
    return str(answer.json()["user"]["id"])


async def read_grants(deployment: IdentityDeployment, user_id: str) -> list[Any]:
    found = "SELECT grant_client_id AS client_id, grant_token AS token FROM identities WHERE user_id = :id"
    return list(await rows(deployment.services, found, id=user_id))


def revoked(deployment: IdentityDeployment, email: str) -> list[Revocation]:
    apple = deployment.issuers.apple
    return [each for each in apple.revoked if each.subject == apple.subject_of(email)]


async def delete_account(deployment: IdentityDeployment, http: httpx.AsyncClient, email: str) -> None:
    proof = {"proof": {"idToken": make_token(deployment.issuers.apple, email)}}
    answer = await http.post("/users/me/deletion", json=proof)
    assert answer.status_code == 204, answer.text


async def list_waiting(deployment: IdentityDeployment) -> list[Any]:
    found = "SELECT task_name, args, attempts FROM procrastinate_jobs WHERE task_name LIKE 'identities.%'"
    return list(await rows(deployment.services, found))


async def let_retries_be_due(deployment: IdentityDeployment) -> None:
    await query(deployment.services, "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")


async def test_deletion_revokes_the_grant_once(deployment: IdentityDeployment, visit: Visit) -> None:
    email, http = new_email(), visit()
    user_id = await log_in_at_apple(deployment, http, email)
    await run_jobs(deployment.services)
    (grant,) = await read_grants(deployment, user_id)
    assert grant.client_id == deployment.issuers.apple.client_ids["ios"]
    assert grant.token is not None and not grant.token.startswith("plain:")
    await delete_account(deployment, http, email)
    (job,) = await list_waiting(deployment)
    assert job.args["grant"] == grant.token and user_id not in json.dumps(job.args)
    assert await read_grants(deployment, user_id) == []
    for _ in range(2):
        await run_jobs(deployment.services)
    (revocation,) = revoked(deployment, email)
    assert revocation.client_id == grant.client_id and revocation.token not in grant.token


async def test_revocation_is_retried_while_apple_is_away(deployment: IdentityDeployment, visit: Visit) -> None:
    email, http, faults = new_email(), visit(), deployment.issuers.faults
    await log_in_at_apple(deployment, http, email)
    await run_jobs(deployment.services)
    await delete_account(deployment, http, email)
    for kind, options in (("refuse", {"status": 503}), ("garble", {}), ("cut", {}), ("refuse", {"status": 400})):
        if kind != "garble":  # a page with 200 is an answer of success here
            faults.add(kind, "POST /apple/auth/revoke", **options)  # type: ignore[arg-type]
            before = len(revoked(deployment, email))
            await run_jobs(deployment.services)
            assert len(revoked(deployment, email)) <= before + 1  # cut: done, with the answer lost
            assert len(await list_waiting(deployment)) == 1
            await let_retries_be_due(deployment)
    await run_jobs(deployment.services)
    assert revoked(deployment, email) and await list_waiting(deployment) == []


async def test_code_is_exchanged_again_while_apple_is_away(deployment: IdentityDeployment, visit: Visit) -> None:
    email, http = new_email(), visit()
    deployment.issuers.faults.add("refuse", "POST /apple/auth/token", status=503)
    user_id = await log_in_at_apple(deployment, http, email)
    (job,) = await list_waiting(deployment)
    assert job.task_name == "identities.exchange_code" and not job.args["code"].startswith("plain:")
    await run_jobs(deployment.services)
    assert (await read_grants(deployment, user_id))[0].token is None
    await let_retries_be_due(deployment)
    await run_jobs(deployment.services)
    assert (await read_grants(deployment, user_id))[0].token is not None and await list_waiting(deployment) == []


async def test_code_of_another_person_is_not_kept(deployment: IdentityDeployment, visit: Visit) -> None:
    apple, email = deployment.issuers.apple, new_email()
    code = apple.issue_code(new_email(), client_id=apple.client_ids["ios"])
    user = (await log_in_with(visit(), make_token(apple, email), authorizationCode=code)).json()["user"]
    await run_jobs(deployment.services)
    assert (await read_grants(deployment, user["id"]))[0].token is None and await list_waiting(deployment) == []


async def test_wrong_code_does_not_hinder_the_login(deployment: IdentityDeployment, visit: Visit) -> None:
    token = make_token(deployment.issuers.apple, new_email())
    user = (await log_in_with(visit(), token, authorizationCode="wrong")).json()["user"]
    await run_jobs(deployment.services)
    assert (await read_grants(deployment, user["id"]))[0].token is None and await list_waiting(deployment) == []


async def test_codes_of_other_providers_are_ignored(deployment: IdentityDeployment, visit: Visit) -> None:
    before = deployment.issuers.google.calls["token"]
    await log_in_at_apple(deployment, visit(), new_email(), issuer="google")
    assert await list_waiting(deployment) == []
    assert deployment.issuers.google.calls["token"] == before


async def test_removal_of_the_identity_revokes_its_grant(deployment: IdentityDeployment, visit: Visit) -> None:
    email, http = new_email(), visit()
    user_id = await log_in_at_apple(deployment, http, email)
    await run_jobs(deployment.services)
    found = await rows(deployment.services, "SELECT id FROM identities WHERE user_id = :id", id=user_id)
    assert (await http.delete(f"/users/me/identities/{found[0].id}")).status_code == 204
    await run_jobs(deployment.services)
    assert len(revoked(deployment, email)) == 1


async def test_identity_removed_before_the_exchange_is_revoked(deployment: IdentityDeployment, visit: Visit) -> None:
    """The code is exchanged, and meanwhile the row has gone: the new grant is revoked at once."""
    email, http, services = new_email(), visit(), deployment.services
    apple = deployment.issuers.apple
    user_id = await log_in_at_apple(deployment, http, email)
    (job,) = await list_waiting(deployment)
    provider = services.identity_grants._providers["apple"]
    exchange = provider.exchange_code

    async def remove_meanwhile(code: str, **options: Any) -> Any:
        exchanged = await exchange(code, **options)
        await query(services, "DELETE FROM identities WHERE user_id = :id", id=user_id)
        return exchanged

    provider.exchange_code = remove_meanwhile  # type: ignore[method-assign]
    try:
        await services.identity_grants.exchange(job.args["identity_id"], job.args["client_id"], job.args["code"])
    finally:
        provider.exchange_code = exchange  # type: ignore[method-assign]
    await run_jobs(services)
    assert [each.subject for each in revoked(deployment, email)] == [apple.subject_of(email)]


async def test_ban_outlives_the_identity_and_its_address(deployment: IdentityDeployment, visit: Visit) -> None:
    """A banned account that is deleted: neither its subject with a new address opens another, nor its address."""
    services, apple, email, http = deployment.services, deployment.issuers.apple, new_email(), visit()
    user_id = await log_in_at_apple(deployment, http, email)
    await query(
        services,
        "INSERT INTO sanctions (id, user_id, kind, ground, facts, shows_facts, starts_at, appeal_until)"
        " VALUES (gen_random_uuid(), :id, 'ban', 'spam', '', true, now(), now() + interval '1 day')",
        id=user_id,
    )
    await delete_account(deployment, http, email)
    for token in (
        make_token(apple, new_email(), subject=apple.subject_of(email)),
        make_token(apple, email, subject="z"),
    ):
        body = {**token, "deviceId": "phone", "platform": "ios"}
        assert read_problem(await visit().post("/auth/id-token", json=body)) == (403, "account_banned")
    # In other letters it is another subject, and at another provider another person.
    other = make_token(deployment.issuers.google, new_email(), subject=apple.subject_of(email))
    await log_in_with(visit(), other)


async def test_deleted_account_leaves_no_identity(deployment: IdentityDeployment, visit: Visit) -> None:
    email, http, apple = new_email(), visit(), deployment.issuers.apple
    user_id = await log_in_at_apple(deployment, http, email)
    await delete_account(deployment, http, email)
    # The exchange of its code goes with it.
    assert await list_waiting(deployment) == [] and await read_grants(deployment, user_id) == []
    again = await log_in_with(visit(), make_token(apple, email))
    assert again.json()["user"]["id"] != user_id
