"""Owns the events of a room: entering it, the WebRTC negotiation, and leaving it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import errors
from realtime import emit
from realtime.caller import Caller
from realtime.emit import Event
from realtime.outcomes import send_if_there, tell
from services.calls.signaling import SignalPayload
from wire import events

if TYPE_CHECKING:
    from container import Container


class IceServers(TypedDict):
    """What the ack of `refresh_ice` adds to `ok`."""

    iceServers: list[events.IceServer]


async def join_room(services: Container, caller: Caller, body: events.JoinRoom) -> None:
    joined = await services.signaling.join_room(caller.user_id, caller.socket, body["roomId"], after=body.get("after"))
    if joined.replaced is not None:
        await send_if_there(caller.emit, joined.replaced, emit.session_replaced())
    if joined.is_back:
        return
    event = emit.peer_joined(joined.role, caller.user_id)
    await caller.hear(event)
    if joined.peer_socket is not None:
        await send_if_there(caller.emit, joined.peer_socket, event)


async def webrtc_offer(services: Container, caller: Caller, body: events.SendDescription) -> None:
    await _relay(services, caller, body["roomId"], emit.webrtc_offer(body["sdp"]))


async def webrtc_answer(services: Container, caller: Caller, body: events.SendDescription) -> None:
    await _relay(services, caller, body["roomId"], emit.webrtc_answer(body["sdp"]))


async def webrtc_ice(services: Container, caller: Caller, body: events.SendCandidate) -> None:
    await _relay(services, caller, body["roomId"], emit.webrtc_ice(body["candidate"]))


async def _relay(services: Container, caller: Caller, room_id: str, signal: Event[SignalPayload]) -> None:
    peer = services.signaling.relay(caller.socket, room_id, signal.name, signal.payload)
    if peer is not None:
        try:
            await caller.emit(peer, signal)
        except errors.Unavailable:
            services.signaling.take_back(caller.socket, signal.payload["seq"])
            raise


async def end_call(services: Container, caller: Caller, body: events.RoomRef) -> None:
    outcome = await services.signaling.end_call(caller.user_id, caller.socket, body["roomId"])
    await tell(services, caller.emit, outcome)


async def refresh_ice(services: Container, caller: Caller, body: events.RoomRef) -> IceServers:
    services.signaling.check_room(caller.socket, body["roomId"])
    return {"iceServers": services.turn.ice_servers(caller.user_id)}
