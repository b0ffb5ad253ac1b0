"""Owns the life of a socket: who may connect, and what its going away means to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from realtime.caller import Caller
from realtime.outcomes import tell
from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container


async def connect(services: Container, auth: object) -> Identity:
    """Answer whose access token the handshake carries; raise Unauthenticated or Banned."""
    token = auth.get("token") if isinstance(auth, dict) else None
    return await services.authentication.admit_socket(token if isinstance(token, str) else "")


def connected(services: Container, caller: Caller) -> None:
    """Note that a socket is there."""
    services.matchmaking.connect(caller.socket)


async def disconnect(services: Container, caller: Caller) -> None:
    """Note that a socket is gone, and tell the partner; after an error it may be called again."""
    for_good: Literal["banned", "disconnected"] | None = None
    if services.login_revocations.has_ended(caller.family_id):
        for_good = "banned" if await services.bans.is_banned(caller.user_id) else "disconnected"
    outcome = await services.signaling.disconnect(caller.user_id, caller.socket, for_good=for_good)
    await tell(services, caller.emit, outcome)
