"""Owns python-socketio as it is used here: one namespace, a limit on events, and an answer to every odd frame."""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from urllib.parse import parse_qs

import orjson
import socketio
from socketio import packet
from starlette.responses import Response

import errors
from contract import problems
from contract.event_rate import EventLimit
from contract.transport import ENGINE, Engine, Socket

log = logging.getLogger("parlance.events")

#: Binary parts that are awaited before the event that announced them is refused; no event takes any.
_MAX_ATTACHMENTS = 8
#: What is known of the request that a session began with.
_NO_ENVIRON: dict[str, Any] = {}
#: Where the engine listens, with or without a slash at the end.
_PATH = "/socket.io/"
#: An event of the default namespace, without its Engine.IO type; the group is the id of the ack it asks for.
_EVENT = re.compile(r"2(0|[1-9][0-9]{0,15})?\[")


def encoded(value: Any) -> bytes:
    """Encode as JSON, also what orjson refuses: half of a surrogate pair, in a name that is told back to its sender."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


class Directory(socketio.AsyncManager):  # type: ignore[misc]
    """Which Socket.IO id is which socket. python-socketio's own keeps a room for each, and searches all at each end."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: dict[str, Socket] = {}
        #: Ids in the middle of a handshake or a farewell.
        self._in_between: set[str] = set()

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        socket = self._engine_socket(eio_sid)
        if socket is None or socket.id is not None:
            return None
        socket.id = sid = str(self.server.eio.generate_id())
        self.sockets[sid] = socket
        self._in_between.add(sid)
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        self._in_between.discard(sid)
        return sid

    def pre_disconnect(self, sid: str, namespace: str) -> str:
        self._in_between.add(sid)
        return self.sockets[sid].sid

    async def disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        self._in_between.discard(sid)
        socket = self.sockets.pop(sid, None)
        if socket is not None:
            socket.id = socket.caller = None

    def is_connected(self, sid: str | None, namespace: str) -> bool:
        return sid in self.sockets and sid not in self._in_between

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
    """python-socketio, with an answer where it would be silent or trip: odd frames, reserved names, unasked acks."""

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
        """Write an event to a socket of this worker; nothing where it has gone away."""
        socket = self.directory.sockets.get(sid)
        if socket is not None:
            socket.write(b'42["%b",%b]' % (name.encode(), encoded(payload)))

    def awaits_binary(self, socket: Socket) -> bool:
        """Whether an event of this socket still lacks binary parts that it announced."""
        return socket.sid in self._binary_packet

    def send_refusal(self, sid: str, problem: dict[str, Any]) -> None:
        self.send_event(sid, "error", problem)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Say goodbye, so that the client does not come back by itself, and hang up."""
        socket = self.directory.sockets.get(sid)
        await super().disconnect(sid, namespace, ignore_queue)
        if socket is not None:
            await socket.close()

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        await super()._handle_connect(eio_sid, namespace, data)
        if self._is_connected(eio_sid):
            self.eio.welcome(self.eio.sockets[eio_sid])

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not socket.closing:
            self.eio.expect_handshake(socket)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        socket = self.eio.sockets.get(eio_sid)
        if socket is None:
            return
        if not socket.rate.spend(self.limit):
            await self._refuse_excess(socket, data)
            return
        if eio_sid in self._binary_packet and not isinstance(data, bytes):
            await self._refuse_binary(eio_sid, "that event lacks a binary part")
        try:
            await super()._handle_eio_message(eio_sid, data)
            awaiting = self._binary_packet.get(eio_sid)
            if awaiting is not None and not 0 < awaiting.attachment_count <= _MAX_ATTACHMENTS:
                await self._refuse_binary(eio_sid, "an event takes no binary parts")
        except Exception as error:
            log.info("a frame that is no Socket.IO packet: %s", type(error).__name__)
            await self._refuse_binary(eio_sid, "that frame is not a Socket.IO packet")

    async def _refuse_excess(self, socket: Socket, data: str | bytes) -> None:
        """Refuse a message unread; one who does not stop sending is cut off."""
        sid = socket.id
        if sid is None or not self._is_connected(socket.sid):
            await self.eio.disconnect(socket.sid)
            return
        if socket.rate.is_flood(self.limit):
            log.warning("a socket that keeps sending more than it may is cut off")
            await self.disconnect(sid)
            return
        problem = problems.socket_problem(errors.RateLimited())
        if socket.rate.may_be_told():
            self.send_refusal(sid, problem)
        event = _EVENT.match(data) if isinstance(data, str) else None
        if event is not None and event[1] is not None:
            socket.write(b"43%b[%b]" % (event[1].encode(), encoded({"ok": False, "error": problem})))

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        if namespace not in (None, "/"):
            await self._refuse(eio_sid, "there is no namespace but the default one")
        elif not self._is_connected(eio_sid):
            await self._refuse(eio_sid, "an event comes after the handshake")
        elif not (isinstance(data, list) and data and isinstance(data[0], str)):
            await self._refuse(eio_sid, "an event is a name and a payload", id)
        elif data[0] in (*self.reserved_events, "*"):  # python-socketio would call the handler of that name
            await self._refuse(eio_sid, f"there is no event '{data[0]}'", id)
        else:
            await super()._handle_event(eio_sid, namespace, id, data)

    async def _handle_ack(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:  # noqa: A002
        await self._refuse(eio_sid, "nobody asked for an acknowledgement")

    def _is_connected(self, eio_sid: str) -> bool:
        return self.directory.is_connected(self.directory.sid_from_eio_sid(eio_sid, "/"), "/")

    async def _refuse_binary(self, eio_sid: str, message: str) -> None:
        """Refuse a frame, and the event that was waiting for its binary parts, if one was."""
        waited = self._binary_packet.pop(eio_sid, None)
        await self._refuse(
            eio_sid, message, waited.id if waited is not None and waited.packet_type == packet.BINARY_EVENT else None
        )

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
    """python-socketio's app, which also lets uvicorn's HTTP know the engine, and says what to do instead of polling."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope.setdefault("state", {})[ENGINE] = self.engineio_server.eio
        elif scope["type"] == "http" and f"{scope['path']}/".startswith(_PATH):
            body, headers = problems.problem_response(errors.RequestInvalid(_advice(scope["query_string"])))
            headers["Sec-WebSocket-Version"] = "13"  # RFC 6455, 4.4
            await Response(body, errors.RequestInvalid.status, headers)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _advice(query: bytes) -> str:
    """Say what a client that came without a WebSocket handshake has to do."""
    asked = parse_qs(query.decode("latin-1"))
    if asked.get("EIO", ["4"]) != ["4"]:
        return "EIO=4 only: use a client of Socket.IO 3 or later (socket.io-client 3 or 4), transports: ['websocket']."
    if asked.get("transport") != ["websocket"]:
        return "WebSocket only: connect with transports: ['websocket'], EIO=4."
    return (
        "This is no WebSocket handshake: send GET by HTTP/1.1 with Upgrade: websocket, Connection: Upgrade, "
        "Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key; a proxy in between has to forward them."
    )
