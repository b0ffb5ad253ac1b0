"""A later version of the events: each payload has a new field and new values; there is a new event and a new code."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import socketio
import uvicorn

from contract import schemas
from testing.polling import wait_until
from testing.ports import free_port
from tests.clients.grown import NEW_VALUE
from tests.contract.test_served_specs import ASYNCAPI, example, grown

NEW_EVENT = "a_new_event"
REFUSAL = {"ok": False, "error": {"code": NEW_VALUE, "message": "A new code.", "newField": 1}, "newField": 1}


def grown_events() -> dict[str, Any]:
    """The payload of each event that the server emits, by its name, and a new event."""
    events: dict[str, Any] = {NEW_EVENT: {"newField": [1]}}
    for operation in ASYNCAPI["operations"].values():
        if operation["action"] == "send":
            message = schemas.follow(operation["messages"][0], ASYNCAPI)
            payload = message["payload"]
            events[message["name"]] = grown(example(payload, ASYNCAPI), payload, ASYNCAPI)
    return events


@contextmanager
def grown_event_server() -> Iterator[str]:
    """A server that emits every event after `find_partner`, and refuses `end_call` with a new code."""
    server = socketio.AsyncServer(async_mode="asgi")

    async def find_partner(socket_id: str, _payload: object) -> dict[str, Any]:
        for event, payload in grown_events().items():
            await server.emit(event, payload, to=socket_id)
        return {"ok": True, "newField": 1}

    async def end_call(_socket_id: str, _payload: object) -> dict[str, Any]:
        return REFUSAL

    server.on("find_partner", find_partner)
    server.on("end_call", end_call)
    port = free_port()
    web = uvicorn.Server(uvicorn.Config(socketio.ASGIApp(server), port=port, log_level="error"))
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    wait_until(lambda: web.started, "the server of the later version starts", within=15)
    yield f"http://127.0.0.1:{port}"
    web.should_exit = True
    thread.join()
