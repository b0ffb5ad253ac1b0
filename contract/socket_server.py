"""python-socketio's server as used here: one namespace, a limit on events, and an answer to every malformed packet.

Private parts, held to their source by `tests/contract/test_seams.py`:

- `AsyncManager`: the methods that find sockets and record their connections are overridden.
- `AsyncServer`: the handlers of packets and of connections are overridden, and `_send_packet` is called.
- `Packet`: read for its type, namespace, id, data and number of attachments.
"""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import parse_qs

import socketio
from socketio import packet
from starlette.responses import Response

import errors
from adapters.json_text import encode_json
from contract import problems
from contract.event_rate import EventLimit
from contract.transport import ENGINE, Engine, Socket

log = logging.getLogger("parlance.events")

#: Binary parts that one event or acknowledgement may announce; none is used.
_MAX_ATTACHMENTS = 10
#: Key of the request that a session began with.
_NO_ENVIRON: dict[str, Any] = {}
#: Where the engine listens, with or without a slash at the end.
_PATH = "/socket.io/"
#: An event of the default namespace, without its Engine.IO type; the group is the id of the requested ack.
_EVENT = re.compile(r"2(0|[1-9][0-9]{0,15})?\[")
#: The type of a Socket.IO packet that announces binary parts, and how many.
_ATTACHMENTS = re.compile(r"[0-9]([0-9]+)-")
_BINARY_TYPES = packet.BINARY_EVENT, packet.BINARY_ACK


