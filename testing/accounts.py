"""Accounts of tests: addresses, bodies of a login, administrators."""

from __future__ import annotations

import uuid

import httpx

from container import Container
from models import Role
from testing.servers import PASSWORD, Learner, address


def new_email() -> str:
    """Return an address that no account has."""
    return f"u{uuid.uuid4().hex[:20]}@example.com"


def credentials(
    email: str, *, password: str = PASSWORD, device: str = "phone", platform: str = "ios"
) -> dict[str, str]:
    """The body of a registration or a login."""
    return {"email": email, "password": password, "deviceId": device, "platform": platform}


def bearer(access_token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token}"}


async def make_admin(container: Container, http: httpx.AsyncClient, role: Role = Role.ADMIN) -> Learner:
    """Make an administrator, or a moderator, and log them in on `http`."""
    name = f"a{uuid.uuid4().hex[:20]}"
    email = f"{name}@example.com"
    user = await container.administrators.create(email, PASSWORD, role)
    body = {"email": email, "password": PASSWORD, "deviceId": "desk", "platform": "ios"}
    answer = await http.post("/auth/login", json=body, headers={"X-Forwarded-For": address()})
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    http.headers["Authorization"] = f"Bearer {tokens['accessToken']}"
    return Learner(str(user.id), email, name, tokens["accessToken"], tokens["refreshToken"], http)
