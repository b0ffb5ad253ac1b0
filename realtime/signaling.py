"""Events of a room: joining it, the WebRTC negotiation, and leaving it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from realtime import emit
from realtime.connection import SocketConnection
from realtime.emit import Event
from realtime.outcomes import emit_if_reachable, emit_outcome
from services.calls.participants import SignalPayload
from wire import events

if TYPE_CHECKING:
    from container import Container


class IceServers(TypedDict):
    """What the ack of `refresh_ice` adds to `ok`."""

    iceServers: list[events.IceServer]


async def join_room(services: Container, connection: SocketConnection, body: events.JoinRoom) -> None:
    joined = await services.signaling.join_room(
        connection.user_id, connection.socket_id, body["roomId"], after=body.get("after")
    )
    if joined.replaced_socket_id is not None:
        await emit_if_reachable(
            connection.emit_to, joined.replaced_socket_id, emit.session_replaced(), room_id=body["roomId"]
        )
    if joined.is_reconnect:
        return
    event = emit.peer_joined(joined.role, connection.user_id)
    await connection.emit(event)
    if joined.peer_socket_id is not None:
        await emit_if_reachable(connection.emit_to, joined.peer_socket_id, event, room_id=body["roomId"])


async def webrtc_offer(services: Container, connection: SocketConnection, body: events.LocalDescription) -> None:
    await _relay(services, connection, body["roomId"], emit.webrtc_offer(body["sdp"]))


async def webrtc_answer(services: Container, connection: SocketConnection, body: events.LocalDescription) -> None:
    await _relay(services, connection, body["roomId"], emit.webrtc_answer(body["sdp"]))


async def webrtc_ice(services: Container, connection: SocketConnection, body: events.LocalCandidate) -> None:
    await _relay(services, connection, body["roomId"], emit.webrtc_ice(body["candidate"]))


async def _relay(services: Container, connection: SocketConnection, room_id: str, signal: Event[SignalPayload]) -> None:
    await services.signaling.relay_and_wait(connection.socket_id, room_id, signal.name, signal.payload)


async def end_call(services: Container, connection: SocketConnection, body: events.RoomReference) -> None:
    outcome = await services.signaling.end_call(connection.user_id, connection.socket_id, body["roomId"])
    await emit_outcome(services, connection.emit_to, outcome)


async def refresh_ice(services: Container, connection: SocketConnection, body: events.RoomReference) -> IceServers:
    await services.poor_lines.note_restart(connection.socket_id, body["roomId"])
    return {"iceServers": services.turn.ice_servers(connection.user_id)}