class Directory(socketio.AsyncManager):  # type: ignore[misc]
    """Sockets by their Socket.IO id. python-socketio's own has a room for each, and searches all at a disconnect."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: dict[str, Socket] = {}
        #: Ids in the middle of a handshake or a disconnect.
        self._in_transition: set[str] = set()

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        socket = self._engine_socket(eio_sid)
        if socket is None or socket.id is not None:
            return None
        socket.id = sid = str(self.server.eio.generate_id())
        self.sockets[sid] = socket
        self._in_transition.add(sid)
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        self._in_transition.discard(sid)
        return sid

    def pre_disconnect(self, sid: str, namespace: str) -> str:
        self._in_transition.add(sid)
        return self.sockets[sid].sid

    async def disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        self._in_transition.discard(sid)
        socket = self.sockets.pop(sid, None)
        if socket is not None:
            socket.id = socket.event_connection = None

    def is_connected(self, sid: str | None, namespace: str) -> bool:
        return sid in self.sockets and sid not in self._in_transition

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        socket = self._engine_socket(eio_sid)
        return None if socket is None or namespace != "/" else socket.id

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        socket = self.sockets.get(sid)
        return None if socket is None else socket.sid

    def get_namespaces(self) -> list[str]:
        return ["/"]

    def _engine_socket(self, eio_sid: str) -> Socket | None:
        found: Socket | None = self.server.eio.sockets.get(eio_sid)
        return found


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio's server, which also answers malformed packets, reserved names and acks without a request."""

    eio: Engine

    def __init__(self, limit: EventLimit, **options: Any) -> None:
        self.directory = Directory()
        self.limit = limit
        super().__init__(client_manager=self.directory, async_mode="asgi", transports=["websocket"], **options)
        self.manager_initialized = True  # ours needs nothing
        self.eio.opened = self._begin
        self.eio.frame_limit = limit.frames()

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def _begin(self, eio_sid: str) -> None:
        self.environ[eio_sid] = _NO_ENVIRON

    def send_event(self, sid: str, name: str, payload: dict[str, Any]) -> None:
        """Write an event to a socket of this process, if it is still connected."""
        socket = self.directory.sockets.get(sid)
        if socket is not None:
            socket.write(b'42["%b",%b]' % (name.encode(), encode_json(payload)))

    def send_refusal(self, sid: str, problem: dict[str, Any]) -> None:
        self.send_event(sid, "error", problem)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Send DISCONNECT, so that the client does not reconnect by itself, and close the connection."""
        socket = self.directory.sockets.get(sid)
        await super().disconnect(sid, namespace, ignore_queue)
        if socket is not None:
            await socket.close()

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        if namespace not in (None, "/"):
            await self._refuse_connect(eio_sid, "Invalid namespace", namespace)
        elif self._is_connected(eio_sid):
            await self._refuse_connect(eio_sid, "Already connected")
        else:
            await super()._handle_connect(eio_sid, namespace, data)
            if self._is_connected(eio_sid):
                self.eio.handshake_done(self.eio.sockets[eio_sid])

    async def _refuse_connect(self, eio_sid: str, message: str, namespace: str | None = None) -> None:
        refusal = self.packet_class(packet.CONNECT_ERROR, data={"message": message}, namespace=namespace)
        await self._send_packet(eio_sid, refusal)

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not socket.closing and not self._is_connected(eio_sid):
            self.eio.expect_handshake(socket)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        """Read a Socket.IO packet and handle it; close the connection over one that is malformed."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is None:
            return
        if isinstance(data, bytes) and socket.binary_parts:
            socket.binary_parts -= 1  # of a refused event
        elif not socket.rate.spend(self.limit):
            await self._refuse_excess(socket, data)
        elif isinstance(data, bytes) or socket.binary_parts or (pkt := self._decode(data)) is None:
            await self._close_malformed(socket)
        elif pkt.packet_type == packet.CONNECT:
            await self._handle_connect(eio_sid, pkt.namespace, pkt.data)
        elif pkt.packet_type == packet.DISCONNECT:
            await self._handle_disconnect(eio_sid, pkt.namespace, self.reason.CLIENT_DISCONNECT)
        elif pkt.packet_type in (packet.ACK, packet.BINARY_ACK):
            socket.binary_parts = pkt.attachment_count
            await self._refuse(eio_sid, "no acknowledgement was requested")
        elif pkt.packet_type == packet.BINARY_EVENT:
            socket.binary_parts = pkt.attachment_count
            ack_id = pkt.id if pkt.namespace in (None, "/") else None
            await self._refuse(eio_sid, f"the event '{str(pkt.data[0])[:64]}' takes no binary data", ack_id)
        else:
            await self._handle_event(eio_sid, pkt.namespace, pkt.id, pkt.data)

    def _decode(self, data: str) -> packet.Packet | None:
        """Read a packet; None for one that is malformed, as the reference server's parser has it."""
        if not data[:1].isascii():  # int() accepts digits of every script
            return None
        try:
            pkt = self.packet_class(encoded_packet=data)
        except (ValueError, RecursionError):
            return None
        is_binary = pkt.packet_type in _BINARY_TYPES
        if is_binary is not (_ATTACHMENTS.match(data) is not None) or pkt.attachment_count > _MAX_ATTACHMENTS:
            return None
        match pkt.packet_type:
            case packet.CONNECT | packet.DISCONNECT:
                return pkt
            case packet.EVENT | packet.BINARY_EVENT:
                is_event = isinstance(pkt.data, list) and pkt.data and type(pkt.data[0]) in (str, int, float)
                return pkt if is_event else None
            case packet.ACK | packet.BINARY_ACK:
                return pkt if isinstance(pkt.data, list) and pkt.id is not None else None
        return None

    async def _close_malformed(self, socket: Socket) -> None:
        log.info("malformed_packet_disconnected socket_id=%s", socket.id or socket.sid)
        if socket.id is not None and self._is_connected(socket.sid):
            malformed = errors.BadPayload("a frame is not a Socket.IO packet; the connection is closed")
            self.send_refusal(socket.id, problems.socket_problem(malformed))
        await self.eio.disconnect(socket.sid)

    async def _refuse_excess(self, socket: Socket, data: str | bytes) -> None:
        """Refuse a message unread; disconnect a socket that keeps sending."""
        sid = socket.id
        if sid is None or not self._is_connected(socket.sid):
            await self.eio.disconnect(socket.sid)
            return
        if socket.rate.is_flood(self.limit):
            log.warning("event_flood_disconnected socket_id=%s", sid)
            await self.disconnect(sid)
            return
        problem = problems.socket_problem(errors.RateLimited())
        if socket.rate.may_report():
            self.send_refusal(sid, problem)
        if isinstance(data, str) and data[:1] in "56" and (announced := _ATTACHMENTS.match(data)):
            socket.binary_parts = min(int(announced[1][:2]), _MAX_ATTACHMENTS)
        event = _EVENT.match(data) if isinstance(data, str) else None
        if event is not None and event[1] is not None:
            socket.write(b"43%b[%b]" % (event[1].encode(), encode_json({"ok": False, "error": problem})))

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        if namespace not in (None, "/"):
            await self._refuse(eio_sid, "there is no namespace but the default one")
        elif not self._is_connected(eio_sid):
            await self._refuse(eio_sid, "an event comes after the handshake")
        elif not isinstance(data[0], str) or data[0] in (*self.reserved_events, "*"):
            # python-socketio would call the handler of that name
            await self._refuse(eio_sid, f"there is no event '{str(data[0])[:64]}'", id)
        else:
            await super()._handle_event(eio_sid, namespace, id, data)

    def _is_connected(self, eio_sid: str) -> bool:
        return self.directory.is_connected(self.directory.sid_from_eio_sid(eio_sid, "/"), "/")

    async def _refuse(self, eio_sid: str, message: str, ack_id: int | None = None) -> None:
        sid = self.directory.sid_from_eio_sid(eio_sid, "/")
        if sid is None or not self._is_connected(eio_sid):
            await self.eio.disconnect(eio_sid)
            return
        problem = problems.socket_problem(errors.BadPayload(message))
        self.send_refusal(sid, problem)
        if ack_id is not None:
            ack = self.packet_class(packet.ACK, id=ack_id, data=[{"ok": False, "error": problem}])
            await self._send_packet(eio_sid, ack)


class App(socketio.ASGIApp):  # type: ignore[misc]
    """python-socketio's app, which also puts the engine into uvicorn's state, and refuses polling."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope.setdefault("state", {})[ENGINE] = self.engineio_server.eio
        elif scope["type"] == "http" and f"{scope['path']}/".startswith(_PATH):
            body, headers = problems.problem_response(errors.RequestInvalid(_advice(scope["query_string"])))
            headers["Sec-WebSocket-Version"] = "13"  # RFC 6455, 4.4
            await Response(body, errors.RequestInvalid.status, headers)(scope, receive, send)
            return
        elif scope["type"] == "http":
            await self.other_asgi_app(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _advice(query: bytes) -> str:
    """Describe how to connect, for a request that is no WebSocket handshake."""
    parameters = parse_qs(query.decode("latin-1"))
    if parameters.get("EIO", ["4"]) != ["4"]:
        return "EIO=4 only: use a client of Socket.IO 3 or later (socket.io-client 3 or 4), transports: ['websocket']."
    if parameters.get("transport") != ["websocket"]:
        return "WebSocket only: connect with transports: ['websocket'], EIO=4."
    return (
        "This is not a WebSocket handshake: send GET by HTTP/1.1 with Upgrade: websocket, Connection: Upgrade, "
        "Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key; a proxy in between has to forward them."
    )
