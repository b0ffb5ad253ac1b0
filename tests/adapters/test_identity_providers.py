"""Identity providers over HTTP: documents and keys, their rotation, and providers that are away or answer nonsense."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import errors
from adapters.identity_providers import http as provider_http
from adapters.identity_providers.documents import FRESH_AT_LEAST, KEPT_SECONDS, RELOAD_SECONDS
from adapters.identity_providers.oidc import OidcProvider
from adapters.identity_providers.quirks import APPLE, GOOGLE, Quirks
from adapters.ports import VerifiedIdentity
from devtools.stand_ins.issuers import Issuers, running_issuer
from devtools.stand_ins.serving import serving
from settings import Settings
from testing.identities import make_token, new_nonce, with_issuers

KEYS = "GET /google/oauth2/v3/certs"
DISCOVERY = "GET /google/.well-known/openid-configuration"


class Clock:
    """Seconds that pass on demand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuers() -> Iterator[Issuers]:
    with running_issuer() as served:
        yield served


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def google(settings: Settings, issuers: Issuers, clock: Clock) -> AsyncIterator[OidcProvider]:
    """A provider that has loaded nothing yet."""
    made = OidcProvider(with_issuers(settings, issuers).identity_providers["google"], GOOGLE, clock=clock)
    yield made
    await made.close()


async def verify(provider: OidcProvider, token: dict[str, str], platform: str | None = "ios") -> VerifiedIdentity:
    return await provider.verify(token["idToken"], token["nonce"], platform)


async def test_documents_are_loaded_once_for_all(google: OidcProvider, issuers: Issuers) -> None:
    tokens = [make_token(issuers.google, f"{number}@example.com") for number in range(50)]
    found = await asyncio.gather(*(verify(google, each) for each in tokens))
    assert [each.email for each in found] == [f"{number}@example.com" for number in range(50)]
    assert issuers.google.calls["jwks"] == issuers.google.calls["discovery"] == 1


@pytest.mark.parametrize("keep_old", [True, False])
async def test_new_keys_are_found_at_once(google: OidcProvider, issuers: Issuers, clock: Clock, keep_old: bool) -> None:
    old = make_token(issuers.google, "a@example.com")
    await verify(google, old)
    clock.now += RELOAD_SECONDS
    issuers.google.rotate_keys(keep_old=keep_old)
    assert (await verify(google, make_token(issuers.google, "b@example.com"))).email == "b@example.com"
    assert issuers.google.calls["jwks"] == 2
    if keep_old:
        await verify(google, old)
    else:
        with pytest.raises(errors.IdTokenInvalid):
            await verify(google, old)


async def test_forged_key_ids_do_not_flood_the_provider(google: OidcProvider, issuers: Issuers, clock: Clock) -> None:
    await verify(google, make_token(issuers.google, "a@example.com"))

    async def send_forged() -> None:
        forged = make_token(issuers.google, "a@example.com", headers={"kid": new_nonce()})
        with pytest.raises(errors.IdTokenInvalid):
            await verify(google, forged)

    for _ in range(3):
        clock.now += RELOAD_SECONDS
        await asyncio.gather(*(send_forged() for _ in range(50)))
    assert issuers.google.calls["jwks"] == 1 + 3


async def test_kept_keys_work_while_the_provider_is_away(google: OidcProvider, issuers: Issuers, clock: Clock) -> None:
    await verify(google, make_token(issuers.google, "a@example.com"))
    loaded_at = clock.now
    issuers.faults.add("refuse", "GET /google/*", status=503, times=1000)
    clock.now = loaded_at + KEPT_SECONDS - 1
    assert (await verify(google, make_token(issuers.google, "b@example.com"))).email == "b@example.com"
    # A key that may be new looks like a forged one.
    clock.now += RELOAD_SECONDS - 40
    with pytest.raises(errors.Unavailable):
        await verify(google, make_token(issuers.google, "b@example.com", headers={"kid": "new"}))
    clock.now = loaded_at + KEPT_SECONDS + 1
    with pytest.raises(errors.Unavailable):
        await verify(google, make_token(issuers.google, "c@example.com"))
    issuers.faults.clear()
    clock.now += RELOAD_SECONDS
    assert (await verify(google, make_token(issuers.google, "d@example.com"))).email == "d@example.com"


