"""Passkeys of learners: added, used, listed and removed; what an account keeps; and requests at the same time."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from testing.accounts import bearer, credentials
from testing.authenticators import enroll, make_staff
from testing.containers import run_jobs
from testing.databases import query, rows, value
from testing.http_answers import read_code
from testing.logins import Deployment, Visit, log_in
from testing.passkeys import (
    PRESENT,
    RP_ID,
    VERIFIED,
    Authenticator,
    EdwardsKey,
    EllipticKey,
    Key,
    RsaKey,
    add_passkey,
    begin_registration,
    decode,
    get_challenge,
    log_in_with,
    make_proof,
    proof_of,
    send_login,
    send_passkey,
)
from testing.sanctions import SUSPENSION
from testing.servers import PASSWORD
from tests.handlers.passkeys.conftest import MakeUser

pytestmark = pytest.mark.rest_paths
INVALID = (401, "passkey_invalid")


@pytest.mark.parametrize("key", [EllipticKey, EdwardsKey, RsaKey])
async def test_passkey_logs_in_without_an_address(visit: Visit, make_user: MakeUser, key: type[Key]) -> None:
    user, http = await make_user(), visit()
    authenticator, passkey = await add_passkey(user.http, Authenticator(key=key()), name="  Aida's phone ")
    assert passkey["name"] == "Aida's phone" and passkey["lastUsedAt"] is None and passkey["isSynced"] is True
    answer = await log_in_with(http, authenticator, platform="web")
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["id"] == user.id and answer.headers["set-cookie"].startswith("refresh_token=")
    assert (await http.get("/users/me")).json()["id"] == user.id


async def test_options_are_those_that_authenticators_read(visit: Visit, make_user: MakeUser) -> None:
    user = await make_user()
    authenticator, _ = await add_passkey(user.http)
    challenge, begun = await get_challenge(visit()), await begin_registration(user.http)
    wanted, made = json.loads(challenge["optionsJson"]), json.loads(begun["optionsJson"])
    assert wanted["rpId"] == made["rp"]["id"] == RP_ID and made["rp"]["name"] == "Parlance"
    assert wanted["userVerification"] == "required" and not wanted.get("allowCredentials")
    assert len(decode(wanted["challenge"])) == 32 and wanted["challenge"] != made["challenge"]
    assert uuid.UUID(bytes=decode(made["user"]["id"])) == uuid.UUID(user.id)
    assert made["user"]["name"] == user.email
    assert made["authenticatorSelection"] == {
        "residentKey": "required", "requireResidentKey": True, "userVerification": "required"
    }  # fmt: skip
    assert made["attestation"] == "none"
    assert [each["alg"] for each in made["pubKeyCredParams"]] == [-7, -8, -257]
    assert [decode(each["id"]) for each in made["excludeCredentials"]] == [authenticator.credential_id]
    left = datetime.fromisoformat(challenge["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)


async def test_challenge_adds_no_row_and_is_not_cached(deployment: Deployment, visit: Visit) -> None:
    answer = await visit().post("/auth/passkeys/challenge")
    assert answer.headers["cache-control"] == "no-store"
    spent = "SELECT count(*) FROM spent_tokens"
    before = await value(deployment.services, spent)
    for _ in range(5):
        await get_challenge(visit())
    assert await value(deployment.services, spent) == before


async def test_attestation_is_not_looked_at(visit: Visit, make_user: MakeUser) -> None:
    """Options ask for none; some authenticators send one, and its certificates are nobody's business."""
    statement = {"alg": -7, "sig": b"not a signature", "x5c": [b"not a certificate"]}
    authenticator = Authenticator(attestation={"fmt": "packed", "attStmt": statement})
    await add_passkey((await make_user()).http, authenticator)
    assert (await log_in_with(visit(), authenticator)).status_code == 200


async def test_login_names_the_last_use_and_the_sync(deployment: Deployment, visit: Visit, make_user: MakeUser) -> None:
    """A keychain may begin to sync a passkey later, and its first answer after that says so."""
    user = await make_user()
    authenticator, passkey = await add_passkey(user.http, Authenticator(flags=PRESENT | VERIFIED, counter=1))
    assert passkey["isSynced"] is False
    authenticator.flags, authenticator.counter = Authenticator().flags, 2
    assert (await log_in_with(visit(), authenticator)).status_code == 200
    statement = "SELECT is_synced, last_used_at IS NOT NULL, sign_count FROM passkeys WHERE user_id = :u"
    assert await rows(deployment.services, statement, u=user.id) == [(True, True, 2)]


