"""Binds asyncapi.yaml to functions and serves it over Socket.IO, every payload held to the spec.

A `receive` operation's key is the import path of `async def f(services, caller, body)` in `realtime/`; what it returns
is added to the ack. A `send` operation `emit.<event>` is a function of `realtime/emit.py`. Events of one socket are
handled one after another, so a relay keeps their order.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import pkgutil
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import socketio
from engineio.async_drivers import asgi  # type: ignore[import-untyped]
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as HandshakeRefused

import errors
from contract import problems, schemas
from contract.operations import ContractError
from realtime import connection, emit, upkeep
from realtime.caller import Caller
from realtime.emit import Event

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.events")

#: Modules of realtime/ whose functions are not themselves events.
_NOT_EVENTS = ("caller", "connection", "emit", "outcomes", "upkeep")
#: What one WebSocket frame may hold, in bytes.
MAX_FRAME_BYTES = 64 * 1024
#: Binary parts that are awaited before the event that announced them is refused; no event takes any.
_MAX_ATTACHMENTS = 8
#: What a client may send as text: an Engine.IO close, a pong, or a message that is a Socket.IO packet.
_READABLE = re.compile(r"1|3|4[0-9].*", re.DOTALL)
_CLOSE = "1"
#: Seconds between two tries to note that a socket is gone.
_AGAIN = 1.0
#: What a function that answers an event takes.
_PARAMETERS = ["services", "caller", "body"]

Function = Callable[["Container", Caller, dict[str, Any]], Awaitable["dict[str, Any] | None"]]


class Bound:
    """asyncapi.yaml compiled: each client event with its function and validators, each server event with its own."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.receives: dict[str, tuple[Function, schemas.Validator]] = {}
        self.sends: dict[str, schemas.Validator] = {}
        self.acks: dict[str, schemas.Validator] = {}
        for key, operation in document["operations"].items():
            message = _message(document, operation)
            validator = schemas.compiled(message["payload"], document)
            if operation["action"] == "send":
                if key != f"emit.{message['name']}" or not callable(getattr(emit, message["name"], None)):
                    raise ContractError(f"asyncapi.yaml names {key}, but realtime/emit.py has no function for it")
                self.sends[message["name"]] = validator
            else:
                self.receives[message["name"]] = _function(key), validator
                ack = _message(document, operation["reply"])
                self.acks[message["name"]] = schemas.compiled(ack["payload"], document)
        self._refuse_unnamed(document["operations"])

    def _refuse_unnamed(self, operations: dict[str, Any]) -> None:
        for name, function in inspect.getmembers(emit, inspect.isfunction):
            if function.__module__ == emit.__name__ and name not in self.sends:
                raise ContractError(f"realtime.emit.{name} writes an event that asyncapi.yaml does not name")
        realtime = importlib.import_module("realtime")
        for info in pkgutil.iter_modules(realtime.__path__):
            if info.name in _NOT_EVENTS:
                continue
            module = importlib.import_module(f"realtime.{info.name}")
            for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
                is_event = function.__module__ == module.__name__ and not name.startswith("_")
                if is_event and f"{module.__name__}.{name}" not in operations:
                    raise ContractError(f"{module.__name__}.{name} takes events, but asyncapi.yaml does not name it")


def _message(document: dict[str, Any], holder: dict[str, Any]) -> dict[str, Any]:
    """The one message of an operation, or of its reply."""
    return schemas.follow(holder["messages"][0], document)


def _function(key: str) -> Function:
    module_name, _, name = key.rpartition(".")
    try:
        function: Function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ContractError(f"asyncapi.yaml names {key}, but there is no such function ({error})") from None
    if not inspect.iscoroutinefunction(function) or [*inspect.signature(function).parameters] != _PARAMETERS:
        raise ContractError(f"{key} should be `async def {name}(services, caller, body)`")
    return function


class Frames(asgi.WebSocket):  # type: ignore[misc]
    """Engine.IO's WebSocket, which ends where Engine.IO would trip, be silent, or leave hanging up to the client."""

    async def wait(self) -> str | bytes:
        frame: str | bytes = await super().wait()
        if isinstance(frame, str) and not _READABLE.fullmatch(frame):
            raise OSError("that frame is not an Engine.IO packet")
        return frame

    async def send(self, message: str | bytes) -> None:
        await super().send(message)
        if message == _CLOSE:
            await self.close()


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """python-socketio, with an answer where it would be silent or trip: odd frames, reserved names, unasked acks."""

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
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
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        return sid is not None and bool(self.manager.is_connected(sid, "/"))

    async def _refuse_binary(self, eio_sid: str, message: str) -> None:
        """Refuse a frame, and the event that was waiting for its binary parts, if one was."""
        waited = self._binary_packet.pop(eio_sid, None)
        await self._refuse(
            eio_sid, message, waited.id if waited is not None and waited.packet_type == packet.BINARY_EVENT else None
        )

    async def _refuse(self, eio_sid: str, message: str, ack_id: int | None = None) -> None:
        if not self._is_connected(eio_sid):
            await self.eio.disconnect(eio_sid)
            return
        problem = problems.socket_problem(errors.BadPayload(message))
        await self.emit("error", problem, to=self.manager.sid_from_eio_sid(eio_sid, "/"))
        if ack_id is not None:
            ack = self.packet_class(packet.ACK, id=ack_id, data=[{"ok": False, "error": problem}])
            await self._send_packet(eio_sid, ack)


