"""Logins at a provider's web page: authorization code with PKCE, by the browser that began it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest

from devtools.stand_ins.issuers import Issuer
from testing.accounts import bearer, new_email
from testing.databases import rows
from testing.identities import IdentityDeployment, on_device, read_problem
from testing.logins import Visit
from testing.time_limits import limit

PROVIDERS = ["google", "apple", "keycloak"]
ORIGIN = {"Origin": "http://localhost:5503"}


async def begin(http: httpx.AsyncClient, issuer: Issuer) -> str:
    """Begin a login as the page does; return the provider's address."""
    answer = await http.post("/auth/authorization", json={"provider": issuer.id}, headers=ORIGIN)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("authorization=") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert "Max-Age=600" in cookie and "Path=/auth/authorization" in cookie
    return str(answer.json()["authorizationUrl"])


async def exchange(http: httpx.AsyncClient, callback: dict[str, str], **changes: Any) -> httpx.Response:
    body = {name: callback[name] for name in ("code", "state")} | changes
    return await http.post("/auth/authorization/token", json=body, headers=ORIGIN)


async def answer_at_provider(url: str, email: str, **form: str) -> dict[str, str]:
    """Do with a real HTTP client what a browser does on the provider's page; return what it goes back with."""
    async with httpx.AsyncClient(trust_env=False, timeout=limit(15)) as browser:
        assert (await browser.get(url)).status_code == 200
        answer = await browser.post(url, data={"email": email, "action": "allow", **form})
    if answer.status_code == 303:
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query))

    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', answer.text))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_login_end_to_end(deployment: IdentityDeployment, visit: Visit, provider: str) -> None:
    issuer, email, http = deployment.issuers.by_id[provider], new_email(), visit()
    url = await begin(http, issuer)
    asked = parse_qs(urlsplit(url).query)
    assert asked["redirect_uri"] == ["http://localhost:5503/oauth/callback"] and asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"] and len(asked["code_challenge"][0]) == 43
    callback = await answer_at_provider(url, email)
    if provider == "apple":
        callback = await post_form(http, callback)
    exchanged = await exchange(http, callback)
    assert exchanged.status_code == 200, exchanged.text
    assert "Max-Age=0" in exchanged.headers["set-cookie"]
    token = exchanged.json()
    assert ("grant" in token) is (provider == "apple")
    answer = await http.post("/auth/id-token", json=on_device(token, platform="web"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["email"] == email and "refresh_token=" in answer.headers["set-cookie"]
    found = await rows(
        deployment.services,
        "SELECT grant_token, grant_client_id FROM identities WHERE user_id = :id",
        id=answer.json()["user"]["id"],
    )
    assert (found[0].grant_token is not None) is (provider == "apple")


async def post_form(http: httpx.AsyncClient, fields: dict[str, str]) -> dict[str, str]:
    """Post Apple's form as the browser does, without a cookie; return the query of the address that it goes on to."""
    jar = dict(http.cookies)
    http.cookies.clear()
    answer = await http.post("/oauth/callback", data=fields, headers={"Origin": "https://appleid.apple.com"})
    for name, value in jar.items():
        http.cookies.set(name, value)
    assert answer.status_code == 303 and answer.headers["Cache-Control"] == "no-store"
    address = urlsplit(str(answer.url.join(answer.headers["location"])))
    assert address.path == "/oauth/callback"
    page = await http.get(f"{address.path}?{address.query}")
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    return dict(parse_qsl(address.query))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_code_works_once(deployment: IdentityDeployment, visit: Visit, provider: str) -> None:
    issuer, http = deployment.issuers.by_id[provider], visit()
    callback = issuer.authorize(await begin(http, issuer), new_email())
    cookie = http.cookies["authorization"]
    assert (await exchange(http, callback)).status_code == 200
    assert read_problem(await exchange(http, callback)) == (400, "authorization_failed")  # without the cookie
    http.cookies.set("authorization", cookie)
    assert read_problem(await exchange(http, callback)) == (400, "authorization_failed")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_redirect_of_another_browser_is_refused(
    deployment: IdentityDeployment, visit: Visit, provider: str
) -> None:
    """An attacker's code in a victim's browser, and a victim's code in an attacker's."""
    issuer, mine, other = deployment.issuers.by_id[provider], visit(), visit()
    callback = issuer.authorize(await begin(mine, issuer), new_email())
    without = await exchange(other, callback)
    assert read_problem(without) == (400, "authorization_failed")
    others = issuer.authorize(await begin(other, issuer), new_email())
    assert read_problem(await exchange(other, callback)) == (400, "authorization_failed")
    # With the browser's own state: PKCE refuses the code or, where a provider ignores that, the nonce.
    injected = await exchange(other, callback, state=others["state"])
    assert read_problem(injected) == (400, "authorization_failed")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_cancelled_login_goes_back_with_an_error(
    deployment: IdentityDeployment, visit: Visit, provider: str
) -> None:
    issuer, http = deployment.issuers.by_id[provider], visit()
    callback = await answer_at_provider(await begin(http, issuer), new_email(), action="cancel")
    if provider == "apple":
        callback = await post_form(http, callback)
    assert "code" not in callback and callback["error"] in ("access_denied", "user_cancelled_authorize")


@pytest.mark.parametrize(
    "cookie", ["", "x", "a.b.c", "eyJhbGciOiJub25lIiwidHlwIjoiYXV0aG9yaXphdGlvbiJ9.eyJzdGF0ZSI6IngifQ.", "access token"]
)
async def test_wrong_cookie_is_refused(deployment: IdentityDeployment, visit: Visit, cookie: str) -> None:
    google, http = deployment.issuers.google, visit()
    callback = google.authorize(await begin(http, google), new_email())
    if cookie == "access token":
        tokens = (
            await http.post("/auth/register", json=on_device({"email": new_email(), "password": "x" * 12}))
        ).json()
        cookie = tokens["accessToken"]
    http.cookies.clear()
    http.cookies.set("authorization", cookie)
    assert read_problem(await exchange(http, callback)) == (400, "authorization_failed")


async def test_other_origins_may_not_use_the_cookie(deployment: IdentityDeployment, visit: Visit) -> None:
    google, http = deployment.issuers.google, visit()
    callback = google.authorize(await begin(http, google), new_email())
    body = {name: callback[name] for name in ("code", "state")}
    for origin in ({}, {"Origin": "https://attacker.example"}, {"Origin": "null"}):
        answer = await http.post("/auth/authorization/token", json=body, headers=origin)
        assert read_problem(answer) == (403, "forbidden")
    assert (await exchange(http, callback)).status_code == 200


async def test_wrong_and_expired_codes_are_refused(deployment: IdentityDeployment, visit: Visit) -> None:
    google, http = deployment.issuers.google, visit()
    callback = google.authorize(await begin(http, google), new_email())
    for code in ("wrong", "a b&c=d", "%00", "'" * 100):
        assert read_problem(await exchange(http, callback, code=code)) == (400, "authorization_failed")
    deployment.issuers.advance(google.code_seconds + 1)
    try:
        assert read_problem(await exchange(http, callback)) == (400, "authorization_failed")
    finally:
        deployment.issuers.advance(-google.code_seconds - 1)


async def test_grant_of_another_identity_is_refused(deployment: IdentityDeployment, visit: Visit) -> None:
    apple, http = deployment.issuers.apple, visit()
    made = []
    for _ in range(2):
        callback = apple.authorize(await begin(http, apple), new_email())
        made.append((await exchange(http, callback)).json())
    swapped = {**made[0], "grant": made[1]["grant"]}
    answer = await http.post("/auth/id-token", json=on_device(swapped, platform="web"))
    assert read_problem(answer) == (400, "request_invalid")
    answer = await http.post("/auth/id-token", json=on_device({**made[0], "grant": "a.b.c"}, platform="web"))
    assert read_problem(answer) == (400, "request_invalid")
    # The token is not used by that.
    answer = await http.post("/auth/id-token", json=on_device(made[0], platform="web"))
    assert answer.status_code == 200, answer.text


async def test_web_login_links_an_identity(deployment: IdentityDeployment, visit: Visit) -> None:
    google, http = deployment.issuers.google, visit()
    password = "correct horse battery"
    body = on_device({"email": new_email(), "password": password}, platform="web")
    tokens = (await http.post("/auth/register", json=body)).json()
    callback = google.authorize(await begin(http, google), new_email())
    exchanged = (await exchange(http, callback)).json()
    linking = {**exchanged, "proof": {"password": password}}
    answer = await http.post("/users/me/identities", json=linking, headers=bearer(tokens["accessToken"]))
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"code=" + b"x" * 20_000, 413),
        (b"\xff\xfe", 400),
        (b"&".join(b"a%d=1" % number for number in range(20)), 400),
    ],
)
async def test_posted_form_is_bounded(visit: Visit, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await visit().post("/oauth/callback", content=body, headers=headers)
    assert answer.status_code == status
    assert (await visit().post("/oauth/callback", json={})).status_code == 415


async def test_posted_form_passes_on_what_the_page_reads(visit: Visit) -> None:
    fields = {"code": "c&d", "state": "s", "id_token": "secret", "user": "{}", "x": "https://attacker.example"}
    answer = await visit().post("/oauth/callback", data=fields)
    assert answer.headers["location"] == "callback?code=c%26d&state=s"
    answer = await visit().post("/oauth/callback", data={"state": "s" * 300})
    assert answer.headers["location"] == "callback?error=invalid_request"


async def test_provider_without_a_web_client_is_refused(deployment: IdentityDeployment, visit: Visit) -> None:
    for provider in ("facebook",):
        answer = await visit().post("/auth/authorization", json={"provider": provider})
        assert read_problem(answer) == (400, "request_invalid")
