"""Authenticator apps of staff in tests, by `pyotp`, and logins with their codes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx
import pyotp

from container import Container
from models import Role
from testing.accounts import bearer, credentials, new_email
from testing.databases import query
from testing.servers import PASSWORD, address


@dataclass
class Staff:
    """An account of staff that has enrolled an app; `http` is the login that did."""

    id: str
    email: str
    secret: str
    recovery_codes: list[str]
    services: Container
    http: httpx.AsyncClient

    def code(self, steps: int = 0) -> str:
        """The code of the present time step, or of one that many steps later."""
        return pyotp.TOTP(self.secret).at(time.time() + 30 * steps)

    async def forget_codes(self) -> None:
        """Let used codes be accepted again, as if time had passed."""
        await query(self.services, "UPDATE second_factors SET last_step = 0 WHERE user_id = :u", u=self.id)

    async def fresh_code(self) -> str:
        await self.forget_codes()
        return self.code()

    async def log_in(self, http: httpx.AsyncClient, code: str | None, **body: Any) -> httpx.Response:
        """Log in from an address of its own, and put the access token on `http`."""
        given = {**credentials(self.email, device=f"desk-{id(http)}"), **body}
        if code is not None:
            given["secondFactorCode"] = code
        answer = await http.post("/auth/login", json=given, headers={"X-Forwarded-For": address()})
        if answer.status_code == 200:
            http.headers.update(bearer(answer.json()["accessToken"]))
        return answer

    async def prove(self, code: str) -> httpx.Response:
        """Prove the factor on the login of `http`, which gets the new access token."""
        answer = await self.http.post("/auth/second-factor/proof", json={"code": code})
        if answer.status_code == 200:
            self.http.headers.update(bearer(answer.json()["accessToken"]))
        return answer

    async def age_proof(self, minutes: int) -> None:
        """Let the login of `http` have proven its factor that long ago, and refresh its access token."""
        login = self.services.logins.identify(self.http.headers["Authorization"].removeprefix("Bearer ")).family_id
        statement = (
            "UPDATE refresh_tokens SET factor_proven_at = now() - make_interval(mins => :m) WHERE family_id = :f"
        )
        await query(self.services, statement, m=minutes, f=login)
        answer = await self.http.post("/auth/refresh", json={"refreshToken": self.http.headers["X-Test-Refresh"]})
        assert answer.status_code == 200, answer.text
        keep_tokens(self.http, answer)


def keep_tokens(http: httpx.AsyncClient, answer: httpx.Response) -> None:
    """Put the tokens of a login on its client; the refresh token is in a header that the server ignores."""
    tokens = answer.json()
    http.headers.update({**bearer(tokens["accessToken"]), "X-Test-Refresh": tokens["refreshToken"]})


async def make_staff(services: Container, http: httpx.AsyncClient, role: Role = Role.ADMIN) -> tuple[str, str]:
    """Make an account without a factor, log it in on `http`; return its id and its address."""
    email = new_email()
    user = await services.administrators.create(email, PASSWORD, role)
    answer = await http.post("/auth/login", json=credentials(email, device="desk"))
    assert answer.status_code == 200, answer.text
    keep_tokens(http, answer)
    return str(user.id), email


async def enroll(services: Container, http: httpx.AsyncClient, user_id: str, email: str) -> Staff:
    """Enroll an app on a login, with the code of the time step before, so that two more are left."""
    made = await http.post("/auth/second-factor", json={"password": PASSWORD})
    assert made.status_code == 201, made.text
    staff = Staff(user_id, email, made.json()["secret"], [], services, http)
    confirmed = await http.post("/auth/second-factor/confirmation", json={"code": staff.code(-1)})
    assert confirmed.status_code == 200, confirmed.text
    staff.recovery_codes = confirmed.json()["recoveryCodes"]
    http.headers.update(bearer(confirmed.json()["accessToken"]))
    return staff
