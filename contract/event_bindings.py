"""Events of asyncapi.yaml, bound to the functions that handle and emit them.

A `receive` operation's key is the import path of `async def f(services, connection, body)` in `realtime/`; what it
returns is added to the ack. A `send` operation `emit.<event>` is a function of `realtime/emit.py`.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import errors
import parlance
from contract import schemas, text_fields
from contract.operations import ContractError
from realtime import emit
from realtime.connection import SocketConnection

if TYPE_CHECKING:
    from container import Container

#: Modules of realtime/ whose functions are not themselves events.
_NOT_EVENTS = ("background", "connection", "emit", "lifecycle", "outcomes")
#: Codes of refusals of any event; `x-codes` lists those of one event.
COMMON_CODES = frozenset(
    {errors.BadPayload.code, errors.RateLimited.code, errors.Unavailable.code, errors.ProductError.code}
)
#: Parameters of a function that handles an event.
_PARAMETERS = ["services", "connection", "body"]

Function = Callable[["Container", SocketConnection, dict[str, Any]], Awaitable["dict[str, Any] | None"]]


class EventBindings:
    """Functions and validators of each event of asyncapi.yaml."""

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
                self.receives[message["name"]] = function_for(key), validator
                self.normalizers[message["name"]] = text_fields.compile_normalizer(message["payload"], document)
                self.codes[message["name"]] = COMMON_CODES.union(operation.get("x-codes", ()))
                ack = _message(document, operation["reply"])
                self.acks[message["name"]] = schemas.compiled(ack["payload"], document)
        self._refuse_unnamed(document["operations"])

    def _refuse_unnamed(self, operations: dict[str, Any]) -> None:
        for name, function in inspect.getmembers(emit, inspect.isfunction):
            if function.__module__ == emit.__name__ and name not in self.sends:
                raise ContractError(f"realtime.emit.{name} writes an event that asyncapi.yaml does not name")
        realtime = parlance.import_module("realtime")
        for info in pkgutil.iter_modules(realtime.__path__):
            if info.name in _NOT_EVENTS:
                continue
            path = f"realtime.{info.name}"
            module = parlance.import_module(path)
            for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
                is_event = function.__module__ == module.__name__ and not name.startswith("_")
                if is_event and f"{path}.{name}" not in operations:
                    raise ContractError(f"{path}.{name} takes events, but asyncapi.yaml does not name it")


def _message(document: dict[str, Any], holder: dict[str, Any]) -> dict[str, Any]:
    """Return the one message of an operation, or of its reply."""
    return schemas.follow(holder["messages"][0], document)


def function_for(key: str) -> Function:
    module_name, _, name = key.rpartition(".")
    try:
        function: Function = getattr(parlance.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ContractError(f"asyncapi.yaml names {key}, but there is no such function ({error})") from None
    if not inspect.iscoroutinefunction(function) or [*inspect.signature(function).parameters] != _PARAMETERS:
        raise ContractError(f"{key} should be `async def {name}(services, connection, body)`")
    return function
