"""Changes of the password by who is logged in, and a reset of an account whose address was never verified."""

from __future__ import annotations

import asyncio

from testing.accounts import bearer, credentials, new_email
from testing.containers import run_jobs
from testing.email_codes import add_login_methods, request_code, use_code
from testing.lessons import problem
from testing.logins import Deployment, Visit, log_in, read_status, request_reset, reset_password
from testing.polling import eventually
from testing.servers import PASSWORD

NEW = "a brand new password"


async def test_change_ends_the_other_logins(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await log_in(http, email, new=True)).json()
    tablet = (await log_in(http, email, device="tablet")).json()
    await request_reset(visit(), email)
    await run_jobs(deployment.services)
    body = {"newPassword": NEW, "proof": {"password": PASSWORD}}
    answer = await http.put("/users/me/password", json=body, headers=bearer(phone["accessToken"]))
    assert answer.status_code == 204, answer.text

    async def is_out() -> bool:
        return await read_status(http, tablet["accessToken"]) == 401

    await eventually(is_out, within=1)
    assert await read_status(http, phone["accessToken"]) == 200
    assert (await http.post("/auth/refresh", json={"refreshToken": tablet["refreshToken"]})).status_code == 401
    assert (await http.post("/auth/refresh", json={"refreshToken": phone["refreshToken"]})).status_code == 200
    assert (await visit().post("/auth/login", json=credentials(email))).status_code == 401
    assert (await visit().post("/auth/login", json=credentials(email, password=NEW))).status_code == 200
    # A reset link from before sets no other.
    token = deployment.outbox.tokens(email, "reset-password")[-1]
    assert problem(await reset_password(visit(), token, "yet another password")) == (400, "token_invalid")
    await run_jobs(deployment.services)
    assert "password of your account was changed" in deployment.outbox.to(email)[-1].text


async def test_change_asks_for_the_present_password(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    token = (await log_in(http, email, new=True)).json()["accessToken"]
    mine = await request_code(deployment, visit(), email)
    for proof, expected in (
        ({"password": "not the password"}, (401, "invalid_credentials")),
        (mine.proof, (400, "request_invalid")),
        (mine._replace(code=mine.wrong).proof, (401, "code_invalid")),
    ):
        body = {"newPassword": NEW, "proof": proof}
        assert problem(await http.put("/users/me/password", json=body, headers=bearer(token))) == expected
    # The refused code was not used up.
    assert (await use_code(visit(), mine, device="tablet")).status_code == 200


async def test_account_without_password_sets_one_with_a_code(deployment: Deployment, visit: Visit) -> None:
    http, email = visit(), new_email()
    token = (await use_code(http, await request_code(deployment, http, email))).json()["accessToken"]
    for proof, expected in (({"password": PASSWORD}, 401), ((await request_code(deployment, http, email)).proof, 204)):
        body = {"newPassword": NEW, "proof": proof}
        answer = await http.put("/users/me/password", json=body, headers=bearer(token))
        assert answer.status_code == expected, answer.text
    assert (await visit().post("/auth/login", json=credentials(email, password=NEW))).status_code == 200


async def test_two_changes_at_once_set_one_password(visit: Visit) -> None:
    http, email = visit(), new_email()
    token = (await log_in(http, email, new=True)).json()["accessToken"]
    bodies = [{"newPassword": f"new password {n}", "proof": {"password": PASSWORD}} for n in range(3)]
    answers = await asyncio.gather(
        *(http.put("/users/me/password", json=each, headers=bearer(token)) for each in bodies)
    )
    # Each was verified against the old one, and the first has replaced it.
    assert sorted(each.status_code for each in answers) == [204, 401, 401]


async def test_reset_verifies_and_removes_what_was_set_up(deployment: Deployment, visit: Visit) -> None:
    attacker, owner, email = visit(), visit(), new_email()
    opened = (await log_in(attacker, email, new=True)).json()
    await add_login_methods(deployment, opened["user"]["id"])
    await request_reset(owner, email)
    await run_jobs(deployment.services)
    token = deployment.outbox.tokens(email, "reset-password")[-1]
    assert (await reset_password(owner, token, NEW)).status_code == 204
    tokens = (await owner.post("/auth/login", json=credentials(email, password=NEW))).json()
    assert tokens["user"]["isVerified"]
    mine = (await owner.get("/users/me/login-methods", headers=bearer(tokens["accessToken"]))).json()
    assert (mine["hasPassword"], mine["identities"], mine["passkeys"]) == (True, [], [])
    # A verified owner's stay at the next reset.
    await add_login_methods(deployment, opened["user"]["id"])
    await request_reset(owner, email)
    await run_jobs(deployment.services)
    token = deployment.outbox.tokens(email, "reset-password")[-1]
    assert (await reset_password(owner, token, "another new password")).status_code == 204
    again = (await visit().post("/auth/login", json=credentials(email, password="another new password"))).json()
    mine = (await owner.get("/users/me/login-methods", headers=bearer(again["accessToken"]))).json()
    assert (len(mine["identities"]), len(mine["passkeys"])) == (1, 1)