async def test_withdrawn_key_stops_working_with_its_document(
    google: OidcProvider, issuers: Issuers, clock: Clock
) -> None:
    issuers.google.cache_control = "no-store, max-age=0"
    old = make_token(issuers.google, "a@example.com")
    await verify(google, old)
    issuers.google.rotate_keys(keep_old=False)
    clock.now += FRESH_AT_LEAST + 1
    with pytest.raises(errors.IdTokenInvalid):
        await verify(google, old)


@pytest.mark.parametrize("kind", ["refuse", "garble", "cut"])
@pytest.mark.parametrize("match", [KEYS, DISCOVERY])
async def test_provider_away_is_unavailable(
    google: OidcProvider, issuers: Issuers, clock: Clock, kind: Any, match: str
) -> None:
    issuers.faults.add(kind, match, times=1)
    with pytest.raises(errors.Unavailable):
        await verify(google, make_token(issuers.google, "a@example.com"))
    clock.now += 2
    assert (await verify(google, make_token(issuers.google, "a@example.com"))).email == "a@example.com"


async def test_hanging_provider_is_given_up(google: OidcProvider, issuers: Issuers) -> None:
    issuers.faults.add("hang", DISCOVERY, times=1)
    with pytest.raises(errors.Unavailable):
        await verify(google, make_token(issuers.google, "a@example.com"))


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"keys": None},
        {"keys": []},
        {"keys": [None, 1, "x", {}, {"kid": 1}]},
        {"keys": [{"kty": "RSA", "kid": "x"}]},
        {"keys": [{"kty": "oct", "kid": "x", "k": "c2VjcmV0"}]},
        {"keys": [{"kty": "EC", "kid": "x", "crv": "P-257", "x": "a", "y": "b"}]},
        {"keys": [{"kty": ["RSA"], "kid": "x", "n": 1, "e": 2}]},
        {"keys": [{"x": "y" * 300_000}]},
    ],
)
async def test_key_set_without_keys_is_unavailable(google: OidcProvider, issuers: Issuers, document: Any) -> None:
    issuers.google.documents["jwks"] = document
    with pytest.raises(errors.Unavailable):
        await verify(google, make_token(issuers.google, "a@example.com"))


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://attacker.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": ["x"]},
        {"token_endpoint": "ftp://x/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"revocation_endpoint": "//x"},
    ],
)
async def test_wrong_discovery_document_is_unavailable(
    google: OidcProvider, issuers: Issuers, changes: dict[str, Any]
) -> None:
    issuers.google.documents["discovery"] = issuers.google.discovery() | changes
    with pytest.raises(errors.Unavailable):
        await verify(google, make_token(issuers.google, "a@example.com"))


async def test_redirected_document_is_not_followed(google: OidcProvider, issuers: Issuers) -> None:
    issuers.google.documents["discovery"] = issuers.google.discovery() | {"jwks_uri": f"{issuers.url}/google"}
    with pytest.raises(errors.Unavailable):
        await verify(google, make_token(issuers.google, "a@example.com"))


async def test_unusable_keys_beside_good_ones_are_left_out(google: OidcProvider, issuers: Issuers) -> None:
    """Keys of other kinds and uses, weak ones, and a secret under the id of a good one."""
    good = issuers.google.keys.jwks()["keys"]
    weak: dict[str, Any] = {**RSAKey.generate_key(1024).as_dict(private=False), "kid": "weak"}
    encryption: dict[str, Any] = {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "enc", "use": "enc"}
    secret: dict[str, Any] = {**OctKey.generate_key(256).as_dict(), "kid": good[0]["kid"]}
    other: dict[str, Any] = {**ECKey.generate_key("secp256k1").as_dict(private=False), "kid": "k1"}
    issuers.google.documents["jwks"] = {"keys": [weak, secret, *good, encryption, other, {"kty": "AKP", "kid": "pq"}]}
    assert (await verify(google, make_token(issuers.google, "a@example.com"))).email == "a@example.com"


