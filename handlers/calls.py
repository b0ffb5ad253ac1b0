"""Call history and ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def list_calls(services: Container, identity: Identity, limit: int, cursor: str | None = None) -> rest.CallPage:
    return shapes.page(
        await services.call_history.list_calls(identity.user_id, limit=limit, cursor=cursor), shapes.call
    )


async def get_call(services: Container, identity: Identity, session_id: str) -> rest.Call:
    return shapes.call(await services.call_history.read(identity.user_id, session_id))


async def rate_call(services: Container, identity: Identity, session_id: str, body: rest.Rating) -> rest.Call:
    stars, pace = body["stars"], body.get("pace")
    return shapes.call(await services.call_history.rate(identity.user_id, session_id, stars, pace))
