"""The operators' page is served with a strict policy, and names nothing that is elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from container import Container

FOLDER = Path(__file__).resolve().parents[2] / "web" / "admin"


async def test_admin_page_and_its_files_are_served(api: httpx.AsyncClient, container: Container) -> None:
    page = await api.get("/admin-ui")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    # Pictures that wait for review come from storage; nothing else does.
    assert re.findall("https?://[^ ;]+", policy) == [container.storage.public_origin]
    assert f"img-src 'self' data: {container.storage.public_origin};" in policy
    assert "style=" not in page.text and not re.search(r"<script(?! type=\"module\" src=)", page.text)
    named = set(re.findall(r'(?:href|src)="(/[^"]+)"', page.text))
    for source in FOLDER.glob("*.js"):
        named |= {f"/admin-ui/{name}" for name in re.findall(r'from "\./([^"]+)"', source.read_text())}
    assert {f"/admin-ui/{path.name}" for path in FOLDER.iterdir() if path.suffix != ".html"} == named
    for path in named:
        found = await api.get(path)
        assert found.status_code == 200 and found.headers["x-content-type-options"] == "nosniff", path
    assert (await api.get("/admin-ui/../settings.py")).status_code == 404


def test_admin_page_sets_no_html() -> None:
    sources = [*FOLDER.glob("*.js")]
    unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\("
    assert sources and [each.name for each in sources if re.search(unsafe, each.read_text())] == []
