"""The documentation pages load all their files from this server, with the right caching."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.applications import Starlette

from contract import code_samples, docs, served

ROOT = Path(__file__).resolve().parents[2]
VENDORED = ROOT / "web" / "vendor" / "scalar"

SAMPLE = (
    {"openapi": "3.0.3", "info": {"title": "Tea & <biscuits>", "version": "1"}, "paths": {}},
    {"asyncapi": "3.0.0", "info": {"title": "Tea & <biscuits>", "version": "1"}, "channels": {}, "operations": {}},
)
REAL = tuple(yaml.safe_load((ROOT / name).read_text()) for name in ("openapi.yaml", "asyncapi.yaml"))
#: Of the header and the footer; the whole app serves them.
OTHER_PAGES = ("/", "/docs/guide", "/terms", "/privacy", "/safety", "/contact", "/delete-account")
PAGES = ("/docs", "/docs/events")
SPECS = ("/openapi.json", "/asyncapi.json")


@pytest.fixture(params=[SAMPLE, REAL], ids=["sample", "real"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=docs.routes(*request.param)))
    async with httpx.AsyncClient(transport=transport, base_url="http://docs.test") as http:
        yield http


def references(html: str) -> list[str]:
    found = re.findall(r'\b(?:src|href|action|data|data-document|poster)="([^"]*)"', html)
    return [each for each in found if not each.startswith("#")]


@pytest.mark.parametrize("page", PAGES)
async def test_docs_page_loads_local_files_alone(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in answer.text.replace(f'data-origin="{code_samples.ORIGIN}"', ""), "an address of another host"
    assert not re.search(r"<script(?! [^>]*src=)|<style|\son\w+=|\sstyle=", answer.text), "something inline"
    loaded = references(answer.text)
    assert {*PAGES, *SPECS} & set(loaded), "no link to the other page"
    for reference in loaded:
        if reference not in OTHER_PAGES:
            assert (await client.get(reference)).status_code == 200, reference


@pytest.mark.parametrize("page", PAGES)
async def test_docs_assets_load_local_files_alone(client: httpx.AsyncClient, page: str) -> None:
    assets = [each for each in references((await client.get(page)).text) if each.endswith((".css", ".js", ".svg"))]
    assert {each.rpartition(".")[2] for each in assets} >= {"css", "js"}
    for reference in assets:
        asset = (await client.get(reference)).text
        assert "sourceMappingURL=" not in asset.rsplit("\n", 1)[-1]
        if reference.endswith(".css"):
            assert "@import" not in asset
            assert all(url.strip("\"'").startswith("data:") for url in re.findall(r"url\(([^)]{0,9})", asset))


@pytest.mark.parametrize("page", PAGES)
async def test_docs_page_policy_is_minimal(client: httpx.AsyncClient, page: str) -> None:
    policy = (await client.get(page)).headers["content-security-policy"]
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert [name for name, sources in directives.items() if "unsafe" in sources] == ["style-src"]
    assert not re.search(r"https?:|\*", policy)


@pytest.mark.parametrize(("path", "index"), [("/openapi.json", 0), ("/asyncapi.json", 1)])
@pytest.mark.parametrize("specs", [SAMPLE, REAL], ids=["sample", "real"])
async def test_spec_is_served_whole(specs: tuple[dict[str, Any], dict[str, Any]], path: str, index: int) -> None:
    transport = httpx.ASGITransport(Starlette(routes=docs.routes(*specs)))
    async with httpx.AsyncClient(transport=transport, base_url="http://docs.test") as http:
        answer = await http.get(path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == (served.openapi, served.asyncapi)[index](specs[index])


async def test_assets_are_cached_and_pages_revalidated(client: httpx.AsyncClient) -> None:
    loaded = references((await client.get("/docs")).text)
    for path in (*PAGES, *SPECS, *(path for path in loaded if path.startswith("/docs/assets/"))):
        answer = await client.get(path)
        kept = answer.headers["cache-control"]
        assert kept == ("public, max-age=31536000, immutable" if path.startswith("/docs/assets/") else "no-cache")
        again = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get(path, headers={"If-None-Match": '"another"'})).status_code == 200


async def test_gzip_is_sent_where_accepted(client: httpx.AsyncClient) -> None:
    plain = await client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    packed = await client.get("/openapi.json", headers={"Accept-Encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", [*PAGES, *SPECS])
async def test_docs_pages_are_read_only(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await client.request(method, path)).status_code == 405


@pytest.mark.parametrize("path", ["/docs/assets/", "/docs/assets/x/index.html", "/docs/assets/../../settings.py"])
async def test_other_docs_paths_are_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


def test_vendored_files_match_their_readme() -> None:
    rows = re.findall(r"^\| `(\S+)` \| [^|]+ \| `([0-9a-f]{64})` \|$", (VENDORED / "README.md").read_text(), re.M)
    files = {path.name: path for path in VENDORED.iterdir() if path.name != "README.md"}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == dict(rows)


def test_npm_lock_names_no_host() -> None:
    assert '"resolved"' not in (ROOT / "package-lock.json").read_text()
