"""Every token of the table is refused, with its code, and neither opens an account nor logs in to one."""

from __future__ import annotations

import base64
import secrets

import pytest

from testing.accounts import bearer
from testing.databases import rows, value
from testing.identities import IdentityDeployment, log_in_with, make_token, on_device, read_problem
from testing.logins import Visit
from testing.servers import PASSWORD
from tests.handlers.identities.refused_tokens import TABLE, claims_of, encode, hashed, header_of, token_of


def test_table_has_at_least_sixty_tokens() -> None:
    assert len(TABLE) >= 60


@pytest.mark.parametrize("provider", ["google", "apple"])
async def test_token_that_the_table_changes_is_accepted(
    deployment: IdentityDeployment, visit: Visit, provider: str
) -> None:
    issuer, nonces = deployment.issuers.by_id[provider], [secrets.token_urlsafe(24) for _ in range(2)]
    claimed = [nonces[0], hashed(nonces[1]) if provider == "apple" else nonces[1]]
    for nonce, claim in zip(nonces, claimed, strict=True):
        token = token_of(issuer, header_of(issuer), claims_of(issuer, secrets.token_hex(8), nonce, nonce=claim))
        await log_in_with(visit(), {"provider": provider, "idToken": token, "nonce": nonce})


@pytest.mark.parametrize("name", TABLE)
async def test_token_is_refused(deployment: IdentityDeployment, visit: Visit, name: str) -> None:
    make, refusal = TABLE[name]
    subject, http = f"s{secrets.token_hex(8)}", visit()
    # A new subject, then one that has an account.
    body = on_device(make(deployment.issuers, subject))
    assert read_problem(await http.post("/auth/id-token", json=body)) == refusal
    count = "SELECT count(*) FROM users WHERE email_canonical = :email"
    assert await value(deployment.services, count, email=f"{subject}@example.com") == 0
    provider = deployment.issuers.by_id[body["provider"]]
    user = (await log_in_with(http, make_token(provider, f"{subject}@example.com", subject=subject))).json()["user"]
    body = on_device(make(deployment.issuers, subject), device="another")
    assert read_problem(await http.post("/auth/id-token", json=body)) == refusal
    logins = await rows(deployment.services, "SELECT device_id FROM refresh_tokens WHERE user_id = :id", id=user["id"])
    assert [each.device_id for each in logins] == ["phone"]


@pytest.mark.parametrize("name", ["expired", "another nonce", "audience of another app", "algorithm none"])
@pytest.mark.parametrize("use", ["link", "proof"])
async def test_token_is_refused_elsewhere(deployment: IdentityDeployment, visit: Visit, name: str, use: str) -> None:
    """Linking and proofs take the same tokens."""
    make, refusal = TABLE[name]
    subject, http = f"s{secrets.token_hex(8)}", visit()
    token = make_token(deployment.issuers.google, f"{subject}@example.com", subject=subject)
    http.headers.update(bearer((await log_in_with(http, token)).json()["accessToken"]))
    answer = await (
        http.post("/users/me/identities", json={**make(deployment.issuers, "x"), "proof": {"password": PASSWORD}})
        if use == "link"
        else http.post("/users/me/deletion", json={"proof": {"idToken": make(deployment.issuers, subject)}})
    )
    assert read_problem(answer) == refusal
    assert (await http.get("/users/me")).status_code == 200


@pytest.mark.parametrize("provider", ["google", "apple", "keycloak"])
async def test_token_works_once(deployment: IdentityDeployment, visit: Visit, provider: str) -> None:
    issuer, http = deployment.issuers.by_id[provider], visit()
    token = make_token(issuer, f"{secrets.token_hex(8)}@example.com")
    user = (await log_in_with(http, token)).json()
    for device in ("phone", "another"):
        answer = await http.post("/auth/id-token", json=on_device(token, device=device))
        assert read_problem(answer) == (401, "id_token_invalid")
    proof = {"proof": {"idToken": token}}
    answer = await http.post("/users/me/deletion", json=proof, headers=bearer(user["accessToken"]))
    assert read_problem(answer) == (401, "id_token_invalid")


async def test_token_with_another_right_signature_works_once(deployment: IdentityDeployment, visit: Visit) -> None:
    """Of an ECDSA signature (r, s) there is a second right one, (r, -s): it is no second token."""
    issuers = deployment.issuers
    issuers.oidc.algorithm = "ES256"
    try:
        token = make_token(issuers.oidc, f"{secrets.token_hex(8)}@example.com")
    finally:
        issuers.oidc.algorithm = "RS256"
    await log_in_with(visit(), token)
    twin = {**token, "idToken": negate_signature(token["idToken"])}
    assert twin["idToken"] != token["idToken"]
    answer = await visit().post("/auth/id-token", json=on_device(twin))
    assert read_problem(answer) == (401, "id_token_invalid") and "used before" in answer.json()["detail"]


def negate_signature(token: str) -> str:
    """The other right signature, of the curve P-256."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    s = order - int.from_bytes(raw[32:], "big")
    return f"{signed}.{encode(raw[:32] + s.to_bytes(32, 'big'))}"
