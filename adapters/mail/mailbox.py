"""Mailbox of a developer: each e-mail is an .eml file, and its link is printed."""

from __future__ import annotations

import asyncio
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path

from adapters.ports import Mail
from instants import utc_now
from settings import Settings


class Mailbox:
    def __init__(self, settings: Settings) -> None:
        self._directory = settings.mail_directory
        self._sender = settings.email_from

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        path = await asyncio.to_thread(self._write, mail, idempotency_key)
        # Printed, not logged: logs contain no secrets, and the developer needs the link.
        print(f"parlance: mail to {mail.to}: {mail.subject}\n  {mail.link}\n  {path}", flush=True)

    def _write(self, mail: Mail, idempotency_key: str) -> Path:
        # RFC 6532: a local part beyond ASCII is written in UTF-8, never as an encoded word.
        message = EmailMessage(policy=SMTP if mail.to.isascii() else SMTPUTF8)
        message["From"], message["Subject"] = self._sender, mail.subject
        # An Address is always one; a string would be parsed as a list of addresses.
        username, _, domain = mail.to.rpartition("@")
        message["To"] = Address(username=username, domain=domain)
        message["Date"] = utc_now()
        message["X-Idempotency-Key"] = idempotency_key
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The key names the file, so that a mail sent twice is one file.
        path = self._directory / f"{idempotency_key}.eml"
        path.write_bytes(message.as_bytes())
        return path
