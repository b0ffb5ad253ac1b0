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

from contract.event_rate import EventLimit, EventRate

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without compiled wheels
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from realtime.connection import SocketConnection

log = logging.getLogger("parlance.events")
#: Takes what the WebSocket library has to say: two lines for each connection and, at debug, every frame with its token.
#: No logger that settings reach, so that none of them opens it.
_quiet = logging.Logger("websockets")
_quiet.disabled = True

#: What one WebSocket frame may hold, in bytes.
MAX_FRAME_BYTES = 64 * 1024
#: What a client may leave unread, in bytes, before it is cut off.
MAX_UNSENT_BYTES = 1024 * 1024
#: Frames of one connection that are handled in one turn of the loop, and those of one message.
FRAMES_PER_TURN, MAX_FRAGMENTS = 64, 128
#: What a frame that waits for its turn counts at least, in bytes: 64 small ones pause reading as one of 64 KB does.
_MIN_WAITING_BYTES = MAX_FRAME_BYTES // FRAMES_PER_TURN
#: Seconds in which a connection that is closing must have ended.
CLOSE_SECONDS = 3.0
#: Seconds between two pings, and how long the answer may take.
PING_INTERVAL, PING_TIMEOUT = 20, 15

#: The names under which a connection finds itself in its ASGI scope, and a request the engine in uvicorn's state.
_EXTENSION, ENGINE = "parlance.connection", "parlance.engine"
#: What a client may send as text: an Engine.IO close, a pong or a message.
_READABLE = re.compile(r"1|3|4.*", re.DOTALL)
_CLOSE, _PING, _PONG = b"1", b"2", b"3"
#: The first byte of a text message in one frame, the bytes of an empty frame of a client and the bit that says that it
#: is masked (RFC 6455, 5.2).
_WHOLE_TEXT, _SHORTEST, _MASKED = 0x81, 6, 0x80
#: Stands in an inbox for the end of the connection.
_LOST = object()
_INVALID_TEXT, _POLICY_VIOLATION, _GOING_AWAY = 1007, 1008, 1012  # RFC 6455, 7.4.1


