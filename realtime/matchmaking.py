"""Owns the events by which a learner looks for a partner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.caller import Caller
from realtime.outcomes import tell
from wire import events

if TYPE_CHECKING:
    from container import Container


async def find_partner(services: Container, caller: Caller, body: events.FindPartner) -> None:
    outcome = await services.matchmaking.find_partner(
        caller.user_id, caller.socket, level=body.get("level", "all"), topic=body.get("topic")
    )
    await tell(services, caller.emit, outcome)


async def app_state(services: Container, caller: Caller, body: events.AppState) -> None:
    services.matchmaking.app_state(caller.socket, background=body["background"])


async def cancel_search(services: Container, caller: Caller, body: events.Nothing) -> None:
    await tell(services, caller.emit, await services.matchmaking.cancel_search(caller.user_id, caller.socket))
