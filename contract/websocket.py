"""WebSocket connections: uvicorn's protocol class and the parser of the library `websockets`, as used here.

A plain request becomes a session at once (`http_server.py`), any other by an ASGI call that ends with the handshake. A
`Connection` then passes frames to the Engine.IO session on it (`transport.py`), and writes what that sends.

Private parts, held to their source by `tests/contract/test_seams.py`:

- `WebSocketsSansIOProtocol`: most of its methods are overridden, its attributes set without its constructor.
- `websockets.protocol.Protocol`: read and fed as uvicorn does it; `apply_mask` of the library's own frame reader.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import SERVER, Protocol

from contract.frames import GOING_AWAY, MASKED, MIN_FRAME_BYTES, POLICY_VIOLATION, WHOLE_TEXT

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without compiled wheels
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from contract.transport import Socket

log = logging.getLogger("parlance.events")
#: Drops the library's log lines, which contain frames with tokens; outside the tree of loggers, no setting enables it.
_quiet = logging.Logger("websockets")
_quiet.disabled = True

#: Maximum bytes of a WebSocket frame.
MAX_FRAME_BYTES = 64 * 1024
#: Unread bytes after which a slow client is disconnected.
MAX_UNSENT_BYTES = 1024 * 1024
#: Frames of one connection that are handled in one turn of the loop, and those of one message.
FRAMES_PER_TURN, MAX_FRAGMENTS = 64, 128
#: Timeout of a closing connection in seconds.
CLOSE_SECONDS = 3.0

#: The key of a connection in its ASGI scope.
SCOPE_EXTENSION = "parlance.connection"


class Connection(WebSocketsSansIOProtocol):
    """A WebSocket, whose frames go to a `Socket` after the handshake, when its ASGI call has ended."""

    socket: Socket | None = None
    is_open = is_congested = False
    _parser: Protocol | None = None
    #: Received and not handled: the beginning of a frame, or frames that wait for their turn.
    _rest = b""
    #: Whether frames wait for the next turn of the loop, and whether all that is received is discarded.
    _is_behind = _discards = False
    #: Whether a message has begun and is not complete.
    is_unfinished = False
    _unsent: list[bytes] | None = None
    close_timeout = CLOSE_SECONDS
    # Set by the constructor of uvicorn's class.
    disconnected = close_sent = read_paused = False
    close_timer = ping_timer = pong_timer = pending_ping_payload = None

    @classmethod
    def upgraded(cls, request: HttpToolsProtocol) -> Connection:
        """Continue on the connection of a request whose handshake is done."""
        self = cls.__new__(cls)
        self.loop, self.transport, self.logger = request.loop, request.transport, request.logger
        self.connections, self.tasks = request.connections, request.tasks
        self.handshake_initiated = self.handshake_complete = True
        self.frames, self.curr_msg_data_type = [], "bytes"
        return self

    @property
    def conn(self) -> Any:
        """The library's parser; a connection that only ever receives plain text has none."""
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
            self.scope["extensions"][SCOPE_EXTENSION] = self  # type: ignore[assignment]

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
        """Pass every frame to `socket` from now on, those that came early first."""
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

        Plain text frames are parsed here, at half the cost. The parser gets whole frames, so it is always between two.
        """
        assert self.socket is not None
        at, end, message = 0, len(data), self.frames
        for _ in range(FRAMES_PER_TURN):
            if end - at < MIN_FRAME_BYTES or self.read_paused:
                break
            size = data[at + 1] ^ MASKED
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
            if data[at] == WHOLE_TEXT and not self.frames and self.is_open:
                self.socket.receive(apply_mask(data[content:stop], data[content - 4 : content]))
            elif not self._parse(data[at:stop]):
                return
            at = stop
        else:
            if at < end:
                self._proceed_soon()
        if end - at > 1 and data[at + 1] < MASKED:
            self._parse(data[at:])
            return
        if self._discards:
            return
        self._rest = data[at:]
        if self._rest or self.frames:
            self.socket.engine.start_message_timer(self, is_new=at > 0 and not (message and self.frames is message))
        elif self.is_unfinished:
            self.socket.engine.stop_message_timer(self)

    def _parse(self, frame: bytes) -> bool:
        """Pass a frame, or the head of one to refuse, to the parser; return whether more is to be read."""
        assert self.socket is not None
        if self._discards or not self.socket.spend_frame():
            return False
        if len(self.frames) >= MAX_FRAGMENTS and frame[0] & 0x0F == 0:
            self.fail(POLICY_VIOLATION, "too many fragments")
            return False
        super().data_received(frame)
        return not self._discards

    def _proceed_soon(self) -> None:
        """Pause reading, and handle received data in the next turn of the loop."""
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
            self.socket.receive(bytes(event.data))
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
            self.socket.receive_in_order(message)
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

    @property
    def is_writable(self) -> bool:
        """Whether what is written now is sent, as far as is known."""
        return self.is_open and not self.transport.is_closing()

    def pause_writing(self) -> None:
        self.is_congested = True

    def resume_writing(self) -> None:
        self.is_congested = False

    def write(self, frame: bytes) -> None:
        """Write a frame that `text_frame` made; the writes of one turn of the loop are one system call."""
        if self._unsent is not None:
            self._unsent.append(frame)
        elif self.is_open and self.socket is not None:
            self._unsent = [frame]
            self.socket.engine.flush_soon(self)

    def flush(self) -> None:
        """Send written frames; disconnect a client with too many unread bytes."""
        unsent, self._unsent = self._unsent, None
        if unsent is None or not self.is_open or self.transport.is_closing():
            return
        self.transport.write(b"".join(unsent) if len(unsent) > 1 else unsent[0])
        if self.is_congested and self.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            assert self.socket is not None
            log.info("slow_consumer_disconnected socket_id=%s", self.socket.id or self.socket.sid)
            self.abort()

    def end(self, code: int = 1000) -> None:
        """Close from this side; abort if the client does not answer in time."""
        self.resume_reading()
        if not self.is_open or self.transport.is_closing():
            return
        self.conn.send_close(code)
        self._write_close()

    def fail(self, code: int, reason: str = "") -> None:
        """Close after invalid input, and stop reading (RFC 6455, 7.1.7)."""
        if self.is_open:
            self.conn.fail(code, reason)
            self.handle_parser_exception()
        else:
            self._discard()

    def abort(self) -> None:
        self.is_open, self._discards = False, True
        if not self.disconnected:  # asyncio's transport raises after its end
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
        """Read and drop the rest: unread, it would make the kernel reset the connection before the reason arrives."""
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
            self.end(GOING_AWAY)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.socket is None:
            super().connection_lost(exc)
            return
        self.connections.discard(self)
        self.disconnected = True
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.socket.engine.stop_message_timer(self)
        self._lose()

    def _lose(self) -> None:
        self.is_open = False
        assert self.socket is not None
        self.socket.end_session(self._parser)
