"""E-mails through Resend's SDK, and as files."""

from __future__ import annotations

import asyncio
import email
import email.policy
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.mail.mailbox import Mailbox
from adapters.mail.resend import ResendMailer
from services.messaging import emails
from settings import Settings
from testing.email_outbox import ResendStandIn

LINK = "https://parlance.example/reset-password?token=abc_DEF-123"


@pytest.fixture
def mailer(resend_api: ResendStandIn, settings: Settings) -> ResendMailer:
    update = {
        "resend_api_key": SecretStr("re_key_of_the_tests"),
        "resend_api_url": f"http://127.0.0.1:{resend_api.server_address[1]}",
        "email_from": "Parlance <noreply@example.com>",
    }
    return ResendMailer(settings.model_copy(update=update))


async def test_resend_gets_both_parts_and_an_idempotency_key(mailer: ResendMailer, resend_api: ResendStandIn) -> None:
    await mailer.send(emails.password_reset("ada@example.com", LINK), idempotency_key="password-reset-1")
    ((headers, body),) = resend_api.requests
    assert headers["authorization"] == "Bearer re_key_of_the_tests"
    assert headers["idempotency-key"] == "password-reset-1"
    assert body["to"] == ["ada@example.com"] and body["from"] == "Parlance <noreply@example.com>"
    assert LINK in body["text"] and LINK in body["html"] and body["subject"] == "Set a new password"


@pytest.mark.parametrize("status", [422, 429, 500])
async def test_refusal_by_resend_is_raised_for_a_retry(
    status: int, mailer: ResendMailer, resend_api: ResendStandIn
) -> None:
    resend_api.answer = (status, {"statusCode": status, "name": "application_error", "message": "no"})
    with pytest.raises(Exception, match="no"):
        await mailer.send(emails.verification("ada@example.com", LINK), idempotency_key="verification-1")


async def test_mail_without_an_api_key_is_written_to_a_file(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mailbox = Mailbox(settings.model_copy(update={"mail_directory": tmp_path / "mail"}))
    for _ in range(2):
        await mailbox.send(emails.verification("ada@example.com", LINK), idempotency_key="verification-7")
    (path,) = (tmp_path / "mail").iterdir()
    message = email.message_from_bytes(await asyncio.to_thread(path.read_bytes), policy=email.policy.default)
    assert message["To"] == "ada@example.com" and message["Subject"] == "Confirm your e-mail address"
    parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
    assert set(parts) == {"text/plain", "text/html"}
    assert all(LINK in content for content in parts.values())
    assert LINK in capsys.readouterr().out


def test_html_of_mails_is_escaped() -> None:
    mail = emails.verification("ada@example.com", 'https://parlance.example/?a=1&b="<script>')
    assert "<script>" not in mail.html and "&amp;b=" in mail.html
