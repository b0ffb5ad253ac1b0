"""Owns the life of a socket: who may connect, and what its going away means to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realtime import emit
from realtime.caller import Caller
from services.sign_ins import Identity

if TYPE_CHECKING:
    from container import Container


async def connect(services: Container, auth: Any) -> Identity:
    """Answer whose access token the handshake carries; raise Unauthenticated or Banned."""
    token = auth.get("token") if isinstance(auth, dict) else None
    return await services.auth.admit_socket(token if isinstance(token, str) else "")


async def disconnect(services: Container, caller: Caller) -> None:
    """End what the socket was part of, and tell the partner."""
    left = await services.signaling.disconnect(caller.user_id, caller.socket)
    if left is not None and left.peer_socket is not None:
        reason = "banned" if await services.bans.is_banned(caller.user_id) else "disconnected"
        event = emit.peer_left(reason) if left.was_joined else emit.partner_cancelled()
        await caller.emit(left.peer_socket, event)
