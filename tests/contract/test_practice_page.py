"""The practice page: a current bundle, scripts and styles of this server alone, and the paths of links in e-mails."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from contract import lint, practice_page
from contract.typescript import CLIENT, PRACTICE, bundle_page

PICTURES, VIDEOS = "https://pictures.test", "https://videos.test"


@pytest.fixture
def client() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Starlette(routes=practice_page.routes(PICTURES, VIDEOS)))
    return httpx.AsyncClient(transport=transport, base_url="http://page.test")


def test_practice_bundle_matches_its_source() -> None:
    bundle_page(PRACTICE, check=True)


def test_stale_bundle_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "web" / "practice"
    shutil.copytree(PRACTICE, folder)
    shutil.copy(PRACTICE.parent / "bundle.mjs", folder.parent)
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "typescript").symlink_to(CLIENT)
    (tmp_path / "node_modules").symlink_to(lint.ROOT / "node_modules")
    words = folder / "src" / "words.ts"
    words.write_text(words.read_text().replace("Beginner", "Novice"))
    with pytest.raises(lint.ToolError, match=r"page\.js is stale; run: make types"):
        bundle_page(folder, check=True)


@pytest.mark.parametrize("path", practice_page.PATHS)
async def test_practice_page_loads_local_files_alone(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{path}?token=one")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in answer.text and "$" not in answer.text
    assert not re.search(r"<script(?! [^>]*src=)|<style|\son\w+=|\sstyle=", answer.text), "something inline"
    for reference in re.findall(r'\b(?:src|href|data-player)="(/practice/[^"]*)"', answer.text):
        asset = await client.get(reference)
        assert asset.status_code == 200 and "immutable" in asset.headers["cache-control"]


async def test_practice_page_policy_is_minimal(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/")).headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in policy and not re.search(r"unsafe|\*", policy)
    directives = {name: sources for name, *sources in map(str.split, policy.split(";"))}
    assert directives["default-src"] == ["'none'"] and directives["script-src"] == ["'self'"]
    opened = {name: sources for name, sources in directives.items() if re.search("https?:|blob:", " ".join(sources))}
    assert opened == {
        "img-src": ["'self'", "data:", PICTURES],
        "connect-src": ["'self'", VIDEOS],
        "media-src": ["'self'", "blob:", VIDEOS],
    }
