"""uvicorn's HTTP protocol, bounded in time and size, with shorter ways for sessions and for answers of JSON.

uvicorn reads the request for a WebSocket a second time and checks every header of an answer. Here a request for a plain
session is passed to `transport.py` at once, and an answer whose head is known beforehand is one write.
Parsing stops at the first request that is invalid, and an `Upgrade` offer that is no WebSocket handshake is ignored.
Each request is held to `Limits` while it streams. A refusal is written in its turn, then the connection closes.

Private parts, held to their source by `tests/contract/test_seams.py`:

- `HttpToolsProtocol`: its parser callbacks are overridden, and it is read and fed in `_begin` as uvicorn does it.
- `RequestResponseCycle`: `http_exchange.Exchange` is one, which also writes whole answers.
- `FlowControl`: `http_limits.Flow` is one, which keeps pipelined requests bounded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import errors
from contract import handshake, middleware
from contract.http_exchange import Exchange, check_head, is_stopping, refusal, split_target, unreadable
from contract.http_limits import BodyRate, Flow, Limits, Timer
from contract.operations import PEER, WHOLE
from contract.transport import ENGINE
from contract.websocket import Connection

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from contract.transport import Engine

#: Headers that decide how a request is read.
_FRAMING = {b"host", b"expect", b"transfer-encoding"}


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which opens plain sessions, ignores other `Upgrade` offers, and limits each request."""

    limits: ClassVar[Limits] = Limits()

    #: One for the whole connection, in place of uvicorn's for each request.
    _timer: Timer
    #: When the last answer ended (before there is one: when the connection began), on the loop's clock.
    _idle_since = 0.0
    #: Whether a head is being read; since when, and how many bytes, if it did not come in one piece.
    _in_head = False
    _head_since: float | None = None
    _head_bytes = 0
    _hosts = 0
    #: Body bytes of the connection, and those of chunk lines and trailers since the last of them.
    _body_bytes = _framing_bytes = 0
    #: The key of a handshake whose head has just been read, and the WebSocket that the connection became.
    _key: bytes | None = None
    _websocket: asyncio.Protocol | None = None
    #: The error that ended parsing, and whether it has been sent; whether at most one more request is answered.
    _refusal: errors.ProductError | None = None
    _is_refusal_sent = _is_ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._timer, self._body_rate = Timer(self.loop, self._judge), BodyRate(self.limits)
        self._idle_since = self.loop.time()
        self._timer.start(self._idle_since + self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a segment, in pieces that are no larger than a head may be, so that limits count while it streams."""
        limit = self.limits.head_bytes
        if len(data) <= limit and not self._in_head:
            self._take(data)
            return
        view, at = memoryview(data), 0
        while at < len(data) and self._refusal is None:
            size = limit - self._head_bytes if self._in_head else limit
            self._take(view[at : at + size])
            at += size

    def _take(self, piece: bytes | memoryview) -> None:
        """Parse a piece; count and time it if it is part of an incomplete head or body."""
        if self._refusal is not None:
            return
        if self._websocket is not None:
            self._websocket.data_received(bytes(piece))
            return
        cycle, headers, was_in_head, body_bytes = self.cycle, self.headers, self._in_head, self._body_bytes
        offer_end = None
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as offer:
            offer_end = offer.args[0]
        except httptools.HttpParserError as error:
            self._refuse(unreadable(error))
        if offer_end is not None:
            self._take_behind_offer(memoryview(piece)[offer_end:])
        if (self._in_head or (self.cycle is not None and self.cycle.more_body)) and self._refusal is None:
            is_same_head = was_in_head and headers is self.headers
            self._count(len(piece), cycle, is_same_head=is_same_head, is_body=self._body_bytes > body_bytes)

    def _count(self, size: int, cycle: RequestResponseCycle | None, *, is_same_head: bool, is_body: bool) -> None:
        """Apply the limits to what is incomplete after a piece of `size` bytes; `cycle` was being read before it."""
        if self._in_head:
            if is_same_head:
                self._head_bytes += size
            elif cycle is self.cycle and (cycle is None or not cycle.more_body):
                self._head_bytes = size  # it began with the piece
            else:
                self._head_bytes = 0  # its lines are counted when it ends
            if self._head_since is None:
                self._head_since = self.loop.time()
            if self._head_bytes >= self.limits.head_bytes:
                self._refuse(self.limits.head_too_large(self.url))
                return
        elif cycle is self.cycle:
            self._framing_bytes = 0 if is_body else self._framing_bytes + size
            if self._framing_bytes > self.limits.head_bytes:
                self._refuse(self.limits.trailers_too_large())
                return
        deadline = self._deadline(self.loop.time())
        if deadline is not None:
            self._timer.start(deadline)

    def _take_behind_offer(self, rest: memoryview) -> None:
        """Continue after the head of an offer: as a WebSocket, or with the same head without the offer."""
        while self._key is None:
            try:
                self.parser.feed_data(handshake.head_without_offer(self.scope, self.url, self.headers))
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as another:
                rest = rest[another.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse(unreadable(error))
                return
        self._upgrade(bytes(rest))

    # --- The parser's callbacks --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._hosts, self._head_since = True, 0, None

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _FRAMING:
            if name == b"host":
                self._hosts += 1
            elif name == b"expect":
                self.expect_100_continue = value.lower() == b"100-continue"
            elif value.lower() != b"chunked":  # llhttp takes any list that ends so, and undoes no other coding
                raise errors.RequestInvalid("Transfer-Encoding should be 'chunked'.")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        version, limits = self.parser.get_http_version(), self.limits
        self.scope["http_version"], self.scope["method"] = version, self.parser.get_method().decode("ascii")
        is_odd = self._head_since is not None or len(self.headers) > limits.head_lines
        if (is_odd or len(self.url) > limits.target_bytes) and not limits.allow(self.headers, self.url):
            raise limits.head_too_large(self.url)
        check_head(version, self.url, self._hosts)
        if self.parser.should_upgrade():  # nothing is started yet: `_take_behind_offer` decides behind this head
            self._key = self._handshake_key()
            return
        self._in_head, self._framing_bytes = False, 0
        self._begin()
        self.headers = []  # what comes now are trailers: no headers of the request

    def _handshake_key(self) -> bytes | None:
        method, version = self.scope["method"], self.scope["http_version"]
        if method == "CONNECT":
            raise errors.RequestInvalid("This server is not a proxy and does not support CONNECT.")
        if self._is_answering() or ENGINE not in self.app_state:
            return None  # with answers to come, the connection cannot change its protocol
        return handshake.read_key(method, version, self.url, self.headers)

    def _begin(self) -> None:
        """Start the app on the request whose head was read, or queue it; uvicorn would parse some again (0.9 us)."""
        scope, url = self.scope, self.url
        raw_path, query = split_target(url)
        path = raw_path.decode("ascii")
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + raw_path if self.root_path else raw_path
        scope["query_string"] = query
        scope["state"][PEER] = scope["client"]
        if scope["method"] != "HEAD":
            scope["extensions"] = {WHOLE: {}}  # connexion notes there which operation a request is for
        earlier = self.cycle
        self.cycle = Exchange.start(self)
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # an offer, of which only the head has been read
        if self.headers and not self.limits.allow(self.headers):
            raise self.limits.trailers_too_large()
        cycle = self.cycle
        cycle.more_body = False
        if not cycle.response_complete:
            cycle.message_event.set()

    # --- Answers ------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        if self._refusal is not None:
            self._send_refusal()
            return
        self._idle_since = self.loop.time()
        if self._in_head:
            self._head_since = self._idle_since  # no timer ran during the answer
            self._timer.start(self._idle_since + self.limits.head_seconds)
        elif not self._timer.is_running:
            self._timer.start(self._idle_since + self.timeout_keep_alive)

    def shutdown(self) -> None:
        """End after the answer that is pending; without one, after a moment in which a request may still arrive."""
        if not is_stopping(self.app_state) or (self._is_answering() and not self.cycle.response_started):
            super().shutdown()
            return
        self._is_ending, self._idle_since = True, self.loop.time()
        self.timeout_keep_alive = self.limits.last_request_seconds
        self._timer.start(self._idle_since + self.timeout_keep_alive)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _upgrade(self, early: bytes) -> None:
        """Become a WebSocket, and pass it the bytes after the handshake."""
        if self._is_ending:  # a proxy asks another host
            self.transport.close()
            return
        self._timer.stop()
        self._in_head, self.cycle = False, None  # type: ignore[assignment]
        self.handle_websocket_upgrade()
        self._websocket = self.transport.get_protocol()  # type: ignore[assignment]
        if early:
            self._take(early)

    def handle_websocket_upgrade(self) -> None:
        engine: Engine = self.app_state[ENGINE]
        if self._key is None or not handshake.is_plain(self.url, self.headers):
            super().handle_websocket_upgrade()
            return
        connection = Connection.upgraded(self)
        self.connections.discard(self)
        self.connections.add(connection)
        self.transport.set_protocol(connection)
        self.transport.write(handshake.acceptance(self._key, self.server_state.default_headers))
        engine.open(connection)

    # --- Refusals -------------------------------------------------------------------------------------

    def _refuse(self, error: errors.ProductError) -> None:
        """Parse nothing more, and answer the request that is being read with `error` when its turn comes."""
        if self._refusal is not None:
            return
        self._refusal = error
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not self._in_head:
            if cycle.response_complete:
                self.transport.close()  # this request has had its answer
                return
            # Its app receives a disconnect, and its answer is dropped.
            cycle.disconnected = True
            cycle.message_event.set()
            if not self.pipeline:
                cycle.scope[middleware.REFUSED] = error.status  # type: ignore[literal-required]
                self._send_refusal()
                return
            self.pipeline.popleft()
        elif not self._is_answering():
            self._send_refusal()

    def _send_refusal(self) -> None:
        error = self._refusal
        if error is None or self._is_refusal_sent or self.transport.is_closing():
            return
        self._is_refusal_sent = True
        self._timer.stop()
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()  # a started answer can only be cut off
            return
        record = self.app_state.get(middleware.RECORD_REFUSAL)
        headers = record(self.scope, self.url, error) if record is not None else []
        self.transport.write(refusal(error, [*self.server_state.default_headers, *headers]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer.start(self.loop.time() + self.limits.linger_seconds)

    # --- Time -----------------------------------------------------------------------------------------

    def _unset_keepalive_if_required(self) -> None:
        """Keep the timer: bytes alone extend no deadline."""

    def _judge(self) -> None:
        """Refuse or close a connection after its deadline; else start the timer again."""
        if self._is_refusal_sent:
            self.transport.abort()  # the client has not closed its side in time
            return
        if self.transport.is_closing() or self._refusal is not None:
            return
        now = self.loop.time()
        deadline = self._deadline(now)
        if deadline is None:
            return  # the end of the answer starts the timer again
        if deadline > now:
            self._timer.start(deadline)
        elif self._is_answering():
            self._refuse(self.limits.body_too_slow())
        elif self._in_head and not self._is_ending:
            self._refuse(self.limits.head_too_slow())
        else:
            self.transport.close()

    def _deadline(self, now: float) -> float | None:
        """Return the deadline of the connection's present state; None while only our answer is pending."""
        cycle, limits = self.cycle, self.limits
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                return None
            # Time in which this side does not read the body does not count.
            is_held = bool(self.pipeline) or self.flow.read_paused or cycle.waiting_for_100_continue
            return self._body_rate.deadline(cycle, self._body_bytes, now, is_held=is_held)
        if self._in_head and not self._is_ending:
            return (now if self._head_since is None else self._head_since) + limits.head_seconds
        return self._idle_since + (self.timeout_keep_alive if cycle or self._is_ending else limits.head_seconds)
