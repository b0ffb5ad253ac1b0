"""Events of a search for a partner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import errors
from realtime import emit
from realtime.connection import SocketConnection
from realtime.outcomes import emit_outcome
from services.calls.pools import ANYONE
from wire import events

if TYPE_CHECKING:
    from container import Container


async def find_partner(services: Container, connection: SocketConnection, body: events.FindPartner) -> None:
    try:
        outcome = await services.matchmaking.find_partner(
            connection.user_id,
            connection.socket_id,
            level=body.get("level", "all"),
            topic=body.get("topic"),
            is_strict=body.get("strict", False),
            among=body.get("among", ANYONE),
            platform=await services.pools.read_platform(connection.family_id),
        )
    except errors.Resting as error:
        await connection.emit(emit.resting(error.until))
        raise
    await emit_outcome(services, connection.emit_to, outcome)


async def app_state(services: Container, connection: SocketConnection, body: events.AppState) -> None:
    is_background = body["isBackground"]
    services.matchmaking.set_app_state(connection.socket_id, background=is_background)
    services.user_sockets.set_background(connection.user_id, connection.socket_id, is_background=is_background)


async def cancel_search(services: Container, connection: SocketConnection, body: events.NoPayload) -> None:
    await emit_outcome(
        services, connection.emit_to, await services.matchmaking.cancel_search(connection.user_id, connection.socket_id)
    )