async def test_answer_counts_once(visit: Visit, make_user: MakeUser) -> None:
    authenticator, _ = await add_passkey((await make_user()).http)
    proof = await make_proof(visit(), authenticator)
    assert (await send_login(visit(), proof)).status_code == 200
    assert read_code(await send_login(visit(), proof)) == INVALID
    token = proof["challengeToken"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # Nor with another spelling of its token.
    respelled = [token[:-1] + letter for letter in alphabet if letter != token[-1]] + [token + "=", token + "A"]
    for each in respelled:
        answer = await send_login(visit(), {**proof, "challengeToken": each})
        assert answer.status_code in (400, 401), each


async def test_parallel_answers_count_once(deployment: Deployment, visit: Visit, make_user: MakeUser) -> None:
    user = await make_user()
    authenticator, _ = await add_passkey(user.http)
    challenge = await get_challenge(visit())
    proofs = [proof_of(challenge, authenticator.answer(challenge["optionsJson"])) for _ in range(8)]
    answers = await asyncio.gather(*(send_login(visit(), proof) for proof in proofs))
    assert sorted(each.status_code for each in answers) == [200] + [401] * 7
    logins = "SELECT count(DISTINCT family_id) FROM refresh_tokens WHERE user_id = :u AND NOT revoked"
    assert await value(deployment.services, logins, u=user.id) == 2, "the registration and one"


async def test_registration_counts_once(deployment: Deployment, make_user: MakeUser) -> None:
    user = await make_user()
    challenge = await begin_registration(user.http)
    bodies = [
        {**proof_of(challenge, Authenticator().register(challenge["optionsJson"])), "name": "Phone"} for _ in range(6)
    ]
    answers = await asyncio.gather(*(user.http.post("/users/me/passkeys", json=body) for body in bodies))
    assert sorted(each.status_code for each in answers) == [201] + [401] * 5
    assert await value(deployment.services, "SELECT count(*) FROM passkeys WHERE user_id = :u", u=user.id) == 1


async def test_credential_is_of_one_account(deployment: Deployment, make_user: MakeUser) -> None:
    """Also where several add the same one at the same time."""
    authenticator, users = Authenticator(), [await make_user() for _ in range(4)]
    answers = await asyncio.gather(*(send_passkey(user.http, authenticator) for user in users))
    assert sorted(each.status_code for each in answers) == [201] + [401] * 3
    statement = "SELECT count(*) FROM passkeys WHERE credential_id = :c"
    assert await value(deployment.services, statement, c=authenticator.credential_id) == 1


async def test_registration_is_of_the_login_that_began_it(visit: Visit, make_user: MakeUser) -> None:
    user, other = await make_user(), await make_user()
    again = visit()
    tokens = (await log_in(again, user.email, device="desk")).json()
    again.headers.update(bearer(tokens["accessToken"]))
    challenge = await begin_registration(user.http)
    body = {**proof_of(challenge, Authenticator().register(challenge["optionsJson"])), "name": "Phone"}
    for http in (other.http, again):
        assert read_code(await http.post("/users/me/passkeys", json=body)) == INVALID
    assert (await user.http.post("/users/me/passkeys", json=body)).status_code == 201


async def test_adding_needs_a_proof(visit: Visit, make_user: MakeUser) -> None:
    user = await make_user()
    path = "/users/me/passkeys/challenge"
    assert read_code(await visit().post(path, json={"proof": {"password": PASSWORD}})) == (401, "unauthenticated")
    assert (await user.http.post(path, json={})).status_code == 400
    assert (await user.http.post(path, json={"proof": {}})).status_code == 400
    wrong = await user.http.post(path, json={"proof": {"password": "not the password"}})
    assert read_code(wrong) == (401, "invalid_credentials")
    authenticator, _ = await add_passkey(user.http)
    proof = {"passkey": await make_proof(visit(), authenticator)}
    await add_passkey(user.http, proof=proof)
    assert read_code(await user.http.post(path, json={"proof": proof})) == INVALID, "a proof counts once"


async def test_account_has_twenty_passkeys(deployment: Deployment, make_user: MakeUser) -> None:
    user = await make_user()
    began = await begin_registration(user.http)
    statement = (
        "INSERT INTO passkeys (id, user_id, credential_id, public_key, name, aaguid)"
        " SELECT gen_random_uuid(), :u, uuid_send(gen_random_uuid()), '', 'Key', gen_random_uuid()"
        " FROM generate_series(1, 20)"
    )
    await query(deployment.services, statement, u=user.id)
    full = (409, "too_many_login_methods")
    answer = await user.http.post("/users/me/passkeys/challenge", json={"proof": {"password": PASSWORD}})
    assert read_code(answer) == full
    body = {**proof_of(began, Authenticator().register(began["optionsJson"])), "name": "Phone"}
    assert read_code(await user.http.post("/users/me/passkeys", json=body)) == full
    await query(
        deployment.services,
        "DELETE FROM passkeys WHERE id = (SELECT id FROM passkeys WHERE user_id = :u LIMIT 1)",
        u=user.id,
    )
    assert (await user.http.post("/users/me/passkeys", json=body)).status_code == 201


async def test_removed_passkey_no_longer_logs_in(visit: Visit, make_user: MakeUser) -> None:
    user, other = await make_user(), await make_user()
    authenticator, passkey = await add_passkey(user.http)
    proof = await make_proof(visit(), authenticator)
    path = f"/users/me/passkeys/{passkey['id']}"
    assert read_code(await other.http.delete(path)) == (404, "not_found")
    assert (await user.http.delete(path)).status_code == 204
    assert read_code(await user.http.delete(path)) == (404, "not_found")
    assert read_code(await send_login(visit(), proof)) == INVALID
    again, _ = await add_passkey(user.http, authenticator)
    assert (await log_in_with(visit(), again)).status_code == 200, "it may be added again"


async def test_last_way_in_is_not_removed(deployment: Deployment, make_user: MakeUser) -> None:
    """Of an account without a password and with an address that is not verified; two removals at once leave one."""
    user = await make_user()
    _, first = await add_passkey(user.http)
    _, second = await add_passkey(user.http)
    await query(deployment.services, "UPDATE users SET password_hash = '' WHERE id = :u", u=user.id)
    paths = [f"/users/me/passkeys/{each['id']}" for each in (first, second)]
    answers = await asyncio.gather(*(user.http.delete(path) for path in paths))
    assert sorted(each.status_code for each in answers) == [204, 409]
    (left,) = [path for path, each in zip(paths, answers, strict=True) if each.status_code == 409]
    assert read_code(await user.http.delete(left)) == (409, "last_login_method")
    await query(deployment.services, "UPDATE users SET is_verified = true WHERE id = :u", u=user.id)
    assert (await user.http.delete(left)).status_code == 204, "a code by e-mail logs in"


async def test_owner_is_mailed_each_change(deployment: Deployment, make_user: MakeUser) -> None:
    user = await make_user()
    _, passkey = await add_passkey(user.http, name="The thief's phone")
    await user.http.delete(f"/users/me/passkeys/{passkey['id']}")
    await run_jobs(deployment.services)
    texts = [mail.text for mail in deployment.outbox.to(user.email) if "passkey" in mail.text]
    assert sorted("was added" in text for text in texts) == [False, True]
    assert sorted("was removed" in text for text in texts) == [False, True]


async def test_account_is_deleted_by_passkey(deployment: Deployment, visit: Visit, make_user: MakeUser) -> None:
    user = await make_user()
    authenticator, _ = await add_passkey(user.http)
    used = await make_proof(visit(), authenticator)
    await send_login(visit(), used)
    answer = await user.http.request("DELETE", "/users/me", json={"proof": {"passkey": used}})
    assert read_code(answer) == INVALID
    proof = await make_proof(visit(), authenticator)
    answer = await user.http.request("DELETE", "/users/me", json={"proof": {"passkey": proof}})
    assert answer.status_code == 204, answer.text
    assert await value(deployment.services, "SELECT count(*) FROM passkeys WHERE user_id = :u", u=user.id) == 0
    assert read_code(await log_in_with(visit(), authenticator)) == INVALID


async def test_export_has_passkeys_without_keys(make_user: MakeUser) -> None:
    user = await make_user()
    _, passkey = await add_passkey(user.http)
    export = (await user.http.get("/users/me/export")).json()
    assert export["passkeys"] == [passkey]


async def test_suspended_account_reads_why(deployment: Deployment, visit: Visit, make_user: MakeUser) -> None:
    user, desk = await make_user(), visit()
    authenticator, _ = await add_passkey(user.http)
    admin = await enroll(deployment.services, desk, *await make_staff(deployment.services, desk))
    answer = await admin.http.post(f"/admin/users/{user.id}/sanctions", json=SUSPENSION)
    assert answer.status_code == 201, answer.text
    proof = await make_proof(visit(), authenticator)
    refused = await send_login(visit(), proof)
    assert read_code(refused) == (403, "account_suspended") and refused.json()["sanction"]["appealToken"]


async def test_login_replaces_the_one_of_the_device(visit: Visit, make_user: MakeUser) -> None:
    user = await make_user()
    authenticator, _ = await add_passkey(user.http)
    first, second = visit(), visit()
    assert (await log_in_with(first, authenticator, device="tablet")).status_code == 200
    assert (await log_in_with(second, authenticator, device="tablet")).status_code == 200
    devices = (await second.get("/auth/devices")).json()["items"]
    assert sorted(each["deviceId"] for each in devices) == ["phone", "tablet"]


async def test_challenges_are_limited_by_address(visit: Visit) -> None:
    http = visit()
    statuses = [(await http.post("/auth/passkeys/challenge")).status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]


async def test_password_login_stays(visit: Visit, make_user: MakeUser) -> None:
    """A learner's passkey is another way in, and no second factor."""
    user = await make_user()
    await add_passkey(user.http)
    assert (await visit().post("/auth/login", json=credentials(user.email, device="desk"))).status_code == 200
