"""Owns how bytes reach an Engine.IO session and leave it: a WebSocket without a queue or a task of its own.

uvicorn's WebSocket class reads the request a second time and runs an ASGI call for as long as a connection lasts, and
Engine.IO adds two tasks and a queue. Here a plain request becomes a session at once (`http_server.py`), any other with
an ASGI call that ends with the handshake. A `Connection` hands frames to its `Socket`, which answers what it can at
once (`fast_lane.py`), works on the rest in a task that lives no longer than there is work, and writes to the transport.
"""

from __future__ import annotations

import asyncio
import logging
import re
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import engineio  # type: ignore[import-untyped]
import orjson
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import SERVER, Protocol

from contract.event_rate import EventRate

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without compiled wheels
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from realtime.caller import Caller

log = logging.getLogger("parlance.events")
#: Takes what the WebSocket library has to say: two lines for each connection and, at debug, every frame with its token.
#: No logger that settings reach, so that none of them opens it.
_quiet = logging.Logger("websockets")
_quiet.disabled = True

#: What one WebSocket frame may hold, in bytes.
MAX_FRAME_BYTES = 64 * 1024
#: What a client may leave unread, in bytes, before it is cut off.
MAX_UNSENT_BYTES = 1024 * 1024
#: Seconds between two pings, and how long the answer may take.
PING_INTERVAL, PING_TIMEOUT = 20, 15

#: The names under which a connection finds itself in its ASGI scope, and a request the engine in uvicorn's state.
_EXTENSION, ENGINE = "parlance.connection", "parlance.engine"
#: What a client may send as text: an Engine.IO close, a pong, or a message that is a Socket.IO packet.
_READABLE = re.compile(r"1|3|4[0-9].*", re.DOTALL)
_CLOSE, _PING, _PONG = b"1", b"2", b"3"
#: The first byte of a text message in one frame, and the bytes of an empty frame of a client (RFC 6455, 5.2).
_WHOLE_TEXT, _SHORTEST = 0x81, 6
#: Stands in an inbox for the end of the connection.
_LOST = object()
_INVALID_TEXT, _GOING_AWAY = 1007, 1012  # RFC 6455, 7.4.1


