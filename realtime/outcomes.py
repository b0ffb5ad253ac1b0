"""Events of an outcome of a search, a match or a call, for each socket that it concerns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import errors
from realtime import emit
from realtime.connection import EmitTo
from realtime.emit import Event
from services.calls.outcomes import (
    InvitationEnded,
    Invited,
    Match,
    Outcome,
    PartnerCancelled,
    PeerLeft,
    PeerReconnected,
    PeerReconnecting,
    Resync,
    SearchExpired,
    Searching,
    SearchRefused,
    SocketReplaced,
)
from wire import events

if TYPE_CHECKING:
    from container import Container
    from wire import events

log = logging.getLogger("parlance.events")


async def emit_if_reachable(
    emit_to: EmitTo, socket_id: str, event: Event[object], *, room_id: str | None = None
) -> None:
    """Emit an event to a socket whose web process may have died meanwhile."""
    try:
        await emit_to(socket_id, event)
    except errors.Unavailable:
        log.warning("emit_failed event=%s socket_id=%s room_id=%s", event.name, socket_id, room_id)


async def emit_outcome(services: Container, emit_to: EmitTo, outcome: Outcome | None) -> None:
    """Emit the events of an outcome, which stands also where a socket is unreachable."""
    match outcome:
        case Match() as match:
            for me, partner in ((match.waiting, match.seeker), (match.seeker, match.waiting)):
                event = emit.match_found(match, partner, services.turn.ice_servers(me.user_id))
                await emit_if_reachable(emit_to, me.socket_id, event, room_id=match.room_id)
        case Searching() as search:
            searching = emit.searching(search, services.learners_online.count)
            await emit_if_reachable(emit_to, search.socket_id, searching)
        case SearchExpired(socket_id):
            await emit_if_reachable(emit_to, socket_id, emit.search_expired())
        case SearchRefused(socket_id, error):
            if isinstance(error, errors.Resting):
                await emit_if_reachable(emit_to, socket_id, emit.resting(error.until))
            code = cast("events.ErrorCode", error.code)
            await emit_if_reachable(emit_to, socket_id, emit.error(code, error.detail))
            # Apps of earlier releases know this event as the end of a search.
            await emit_if_reachable(emit_to, socket_id, emit.search_expired())
        case PartnerCancelled(socket_id, then):
            await emit_if_reachable(emit_to, socket_id, emit.partner_cancelled())
            await emit_outcome(services, emit_to, then)
        case Invited() as invited:
            for socket_id in invited.socket_ids:
                await emit_if_reachable(emit_to, socket_id, emit.invitation(invited))
        case InvitationEnded(socket_ids, invitation_id, reason):
            for socket_id in socket_ids:
                await emit_if_reachable(emit_to, socket_id, emit.invitation_over(invitation_id, reason))
        case PeerReconnecting(socket_id, grace_seconds):
            await emit_if_reachable(emit_to, socket_id, emit.peer_reconnecting(grace_seconds))
        case PeerReconnected(socket_id):
            await emit_if_reachable(emit_to, socket_id, emit.peer_reconnected())
        case SocketReplaced(socket_id):
            await emit_if_reachable(emit_to, socket_id, emit.session_replaced())
        case Resync(socket_id):
            await emit_if_reachable(emit_to, socket_id, emit.resync())
        case PeerLeft(socket_id, reason):
            await emit_if_reachable(emit_to, socket_id, emit.peer_left(reason))
