"""The guide: every Markdown file as a page, links and pictures that work, and no raw HTML."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from contract import guide, page_shell

ADDRESSES = {"docs/clients.md": "/docs/guide/clients", "docs/images/a.png": "/docs/assets/1/a.png"}


@pytest.fixture(scope="module")
def pages() -> guide.Guide:
    return guide.Guide()


async def test_guide_links_lead_to_pages(pages: guide.Guide) -> None:
    routes = [*pages.routes, *page_shell.routes()]
    elsewhere = {"/", "/docs", "/docs/events", "/openapi.json", "/asyncapi.json"}
    elsewhere |= {"/terms", "/privacy", "/safety", "/contact", "/delete-account"}
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://docs.test") as http:
        texts = {route.path: (await http.get(route.path)).text for route in pages.routes if "assets" not in route.path}
        assert len(texts) > 40 and {guide.ADDRESS, f"{guide.ADDRESS}/decisions"} <= texts.keys()
        for path, text in texts.items():
            assert not re.search(r"<script|<style|\son\w+=|\sstyle=", text), path
            for reference in re.findall(r'\b(?:href|src)="([^"]*)"', text):
                if re.match("https?:", reference) or reference in elsewhere:
                    continue
                address, _, fragment = reference.partition("#")
                answer = await http.get(address or path)
                assert answer.status_code == 200, f"{path}: {reference}"
                assert not fragment or f'id="{fragment}"' in answer.text, f"{path}: {reference}"


async def test_guide_page_is_a_page_of_its_own(pages: guide.Guide) -> None:
    transport = httpx.ASGITransport(Starlette(routes=pages.routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://docs.test") as http:
        answer = await http.get("/docs/guide/clients")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert re.findall('<a href="([^"]*)" aria-current="page">', answer.text) == [
            "/docs/guide",
            "/docs/guide/clients",
        ]
        assert "<h1 " in answer.text and "<title>Clients · Parlance</title>" in answer.text
        picture = re.search(r'<img src="([^"]+)" alt="[^"]+"', (await http.get("/docs/guide/performance")).text)
        assert picture and (await http.get(picture[1])).headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("[a](clients.md#calls)", '<p><a href="/docs/guide/clients#calls">a</a></p>'),
        ("[a](../openapi.yaml) [b](../app.py) c", '<p><a href="/docs">a</a> b c</p>'),
        ("![a](images/a.png)", '<p><img src="/docs/assets/1/a.png" alt="a" /></p>'),
        ("[a](https://example.com/)", '<p><a href="https://example.com/">a</a></p>'),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>"),
        ("a <script>alert(1)</script> <!-- b -->", "<p>a alert(1) </p>"),
        ("<!-- file: a -->\n\nb", "<p>b</p>"),
        (
            "# A `b`, c\n\n## A\n\n## A",
            '<h1 id="a-b-c">A <code>b</code>, c</h1>\n<h2 id="a">A</h2>\n<h2 id="a-1">A</h2>',
        ),
    ],
)
def test_markdown_is_rendered_with_addresses_and_without_html(text: str, html: str) -> None:
    addresses = {**ADDRESSES, "openapi.yaml": "/docs"}
    assert guide.render(text, "docs/extending.md", addresses).strip() == html


def test_folder_without_documents_has_no_pages(tmp_path: Path) -> None:
    """A package without the files serves the rest."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("# One\n")
    assert [route.path for route in guide.Guide(tmp_path).routes if "assets" not in route.path] == ["/docs/guide/one"]