class Connection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket; from the handshake on its frames go to a `Socket`, and the ASGI call is over."""

    socket: Socket | None = None
    is_open = False
    _parser: Protocol | None = None
    is_congested = False
    #: Whether frames are told apart here, and the beginning of one that has not come whole.
    _delimits = True
    _rest = b""
    _unsent: list[bytes] | None = None
    close_timeout = 3.0
    # What uvicorn's would set.
    disconnected = close_sent = read_paused = False
    close_timer = ping_timer = pong_timer = pending_ping_payload = None

    @classmethod
    def upgraded(cls, request: HttpToolsProtocol) -> Connection:
        """Take a connection over from a request whose handshake is done."""
        self = cls.__new__(cls)
        self.loop, self.transport, self.logger = request.loop, request.transport, request.logger
        self.connections, self.tasks = request.connections, request.tasks
        self.handshake_initiated = self.handshake_complete = True
        self.frames, self.curr_msg_data_type = [], "bytes"
        return self

    @property
    def conn(self) -> Any:
        """The library's parser; a connection that only ever hears plain text has none."""
        if self._parser is None:
            self._parser = Protocol(SERVER, max_size=MAX_FRAME_BYTES, logger=_quiet)
        return self._parser

    @conn.setter
    def conn(self, parser: Any) -> None:
        self._parser = parser

    def handle_connect(self, event: Any) -> None:
        self.conn.logger = _quiet
        super().handle_connect(event)
        self.close_timeout = 3.0
        if not self.close_sent:
            self.scope["extensions"][_EXTENSION] = self  # type: ignore[assignment]

    async def run_asgi(self) -> None:
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            if not self.handshake_complete:
                self.logger.error("ASGI callable returned without completing handshake.")
                self.send_500_response()
        if self.socket is None:
            if self.close_timer is None:
                self.transport.close()
        else:
            del self.scope, self.request, self.response

    def accept(self) -> None:
        """Complete the WebSocket's handshake; what ASGI's `websocket.accept` does, without its line of log."""
        if self.disconnected or self.transport.is_closing():
            return
        del self.response.headers["Date"]
        self.response.headers.update([(name.decode(), value.decode()) for name, value in self.default_headers])
        self.handshake_complete = True
        self.conn.send_response(self.response)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def adopt(self, socket: Socket) -> None:
        """Give every frame to `socket` from now on, those that came early first."""
        self.socket, self.is_open = socket, not self.disconnected
        if "queue" not in self.__dict__:
            return
        early = self.queue
        del self.queue, self.writable
        while not early.empty():
            message: Any = early.get_nowait()
            if message["type"] == "websocket.receive":
                socket.queue(message.get("bytes") or message["text"])
            else:
                self._lose()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take plain text frames off by hand, which costs half of what a parser of every frame does; leave it the rest.

        It is given whole frames, so that it is always between two.
        """
        if self.socket is None:
            self._delimits = not self.handshake_initiated  # else it may be in the middle of one
            super().data_received(data)
            return
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while self._delimits and end - at >= _SHORTEST:
            size = data[at + 1] ^ 0x80
            content = at + 6
            if size == 126:
                size = data[at + 2] << 8 | data[at + 3]
                content = at + 8
            elif size > 126:  # longer than any, or not masked: the parser knows what to say
                self._delimits = False
                break
            stop = content + size
            if stop > end:
                break
            if data[at] == _WHOLE_TEXT and not self.frames and self.is_open:
                self.socket.hear(apply_mask(data[content:stop], data[content - 4 : content]))
            else:
                super().data_received(data[at:stop])
            at = stop
        self._rest = data[at:]
        if not self._delimits:
            rest, self._rest = self._rest, b""
            super().data_received(rest)

    def handle_text(self, event: Any) -> None:
        if self.socket is None or not event.fin:
            super().handle_text(event)
        elif self.is_open:
            self.socket.hear(bytes(event.data))

    def send_receive_event_to_app(self) -> None:
        if self.socket is None:
            super().send_receive_event_to_app()
            return
        frame, self.frames = b"".join(self.frames), []
        if not self.is_open:
            return
        if self.curr_msg_data_type == "text":
            self.socket.hear_in_order(frame)
        else:
            self.socket.queue(frame)

    def pause_reading(self) -> None:
        if not self.read_paused and self.is_open:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.is_congested = True

    def resume_writing(self) -> None:
        self.is_congested = False

    def write(self, frame: bytes) -> None:
        """Write a frame that `text_frame` made; what is written in one turn of the loop is one call of the system."""
        if self._unsent is not None:
            self._unsent.append(frame)
        elif self.is_open and self.socket is not None:
            self._unsent = [frame]
            self.socket.engine.flush_soon(self)

    def flush(self) -> None:
        """Hand on what was written; cut off a client that leaves too much unread."""
        unsent, self._unsent = self._unsent, None
        if unsent is None or not self.is_open or self.transport.is_closing():
            return
        self.transport.write(b"".join(unsent) if len(unsent) > 1 else unsent[0])
        if self.is_congested and self.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            log.info("a client that does not read is cut off")
            self.is_open = False
            self.transport.abort()

    def end(self, code: int = 1000) -> None:
        """Close from our side; a client that does not answer in time is cut off."""
        self.resume_reading()
        self.flush()
        if not self.is_open or self.transport.is_closing():
            return
        self.is_open = False
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def abort(self) -> None:
        self.is_open = False
        self.transport.abort()

    def handle_close(self, event: Any) -> None:
        if self.socket is None or self.close_sent:
            super().handle_close(event)
        else:
            self._answer_and_close()

    def handle_parser_exception(self) -> None:
        if self.socket is None:
            super().handle_parser_exception()
        elif not self.transport.is_closing():
            self._answer_and_close()

    def _answer_and_close(self) -> None:
        self.flush()
        self.is_open = False
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def shutdown(self) -> None:
        if self.socket is None:
            super().shutdown()
        else:
            self.end(_GOING_AWAY)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.socket is None:
            super().connection_lost(exc)
            return
        self.connections.discard(self)
        self.disconnected = True
        if self.close_timer is not None:
            self.close_timer.cancel()
        self._lose()

    def _lose(self) -> None:
        self.is_open = False
        assert self.socket is not None
        self.socket.queue(_LOST)


def text_frame(payload: bytes) -> bytes:
    """Frame a text message of the server: whole, and unmasked (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Socket:
    """One client's Engine.IO session. What it is sent is written at once; what it sends is answered in order."""

    __slots__ = (
        "_inbox",
        "_reason",
        "_unanswered",
        "caller",
        "closed",
        "closing",
        "connection",
        "engine",
        "id",
        "is_pinged",
        "rate",
        "sid",
    )

    def __init__(self, engine: Engine, sid: str, connection: Connection) -> None:
        self.engine = engine
        #: Its name in Engine.IO, and the one in Socket.IO while it is through, or in, that handshake.
        self.sid = sid
        self.id: str | None = None
        #: Who is at the other end, from the Socket.IO handshake until the socket goes away.
        self.caller: Caller | None = None
        self.connection = connection
        self.rate = EventRate()
        self.is_pinged = self.closing = self.closed = False
        self._inbox: deque[Any] | None = None
        self._unanswered = 0
        self._reason: str = engine.reason.TRANSPORT_CLOSE

    def hear(self, frame: bytes) -> None:
        """Take a text frame of the client, at once where that keeps the order."""
        if self._inbox is None and self.engine.lane is not None and self.engine.lane(self, frame):
            return
        self.hear_in_order(frame)

    def hear_in_order(self, frame: bytes) -> None:
        """Take a text frame of the client behind all earlier ones."""
        if frame == _PONG:
            self.is_pinged = False
            return
        try:
            self.queue(frame.decode())
        except UnicodeDecodeError:
            self.connection.end(_INVALID_TEXT)
            self.connection.transport.close()

    def queue(self, frame: Any) -> None:
        """Put a frame into the inbox, and see that somebody works on it."""
        if self._inbox is None:
            self._inbox = deque((frame,))
            task = self.connection.loop.create_task(self._work())
            self.connection.tasks.add(task)  # a server that stops waits for it
            task.add_done_callback(self.connection.tasks.discard)
        else:
            self._inbox.append(frame)
        if frame is not _LOST:
            self._unanswered += len(frame)
            if self._unanswered > MAX_FRAME_BYTES:
                self.connection.pause_reading()

    async def _work(self) -> None:
        """Answer what is in the inbox, one frame after another."""
        inbox = self._inbox
        while inbox:
            frame = inbox.popleft()
            if frame is _LOST:
                await self.close(abort=True, reason=self._reason)
            else:
                self._unanswered -= len(frame)
                if not self.closed:
                    await self._answer(frame)
            if self._unanswered <= MAX_FRAME_BYTES:
                self.connection.resume_reading()
        self._inbox = None

    async def _answer(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            await self.engine.hear(self.sid, frame)
        elif not _READABLE.fullmatch(frame):
            await self.close(abort=True, reason=self.engine.reason.TRANSPORT_CLOSE)
        elif frame[0] == "4":
            await self.engine.hear(self.sid, frame[1:])
        elif frame[0] == "1":
            await self.close(abort=True, reason=self.engine.reason.CLIENT_DISCONNECT)

    def write(self, packet: bytes) -> None:
        """Send an encoded Engine.IO packet."""
        self.connection.write(text_frame(packet))

    async def send(self, pkt: Any) -> None:
        """Send a packet; the name and the form are Engine.IO's."""
        self.write(pkt.encode().encode())

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the session, once, telling whoever handles `disconnect`; the form is Engine.IO's."""
        if self.closing:
            return
        self.closing = True
        await self.engine.tell_disconnected(self.sid, reason or self.engine.reason.SERVER_DISCONNECT)
        self.closed = True
        self.engine.forget(self)
        if not abort:
            self.write(_CLOSE)
        self.connection.end()

    def ping(self) -> None:
        self.is_pinged = True
        self.write(_PING)

    def drop(self, reason: str) -> None:
        """Cut the connection; the session ends behind what is being answered."""
        self._reason = reason
        self.connection.abort()


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO's server over `Connection`, with one sweep a second in place of a task for each socket."""

    #: Takes a frame that can be answered at once, or says that it can't.
    lane: Callable[[Socket, bytes], bool] | None = None
    #: Is told the id of each session that begins.
    opened: Callable[[str], None]
    #: Seconds in which a socket has to be through the Socket.IO handshake.
    handshake_seconds: float = 10

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, monitor_clients=False, ping_interval=PING_INTERVAL, ping_timeout=PING_TIMEOUT)
        self.sockets: dict[str, Socket] = {}
        self._opening = orjson.dumps(
            {
                "upgrades": [],
                "pingTimeout": PING_TIMEOUT * 1000,
                "pingInterval": PING_INTERVAL * 1000,
                "maxPayload": self.max_http_buffer_size,
            }
        )
        #: Who is pinged in which second of the interval; spread evenly, so that no second has much to do.
        self._turns: list[set[Socket]] = [set() for _ in range(PING_INTERVAL)]
        self._turn_of: dict[Socket, set[Socket]] = {}
        self._second = 0
        self._strangers: dict[Socket, float] = {}
        self._unflushed: list[Connection] = []
        self._sweeping: asyncio.TimerHandle | None = None

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:
        connection = environ["asgi.scope"]["extensions"].get(_EXTENSION)
        if connection is None:
            raise RuntimeError("uvicorn should be run with ws=contract.transport.Connection")
        connection.accept()
        self.open(connection)

    def open(self, connection: Connection) -> None:
        """Begin a session on a connection whose WebSocket handshake is done."""
        socket = Socket(self, self.generate_id(), connection)
        self.sockets[socket.sid] = socket
        turn = self._turns[len(self._turn_of) % PING_INTERVAL]
        turn.add(socket)
        self._turn_of[socket] = turn
        self.expect_handshake(socket)
        self.opened(socket.sid)
        connection.adopt(socket)
        socket.write(b'0{"sid":"%b",%b' % (socket.sid.encode(), self._opening[1:]))
        if self._sweeping is None:
            self._sweep()

    async def hear(self, sid: str, message: str | bytes) -> None:
        await self._trigger_event("message", sid, message, run_async=False)

    async def tell_disconnected(self, sid: str, reason: str) -> None:
        await self._trigger_event("disconnect", sid, reason, run_async=False)

    def forget(self, socket: Socket) -> None:
        self.sockets.pop(socket.sid, None)
        self._strangers.pop(socket, None)
        self._turn_of.pop(socket, set()).discard(socket)

    def flush_soon(self, connection: Connection) -> None:
        """Flush it once all that this turn of the loop has to do is done."""
        if not self._unflushed:
            connection.loop.call_soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

    def expect_handshake(self, socket: Socket) -> None:
        """Close the socket unless it is, in time, through the Socket.IO handshake."""
        self._strangers[socket] = asyncio.get_running_loop().time() + self.handshake_seconds

    def welcome(self, socket: Socket) -> None:
        self._strangers.pop(socket, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(1, self._sweep)
        self._second = (self._second + 1) % PING_INTERVAL
        for socket in tuple(self._turns[self._second - PING_TIMEOUT]):
            if socket.is_pinged:
                socket.drop(self.reason.PING_TIMEOUT)
        for socket in self._turns[self._second]:
            socket.ping()
        now = loop.time()
        while self._strangers:
            socket, deadline = next(iter(self._strangers.items()))
            if deadline > now:
                break
            del self._strangers[socket]
            socket.write(_CLOSE)
            socket.connection.end()
