"""The shell of the documentation pages: links, escaping, files of this server alone."""

from __future__ import annotations

import re

import httpx
from starlette.applications import Starlette

from contract import page_shell


async def test_shell_loads_files_that_it_serves() -> None:
    html = page_shell.render("Title", "<h1>Title</h1>")
    loaded = re.findall(r'<link rel="\w+" href="([^"]*)"', html)
    assert {path.rpartition(".")[2] for path in loaded} == {"svg", "css"}
    transport = httpx.ASGITransport(Starlette(routes=page_shell.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://docs.test") as http:
        for path in loaded:
            assert (await http.get(path)).status_code == 200, path


def test_shell_escapes_text_and_marks_the_current_page() -> None:
    html = page_shell.render("Tea & <biscuits>", "<h1>Tea</h1>", current="/docs/events")
    assert "<title>Tea &amp; &lt;biscuits&gt;</title>" in html and "<h1>Tea</h1>" in html
    assert re.findall(r'<a href="([^"]*)" aria-current="page">', html) == ["/docs/events"]
    assert not re.search(r"<script(?! [^>]*src=)|<style|\son\w+=|\sstyle=", html), "something inline"


def test_style_has_both_color_schemes() -> None:
    style = (page_shell.FOLDER / "page.css").read_text()
    assert "color-scheme: light dark" in style and "prefers-color-scheme: dark" in style
