"""The stand-in issuers through real clients: Authlib's OAuth client, and joserfc's verification by discovery."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError
from joserfc.jwk import ECKey, KeySet

from devtools.stand_ins import running
from devtools.stand_ins.issuers import AuthorizationRefused, Issuer, Issuers, running_issuer
from devtools.stand_ins.store import Store
from testing.time_limits import limit

REDIRECT_URI = "http://localhost:5503/oauth/callback"
VERIFIER = "a" * 43


@pytest.fixture
def issuer() -> Iterator[Issuers]:
    with running_issuer() as served:
        yield served


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=limit(15)) as client:
        yield client


def make_client(issuers: Issuers, each: Issuer, secret: str | None = None, **options: Any) -> AsyncOAuth2Client:
    """The OAuth client of the web, with the secret that the product is given."""
    if secret is None and each is issuers.apple:
        secret = make_apple_secret(issuers)
    elif secret is None:
        prefix = "OIDC" if each is issuers.oidc else "GOOGLE"
        secret = issuers.environment[f"{prefix}_CLIENT_SECRET"]
    method = "client_secret_post" if each is issuers.apple else "client_secret_basic"
    return AsyncOAuth2Client(
        each.client_ids["web"],
        secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        redirect_uri=REDIRECT_URI,
        code_challenge_method="S256",
        trust_env=False,
        timeout=limit(15),
        **options,
    )


def make_apple_secret(issuers: Issuers, *, key: ECKey | None = None, kid: str | None = None, **changes: Any) -> str:
    """Apple's client secret: a JWT that the key of the developer team signs."""
    environment = issuers.environment
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": environment["APPLE_TEAM_ID"],
        "iat": now,
        "exp": now + 300,
        "aud": environment["APPLE_ISSUER"],
        "sub": environment["APPLE_CLIENT_IDS_WEB"],
    }
    key = key or ECKey.import_key(environment["APPLE_PRIVATE_KEY"].replace("\\n", "\n"))
    header = {"alg": "ES256", "kid": kid or environment["APPLE_KEY_ID"]}
    return jwt.encode(header, claims | changes, key, algorithms=["ES256"])


async def discover(http: httpx.AsyncClient, each: Issuer) -> dict[str, Any]:
    document: dict[str, Any] = (await http.get(f"{each.url}/.well-known/openid-configuration")).json()
    assert document["issuer"] == each.url
    return document


async def verify(http: httpx.AsyncClient, each: Issuer, token: str) -> dict[str, Any]:
    """The claims of an ID token that the published keys signed."""
    document = await discover(http, each)
    keys = KeySet.import_key_set((await http.get(document["jwks_uri"])).json())
    verified = jwt.decode(token, keys, algorithms=document["id_token_signing_alg_values_supported"])
    requests = jwt.JWTClaimsRegistry(iss={"essential": True}, exp={"essential": True}, sub={"essential": True})
    requests.validate(verified.claims)
    return verified.claims


def begin(client: AsyncOAuth2Client, document: dict[str, Any], **parameters: Any) -> str:
    """The address of the authorization page."""
    arguments = {"scope": "openid email profile", "state": "the-state", "nonce": "the-nonce", **parameters}
    url, _ = client.create_authorization_url(document["authorization_endpoint"], code_verifier=VERIFIER, **arguments)
    return str(url)


async def test_google_flow_ends_with_its_claims(issuer: Issuers, http: httpx.AsyncClient) -> None:
    document = await discover(http, issuer.google)
    async with make_client(issuer, issuer.google) as client:
        callback = issuer.google.authorize(begin(client, document), "g@corp.example", hd="corp.example")
        assert callback["state"] == "the-state" and callback["iss"] == issuer.google.url
        tokens = await client.fetch_token(document["token_endpoint"], code=callback["code"], code_verifier=VERIFIER)
    assert "refresh_token" not in tokens  # without access_type=offline
    claims = await verify(http, issuer.google, tokens["id_token"])
    web = issuer.environment["GOOGLE_CLIENT_IDS_WEB"]
    assert (claims["iss"], claims["aud"], claims["azp"], claims["nonce"]) == (issuer.google.url, web, web, "the-nonce")
    assert (claims["email"], claims["email_verified"], claims["hd"]) == ("g@corp.example", True, "corp.example")
    assert re.fullmatch(r"1[0-9]{20}", claims["sub"]) and claims["name"]

    issuer.google.issuer_without_scheme = True
    claims = await verify(http, issuer.google, issuer.google.issue_id_token(email="g@corp.example"))
    assert f"http://{claims['iss']}" == issuer.google.url and claims["sub"] == issuer.google.subject_of(
        "G@corp.example"
    )


