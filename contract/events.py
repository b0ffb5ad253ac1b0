"""The Socket.IO server of asyncapi.yaml; every payload is validated.

Events of one socket are handled one after another, so that a relay keeps their order.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson

import errors
import spans
from adapters import budgets, logs
from contract import fast_lane, problems, schemas
from contract.event_bindings import COMMON_CODES, EventBindings
from contract.event_rate import EventLimit
from contract.fast_lane import FastLane
from contract.operations import ContractError
from contract.socket_connections import Connections
from contract.socket_server import Server
from contract.websocket import MAX_FRAME_BYTES
from realtime import background, emit
from realtime.connection import SocketConnection
from realtime.emit import Event
from services.messaging.notifications import NotificationMessage

if TYPE_CHECKING:
    from container import Container
    from settings import Settings

log = logging.getLogger("parlance.events")


def build(services: Container) -> Server:
    """Build the Socket.IO server of asyncapi.yaml; raise ContractError where spec and code disagree."""
    bindings = EventBindings(schemas.load(schemas.ASYNCAPI))
    settings = services.settings
    server = _server(settings)
    # A socket id starts with the id of its web process, so that an emit needs no look-up.
    server.eio.generate_id = lambda: f"{services.bus.process_id}.{secrets.token_urlsafe(15)}"
    services.metrics.sockets = lambda: len(server.directory.sockets)

    emitter = Emitter(services, server, bindings)
    services.bus.on("emit", emitter.deliver)
    services.signaling.forwarding.on_signal(emitter.write_signal)
    services.bus.on("notification", emitter.notify)
    services.bus.on("replace", emitter.replace)

    connections = Connections(services, server, emitter.emit)
    server.on("connect", connections.connect)
    server.on("disconnect", connections.disconnect)
    services.login_revocations.on_ended(connections.end_logins)
    services.bus.on_data_lost(connections.record_again)
    services.background.append(
        lambda: background.run(services, emitter.emit, connections.present, problems.as_product_error)
    )

    handlers = Handlers(services, server, bindings)
    server.on("*", handlers.refuse_unknown)
    for name in bindings.receives:
        server.on(name, handlers.handler(name))
    if settings.events_fast_lane:
        validators = {name: validator for name, (_, validator) in bindings.receives.items()}
        server.eio.lane = FastLane(services, server, validators)
    return server


def _server(settings: Settings) -> Server:
    def origin_allowed(origin: str, environ: dict[str, Any]) -> bool:
        own = f"{environ.get('wsgi.url_scheme', 'http').replace('ws', 'http')}://{environ.get('HTTP_HOST', '')}"
        return origin == own or settings.is_own_origin(origin)

    server = Server(
        EventLimit(settings.socket_events_per_second, settings.socket_event_burst),
        async_handlers=False,  # keeps the order of one socket's events
        cors_allowed_origins=origin_allowed,
        max_http_buffer_size=MAX_FRAME_BYTES,
    )
    server.eio.handshake_seconds = settings.socket_handshake_timeout.total_seconds()
    return server


class Emitter:
    """Events to sockets: of any web process by `emit`, of this one by messages of the bus."""

    def __init__(self, services: Container, server: Server, bindings: EventBindings) -> None:
        self._services = services
        self._server = server
        self._sends = None if services.settings.is_production else bindings.sends

    async def emit(self, socket_id: str, event: Event[object]) -> None:
        """Send an event to a socket, wherever it is; raise ContractError, outside production, against the spec."""
        if self._sends is not None and (problem := self._sends[event.name](event.payload)):
            raise ContractError(f"the payload of {event.name} does not match asyncapi.yaml: {problem}")
        await self._services.bus.send(socket_id, "emit", event.name, event.payload)

    def deliver(self, socket_id: str, name: str, payload: dict[str, Any]) -> None:
        self._server.send_event(socket_id, name, payload)

    def write_signal(self, socket_id: str, name: str, content: bytes) -> bool:
        """Write a signal, given its payload as JSON, to a socket of this process; return whether it is connected."""
        if self._sends is not None and (problem := self._sends[name](orjson.loads(content))):
            raise ContractError(f"the payload of {name} does not match asyncapi.yaml: {problem}")
        socket = self._server.directory.sockets.get(socket_id)
        if socket is None or socket.closing or not socket.connection.is_writable:
            return False
        socket.write(b'42["%b",%b]' % (name.encode(), content))
        return True

    async def replace(self, socket_id: str) -> None:
        """Disconnect a socket whose user has opened too many since."""
        if socket_id in self._server.directory.sockets:
            self._server.send_event(socket_id, "session_replaced", {**emit.session_replaced().payload})
            await self._server.disconnect(socket_id)

    async def notify(self, socket_id: str, notification: NotificationMessage) -> None:
        await self.emit(socket_id, emit.notification(notification))


class Handlers:
    """Handlers of client events: validation, the function of the event, and its ack."""

    def __init__(self, services: Container, server: Server, bindings: EventBindings) -> None:
        self._services = services
        self._server = server
        self._bindings = bindings
        self._checks_output = not services.settings.is_production
        #: Numbers of events, for the log.
        self._numbers = itertools.count(1)
        self._counts = services.metrics.events

    def handler(self, name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        """Return the handler of an event, for python-socketio."""

        async def handle(socket_id: str, *arguments: Any) -> dict[str, Any]:
            logs.request_id.set(f"{socket_id}/{next(self._numbers)}")
            budgets.begin_request()
            if spans.recorder is None or name in fast_lane.FIELDS:  # a span takes longer than a signal
                return await self._answer(socket_id, name, arguments)
            attributes: dict[str, spans.Value] = {"parlance.socket_id": socket_id}
            with spans.span(name, "server", call=_room_id(arguments), attributes=attributes) as span:
                ack = await self._answer(socket_id, name, arguments)
                if not ack["ok"]:
                    span.set("parlance.code", ack["error"]["code"])
                    if ack["error"]["code"] == errors.Internal.code:
                        span.fail(errors.Internal.code)
                return ack

        return handle

    async def refuse_unknown(self, name: str, socket_id: str, *arguments: Any) -> dict[str, Any]:
        self._counts["none", errors.BadPayload.code] += 1
        ack = _refusal(errors.BadPayload(f"there is no event '{name[:64]}'"))
        self._server.send_refusal(socket_id, ack["error"])
        return ack

    async def _answer(self, socket_id: str, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        connection = self._server.directory.sockets[socket_id].event_connection
        assert connection is not None
        logs.socket_id.set(socket_id)
        logs.user_id.set(connection.user_id)
        outcome = "ok"
        try:
            ack = await self._call(connection, name, arguments)
        except Exception as exception:
            ack = _refusal(exception)
            listed = self._bindings.codes.get(name, COMMON_CODES)
            if self._checks_output and (code := ack["error"]["code"]) not in listed:
                ack = _refusal(ContractError(f"asyncapi.yaml does not list {code} for {name}"))
            outcome = ack["error"]["code"]
            self._server.send_refusal(socket_id, ack["error"])
        self._counts[name, outcome] += 1
        log.debug("event_answered event=%s outcome=%s socket_id=%s", name, outcome, socket_id)
        return ack

    async def _call(self, connection: SocketConnection, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        function, validator = self._bindings.receives[name]
        body = _payload(arguments)
        if problem := _payload_problem(body, validator):
            raise errors.BadPayload(problem)
        body = self._bindings.normalizers[name](body)
        ack: dict[str, Any] = {"ok": True, **(await function(self._services, connection, body) or {})}
        if self._checks_output and (problem := self._bindings.acks[name](ack)):
            raise ContractError(f"the ack of {name} does not match asyncapi.yaml: {problem}")
        return ack


def _refusal(exception: Exception) -> dict[str, Any]:
    return {"ok": False, "error": problems.socket_problem(exception)}


def _room_id(arguments: tuple[Any, ...]) -> str | None:
    """Return the room that an unchecked payload names, for its span."""
    named = arguments[0].get("roomId") if arguments and isinstance(arguments[0], dict) else None
    return named if isinstance(named, str) else None


def _payload(arguments: tuple[Any, ...]) -> Any:
    """Return an event's one payload; none and null count as an empty object."""
    if len(arguments) > 1:
        raise errors.BadPayload("an event takes one payload")
    return arguments[0] if arguments and arguments[0] is not None else {}


def _payload_problem(body: Any, validator: schemas.Validator) -> str | None:
    """Describe how a payload breaks the spec, also one that is binary, or nested too deep for JSON Schema."""
    try:
        return schemas.unstorable(body) or validator(body)
    except (ValueError, RecursionError):
        return "the payload is not plain JSON"
