"""E-mail through Resend, with its SDK, in threads."""

from __future__ import annotations

import asyncio
from typing import Any

import resend
from resend.exceptions import ResendError
from resend.http_client_requests import RequestsClient

import spans
from adapters.ports import Mail
from settings import Settings

#: Timeout of a request in seconds.
TIMEOUT_SECONDS = 5


class ResendMailer:
    def __init__(self, settings: Settings) -> None:
        assert settings.resend_api_key is not None
        # The SDK is configured by module attributes.
        resend.api_key = settings.resend_api_key.get_secret_value()
        resend.api_url = settings.resend_api_url
        resend.default_http_client = RequestsClient(timeout=TIMEOUT_SECONDS)
        self._sender = settings.email_from

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        message: Any = {
            "from": self._sender,
            "to": [mail.to],
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
        }
        with spans.vendor("resend", "send"):
            await asyncio.to_thread(resend.Emails.send, message, {"idempotency_key": idempotency_key})

    async def domains(self) -> dict[str, str] | None:
        """Return each domain of the account with its status; None if the key may only send.

        Raises PermissionError for an unknown key, and the SDK's errors during an outage.
        """
        try:
            answer = await asyncio.to_thread(resend.Domains.list)
        except ResendError as error:
            if error.error_type == "restricted_api_key":
                return None
            if str(error.code) in ("400", "401", "403"):  # the request has no input, so the cause is the key
                raise PermissionError(error.error_type) from None
            raise
        return {each["name"]: each["status"] for each in answer["data"]}