async def test_plain_issuer_signs_with_either_algorithm(issuer: Issuers, http: httpx.AsyncClient) -> None:
    document = await discover(http, issuer.oidc)
    for algorithm in ("RS256", "ES256"):
        issuer.oidc.algorithm = algorithm
        async with make_client(issuer, issuer.oidc) as client:
            callback = issuer.oidc.authorize(begin(client, document), "o@example.com", email_verified=False)
            tokens = await client.fetch_token(document["token_endpoint"], code=callback["code"], code_verifier=VERIFIER)
            refreshed = await client.refresh_token(document["token_endpoint"], tokens["refresh_token"])
        claims = await verify(http, issuer.oidc, tokens["id_token"])
        assert claims["email_verified"] is False and claims["nonce"] == "the-nonce"
        again = await verify(http, issuer.oidc, refreshed["id_token"])
        assert again["sub"] == claims["sub"] and "nonce" not in again


async def test_apple_flow_posts_the_form_and_names_once(issuer: Issuers, http: httpx.AsyncClient) -> None:
    document = await discover(http, issuer.apple)
    apple = {"scope": "name email", "response_mode": "form_post"}
    async with make_client(issuer, issuer.apple) as client:
        url = begin(client, document, **apple)
        page = await http.get(url)
        assert page.status_code == 200 and "Hide my address" in page.text
        answer = await http.post(url, data={"email": "a@example.com", "private": "on", "action": "allow"})
        assert f'action="{REDIRECT_URI}"' in answer.text
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', answer.text))
        user = json.loads(fields["user"].replace("&#34;", '"'))
        assert fields["state"] == "the-state" and "iss" not in fields
        assert user["name"]["firstName"] and user["email"].endswith("@privaterelay.appleid.com")
        # PKCE is not looked at: a wrong verifier does not matter.
        tokens = await client.fetch_token(document["token_endpoint"], code=fields["code"], code_verifier="wrong" * 10)

        claims = await verify(http, issuer.apple, tokens["id_token"])
        assert (claims["email"], claims["email_verified"], claims["is_private_email"]) == (user["email"], True, True)
        assert claims["nonce_supported"] is True and claims["nonce"] == "the-nonce" and claims["auth_time"]
        assert claims["exp"] - claims["iat"] == 86_400

        # The second time Apple says no name, and the address is of the same person.
        second = issuer.apple.authorize(begin(client, document, **apple), "a@example.com")
        assert set(second) == {"code", "state"}
        issuer.apple.booleans_as_text = True
        tokens = await client.fetch_token(document["token_endpoint"], code=second["code"])
        claims = await verify(http, issuer.apple, tokens["id_token"])
        assert (claims["email"], claims["email_verified"], claims["is_private_email"]) == (
            user["email"],
            "true",
            "true",
        )

        # A revoked grant begins again, with the name.
        await client.revoke_token(document["revocation_endpoint"], tokens["refresh_token"])
        (revoked,) = issuer.apple.revoked
        assert (revoked.token, revoked.subject) == (tokens["refresh_token"], claims["sub"])
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.refresh_token(document["token_endpoint"], tokens["refresh_token"])
        assert "user" in issuer.apple.authorize(begin(client, document, **apple), "a@example.com")
    with pytest.raises(AuthorizationRefused, match="form_post"):
        issuer.apple.authorize(begin(client, document, scope="email"))


