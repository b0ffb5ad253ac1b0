"""The refresh cookie of browsers: bound to its host over https, usable over http on loopback."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from contract import middleware, operations, schemas, served
from settings import Settings
from testing.accounts import bearer, credentials, new_email
from testing.servers import address

pytestmark = pytest.mark.rest_paths

ORIGIN = {"Origin": "http://localhost:5503"}


def visit(asgi: Any, site: str) -> httpx.AsyncClient:
    """A client of the app at `site`, from an address of its own."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(asgi, client=(address(), 1234)), base_url=site)


def attributes(answer: httpx.Response) -> list[str]:
    """The `Set-Cookie` of an answer: the name, then its attributes."""
    (value,) = answer.headers.get_list("set-cookie")
    name, *rest = value.split("; ")
    return [name.partition("=")[0], *rest]


@pytest.mark.parametrize(
    ("site", "name", "expected"),
    [
        ("https://parlance.test", "__Host-refresh_token", ["Path=/", "HttpOnly", "Secure", "SameSite=Strict"]),
        ("http://127.0.0.1:5503", "refresh_token", ["Path=/auth", "HttpOnly", "SameSite=Strict"]),
    ],
)
async def test_refresh_cookie_fits_the_scheme(asgi: Any, site: str, name: str, expected: list[str]) -> None:
    async with visit(asgi, site) as http:
        entered = await http.post("/auth/register", json=credentials(new_email(), platform="web"))
        assert attributes(entered) == [name, "Max-Age=2592000", *expected]
        # The client keeps cookies as a browser does, and sends this one back.
        renewed = await http.post("/auth/refresh", headers=ORIGIN)
        assert renewed.status_code == 200, renewed.text
        assert attributes(renewed)[0] == name
        left = await http.post("/auth/logout", headers=bearer(renewed.json()["accessToken"]))
        assert attributes(left) == [name, "Max-Age=0", *expected]
        assert not http.cookies
        assert (await http.post("/auth/refresh", headers=ORIGIN)).json()["code"] == "refresh_token_invalid"


async def test_plain_cookie_is_ignored_over_https(asgi: Any) -> None:
    """A subdomain, or an attacker who answers for one over http, can set any cookie without the prefix."""
    async with visit(asgi, "https://parlance.test") as http:
        entered = await http.post("/auth/register", json=credentials(new_email(), platform="web"))
        token = entered.headers["set-cookie"].partition("=")[2].partition(";")[0]
        http.cookies.clear()
        planted = await http.post("/auth/refresh", headers={**ORIGIN, "Cookie": f"refresh_token={token}"})
        assert planted.json()["code"] == "refresh_token_invalid"


async def test_bearer_challenge_says_whether_a_token_was_bad(asgi: Any) -> None:
    """RFC 6750, 3.1: no error code where no token was sent, `invalid_token` where one was."""
    async with visit(asgi, "http://parlance.test") as http:
        bare = await http.get("/users/me")
        bad = await http.get("/users/me", headers=bearer("nonsense"))
        wrong = await http.post("/auth/login", json=credentials(new_email()))
    assert [answer.status_code for answer in (bare, bad, wrong)] == [401] * 3
    assert bare.headers["WWW-Authenticate"] == 'Bearer realm="parlance"'
    assert bad.headers["WWW-Authenticate"] == 'Bearer realm="parlance", error="invalid_token"'
    assert wrong.headers["WWW-Authenticate"] == 'Bearer realm="parlance"'


def declared_headers() -> set[str]:
    """Return the names of all response headers of the served document."""
    document = served.openapi(schemas.load(schemas.OPENAPI))
    responses = [
        schemas.follow(response, document)
        for definition in operations.definitions(document).values()
        for response in definition["responses"].values()
    ]
    return {name for response in responses for name in response.get("headers", {})}


async def test_allowed_origins_can_read_request_ids_and_replays(settings: Settings, asgi: Any) -> None:
    changed = settings.model_copy(update={"cors_origins": ["https://app.example.com"]})
    wrapped = middleware.wrap(asgi, changed, lambda *_: None)
    async with visit(wrapped, "http://parlance.test") as http:
        asked = {
            "Origin": "https://app.example.com",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-request-id, idempotency-key, authorization, content-type",
        }
        preflight = await http.options("/payments/create-checkout-session", headers=asked)
        assert preflight.status_code == 200, preflight.text
        answer = await http.get("/health", headers={"Origin": "https://app.example.com"})
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"Idempotent-Replayed", "X-Request-Id", "Retry-After"} <= set(exposed)
    # Browsers show the first two in any case, keep the third to themselves, and pages have no use for the last.
    assert declared_headers() - {"Cache-Control", "Content-Type", "Set-Cookie", "Vary"} <= set(exposed)
