"""Events of asyncapi.yaml, bound to the functions that handle and emit them.

A client event is handled by `async def <event>(services, connection, body)` of the module that `x-handler` names; what
it returns is added to the ack. A server event is written by the function of `realtime/emit.py` with its name.
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
        for operation in document["operations"].values():
            message = _message(document, operation)
            name = message["name"]
            validator = schemas.compiled(message["payload"], document)
            if operation["action"] == "send":
                if not callable(getattr(emit, name, None)):
                    raise ContractError(f"asyncapi.yaml names {name}, but realtime/emit.py has no function for it")
                self.sends[name] = validator
            else:
                self.receives[name] = function_for(operation.get("x-handler", ""), name), validator
                self.normalizers[name] = text_fields.compile_normalizer(message["payload"], document)
                self.codes[name] = COMMON_CODES.union(operation.get("x-codes", ()))
                ack = _message(document, operation["reply"])
                self.acks[name] = schemas.compiled(ack["payload"], document)
        self._refuse_unnamed()

    def _refuse_unnamed(self) -> None:
        for name, function in inspect.getmembers(emit, inspect.isfunction):
            if function.__module__ == emit.__name__ and name not in self.sends:
                raise ContractError(f"realtime.emit.{name} writes an event that asyncapi.yaml does not name")
        bound = {function for function, _ in self.receives.values()}
        realtime = parlance.import_module("realtime")
        for info in pkgutil.iter_modules(realtime.__path__):
            if info.name in _NOT_EVENTS:
                continue
            path = f"realtime.{info.name}"
            module = parlance.import_module(path)
            for name, function in inspect.getmembers(module, inspect.iscoroutinefunction):
                is_event = function.__module__ == module.__name__ and not name.startswith("_")
                if is_event and function not in bound:
                    raise ContractError(f"{path}.{name} takes events, but asyncapi.yaml does not name it")


def _message(document: dict[str, Any], holder: dict[str, Any]) -> dict[str, Any]:
    """Return the one message of an operation, or of its reply."""
    return schemas.follow(holder["messages"][0], document)


def function_for(module_name: str, name: str) -> Function:
    """Return the function of an event that clients send; raise ContractError where the module has none."""
    path = f"{module_name}.{name}"
    try:
        function: Function = getattr(parlance.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ContractError(f"asyncapi.yaml names {path}, but there is no such function ({error})") from None
    if not inspect.iscoroutinefunction(function) or [*inspect.signature(function).parameters] != _PARAMETERS:
        raise ContractError(f"{path} should be `async def {name}(services, connection, body)`")
    return function
