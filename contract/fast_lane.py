"""Fast lane of signaling: an offer, an answer or a candidate is read, validated, relayed and acknowledged in one call.

The ordinary path (`events.py`) costs a task and several layers for each event. It makes all refusals: a frame that is
not plain, or cannot be relayed, goes there unchanged. A frame is handled here only when all earlier ones of its socket
are answered, and output is written at once, so no event overtakes another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

import errors
from adapters import logs
from contract import problems, schemas
from contract.frames import text_frame
from contract.socket_server import Server
from contract.transport import Socket

if TYPE_CHECKING:
    from container import Container

#: A whole frame: Engine.IO message, Socket.IO event, id of the ack if one is requested, name, payload.
_FRAME = re.compile(rb'42(0|[1-9][0-9]{0,15})?\["(webrtc_(?:offer|answer|ice))",(\{.*\})\]', re.DOTALL)
#: PostgreSQL and the contract refuse NUL in a text; orjson refuses other invalid text.
_NUL = b"\\u0000"
_OK = b'[{"ok":true}]'
#: The events, and the relayed field of each.
FIELDS = {"webrtc_offer": "sdp", "webrtc_answer": "sdp", "webrtc_ice": "candidate"}
#: A socket, the id of the ack if one is requested, the event and the outcome to count.
_Argument = tuple[Socket, bytes | None, tuple[str, str]]


class FastLane:
    """Handler of signaling frames of this process's sockets."""

    def __init__(
        self,
        services: Container,
        server: Server,
        receives: dict[str, schemas.Validator],
    ) -> None:
        self._relay = services.signaling.relay
        self._server = server
        self._counts = services.metrics.events
        self._events = {name.encode(): (name, field, receives[name], (name, "ok")) for name, field in FIELDS.items()}

    def __call__(self, socket: Socket, frame: bytes) -> bool:
        """Answer a frame of an idle socket; return False, with nothing changed, for the ordinary path."""
        match = _FRAME.fullmatch(frame)
        connection = socket.event_connection
        if match is None or connection is None or socket.closing or _NUL in frame or socket.binary_parts:
            return False
        ack_id, event, content = match.groups()
        name, field, validate, outcome = self._events[event]
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            return False
        if validate(body) is not None or not socket.rate.spend(self._server.limit):
            return False
        payload: Any = {field: body[field]}
        argument = socket, ack_id, outcome
        try:
            is_done = self._relay(
                connection.socket_id, body["roomId"], name, payload, self._acknowledge_later, argument
            )
        except errors.ProductError:
            socket.rate.give_back()
            return False
        except Exception as exception:  # it may be numbered, so it must not take the ordinary path
            self._acknowledge(argument, exception)
            return True
        if is_done:
            self._acknowledge(argument, None)
        else:
            socket.defer_ack()
        return True

    def _acknowledge_later(self, argument: _Argument, error: errors.ProductError | None) -> None:
        self._acknowledge(argument, error)
        argument[0].settle_ack()

    def _acknowledge(self, argument: _Argument, error: Exception | None) -> None:
        socket, ack_id, outcome = argument
        ack = _OK
        if error is not None:
            token = logs.request_id.set(socket.id or socket.sid)
            problem = problems.socket_problem(error)
            logs.request_id.reset(token)
            outcome = outcome[0], problem["code"]
            if socket.id is not None:
                self._server.send_refusal(socket.id, problem)
            ack = orjson.dumps([{"ok": False, "error": problem}])
        self._counts[outcome] += 1
        if ack_id is not None:
            socket.connection.write(text_frame(b"43%b%b" % (ack_id, ack)))
