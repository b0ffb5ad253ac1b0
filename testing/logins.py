"""Logins over HTTP, on the app in this process, and what its emails hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from container import Container
from testing.accounts import bearer, credentials
from testing.email_outbox import Outbox

#: Origins whose pages may refresh with a cookie, in a `Deployment`.
ALLOWED_ORIGINS = ["http://localhost:5503", "https://app.example.com"]


@dataclass
class Deployment:
    """The whole app in this process on a database of its own, its emails kept."""

    asgi: Any
    services: Container
    outbox: Outbox


Visit = Callable[[], httpx.AsyncClient]


async def log_in(
    http: httpx.AsyncClient, email: str, *, device: str = "phone", platform: str = "ios", new: bool = False
) -> httpx.Response:
    """Log in, or register a `new` account."""
    path, status = ("/auth/register", 201) if new else ("/auth/login", 200)
    answer = await http.post(path, json=credentials(email, device=device, platform=platform))
    assert answer.status_code == status, answer.text
    return answer


def read_cookie(answer: httpx.Response) -> str:
    """The refresh token that an answer sets as a cookie."""
    match = re.match(r"refresh_token=([^;]*);", answer.headers["set-cookie"])
    assert match
    return match[1]


async def read_status(http: httpx.AsyncClient, access_token: str) -> int:
    """The status of a request with an access token."""
    return (await http.get("/users/me", headers=bearer(access_token))).status_code


async def request_reset(http: httpx.AsyncClient, email: str) -> httpx.Response:
    return await http.post("/auth/forgot-password", json={"email": email})


async def reset_password(http: httpx.AsyncClient, token: str, password: str) -> httpx.Response:
    return await http.post("/auth/reset-password", json={"token": token, "newPassword": password})
