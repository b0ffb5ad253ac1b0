"""Mailers that record e-mails: an implementation of the port, and an HTTP stand-in for Resend."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from adapters.ports import Mail


@dataclass
class Outbox:
    """A mailer that keeps e-mails, or raises `broken` if set."""

    mails: list[Mail] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    broken: Exception | None = None

    async def send(self, mail: Mail, *, idempotency_key: str) -> None:
        if self.broken:
            raise self.broken
        self.mails.append(mail)
        self.keys.append(idempotency_key)

    def to(self, email: str) -> list[Mail]:
        return [mail for mail in self.mails if mail.to == email]

    def codes(self, email: str) -> list[str]:
        """The codes that were mailed to an address, the oldest first."""
        found = [re.search(r": ([0-9]{6})$", mail.subject) for mail in self.to(email)]
        return [each[1] for each in found if each]

    def tokens(self, email: str, page: str) -> list[str]:
        """The tokens of the links to `page` that were mailed to an address, the oldest first."""
        links = [urlsplit(mail.link) for mail in self.to(email)]
        return [parse_qs(link.query)["token"][0] for link in links if link.path == f"/{page}"]


class ResendStandIn(ThreadingHTTPServer):
    """Resend's HTTP API, for sending. `answer` is its next response."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ResendHandler)
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answer: tuple[int, dict[str, Any]] = (200, {"id": "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"})


class _ResendHandler(BaseHTTPRequestHandler):
    server: ResendStandIn

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