class Connection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket; from the handshake on its frames go to a `Socket`, and the ASGI call is over."""

    socket: Socket | None = None
    is_open = False
    _parser: Protocol | None = None
    is_congested = False
    #: What has been received and not been handled: the beginning of a frame, or frames that wait for their turn.
    _rest = b""
    #: Whether frames wait for the next turn of the loop, and whether all that is received is discarded.
    _is_behind = _discards = False
    #: Whether a message has begun and is not complete.
    is_unfinished = False
    _unsent: list[bytes] | None = None
    close_timeout = CLOSE_SECONDS
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
        self.close_timeout = CLOSE_SECONDS
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
        if "queue" in self.__dict__:
            del self.queue, self.writable
        if self.disconnected:
            self._lose()
        elif self._rest:
            self._proceed_soon()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if self._discards:
            return
        if self.socket is None and not self.handshake_initiated:
            super().data_received(data)
        elif self.socket is None or self._is_behind or self.read_paused:
            self._rest = data
            self.transport.pause_reading()
        else:
            self._handle_frames(data)

    def _handle_frames(self, data: bytes) -> None:
        """Handle the whole frames at the start of `data`, a limited number in one turn of the loop; keep the rest.

        Plain text frames are taken off by hand, which costs half of what a parser of every frame does. The parser is
        given whole frames, so that it is always between two.
        """
        assert self.socket is not None
        at, end, message = 0, len(data), self.frames
        for _ in range(FRAMES_PER_TURN):
            if end - at < _SHORTEST or self.read_paused:
                break
            size = data[at + 1] ^ _MASKED
            content = at + 6
            if size == 126:
                size = data[at + 2] << 8 | data[at + 3]
                content = at + 8
            elif size > 126:
                if size > 127 or end - at < 10:
                    break
                size = int.from_bytes(data[at + 2 : at + 10], "big")
                content = at + 14
                if size > MAX_FRAME_BYTES:
                    self._parse(data[at:])  # which refuses it for its head
                    return
            stop = content + size
            if stop > end:
                break
            if data[at] == _WHOLE_TEXT and not self.frames and self.is_open:
                self.socket.hear(apply_mask(data[content:stop], data[content - 4 : content]))
            elif not self._parse(data[at:stop]):
                return
            at = stop
        else:
            if at < end:
                self._proceed_soon()
        if end - at > 1 and data[at + 1] < _MASKED:
            self._parse(data[at:])
            return
        if self._discards:
            return
        self._rest = data[at:]
        if self._rest or self.frames:
            self.socket.engine.await_rest(self, is_new=at > 0 and not (message and self.frames is message))
        elif self.is_unfinished:
            self.socket.engine.await_nothing(self)

    def _parse(self, frame: bytes) -> bool:
        """Have the parser read a frame, or refuse one for its head; return whether more is to be read."""
        assert self.socket is not None
        if self._discards or not self.socket.spend_frame():
            return False
        if len(self.frames) >= MAX_FRAGMENTS and frame[0] & 0x0F == 0:
            self.fail(_POLICY_VIOLATION, "too many fragments")
            return False
        super().data_received(frame)
        return not self._discards

    def _proceed_soon(self) -> None:
        """Read no more, and go on with what has been received, in the next turn of the loop."""
        if not self._is_behind:
            self._is_behind = True
            self.transport.pause_reading()
            self.loop.call_soon(self._proceed)

    def _proceed(self) -> None:
        self._is_behind = False
        if self._discards or self.read_paused or self.transport.is_closing():
            return
        data, self._rest = self._rest, b""
        self._handle_frames(data)
        if not (self._is_behind or self.read_paused or self.transport.is_closing()):
            self.transport.resume_reading()

    def handle_text(self, event: Any) -> None:
        if event.fin and self.is_open and self.socket is not None:
            self.socket.hear(bytes(event.data))
        else:
            super().handle_text(event)

    def handle_ping(self) -> None:
        self.write(b"".join(self.conn.data_to_send()))

    def send_receive_event_to_app(self) -> None:
        assert self.socket is not None
        message, self.frames = b"".join(self.frames), []
        if not self.is_open:
            return
        if self.curr_msg_data_type == "text":
            self.socket.hear_in_order(message)
        else:
            self.socket.queue(message)

    def pause_reading(self) -> None:
        if not self.read_paused and self.is_open:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self._proceed_soon()

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
            log.info("slow_consumer_disconnected")
            self.abort()

    def end(self, code: int = 1000) -> None:
        """Close from our side; a client that does not answer in time is cut off."""
        self.resume_reading()
        if not self.is_open or self.transport.is_closing():
            return
        self.conn.send_close(code)
        self._write_close()

    def fail(self, code: int, reason: str = "") -> None:
        """Close over what the client sent, and read no more of it (RFC 6455, 7.1.7)."""
        if self.is_open:
            self.conn.fail(code, reason)
            self.handle_parser_exception()
        else:
            self._discard()

    def abort(self) -> None:
        self.is_open, self._discards = False, True
        if not self.disconnected:  # asyncio's transport fails where it is gone
            self.transport.abort()

    def handle_close(self, event: Any) -> None:
        if not self.close_sent:
            self._write_close()
        self._discards = True
        self.transport.close()

    def handle_parser_exception(self) -> None:
        if self.socket is None:
            super().handle_parser_exception()
            return
        if self.transport.is_closing():
            return
        self._write_close()
        self._discard()
        self._lose()

    def _discard(self) -> None:
        """Read on without a look; left unread it would make the kernel reset the connection, and the reason be lost."""
        if self.transport.is_closing():
            return
        self._discards, self._rest = True, b""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()

    def _write_close(self) -> None:
        """Write the close frame of the parser behind all that was written, and bound the time that the rest takes."""
        self.write(b"".join(self.conn.data_to_send()))
        self.flush()
        self.is_open, self.close_sent = False, True
        if self.close_timer is None and not self.transport.is_closing():
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

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
        self.socket.engine.await_nothing(self)
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
        "_frame_rate",
        "_inbox",
        "_reason",
        "_unanswered",
        "binary_parts",
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
        self.caller: SocketConnection | None = None
        self.connection = connection
        self.rate, self._frame_rate = EventRate(), EventRate()
        self.is_pinged = self.closing = self.closed = False
        #: Binary frames that the client has announced and that are still to come; none is read.
        self.binary_parts = 0
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
        if not self.spend_frame():
            return
        if frame == _PONG:
            self.is_pinged = False
            return
        try:
            self.queue(frame.decode())
        except UnicodeDecodeError:
            self.connection.fail(_INVALID_TEXT)

    def spend_frame(self) -> bool:
        """Count a frame that is not counted as an event at once; close the connection where there were too many."""
        if self._frame_rate.spend(self.engine.frame_limit):
            return True
        log.warning("frame_flood_disconnected socket_id=%s", self.sid)
        self.connection.fail(_POLICY_VIOLATION, "too many frames")
        return False

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
            self._unanswered += max(len(frame), _MIN_WAITING_BYTES)
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
                self._unanswered -= max(len(frame), _MIN_WAITING_BYTES)
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
    #: Seconds in which a message that has begun has to be complete.
    message_seconds: float = 30
    #: What a socket may send in frames, whatever they hold.
    frame_limit: EventLimit

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
        #: Connections in the middle of a message, each with the time at which it must be complete.
        self._unfinished: dict[Connection, float] = {}
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
        self.await_nothing(socket.connection)
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

    def await_rest(self, connection: Connection, *, is_new: bool) -> None:
        """Close the connection unless the message that it has begun is complete in time."""
        if is_new or not connection.is_unfinished:
            self.await_nothing(connection)
            connection.is_unfinished = True
            self._unfinished[connection] = connection.loop.time() + self.message_seconds

    def await_nothing(self, connection: Connection) -> None:
        connection.is_unfinished = False
        self._unfinished.pop(connection, None)

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
        while self._unfinished:
            connection, deadline = next(iter(self._unfinished.items()))
            if deadline > now:
                break
            self.await_nothing(connection)
            connection.fail(_POLICY_VIOLATION, "a message was not completed in time")
        while self._strangers:
            socket, deadline = next(iter(self._strangers.items()))
            if deadline > now:
                break
            del self._strangers[socket]
            socket.write(_CLOSE)
            socket.connection.end()
