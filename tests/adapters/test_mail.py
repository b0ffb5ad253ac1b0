"""Mail leaves through Resend's own SDK, or becomes a file."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from adapters.mail.mailbox import Mailbox
from adapters.mail.resend import ResendMailer
from services import mails
from settings import Settings

LINK = "https://parlance.example/reset-password?token=abc_DEF-123"


class StandIn(ThreadingHTTPServer):
    """Resend's HTTP API, as far as sending goes. `answer` is what it says next."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answer: tuple[int, dict[str, Any]] = (200, {"id": "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"})


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
        status, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def resend_api() -> Iterator[StandIn]:
    server = StandIn()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def mailer(resend_api: StandIn, settings: Settings) -> ResendMailer:
    update = {
        "resend_api_key": SecretStr("re_key_of_the_tests"),
        "resend_api_url": f"http://127.0.0.1:{resend_api.server_address[1]}",
        "email_from": "Parlance <noreply@example.com>",
    }
    return ResendMailer(settings.model_copy(update=update))


async def test_resend_gets_both_parts_and_the_key_that_makes_a_repeat_harmless(
    mailer: ResendMailer, resend_api: StandIn
) -> None:
    await mailer.send(mails.password_reset("ada@example.com", LINK), idempotency_key="password-reset-1")
    ((headers, body),) = resend_api.requests
    assert headers["authorization"] == "Bearer re_key_of_the_tests"
    assert headers["idempotency-key"] == "password-reset-1"
    assert body["to"] == ["ada@example.com"] and body["from"] == "Parlance <noreply@example.com>"
    assert LINK in body["text"] and LINK in body["html"] and body["subject"] == "Set a new password"


@pytest.mark.parametrize("status", [422, 429, 500])
async def test_what_resend_refuses_is_raised_so_that_the_job_tries_again(
    status: int, mailer: ResendMailer, resend_api: StandIn
) -> None:
    resend_api.answer = (status, {"statusCode": status, "name": "application_error", "message": "no"})
    with pytest.raises(Exception, match="no"):
        await mailer.send(mails.verification("ada@example.com", LINK), idempotency_key="verification-1")


async def test_without_a_key_a_mail_is_a_file_and_its_link_is_printed(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mailbox = Mailbox(settings.model_copy(update={"mail_directory": tmp_path / "mail"}))
    for _ in range(2):
        await mailbox.send(mails.verification("ada@example.com", LINK), idempotency_key="verification-7")
    (path,) = (tmp_path / "mail").iterdir()
    message = email.message_from_bytes(await asyncio.to_thread(path.read_bytes), policy=email.policy.default)
    assert message["To"] == "ada@example.com" and message["Subject"] == "Is this your address?"
    parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
    assert set(parts) == {"text/plain", "text/html"}
    assert all(LINK in content for content in parts.values())
    assert LINK in capsys.readouterr().out


def test_what_goes_into_html_is_escaped() -> None:
    mail = mails.verification("ada@example.com", 'https://parlance.example/?a=1&b="<script>')
    assert "<script>" not in mail.html and "&amp;b=" in mail.html