@pytest.mark.parametrize("name", ["google", "oidc"])
async def test_pkce_is_checked(issuer: Issuers, http: httpx.AsyncClient, name: str) -> None:
    each: Issuer = getattr(issuer, name)
    document = await discover(http, each)
    async with make_client(issuer, each) as client:
        code = each.authorize(begin(client, document))["code"]
        for verifier in ({"code_verifier": "b" * 43}, {}):
            with pytest.raises(OAuthError, match="invalid_grant"):
                await client.fetch_token(document["token_endpoint"], code=code, **verifier)
        assert await client.fetch_token(document["token_endpoint"], code=code, code_verifier=VERIFIER)


@pytest.mark.parametrize("name", ["google", "apple", "oidc"])
async def test_code_is_spent_once_and_expires(issuer: Issuers, http: httpx.AsyncClient, name: str) -> None:
    each: Issuer = getattr(issuer, name)
    document = await discover(http, each)
    mode = {"response_mode": "form_post"}
    async with make_client(issuer, each) as client:
        code = each.authorize(begin(client, document, **mode))["code"]
        await client.fetch_token(document["token_endpoint"], code=code, code_verifier=VERIFIER)
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.fetch_token(document["token_endpoint"], code=code, code_verifier=VERIFIER)
        late = each.authorize(begin(client, document, **mode))["code"]
    issuer.advance(each.code_seconds + 1)
    secret = None
    if each is issuer.apple:
        secret = make_apple_secret(issuer, exp=int(time.time()) + 3600)
    async with make_client(issuer, each, secret) as client:
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.fetch_token(document["token_endpoint"], code=late, code_verifier=VERIFIER)


async def test_wrong_client_secret_is_refused(issuer: Issuers, http: httpx.AsyncClient) -> None:
    for each, error in ((issuer.google, "invalid_client"), (issuer.oidc, "unauthorized_client")):
        document = await discover(http, each)
        async with make_client(issuer, each, "wrong") as client:
            code = each.authorize(begin(client, document))["code"]
            with pytest.raises(OAuthError, match=error):
                await client.fetch_token(document["token_endpoint"], code=code, code_verifier=VERIFIER)


async def test_apple_verifies_its_client_secret(issuer: Issuers, http: httpx.AsyncClient) -> None:
    document = await discover(http, issuer.apple)
    now = int(time.time())
    wrong = [
        "",
        "not-a-token",
        make_apple_secret(issuer, key=ECKey.generate_key("P-256")),
        make_apple_secret(issuer, kid="OTHER12345"),
        make_apple_secret(issuer, iat=now - 600, exp=now - 300),
        make_apple_secret(issuer, exp=now + 200 * 86_400),
        make_apple_secret(issuer, aud="https://other.example"),
        make_apple_secret(issuer, iss="OTHER12345"),
        make_apple_secret(issuer, sub=issuer.environment["APPLE_CLIENT_IDS_IOS"]),
        make_apple_secret(issuer, exp="never"),
    ]
    form = {"client_id": issuer.environment["APPLE_CLIENT_IDS_WEB"], "grant_type": "authorization_code"}
    code = issuer.apple.issue_code("a@example.com", client_id=form["client_id"])
    for secret in wrong:
        body = form | {"client_secret": secret, "code": code}
        answer = await http.post(document["token_endpoint"], data=body)
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"}), secret
        answer = await http.post(document["revocation_endpoint"], data=body | {"token": "t"})
        assert answer.status_code == 400, secret
    assert issuer.apple.revoked == []
    right = form | {"client_secret": make_apple_secret(issuer)}
    assert (await http.post(document["token_endpoint"], data=right | {"code": code})).status_code == 200
    # A token that Apple does not know is no error.
    assert (await http.post(document["revocation_endpoint"], data=right | {"token": "t"})).status_code == 200
    assert [each.subject for each in issuer.apple.revoked] == [None]


