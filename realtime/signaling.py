"""Owns the events of a room: entering it, the WebRTC negotiation, and leaving it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realtime import emit
from realtime.caller import Caller

if TYPE_CHECKING:
    from container import Container


async def join_room(services: Container, caller: Caller, body: dict[str, Any]) -> None:
    joined = await services.signaling.join_room(caller.user_id, caller.socket, body["roomId"])
    event = emit.peer_joined(joined.role, caller.user_id)
    await caller.hear(event)
    if joined.peer_socket is not None:
        await caller.emit(joined.peer_socket, event)


async def webrtc_offer(services: Container, caller: Caller, body: dict[str, Any]) -> None:
    event = emit.webrtc_offer(body["sdp"])
    peer = services.signaling.relay(caller.socket, body["roomId"], event.name, event.payload)
    if peer is not None:
        await caller.emit(peer, event)


async def webrtc_answer(services: Container, caller: Caller, body: dict[str, Any]) -> None:
    event = emit.webrtc_answer(body["sdp"])
    peer = services.signaling.relay(caller.socket, body["roomId"], event.name, event.payload)
    if peer is not None:
        await caller.emit(peer, event)


async def webrtc_ice(services: Container, caller: Caller, body: dict[str, Any]) -> None:
    event = emit.webrtc_ice(body["candidate"])
    peer = services.signaling.relay(caller.socket, body["roomId"], event.name, event.payload)
    if peer is not None:
        await caller.emit(peer, event)


async def end_call(services: Container, caller: Caller, body: dict[str, Any]) -> None:
    left = await services.signaling.end_call(caller.user_id, caller.socket, body["roomId"])
    if left.peer_socket is not None:
        await caller.emit(left.peer_socket, emit.peer_left("ended") if left.was_joined else emit.partner_cancelled())
