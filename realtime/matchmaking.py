"""Events of a search for a partner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.connection import SocketConnection
from realtime.outcomes import emit_outcome
from services.calls.pools import ANYONE
from wire import events

if TYPE_CHECKING:
    from container import Container


async def find_partner(services: Container, connection: SocketConnection, body: events.FindPartner) -> None:
    outcome = await services.matchmaking.find_partner(
        connection.user_id,
        connection.socket_id,
        level=body.get("level", "all"),
        topic=body.get("topic"),
        is_strict=body.get("strict", False),
        among=body.get("among", ANYONE),
    )
    await emit_outcome(services, connection.emit_to, outcome)


async def app_state(services: Container, connection: SocketConnection, body: events.AppState) -> None:
    services.matchmaking.set_app_state(connection.socket_id, background=body["isBackground"])


async def cancel_search(services: Container, connection: SocketConnection, body: events.NoPayload) -> None:
    await emit_outcome(
        services, connection.emit_to, await services.matchmaking.cancel_search(connection.user_id, connection.socket_id)
    )