async def test_code_of_an_app_has_its_own_client(issuer: Issuers, http: httpx.AsyncClient) -> None:
    """iOS: the nonce comes hashed, and the code is for the bundle id."""
    bundle = issuer.environment["APPLE_CLIENT_IDS_IOS"]
    nonce = hashlib.sha256(b"nonce").hexdigest()
    code = issuer.apple.issue_code("a@example.com", client_id=bundle, nonce=nonce)
    document = await discover(http, issuer.apple)
    form = {"grant_type": "authorization_code", "code": code, "client_id": bundle}
    secret = make_apple_secret(issuer, sub=bundle)
    answer = await http.post(document["token_endpoint"], data=form | {"client_secret": secret})
    claims = await verify(http, issuer.apple, answer.json()["id_token"])
    assert (claims["aud"], claims["nonce"], claims["email"]) == (bundle, nonce, "a@example.com")


@pytest.mark.parametrize("name", ["google", "apple", "oidc"])
async def test_keys_rotate(issuer: Issuers, http: httpx.AsyncClient, name: str) -> None:
    each: Issuer = getattr(issuer, name)
    before = each.issue_id_token(email="a@example.com")
    each.rotate_keys()
    await verify(http, each, before)
    after = each.issue_id_token(email="a@example.com")
    assert jwt_header(before)["kid"] != jwt_header(after)["kid"]
    await verify(http, each, after)
    each.rotate_keys(keep_old=False)
    with pytest.raises((InvalidKeyIdError, BadSignatureError, ValueError)):
        await verify(http, each, after)
    assert each.calls["jwks"] == 3
    keys = (await http.get((await discover(http, each))["jwks_uri"])).headers["cache-control"]
    assert keys == each.cache_control


async def test_every_claim_and_header_can_be_replaced(issuer: Issuers, http: httpx.AsyncClient) -> None:
    token = issuer.google.issue_id_token(
        subject="s", nonce="n", audience="other", iss="https://x.example", exp=1, iat=None
    )
    parts = [json.loads(decode_part(part)) for part in token.split(".")[:2]]
    assert parts[1] == {"iss": "https://x.example", "sub": "s", "aud": "other", "exp": 1, "azp": "other", "nonce": "n"}
    foreign = ECKey.generate_key("P-256", {"kid": "foreign"})
    token = issuer.google.issue_id_token(headers={"alg": "ES256", "jku": "https://x.example"}, key=foreign)
    assert jwt_header(token) == {"alg": "ES256", "typ": "JWT", "kid": "foreign", "jku": "https://x.example"}
    unsigned = issuer.google.issue_id_token(headers={"alg": "none", "kid": None})
    assert unsigned.endswith(".") and jwt_header(unsigned) == {"alg": "none", "typ": "JWT"}


async def test_faults_come_on_demand(issuer: Issuers, http: httpx.AsyncClient) -> None:
    certs = f"{issuer.google.url}{issuer.google.jwks_path}"
    issuer.faults.add("refuse", "GET /google/oauth2/v3/certs", status=500)
    answer = await http.get(certs)
    assert (answer.status_code, answer.json()) == (500, {"error": "server_error"})
    issuer.faults.add("garble", "GET /google/*")
    assert (await http.get(certs)).text.startswith("<!doctype html>")
    issuer.faults.add("cut", "GET /google/*")
    with pytest.raises(httpx.TransportError):
        await http.get(certs)
    issuer.faults.add("slow", "GET /google/*", seconds=limit(30))
    with pytest.raises(httpx.TimeoutException):
        await http.get(certs, timeout=0.2)
    issuer.google.documents["jwks"] = {"keys": [{"kty": "RSA"}]}
    assert (await http.get(certs)).json() == {"keys": [{"kty": "RSA"}]}
    assert (await http.get(f"{issuer.apple.url}{issuer.apple.jwks_path}")).status_code == 200


