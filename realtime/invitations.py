"""Events of invitations of partners."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypedDict

from instants import format_instant
from realtime.connection import SocketConnection
from realtime.outcomes import emit_outcome
from services.calls.invitations import Ring
from wire import events

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.invitations")


class InvitationSent(TypedDict):
    """What the ack of `invite_partner` adds to `ok`."""

    invitationId: str
    expiresAt: str


async def invite_partner(
    services: Container, connection: SocketConnection, body: events.InvitePartner
) -> InvitationSent:
    sent = await services.invitations.invite(
        connection.user_id, connection.family_id, connection.socket_id, body["userId"], body.get("topic")
    )
    for outcome in sent.outcomes:
        await emit_outcome(services, connection.emit_to, outcome)
    if sent.ring is not None:
        services.invitations.tasks.start(_ring(services, connection, sent.ring))
    return {"invitationId": sent.invitation_id, "expiresAt": format_instant(sent.expires_at)}


async def _ring(services: Container, connection: SocketConnection, ring: Ring) -> None:
    """Emit a new invitation to its invitee, and its end where that has come meanwhile."""
    try:
        await emit_outcome(services, connection.emit_to, await services.invitations.ring(ring))
        ended = await services.invitations.check_after_ring(ring.row.id)
        await emit_outcome(services, connection.emit_to, ended)
    except Exception as error:  # an outage; the job notifies the invitee, and a socket that connects receives it
        log.warning("invitation_not_emitted invitation_id=%s error=%r", ring.row.id, error)


async def answer_invitation(services: Container, connection: SocketConnection, body: events.AnswerInvitation) -> None:
    outcomes = await services.invitations.answer(
        connection.user_id,
        connection.family_id,
        connection.socket_id,
        body["invitationId"],
        is_accepted=body["isAccepted"],
    )
    for outcome in outcomes:
        await emit_outcome(services, connection.emit_to, outcome)


async def cancel_invitation(
    services: Container, connection: SocketConnection, body: events.InvitationReference
) -> None:
    for outcome in await services.invitations.cancel(connection.user_id, body["invitationId"]):
        await emit_outcome(services, connection.emit_to, outcome)
