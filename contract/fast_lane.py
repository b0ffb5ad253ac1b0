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
from contract.operations import ContractError
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


class FastLane:
    """Handler of signaling frames of this process's sockets."""

    def __init__(
        self,
        services: Container,
        server: Server,
        receives: dict[str, schemas.Validator],
        sends: dict[str, schemas.Validator] | None,
    ) -> None:
        """`sends` are the validators of what is emitted; None leaves that unchecked."""
        self._relay = services.signaling.relay
        self._take_back = services.signaling.forget_signal
        self._post = services.bus.post
        self._id_prefix = f"{services.bus.process_id}."
        self._sockets = server.directory.sockets
        self._server = server
        self._sends = sends
        self._counts = services.metrics.events
        self._events = {
            name.encode(): (name, field, receives[name], b'42["%b",' % name.encode(), (name, "ok"))
            for name, field in FIELDS.items()
        }

    def __call__(self, socket: Socket, frame: bytes) -> bool:
        """Answer a frame of an idle socket; return False, with nothing changed, for the ordinary path."""
        match = _FRAME.fullmatch(frame)
        connection = socket.event_connection
        if match is None or connection is None or socket.closing or _NUL in frame or socket.binary_parts:
            return False
        ack_id, event, content = match.groups()
        name, field, validate, head, outcome = self._events[event]
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            return False
        if validate(body) is not None or not socket.rate.spend(self._server.limit):
            return False
        payload: Any = {field: body[field]}
        try:
            peer = self._relay(connection.socket_id, body["roomId"], name, payload)
        except errors.ProductError:
            socket.rate.give_back()
            return False
        try:
            if peer is not None:
                self._send(peer, name, payload, head)
            ack = _OK
        except Exception as exception:  # numbered already, so it must not take the ordinary path
            self._take_back(connection.socket_id, payload["seq"])
            token = logs.request_id.set(connection.socket_id)
            problem = problems.socket_problem(exception)
            logs.request_id.reset(token)
            outcome = name, problem["code"]
            self._server.send_refusal(connection.socket_id, problem)
            ack = orjson.dumps([{"ok": False, "error": problem}])
        self._counts[outcome] += 1
        if ack_id is not None:
            socket.connection.write(text_frame(b"43%b%b" % (ack_id, ack)))
        return True

    def _send(self, peer: str, name: str, payload: dict[str, Any], head: bytes) -> None:
        if self._sends is not None and (problem := self._sends[name](payload)):
            raise ContractError(f"the payload of {name} does not match asyncapi.yaml: {problem}")
        if not peer.startswith(self._id_prefix):
            self._post(peer, "emit", name, payload)
        elif (partner := self._sockets.get(peer)) is not None:
            partner.connection.write(text_frame(b"%b%b]" % (head, orjson.dumps(payload))))
