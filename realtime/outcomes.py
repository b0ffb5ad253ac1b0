"""Owns how what became of a search, a match or a call is told to those it concerns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import errors
from realtime import emit
from realtime.caller import Emit
from realtime.emit import Event
from services.calls.matchmaking import Match, PartnerCancelled, SearchExpired, Searching
from services.calls.signaling import PeerAway, PeerBack, PeerLeft

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.events")

Outcome = Searching | SearchExpired | Match | PartnerCancelled | PeerAway | PeerBack | PeerLeft


async def send_if_there(emit_to: Emit, socket: str, event: Event[object]) -> None:
    """Send an event to a socket whose worker may have died meanwhile."""
    try:
        await emit_to(socket, event)
    except errors.Unavailable:
        log.warning("somebody could not be sent %s", event.name)


async def tell(services: Container, emit_to: Emit, outcome: Outcome | None) -> None:
    """Send the events of an outcome, which stands also where somebody can't be reached."""

    async def send(socket: str, event: Event[object]) -> None:
        await send_if_there(emit_to, socket, event)

    match outcome:
        case Match() as match:
            for me, partner in ((match.waiting, match.seeker), (match.seeker, match.waiting)):
                ice_servers = services.turn.ice_servers(me.user_id)
                await send(me.socket, emit.match_found(match, partner, ice_servers))
        case Searching(socket, estimated_wait_seconds):
            await send(socket, emit.searching(estimated_wait_seconds))
        case SearchExpired(socket):
            await send(socket, emit.search_expired())
        case PartnerCancelled(socket, then):
            await send(socket, emit.partner_cancelled())
            await tell(services, emit_to, then)
        case PeerAway(socket, grace_seconds):
            await send(socket, emit.peer_reconnecting(grace_seconds))
        case PeerBack(socket):
            await send(socket, emit.peer_reconnected())
        case PeerLeft(socket, reason):
            await send(socket, emit.peer_left(reason))
