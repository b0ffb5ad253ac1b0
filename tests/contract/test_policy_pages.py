"""Pages of terms, privacy, safety, contact and deletion: without scripts, stores and surprises."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

import app
from container import Container
from services.safety.policies import PolicyError
from testing.containers import load_settings
from testing.ports import free_port
from testing.servers import client

PAGES = ["/terms", "/privacy", "/safety", "/contact", "/delete-account"]


@pytest.mark.parametrize("page", PAGES)
async def test_policy_page_needs_no_script(api: httpx.AsyncClient, page: str) -> None:
    answer = await api.get(page, headers={"Accept": "text/html"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    rules = answer.headers["content-security-policy"]
    assert "script-src 'none'" in rules and "form-action 'self'" in rules and "default-src 'none'" in rules
    assert not re.search(r"<script|<style|\son\w+=|\sstyle=|javascript:", answer.text)
    assert len(re.findall("<h1", answer.text)) >= 1 and "<!--" not in answer.text
    assert (await api.get(f"{page}/")).status_code == 308
    assert (await api.put(page)).status_code == 405


@pytest.mark.parametrize("page", PAGES)
async def test_policy_page_links_lead_somewhere(api: httpx.AsyncClient, page: str) -> None:
    text = (await api.get(page)).text
    links = set(re.findall(r'href="(/[^"#]*)', text))
    assert set(PAGES) <= links
    for link in links:
        assert (await api.get(link)).status_code == 200, link


@pytest.mark.parametrize("page", PAGES[:-1])
async def test_policy_page_is_revalidated(api: httpx.AsyncClient, page: str) -> None:
    tag = (await api.get(page)).headers["etag"]
    assert (await api.get(page, headers={"If-None-Match": tag})).status_code == 304


async def test_safety_page_has_rules_and_child_safety(api: httpx.AsyncClient) -> None:
    text = (await api.get("/safety")).text
    assert "Rules of conduct" in text and 'id="child-safety-standards"' in text and "CSAE" in text
    assert "at least <strong>18 years</strong>" in text


async def test_privacy_page_has_the_retention_schedule(api: httpx.AsyncClient) -> None:
    text = (await api.get("/privacy")).text
    for rule in (await api.get("/policy")).json()["retention"]:
        assert rule["data"] in text and rule["rule"] in text
    assert "<td>365 days</td>" in text


async def test_policy_pages_of_the_operator_without_stores(environment: dict[str, str], tmp_path: Path) -> None:
    """Texts of their own, facts from the settings, and neither PostgreSQL nor Redis nor storage."""
    own = "<!-- version: 9.1 -->\n# Our privacy\n\n<script>alert(1)</script> [terms](terms.md)\n"
    (tmp_path / "privacy.md").write_text(own)
    (tmp_path / "contact.md").write_text("<!-- version: 2 -->\n# Imprint\n\nBefore.\n\n<!-- contact -->\n\nAfter.\n")
    closed = str(free_port())
    settings = load_settings(
        {
            **environment,
            "DB_PORT": closed,
            "REDIS_PORT": closed,
            "STORAGE_ENDPOINT": f"http://127.0.0.1:{closed}",
            "POLICY_DIRECTORY": str(tmp_path),
            "CONTACT_EMAIL": "we_are_here@example.com",
            "CONTACT_ADDRESS": "Tom & <Sons>, 1_2 *Street*",
            "MINIMUM_AGE": "16",
        }
    )
    services = Container(settings)
    async with client(app.create(services)) as http:
        privacy, contact = (await http.get("/privacy")).text, (await http.get("/contact")).text
        terms = (await http.get("/terms")).text
        form = await http.get("/delete-account")
        sent = await http.post("/delete-account", data={"email": "ada@example.com"})
        link = await http.get("/delete-account", params={"token": "a" * 43})
    await services.close()
    assert "<h1" in privacy and "Our privacy" in privacy and "Version 9.1" in privacy
    assert "<script" not in privacy and 'href="/terms"' in privacy
    # The schedule stands there although the text has no place for it.
    assert "<td>365 days</td>" in privacy
    assert 'href="mailto:we_are_here@example.com"' in contact
    assert "Tom &amp; &lt;Sons&gt;, 1_2 *Street*" in contact
    assert contact.index("Before.") < contact.index("Tom &amp;") < contact.index("After.")
    assert "at least <strong>16 years</strong>" in terms
    assert form.status_code == 200 and "<form" in form.text
    for refused in (sent, link):
        assert refused.status_code == 503 and "the database does not answer" in refused.text
        assert refused.headers["retry-after"] and refused.headers["cache-control"] == "no-store"


def test_unreadable_text_stops_the_start(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "delete-account.md").write_text("# No version\n")
    with pytest.raises(PolicyError, match=r"delete-account\.md has no version"):
        Container(load_settings({**environment, "POLICY_DIRECTORY": str(tmp_path)}))
