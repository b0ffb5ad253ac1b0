"""Owns the events by which a learner looks for a partner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realtime import emit
from realtime.caller import Caller
from services.matchmaking import Match

if TYPE_CHECKING:
    from container import Container


async def find_partner(services: Container, caller: Caller, body: dict[str, Any]) -> None:
    outcome = await services.matchmaking.find_partner(
        caller.user_id, caller.socket, level=body.get("level", "all"), topic=body.get("topic")
    )
    if isinstance(outcome, Match):
        for me, partner in ((outcome.waiting, outcome.seeker), (outcome.seeker, outcome.waiting)):
            ice_servers = services.turn.ice_servers(me.user_id)
            await caller.emit(me.socket, emit.match_found(outcome, partner, ice_servers))
    else:
        await caller.hear(emit.searching(outcome.estimated_wait_seconds))


async def cancel_search(services: Container, caller: Caller, body: dict[str, Any]) -> None:
    refused = await services.matchmaking.cancel_search(caller.user_id)
    if refused is not None:
        await caller.emit(refused.partner_socket, emit.partner_cancelled())
