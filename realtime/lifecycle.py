"""Life of a socket: the handshake, and what its end means to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from realtime.connection import SocketConnection
from realtime.outcomes import emit_outcome
from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container

#: How the connection of a socket ended: its client said goodbye, it left pings without an answer, or it broke, or the
#: server closed it.
Manner = Literal["goodbye", "silence", "other"]


async def connect(services: Container, auth: object) -> Identity:
    """Return the identity of the handshake's access token; raise Unauthenticated, Banned or AccountSuspended."""
    token = auth.get("token") if isinstance(auth, dict) else None
    return await services.authentication.authenticate_socket(token if isinstance(token, str) else "")


def connected(services: Container, connection: SocketConnection) -> None:
    """Note that a socket is connected."""
    services.matchmaking.connect(connection.socket_id)
    services.learners_online.add(connection.user_id, connection.socket_id)


async def disconnect(services: Container, connection: SocketConnection, *, manner: Manner = "other") -> None:
    """Note that a socket is gone, and emit it to the partner; after an error it may be called again."""
    services.learners_online.remove(connection.socket_id)
    if manner == "goodbye":
        await services.goodbyes.note(connection.user_id, connection.socket_id)
    elif manner == "silence":
        await services.poor_lines.note_loss(connection.socket_id)
    final_reason: Literal["banned", "disconnected"] | None = None
    if services.login_revocations.has_ended(connection.family_id):
        final_reason = "banned" if await services.sanctions.is_banned(connection.user_id) else "disconnected"
    outcome = await services.signaling.disconnect(connection.user_id, connection.socket_id, final_reason=final_reason)
    await emit_outcome(services, connection.emit_to, outcome)
    await services.invitation_ends.disconnect(connection.user_id)
