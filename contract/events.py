"""Binds asyncapi.yaml to functions and serves it over Socket.IO, every payload held to the spec.

A `receive` operation's key is the import path of `async def f(services, connection, body)` in `realtime/`; what it
returns is added to the ack. A `send` operation `emit.<event>` is a function of `realtime/emit.py`. Events of one socket
are handled one after another, so a relay keeps their order.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import logging
import pkgutil
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from socketio.exceptions import ConnectionRefusedError as HandshakeRefused

import errors
from adapters import logs
from contract import problems, schemas, text_fields
from contract.event_rate import EventLimit
from contract.fast_lane import FastLane
from contract.operations import ContractError
from contract.socket_server import Server
from contract.transport import MAX_FRAME_BYTES
from realtime import background, emit, lifecycle
from realtime.connection import SocketConnection
from realtime.emit import Event
from services.messaging.notifications import NotificationMessage

if TYPE_CHECKING:
    from container import Container

log = logging.getLogger("parlance.events")

#: Modules of realtime/ whose functions are not themselves events.
_NOT_EVENTS = ("background", "connection", "emit", "lifecycle", "outcomes")
#: Seconds between two tries to note that a socket is gone.
_AGAIN = 1.0
#: Codes that any event may be refused with; `x-codes` has those of its own.
COMMON_CODES = frozenset(
    {errors.BadPayload.code, errors.RateLimited.code, errors.Unavailable.code, errors.ProductError.code}
)
#: What a function that answers an event takes.
_PARAMETERS = ["services", "connection", "body"]

Function = Callable[["Container", SocketConnection, dict[str, Any]], Awaitable["dict[str, Any] | None"]]


class Bound:
    """asyncapi.yaml compiled: each client event with its function and validators, each server event with its own."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.receives: dict[str, tuple[Function, schemas.Validator]] = {}
        self.normalizers: dict[str, text_fields.Normalizer] = {}
        self.sends: dict[str, schemas.Validator] = {}
        self.acks: dict[str, schemas.Validator] = {}
        self.codes: dict[str, frozenset[str]] = {}
        for key, operation in document["operations"].items():
            message = _message(document, operation)
            validator = schemas.compiled(message["payload"], document)
            if operation["action"] == "send":
                if key != f"emit.{message['name']}" or not callable(getattr(emit, message["name"], None)):
                    raise ContractError(f"asyncapi.yaml names {key}, but realtime/emit.py has no function for it")
                self.sends[message["name"]] = validator
            else:
                self.receives[message["name"]] = _function(key), validator
                self.normalizers[message["name"]] = text_fields.compile_normalizer(message["payload"], document)
                self.codes[message["name"]] = COMMON_CODES.union(operation.get("x-codes", ()))
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
        raise ContractError(f"{key} should be `async def {name}(services, connection, body)`")
    return function


