"""Sanctions and appeals over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from testing.accounts import credentials
from testing.servers import Learner

MakeMember = Callable[[], Awaitable[Learner]]
FACTS = "In two calls you went on shouting at partners\nwho had asked you to stop."
BAN = {"kind": "ban", "ground": "harassment", "facts": FACTS}
SUSPENSION = {"kind": "suspension", "ground": "spam", "facts": "You sent links to a shop in each call.", "days": 7}
WARNING = {"kind": "warning", "ground": "inappropriate", "facts": "You asked a partner for a date twice."}


async def issue(admin: Learner, user_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Sanction an account; answer the sanction as administrators see it."""
    answer = await admin.http.post(f"/admin/users/{user_id}/sanctions", json=body)
    assert answer.status_code == 201, answer.text
    sanction: dict[str, Any] = answer.json()
    return sanction


async def try_login(http: httpx.AsyncClient, learner: Learner, *, device: str = "phone") -> httpx.Response:
    return await http.post("/auth/login", json=credentials(learner.email, device=device))


async def get_login_token(http: httpx.AsyncClient, learner: Learner) -> str:
    """The token for an appeal, of a refused login."""
    refused = await try_login(http, learner)
    assert refused.status_code == 403, refused.text
    return str(refused.json()["sanction"]["appealToken"])


async def appeal(http: httpx.AsyncClient, token: str, text: str = "It was not me.") -> httpx.Response:
    return await http.post("/appeals", json={"token": token, "text": text})


async def decide(
    admin: Learner, appeal_id: str, outcome: str, reason: str = "You have shown who it was."
) -> httpx.Response:
    return await admin.http.post(f"/admin/appeals/{appeal_id}/decision", json={"outcome": outcome, "reason": reason})
