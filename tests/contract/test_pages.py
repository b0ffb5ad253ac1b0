"""Addresses of pages: a slash at the end redirects, and an unknown address is a page to browsers alone."""

from __future__ import annotations

import httpx
import pytest

from contract.pages import prefers_html

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
JSON_PROBLEM = "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("page", ["/docs", "/docs/events", "/docs/guide", "/docs/guide/clients", "/admin-ui"])
async def test_slash_at_the_end_redirects_to_the_page(api: httpx.AsyncClient, method: str, page: str) -> None:
    answer = await api.request(method, f"{page}/?one=two%20three")
    assert answer.status_code == 308 and "//" not in answer.headers["location"]
    assert httpx.URL(f"http://proxy.test/prefix{page}/").join(answer.headers["location"]) == (
        f"http://proxy.test/prefix{page}?one=two%20three"
    )
    assert (await api.get(page)).status_code == 200


@pytest.mark.parametrize("path", ["/health/", "/users/me/", "/docs//", "//", "/openapi.yaml/", "/docs/assets/"])
async def test_slash_of_other_addresses_is_not_found(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(f"{api.base_url}".rstrip("/") + path)
    assert answer.status_code == 404 and answer.headers["content-type"] == JSON_PROBLEM


async def test_slash_redirects_reading_methods_alone(api: httpx.AsyncClient) -> None:
    assert (await api.post("/docs/", json={})).status_code == 404


async def test_unknown_address_is_a_page_to_a_browser(api: httpx.AsyncClient) -> None:
    answer = await api.get("/no-such-page", headers={"Accept": BROWSER})
    assert answer.status_code == 404 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "Accept" in answer.headers["vary"]
    for link in ("/", "/docs", "/docs/events", "/docs/guide", "/admin-ui"):
        assert f'href="{link}"' in answer.text and (await api.get(link)).status_code == 200
    head = await api.head("/no-such-page", headers={"Accept": BROWSER})
    assert head.status_code == 404 and head.headers["content-type"].startswith("text/html") and not head.content


@pytest.mark.parametrize(
    "accept", ["*/*", "", "application/json", "application/json, text/plain, */*", "text/html;q=0.5, application/json"]
)
async def test_unknown_address_is_a_problem_to_api_clients(api: httpx.AsyncClient, accept: str) -> None:
    answer = await api.get("/no-such-page", headers={"Accept": accept})
    assert answer.status_code == 404 and answer.headers["content-type"] == JSON_PROBLEM
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize(("method", "path"), [("POST", "/no-such-page"), ("GET", "/users/me"), ("DELETE", "/docs/")])
async def test_operations_are_problems_to_browsers_too(api: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await api.request(method, path, headers={"Accept": BROWSER})
    assert answer.status_code in (401, 404) and answer.headers["content-type"] == JSON_PROBLEM


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML;Q=0.2", True),
        ("text/html;q=0", False),
        ("text/html;q=often", False),
        ("text/html, application/json", False),
        ("text/html, application/problem+json;q=0.9", True),
        ("text/*", False),
        (",;q=1,", False),
    ],
)
def test_preference_for_html_is_read_by_its_weight(accept: str, preferred: bool) -> None:
    assert prefers_html(accept) is preferred