def build(services: Container) -> Server:
    """Build the Socket.IO server of asyncapi.yaml; raise ContractError where spec and code disagree."""
    bound = Bound(schemas.load(schemas.ASYNCAPI))
    settings = services.settings
    checks_output = not settings.is_production
    cutting: set[asyncio.Task[None]] = set()
    leaving: set[asyncio.Task[None]] = set()

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
    sockets = server.directory.sockets
    #: What tells the events of a worker apart in its log.
    numbers = itertools.count(1)
    count = services.metrics.events
    services.metrics.sockets = lambda: len(sockets)
    # The id says which worker holds the socket, so that an emit needs no look-up.
    server.eio.generate_id = lambda: f"{services.bus.worker_id}.{secrets.token_urlsafe(15)}"

    async def emit_to(socket: str, event: Event[object]) -> None:
        if checks_output and (problem := bound.sends[event.name](event.payload)):
            raise ContractError(f"{event.name} as it would be sent is not what asyncapi.yaml says: {problem}")
        await services.bus.send(socket, "emit", event.name, event.payload)

    async def deliver(socket: str, name: str, payload: dict[str, Any]) -> None:
        server.send_event(socket, name, payload)

    async def replace(socket: str) -> None:
        if socket in sockets:
            server.send_event(socket, "session_replaced", {**emit.session_replaced().payload})
            await server.disconnect(socket)

    async def notify(socket: str, told: NotificationMessage) -> None:
        await emit_to(socket, emit.notification(told))

    services.bus.on("emit", deliver)
    services.bus.on("notification", notify)
    services.bus.on("replace", replace)

    def present() -> list[str]:
        return [socket for socket, held in sockets.items() if held.caller is not None]

    async def count_again() -> None:
        for socket, held in list(sockets.items()):
            if held.caller is not None:
                services.user_sockets.add(held.caller.user_id, socket)

    services.bus.on_data_lost(count_again)
    services.background.append(lambda: background.run(services, emit_to, present))

    async def connected(socket: str, environ: dict[str, Any], auth: Any = None) -> None:
        logs.request_id.set(socket)
        try:
            identity = await lifecycle.connect(services, auth)
        except Exception as exception:
            raise HandshakeRefused(problems.as_product_error(exception).code) from None
        if socket in sockets:  # it may have gone away meanwhile
            caller = sockets[socket].caller = SocketConnection(identity.user_id, identity.family_id, socket, emit_to)
            services.user_sockets.add(identity.user_id, socket)
            lifecycle.connected(services, caller)

    async def disconnected(socket: str, reason: str) -> None:
        held = sockets.get(socket)
        if held is None or held.caller is None:
            return
        logs.request_id.set(socket)
        caller, held.caller = held.caller, None
        services.user_sockets.remove(caller.user_id, socket)
        if await noted(caller):
            return
        # The connection is not kept for it: whoever is cut off is cut off, also while Redis or PostgreSQL is away.
        task = asyncio.create_task(note(caller))
        leaving.add(task)
        task.add_done_callback(leaving.discard)

    async def noted(caller: SocketConnection) -> bool:
        """Note that a socket is gone; False where that has to be tried again."""
        try:
            await lifecycle.disconnect(services, caller)
        except Exception as exception:
            return not isinstance(problems.as_product_error(exception), errors.Unavailable)
        return True

    async def note(caller: SocketConnection) -> None:
        while True:
            await asyncio.sleep(_AGAIN)
            if await noted(caller):
                return

    def cut_off(ended: set[str]) -> None:
        """Disconnect every socket of the sign-ins that have ended."""
        for socket, held in list(sockets.items()):
            if held.caller is not None and held.caller.family_id in ended:
                task = asyncio.create_task(server.disconnect(socket))
                cutting.add(task)
                task.add_done_callback(cutting.discard)

    services.login_revocations.on_ended(cut_off)

    def refusal(exception: Exception) -> dict[str, Any]:
        return {"ok": False, "error": problems.socket_problem(exception)}

    async def answer(socket: str, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        caller = sockets[socket].caller
        assert caller is not None
        outcome = "ok"
        try:
            function, validator = bound.receives[name]
            body = _payload(arguments)
            if problem := _broken(body, validator):
                raise errors.BadPayload(problem)
            body = bound.normalizers[name](body)
            ack: dict[str, Any] = {"ok": True, **(await function(services, caller, body) or {})}
            if checks_output and (problem := bound.acks[name](ack)):
                raise ContractError(f"the ack of {name} is not what asyncapi.yaml says: {problem}")
        except Exception as exception:
            ack = refusal(exception)
            if checks_output and (code := ack["error"]["code"]) not in bound.codes.get(name, COMMON_CODES):
                ack = refusal(ContractError(f"asyncapi.yaml does not list {code} for {name}"))
            outcome = ack["error"]["code"]
            server.send_refusal(socket, ack["error"])
        count[name, outcome] += 1
        log.debug("%s: %s", name, outcome)
        return ack

    async def unknown(name: str, socket: str, *arguments: Any) -> dict[str, Any]:
        count["none", errors.BadPayload.code] += 1
        ack = refusal(errors.BadPayload(f"there is no event '{name[:64]}'"))
        server.send_refusal(socket, ack["error"])
        return ack

    def handler(name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def handle(socket: str, *arguments: Any) -> dict[str, Any]:
            logs.request_id.set(f"{socket}/{next(numbers)}")
            return await answer(socket, name, arguments)

        return handle

    server.on("connect", connected)
    server.on("disconnect", disconnected)
    server.on("*", unknown)
    for name in bound.receives:
        server.on(name, handler(name))
    if settings.events_fast_lane:
        validators = {name: validator for name, (_, validator) in bound.receives.items()}
        server.eio.lane = FastLane(services, server, validators, bound.sends if checks_output else None)
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
