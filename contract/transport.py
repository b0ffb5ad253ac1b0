"""Engine.IO's server over `websocket.Connection`: sessions without a queue or a task of their own.

Engine.IO has two tasks and a queue for each session. A `Socket` answers what it can at once (`fast_lane.py`), handles
the rest in a task that ends with its work, and writes to its connection. One sweep a second pings
sessions and closes those that do not answer, connect or complete a message in time.

Private parts of python-engineio, held to their source by `tests/contract/test_seams.py`:

- `AsyncServer._handle_connect` is overridden: a session begins on a connection instead of an ASGI loop.
- `AsyncServer._trigger_event` runs the handlers that python-socketio sets.
- `AsyncServer.sockets` holds `Socket`, which has what the server and python-socketio use of `AsyncSocket`: `sid`,
  `closed`, `send(packet)` and `close(wait, abort, reason)`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import engineio  # type: ignore[import-untyped]
import orjson

from contract.event_rate import EventLimit, EventRate
from contract.frames import GOODBYES, INVALID_TEXT, POLICY_VIOLATION, text_frame
from contract.websocket import FRAMES_PER_TURN, MAX_FRAME_BYTES, SCOPE_EXTENSION, Connection

if TYPE_CHECKING:
    from websockets.protocol import Protocol

    from realtime.connection import SocketConnection

log = logging.getLogger("parlance.events")

#: Minimum bytes that a waiting frame counts: 64 small ones pause reading as one of 64 KB does.
_MIN_WAITING_BYTES = MAX_FRAME_BYTES // FRAMES_PER_TURN
#: Seconds between two pings, and timeout of the answer: a client misses the first after both, well within the grace.
PING_INTERVAL_SECONDS, PING_TIMEOUT_SECONDS = 5, 5

#: The name under which a request finds the engine in uvicorn's state.
ENGINE = "parlance.engine"
#: Valid text frames of a client: an Engine.IO close, a pong or a message.
_READABLE = re.compile(r"1|3|4.*", re.DOTALL)
_CLOSE, _PING, _PONG = b"1", b"2", b"3"
#: Marks the end of the connection in an inbox.
_LOST = object()


class Socket:
    """Engine.IO session of one client. Output is written at once; input is handled in order."""

    __slots__ = (
        "_frame_rate",
        "_inbox",
        "_is_lost",
        "_reason",
        "_settled",
        "_unanswered",
        "_unsettled",
        "binary_parts",
        "closed",
        "closing",
        "connection",
        "engine",
        "event_connection",
        "id",
        "is_pinged",
        "rate",
        "sid",
    )

    def __init__(self, engine: Engine, sid: str, connection: Connection) -> None:
        self.engine = engine
        #: Its id in Engine.IO, and the one in Socket.IO from the start of that handshake on.
        self.sid = sid
        self.id: str | None = None
        #: Set from the Socket.IO handshake until the socket is disconnected.
        self.event_connection: SocketConnection | None = None
        self.connection = connection
        self.rate, self._frame_rate = EventRate(), EventRate()
        self.is_pinged = self.closing = self.closed = False
        #: Binary frames that the client has announced and that are still to come; none is read.
        self.binary_parts = 0
        self._inbox: deque[Any] | None = None
        self._unanswered = 0
        #: Events that were handled at once and are acknowledged later; ends when there is none.
        self._unsettled = 0
        self._settled: asyncio.Future[None] | None = None
        self._is_lost = False
        self._reason: str = engine.reason.TRANSPORT_CLOSE

    def receive(self, frame: bytes) -> None:
        """Handle a text frame of the client, at once where that keeps the order."""
        if self._inbox is None and self.engine.lane is not None and self.engine.lane(self, frame):
            return
        self.receive_in_order(frame)

    def receive_in_order(self, frame: bytes) -> None:
        """Handle a text frame of the client after all earlier ones."""
        if not self.spend_frame():
            return
        if frame == _PONG:
            self.is_pinged = False
            return
        try:
            self.queue(frame.decode())
        except UnicodeDecodeError:
            self.connection.fail(INVALID_TEXT)

    def spend_frame(self) -> bool:
        """Count a frame that is not counted as an event at once; close the connection where there were too many."""
        if self._frame_rate.spend(self.engine.frame_limit):
            return True
        log.warning("frame_flood_disconnected socket_id=%s", self.id or self.sid)
        self.connection.fail(POLICY_VIOLATION, "too many frames")
        return False

    def queue(self, frame: Any) -> None:
        """Put a frame into the inbox, and start a task for it where none runs."""
        if self._inbox is None:
            self._inbox = deque((frame,))
            task = self.connection.loop.create_task(self._work())
            self.connection.tasks.add(task)  # a stopping server waits for it
            task.add_done_callback(self.connection.tasks.discard)
        else:
            self._inbox.append(frame)
        if frame is _LOST:
            self._is_lost = True
            if self._settled is not None and not self._settled.done():
                self._settled.set_result(None)
        else:
            self._unanswered += max(len(frame), _MIN_WAITING_BYTES)
            if self._unanswered > MAX_FRAME_BYTES:
                self.connection.pause_reading()

    def defer_ack(self) -> None:
        """Note an event that is acknowledged later; what the lane leaves waits for it."""
        self._unsettled += 1

    def settle_ack(self) -> None:
        """Note that an event is acknowledged whose ack was deferred."""
        self._unsettled -= 1
        if not self._unsettled and self._settled is not None:
            if not self._settled.done():
                self._settled.set_result(None)
            self._settled = None

    async def _work(self) -> None:
        """Answer what is in the inbox, one frame after another."""
        inbox = self._inbox
        while inbox:
            frame = inbox.popleft()
            if frame is _LOST:
                await self.close(abort=True, reason=self._reason)
            else:
                self._unanswered -= max(len(frame), _MIN_WAITING_BYTES)
                # The end of a lost connection is what refuses its signals: it must not wait for their acks.
                if self._unsettled and not self._is_lost:
                    self._settled = self.connection.loop.create_future()
                    await self._settled
                if not self.closed:
                    await self._answer(frame)
            if self._unanswered <= MAX_FRAME_BYTES:
                self.connection.resume_reading()
        self._inbox = None

    async def _answer(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            await self.engine.emit_message(self.sid, frame)
        elif not _READABLE.fullmatch(frame):
            await self.close(abort=True, reason=self.engine.reason.TRANSPORT_CLOSE)
        elif frame[0] == "4":
            await self.engine.emit_message(self.sid, frame[1:])
        elif frame[0] == "1":
            await self.close(abort=True, reason=self.engine.reason.CLIENT_DISCONNECT)

    def write(self, packet: bytes) -> None:
        """Send an encoded Engine.IO packet."""
        self.connection.write(text_frame(packet))

    def end_session(self, parser: Protocol | None) -> None:
        """End the session of a lost connection, after its earlier frames; `parser` has the client's close frame."""
        closed = parser.close_rcvd if parser is not None and parser.close_rcvd_then_sent else None
        # Without a code it may be a client that has given up a silent connection.
        if closed is not None and closed.code in GOODBYES:
            self._reason = self.engine.reason.CLIENT_DISCONNECT
        self.queue(_LOST)

    async def send(self, pkt: Any) -> None:
        """Send a packet; the name and the form are Engine.IO's."""
        self.write(pkt.encode().encode())

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the session, once, and call the handlers of `disconnect`; the form is Engine.IO's."""
        if self.closing:
            return
        self.closing = True
        await self.engine.emit_disconnect(self.sid, reason or self.engine.reason.SERVER_DISCONNECT)
        self.closed = True
        self.engine.forget(self)
        if not abort:
            self.write(_CLOSE)
        self.connection.end()

    def ping(self) -> None:
        self.is_pinged = True
        self.write(_PING)

    def drop(self, reason: str) -> None:
        """Abort the connection; the session ends after the frame that is being answered."""
        self._reason = reason
        self.connection.abort()


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """Engine.IO's server, with one sweep a second instead of a task for each socket."""

    #: Answers a frame at once and returns True, or returns False for one that it leaves.
    lane: Callable[[Socket, bytes], bool] | None = None
    #: Called with the id of each session that begins.
    opened: Callable[[str], None]
    #: Timeout of the Socket.IO handshake in seconds.
    handshake_seconds: float = 10
    #: Timeout of an incomplete message in seconds.
    message_seconds: float = 30
    #: Limit of frames of every kind.
    frame_limit: EventLimit

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options, monitor_clients=False, ping_interval=PING_INTERVAL_SECONDS, ping_timeout=PING_TIMEOUT_SECONDS
        )
        self.sockets: dict[str, Socket] = {}
        self._opening = orjson.dumps(
            {
                "upgrades": [],
                "pingTimeout": PING_TIMEOUT_SECONDS * 1000,
                "pingInterval": PING_INTERVAL_SECONDS * 1000,
                "maxPayload": self.max_http_buffer_size,
            }
        )
        #: The sockets to ping in each second of the interval, spread evenly over it.
        self._ping_slots: list[set[Socket]] = [set() for _ in range(PING_INTERVAL_SECONDS)]
        self._slot_of: dict[Socket, set[Socket]] = {}
        self._second = 0
        self._connecting: dict[Socket, float] = {}
        #: Connections in the middle of a message, each with the time at which it must be complete.
        self._unfinished: dict[Connection, float] = {}
        self._unflushed: list[Connection] = []
        self._sweeping: asyncio.TimerHandle | None = None

    async def _handle_connect(self, environ: dict[str, Any], transport: str, jsonp_index: int | None = None) -> Any:
        connection = environ["asgi.scope"]["extensions"].get(SCOPE_EXTENSION)
        if connection is None:
            raise RuntimeError("uvicorn should be run with ws=contract.websocket.Connection")
        connection.accept()
        self.open(connection)

    def open(self, connection: Connection) -> None:
        """Begin a session on a connection whose WebSocket handshake is done."""
        socket = Socket(self, self.generate_id(), connection)
        self.sockets[socket.sid] = socket
        slot = self._ping_slots[len(self._slot_of) % PING_INTERVAL_SECONDS]
        slot.add(socket)
        self._slot_of[socket] = slot
        self.expect_handshake(socket)
        self.opened(socket.sid)
        connection.adopt(socket)
        socket.write(b'0{"sid":"%b",%b' % (socket.sid.encode(), self._opening[1:]))
        if self._sweeping is None:
            self._sweep()

    async def emit_message(self, sid: str, message: str | bytes) -> None:
        await self._trigger_event("message", sid, message, run_async=False)

    async def emit_disconnect(self, sid: str, reason: str) -> None:
        await self._trigger_event("disconnect", sid, reason, run_async=False)

    def forget(self, socket: Socket) -> None:
        self.sockets.pop(socket.sid, None)
        self._connecting.pop(socket, None)
        self.stop_message_timer(socket.connection)
        self._slot_of.pop(socket, set()).discard(socket)

    def flush_soon(self, connection: Connection) -> None:
        """Flush it at the end of this turn of the loop."""
        if not self._unflushed:
            connection.loop.call_soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

    def expect_handshake(self, socket: Socket) -> None:
        """Close the socket unless it completes the Socket.IO handshake in time."""
        self._connecting[socket] = asyncio.get_running_loop().time() + self.handshake_seconds

    def handshake_done(self, socket: Socket) -> None:
        self._connecting.pop(socket, None)

    def start_message_timer(self, connection: Connection, *, is_new: bool) -> None:
        """Close the connection unless the message that it has begun is complete in time."""
        if is_new or not connection.is_unfinished:
            self.stop_message_timer(connection)
            connection.is_unfinished = True
            self._unfinished[connection] = connection.loop.time() + self.message_seconds

    def stop_message_timer(self, connection: Connection) -> None:
        connection.is_unfinished = False
        self._unfinished.pop(connection, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(1, self._sweep)
        self._second = (self._second + 1) % PING_INTERVAL_SECONDS
        for socket in tuple(self._ping_slots[self._second - PING_TIMEOUT_SECONDS]):
            if socket.is_pinged:
                socket.drop(self.reason.PING_TIMEOUT)
        for socket in self._ping_slots[self._second]:
            socket.ping()
        now = loop.time()
        while self._unfinished:
            connection, deadline = next(iter(self._unfinished.items()))
            if deadline > now:
                break
            self.stop_message_timer(connection)
            connection.fail(POLICY_VIOLATION, "a message was not completed in time")
        while self._connecting:
            socket, deadline = next(iter(self._connecting.items()))
            if deadline > now:
                break
            del self._connecting[socket]
            socket.write(_CLOSE)
            socket.connection.end()
