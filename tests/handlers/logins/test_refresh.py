"""Refresh tokens of apps and of browsers, and their reuse."""

from __future__ import annotations

import pytest

from testing.accounts import new_email
from testing.databases import query
from testing.lessons import problem
from testing.logins import ALLOWED_ORIGINS, Deployment, Visit, log_in, read_cookie, read_status

FOREIGN_ORIGINS = [
    None,
    "null",
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://app.example.com",
    "https://app.example.com/",
]


@pytest.mark.rest_paths
async def test_app_refreshes_with_a_token_in_the_body(visit: Visit) -> None:
    http = visit()
    tokens = (await log_in(http, new_email(), new=True)).json()
    for _ in range(3):
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        fresh = answer.json()
        assert fresh["refreshToken"] != tokens["refreshToken"] and fresh["user"] == tokens["user"]
        assert await read_status(http, fresh["accessToken"]) == 200
        tokens = fresh


@pytest.mark.rest_paths
@pytest.mark.parametrize("origin", ALLOWED_ORIGINS)
async def test_browser_refreshes_with_a_cookie(visit: Visit, origin: str) -> None:
    http = visit()
    before = read_cookie(await log_in(http, new_email(), platform="web", new=True))
    for _ in range(2):
        answer = await http.post("/auth/refresh", headers={"Cookie": f"refresh_token={before}", "Origin": origin})
        assert answer.status_code == 200, answer.text
        assert "refreshToken" not in answer.json() and before not in answer.text
        after = read_cookie(answer)
        assert after != before and after not in answer.text
        for attribute in ("HttpOnly", "SameSite=Strict", "Path=/auth"):
            assert attribute in answer.headers["set-cookie"]
        assert await read_status(http, answer.json()["accessToken"]) == 200
        before = after


@pytest.mark.rest_paths
@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
async def test_refresh_cookie_needs_an_allowed_origin(deployment: Deployment, visit: Visit, origin: str | None) -> None:
    http = visit()
    answer = await log_in(http, new_email(), platform="web", new=True)
    user_id = answer.json()["user"]["id"]
    headers = {"Cookie": f"refresh_token={read_cookie(answer)}"} | ({"Origin": origin} if origin else {})
    for body in (None, dict[str, str]()):
        refused = await http.post("/auth/refresh", headers=headers, json=body)
        assert problem(refused) == (403, "forbidden") and "set-cookie" not in refused.headers
    rows = await query(
        deployment.services, "SELECT rotated_at, revoked FROM refresh_tokens WHERE user_id = :id", id=user_id
    )
    assert [tuple(row) for row in rows] == [(None, False)]
    allowed = await http.post("/auth/refresh", headers={**headers, "Origin": ALLOWED_ORIGINS[0]})
    assert allowed.status_code == 200


@pytest.mark.rest_paths
async def test_token_in_the_body_takes_precedence_over_the_cookie(deployment: Deployment, visit: Visit) -> None:
    http = visit()
    web = await log_in(http, new_email(), platform="web", new=True)
    mine = (await log_in(http, new_email(), new=True)).json()
    answer = await http.post(
        "/auth/refresh",
        headers={"Cookie": f"refresh_token={read_cookie(web)}", "Origin": "https://evil.example"},
        json={"refreshToken": mine["refreshToken"]},
    )
    assert answer.status_code == 200 and answer.json()["user"]["id"] == mine["user"]["id"]
    rows = await query(
        deployment.services, "SELECT rotated_at FROM refresh_tokens WHERE user_id = :id", id=web.json()["user"]["id"]
    )
    assert [row.rotated_at for row in rows] == [None]


@pytest.mark.rest_paths
async def test_refresh_without_a_valid_token_is_refused(visit: Visit) -> None:
    http = visit()
    for answer in (
        await http.post("/auth/refresh"),
        await http.post("/auth/refresh", json={}),
        await http.post("/auth/refresh", json={"refreshToken": "nonsense"}),
        await http.post("/auth/refresh", headers={"Cookie": "refresh_token=nonsense", "Origin": ALLOWED_ORIGINS[0]}),
    ):
        assert problem(answer) == (401, "refresh_token_invalid")


async def test_reused_refresh_token_ends_the_login(visit: Visit) -> None:
    http = visit()
    stolen = (await log_in(http, new_email(), new=True)).json()
    child = (await http.post("/auth/refresh", json={"refreshToken": stolen["refreshToken"]})).json()
    grandchild = (await http.post("/auth/refresh", json={"refreshToken": child["refreshToken"]})).json()
    reused = await http.post("/auth/refresh", json={"refreshToken": stolen["refreshToken"]})
    assert problem(reused) == (401, "refresh_token_reused")
    for tokens in (stolen, child, grandchild):
        assert await read_status(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert problem(answer) == (401, "refresh_token_invalid")
