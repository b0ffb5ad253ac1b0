"""The login limit of an account: failures count, the owner's device separately, by one name for each client."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

import errors
from adapters import redis
from adapters.rate_limiter import RateLimiter
from container import Container
from contract import client_addresses
from settings import Settings
from testing.accounts import credentials, new_email
from testing.databases import query
from testing.servers import PASSWORD, client

GUESSES = 20


async def login(asgi: Any, email: str, password: str, **more: str) -> Any:
    """Log in from an address of its own."""
    async with client(asgi) as http:
        return await http.post("/auth/login", json={**credentials(email, password=password), **more})


async def spend(asgi: Any, email: str) -> None:
    for _ in range(GUESSES):
        assert (await login(asgi, email, "wrong password", deviceId="attacker")).status_code == 401
    assert (await login(asgi, email, "wrong password", deviceId="attacker")).status_code == 429


async def register(asgi: Any, email: str) -> dict[str, Any]:
    async with client(asgi) as http:
        tokens: dict[str, Any] = (await http.post("/auth/register", json=credentials(email))).json()
        return tokens


@pytest.mark.rest_paths
async def test_successful_logins_do_not_count(asgi: Any) -> None:
    await register(asgi, email := new_email())
    for _ in range(GUESSES + 2):
        assert (await login(asgi, email, PASSWORD)).status_code == 200
    await spend(asgi, email)


async def test_guesses_do_not_lock_out_a_known_device(asgi: Any) -> None:
    """A stranger spends the account's guesses; the device that shows its proof logs in, also after it logged out."""
    tokens = await register(asgi, email := new_email())
    async with client(asgi) as http:
        headers = {"Authorization": f"Bearer {tokens['accessToken']}"}
        assert (await http.post("/auth/logout", headers=headers)).status_code == 204
    await spend(asgi, email)
    refused = await login(asgi, email, PASSWORD)
    assert refused.status_code == 429 and "minutes" in refused.json()["detail"]
    known = await login(asgi, email, PASSWORD, deviceProof=tokens["deviceProof"])
    assert known.status_code == 200 and known.json()["deviceProof"]


async def test_known_device_has_a_limit_too(asgi: Any) -> None:
    proof = (await register(asgi, email := new_email()))["deviceProof"]
    statuses = [(await login(asgi, email, "wrong password", deviceProof=proof)).status_code for _ in range(GUESSES + 2)]
    assert statuses == [401] * GUESSES + [429] * 2
    # It spent its own bucket, not that of others.
    assert (await login(asgi, email, "wrong password")).status_code == 401


async def test_device_proof_is_bound_to_account_and_device(asgi: Any, container: Container) -> None:
    victim = await register(asgi, email := new_email())
    attacker = await register(asgi, new_email())
    await spend(asgi, email)
    forged = victim["deviceProof"][:-4] + "AAAA"
    for device, proof in (
        ("phone", attacker["deviceProof"]),
        ("other", victim["deviceProof"]),
        ("phone", forged),
        ("phone", victim["accessToken"]),
        ("phone", "nonsense"),
    ):
        answer = await login(asgi, email, "wrong password", deviceId=device, deviceProof=proof)
        assert answer.status_code == 429, (device, proof)
    # And it opens nothing.
    with pytest.raises(errors.Unauthenticated):
        container.logins.identify(victim["deviceProof"])


async def test_refresh_returns_a_device_proof(asgi: Any, container: Container) -> None:
    """A device that logged in before there were proofs gets one with its next refresh."""
    tokens = await register(asgi, email := new_email())
    async with client(asgi) as http:
        fresh = (await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})).json()
    assert container.logins.is_known_device(fresh["deviceProof"], email.upper(), "phone")


async def test_concurrent_guesses_do_not_exceed_the_limit(asgi: Any) -> None:
    await register(asgi, email := new_email())
    answers = await asyncio.gather(*(login(asgi, email, "wrong password") for _ in range(GUESSES * 3)))
    statuses = [answer.status_code for answer in answers]
    # 503: more than wait for bcrypt at once; those were no guesses.
    assert set(statuses) <= {401, 429, 503} and 0 < statuses.count(401) <= GUESSES


async def test_login_of_a_banned_account_does_not_count(asgi: Any, container: Container) -> None:
    tokens = await register(asgi, email := new_email())
    await query(
        container,
        "UPDATE users SET is_banned = true, banned_at = now(), ban_reason = 'a test' WHERE id = :id",
        id=tokens["user"]["id"],
    )
    for _ in range(GUESSES + 2):
        assert (await login(asgi, email, PASSWORD)).status_code == 403


@pytest.mark.parametrize("is_away", [False, True])
async def test_returned_call_does_not_count(settings: Settings, is_away: bool) -> None:
    """In Redis, and in memory while it is away, where the limit is never open."""
    connection = redis.connect(settings.model_copy(update={"redis_port": 1}) if is_away else settings)
    limiter, key = RateLimiter(connection), uuid.uuid4().hex
    kept = await limiter.take(key, 2, 60)
    back = await limiter.take(key, 2, 60)
    await limiter.give_back(back)
    await limiter.give_back(back)
    await limiter.take(key, 2, 60)
    with pytest.raises(errors.RateLimited):
        await limiter.take(key, 2, 60)
    await limiter.give_back(kept)
    await limiter.take(key, 2, 60)
    await connection.aclose()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (90, "90 seconds"), (121, "3 minutes"), (840, "14 minutes"), (7201, "3 hours")],
)
def test_rate_limited_states_the_wait_in_words(seconds: int, words: str) -> None:
    assert errors.RateLimited(retry_after=seconds).detail == f"Too many requests; try again in {words}."


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:5678", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:C000:0207", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:443", "192.0.2.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:5678", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("unknown", "unknown"),
        ("300.1.1.1", "unknown"),
        ("1.2.3.4, 5.6.7.8", "unknown"),
        ("a:b", "unknown"),
        ("_hidden", "unknown"),
    ],
)
def test_client_address_is_canonical(host: str, name: str) -> None:
    assert client_addresses.canonical(host) == name


@pytest.mark.rest_paths
async def test_addresses_of_one_network_share_a_limit(asgi: Any) -> None:
    import httpx

    network = f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}"
    statuses = []
    for number in range(7):
        transport = httpx.ASGITransport(asgi, client=(f"{network}::{number + 1:x}", 1), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://parlance.test") as http:
            statuses.append((await http.post("/auth/login", json=credentials(new_email()))).status_code)
    assert statuses == [401] * 5 + [429] * 2