async def test_page_returns_what_the_person_chose(issuer: Issuers, http: httpx.AsyncClient) -> None:
    issuer.google.redirect_uris.add(REDIRECT_URI)
    document = await discover(http, issuer.google)
    client = make_client(issuer, issuer.google)
    url = begin(client, document, login_hint="known@example.com")
    assert 'value="known@example.com"' in (await http.get(url)).text
    nobody = await http.post(url, data={"email": "nobody", "action": "allow"})
    assert nobody.status_code == 400 and "Enter an e-mail address." in nobody.text

    cancelled = await http.post(url, data={"action": "cancel"})
    assert returned(cancelled) == {"error": "access_denied", "state": "the-state", "iss": issuer.google.url}
    allowed = await http.post(
        url, data={"email": "p@corp.example", "organization": "on", "unverified": "on", "action": "allow"}
    )
    assert set(returned(allowed)) == {"code", "state", "iss"}
    person = issuer.google.find_person("p@corp.example")
    assert (person.hd, person.email_verified) == ("corp.example", False)
    # Known from now on, as they were.
    assert '<button name="chosen" value="p@corp.example">' in (await http.get(url)).text
    assert "code" in returned(await http.post(url, data={"chosen": "p@corp.example"}))
    assert issuer.google.find_person("p@corp.example") == person

    silent = await http.get(begin(client, document, prompt="none"))
    assert returned(silent)["error"] == "login_required"
    for change, error in (
        ({"redirect_uri": "http://evil.example"}, "redirect_uri_mismatch"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ):
        parameters = dict(parse_qsl(urlsplit(url).query)) | change
        answer = await http.get(document["authorization_endpoint"], params=parameters)
        assert answer.status_code == 400 and f"Error 400: {error}" in answer.text and "location" not in answer.headers


def returned(answer: httpx.Response) -> dict[str, str]:
    location = answer.headers["location"]
    assert answer.status_code == 303 and location.startswith(f"{REDIRECT_URI}?")
    return dict(parse_qsl(urlsplit(location).query))


def decode_part(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def jwt_header(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(decode_part(token.partition(".")[0]))
    return header


async def test_controls_reach_another_process(http: httpx.AsyncClient) -> None:
    with running() as stand_ins:
        control, google = f"{stand_ins.url}/control/issuers", stand_ins.issuers.google
        minted = await http.post(f"{control}/google/id-token", json={"email": "a@example.com", "nonce": "n"})
        assert (await verify(http, google, minted.json()["idToken"]))["nonce"] == "n"
        apple = stand_ins.issuers.apple
        body = {"email": "a@example.com", "client_id": apple.client_ids["ios"]}
        assert (await http.post(f"{control}/apple/code", json=body)).json()["code"]
        before = google.keys.jwks()["keys"]
        await http.post(f"{control}/google/rotate", json={"keep_old": False})
        assert google.keys.jwks()["keys"] != before
        await http.post(f"{control}/apple/set", json={"booleans_as_text": True})
        assert apple.booleans_as_text
        for path, wrong, status in (
            ("google/set", {"booleans_as_text": True}, 400),
            ("apple/code", {"nobody": 1}, 400),
            ("google/leave", {}, 404),
            ("nobody/rotate", {}, 404),
        ):
            assert (await http.post(f"{control}/{path}", json=wrong)).status_code == status
        await http.post(f"{stand_ins.url}/control/faults", json={"kind": "refuse", "match": "GET /apple/auth/keys"})
        assert (await http.get(f"{apple.url}{apple.jwks_path}")).status_code == 500

        listed = {each["id"]: each for each in (await http.get(control)).json()["items"]}
        assert [each["email"] for each in listed["apple"]["people"]] == ["a@example.com"]
        dashboard = await http.get(f"{stand_ins.url}/dashboard")
        assert "a@example.com" in dashboard.text and google.url in dashboard.text
        rotated = google.keys.jwks()["keys"]
        assert (await http.post(f"{stand_ins.url}/dashboard/issuers/google")).status_code == 303
        assert google.keys.jwks()["keys"][0] != rotated[0]


def test_people_and_grants_are_kept(tmp_path: Path) -> None:
    """A restart of `parlance dev` keeps subjects and refresh tokens: what a deletion revokes is known."""
    file = tmp_path / "state.json"
    first = Issuers("http://127.0.0.1:1", store=Store(file))
    client_id = first.apple.client_ids["ios"]
    code = first.apple.issue_code("a@example.com", client_id=client_id)
    token = first.apple.exchange_code(client_id, {"code": code})["refresh_token"]
    second = Issuers("http://127.0.0.1:1", store=Store(file))
    second.apple.revoke(client_id, token)
    assert [each.subject for each in second.apple.revoked] == [first.apple.subject_of("A@example.com")]