async def test_issuer_without_scheme_is_googles_alone(
    google: OidcProvider, settings: Settings, issuers: Issuers
) -> None:
    short = issuers.google.url.partition("://")[2]
    assert (await verify(google, make_token(issuers.google, "a@example.com", iss=short))).subject
    other = OidcProvider(with_issuers(settings, issuers).identity_providers["keycloak"], Quirks())
    with pytest.raises(errors.IdTokenInvalid):
        await verify(other, make_token(issuers.oidc, "a@example.com", iss=issuers.oidc.url.partition("://")[2]))
    await other.close()


async def test_audiences_are_those_of_the_platform(google: OidcProvider, issuers: Issuers) -> None:
    for platform in ("ios", "android", "web"):
        token = make_token(issuers.google, "a@example.com", platform=platform)
        found = await verify(google, token, platform)
        assert found.client_id == issuers.google.client_ids[platform]
        assert await verify(google, token, None) == found
        for other in {"ios", "android", "web", "windows"} - {platform}:
            with pytest.raises(errors.IdTokenInvalid):
                await verify(google, token, other)


@pytest.mark.parametrize("trusts", [True, False])
async def test_address_is_trusted_where_the_operator_says_so(
    settings: Settings, issuers: Issuers, trusts: bool
) -> None:
    provider = OidcProvider(
        with_issuers(settings, issuers).identity_providers["keycloak"], Quirks(trusts_verified_email=trusts)
    )
    for verified in (True, False, "true", 1, None):
        token = make_token(issuers.oidc, "a@example.com", email_verified=verified)
        assert (await verify(provider, token)).is_email_trusted is (trusts and verified is True)
    await provider.close()


@pytest.mark.parametrize("leeway", [-20, 20])
async def test_clocks_may_differ_by_half_a_minute(google: OidcProvider, issuers: Issuers, leeway: int) -> None:

    now = int(time.time())
    found = await verify(google, make_token(issuers.google, "a@example.com", iat=now + leeway, exp=now + leeway))
    assert found.expires_at > found.issued_at


async def test_apple_secret_is_signed_for_each_client(settings: Settings, issuers: Issuers) -> None:
    """The stand-in verifies it as Apple does: key, team, audience, client and time."""
    configured = with_issuers(settings, issuers).identity_providers["apple"]
    apple = OidcProvider(configured, APPLE)
    for platform in ("ios", "web"):
        client_id = issuers.apple.client_ids[platform]
        code = issuers.apple.issue_code("a@example.com", client_id=client_id)
        exchanged = await apple.exchange_code(code, client_id=client_id)
        assert exchanged.refresh_token is not None and exchanged.client_id == client_id
        with pytest.raises(errors.AuthorizationFailed):
            await apple.exchange_code(code, client_id=client_id)
        await apple.revoke_grant(client_id, exchanged.refresh_token)
    await apple.revoke_grant(client_id, "unknown")  # RFC 7009: no error
    assert [each.subject for each in issuers.apple.revoked] == [issuers.apple.subject_of("a@example.com")] * 2 + [None]
    await apple.close()
    assert configured.apple_key is not None
    wrong = replace(configured, apple_key=replace(configured.apple_key, team_id="WRONGTEAM0"))
    refused = OidcProvider(wrong, APPLE)
    with pytest.raises(errors.Unavailable, match="invalid_client"):
        await refused.exchange_code(code, client_id=client_id)
    with pytest.raises(errors.Unavailable, match="invalid_client"):
        await refused.revoke_grant(client_id, "x")
    await refused.close()


@pytest.mark.parametrize("kind", ["refuse", "garble", "cut"])
async def test_token_endpoint_away_is_unavailable(google: OidcProvider, issuers: Issuers, kind: Any) -> None:
    client_id = issuers.google.client_ids["web"]
    code = issuers.google.issue_code("a@example.com", client_id=client_id)
    issuers.faults.add(kind, "POST /google/token", times=1)
    with pytest.raises(errors.Unavailable):
        await google.exchange_code(code, client_id=client_id)


async def test_compressed_answers_are_not_read() -> None:
    """A few kilobytes could become gigabytes."""

    async def answer(_request: Request) -> Response:
        return Response(gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with serving(Starlette(routes=[Route("/", answer)]), listener):
            async with provider_http.DocumentClient(httpx.create_ssl_context()) as client:
                with pytest.raises(httpx.DecodingError, match="compressed"):
                    await client.get(url)