def build(services: Container) -> Server:
    """Build the Socket.IO server of asyncapi.yaml; raise ContractError where spec and code disagree."""
    bound = Bound(schemas.load(schemas.ASYNCAPI))
    settings = services.settings
    checks_output = not settings.is_production
    callers: dict[str, Caller] = {}
    cutting: set[asyncio.Task[None]] = set()

    def origin_allowed(origin: str, environ: dict[str, Any]) -> bool:
        own = f"{environ.get('wsgi.url_scheme', 'http').replace('ws', 'http')}://{environ.get('HTTP_HOST', '')}"
        return origin in (own, settings.app_url, *settings.cors_origins)

    server = Server(
        async_mode="asgi",
        async_handlers=False,  # keeps the order of one socket's events
        transports=["websocket"],
        cors_allowed_origins=origin_allowed,
        max_http_buffer_size=MAX_FRAME_BYTES,
        ping_interval=20,
        ping_timeout=15,
    )
    server.eio._async = {**server.eio._async, "websocket": Frames}
    # The id says which worker holds the socket, so that an emit needs no look-up.
    server.eio.generate_id = lambda: f"{services.bus.worker_id}.{secrets.token_urlsafe(15)}"

    async def emit_to(socket: str, event: Event) -> None:
        if checks_output and (problem := bound.sends[event.name](event.payload)):
            raise ContractError(f"{event.name} as it would be sent is not what asyncapi.yaml says: {problem}")
        await services.bus.send(socket, "emit", event.name, event.payload)

    async def deliver(socket: str, name: str, payload: dict[str, Any]) -> None:
        await server.emit(name, payload, to=socket)

    services.bus.on("emit", deliver)
    services.background.append(lambda: upkeep.run(services, emit_to, lambda: list(callers)))

    async def connected(socket: str, environ: dict[str, Any], auth: Any = None) -> None:
        try:
            identity = await connection.connect(services, auth)
        except Exception as exception:
            raise HandshakeRefused(problems.as_product_error(exception).code) from None
        callers[socket] = Caller(identity.user_id, identity.family_id, socket, emit_to)
        connection.connected(services, callers[socket])

    async def disconnected(socket: str, reason: str) -> None:
        caller = callers.pop(socket, None)
        if caller is None:
            return
        while True:
            try:
                await connection.disconnect(services, caller)
                return
            except Exception as exception:
                if not isinstance(problems.as_product_error(exception), errors.Unavailable):
                    return
            await asyncio.sleep(_AGAIN)  # Redis or PostgreSQL is away; the partner is still to hear of it

    def cut_off(ended: set[str]) -> None:
        """Disconnect every socket of the sign-ins that have ended."""
        for socket, caller in list(callers.items()):
            if caller.family_id in ended:
                task = asyncio.create_task(server.disconnect(socket))
                cutting.add(task)
                task.add_done_callback(cutting.discard)

    services.revocations.on_ended(cut_off)

    def refusal(exception: Exception) -> dict[str, Any]:
        return {"ok": False, "error": problems.socket_problem(exception)}

    async def answer(socket: str, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        caller = callers[socket]
        try:
            function, validator = bound.receives[name]
            body = _payload(arguments)
            if problem := _broken(body, validator):
                raise errors.BadPayload(problem)
            ack: dict[str, Any] = {"ok": True, **(await function(services, caller, body) or {})}
            if checks_output and (problem := bound.acks[name](ack)):
                raise ContractError(f"the ack of {name} is not what asyncapi.yaml says: {problem}")
        except Exception as exception:
            ack = refusal(exception)
            await server.emit("error", ack["error"], to=socket)
        return ack

    async def unknown(name: str, socket: str, *arguments: Any) -> dict[str, Any]:
        ack = refusal(errors.BadPayload(f"there is no event '{name[:64]}'"))
        await server.emit("error", ack["error"], to=socket)
        return ack

    def handler(name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def handle(socket: str, *arguments: Any) -> dict[str, Any]:
            return await answer(socket, name, arguments)

        return handle

    server.on("connect", connected)
    server.on("disconnect", disconnected)
    server.on("*", unknown)
    for name in bound.receives:
        server.on(name, handler(name))
    return server


def _payload(arguments: tuple[Any, ...]) -> Any:
    """Take an event's one payload; none and null count as an empty object."""
    if len(arguments) > 1:
        raise errors.BadPayload("an event takes one payload")
    return arguments[0] if arguments and arguments[0] is not None else {}


def _broken(body: Any, validator: schemas.Validator) -> str | None:
    """Say what is wrong with a payload, also where it is nothing that JSON Schema speaks of: binary, or too deep."""
    try:
        return schemas.unstorable(body) or validator(body)
    except (ValueError, RecursionError):
        return "the payload is not plain JSON"
