"""Owns sending mail through Resend, with its SDK, in threads."""

from __future__ import annotations

import asyncio
from typing import Any

import resend
from resend.http_client_requests import RequestsClient

from adapters.ports import Mail
from settings import Settings

#: Seconds that Resend has to answer.
TIMEOUT = 5


class ResendMailer:
    def __init__(self, settings: Settings) -> None:
        assert settings.resend_api_key is not None
        # The SDK is configured by module attributes.
        resend.api_key = settings.resend_api_key.get_secret_value()
        resend.api_url = settings.resend_api_url
        resend.default_http_client = RequestsClient(timeout=TIMEOUT)
        self._sender = settings.email_from

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        message: Any = {
            "from": self._sender,
            "to": [mail.to],
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
        }
        await asyncio.to_thread(resend.Emails.send, message, {"idempotency_key": idempotency_key})
