"""Recorder of messages of tests, with which `tests/contract/mutations.py` checks changed contracts.

Kept where WIRE_RECORD names a folder: one line for each shape of a message, a file for each process.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import httpx

FOLDER = os.environ.get("WIRE_RECORD")

_seen: set[str] = set()
#: What is one of a few: a status, a code, a level. Other text differs in each message, and says nothing of the shape.
_WORD = re.compile("[A-Za-z0-9_.+-]{0,24}")


def _shape(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _shape(item, key) for key, item in sorted(value.items())}
    if isinstance(value, list):
        shapes = {json.dumps(shape): shape for shape in (_shape(item, name) for item in value)}
        return [shapes[key] for key in sorted(shapes)]
    if isinstance(value, str) and not (_WORD.fullmatch(value) and name not in _OWN):
        return "text"
    return type(value).__name__ if isinstance(value, int | float) and not isinstance(value, bool) else value


#: Fields whose words are of the tests' own making.
_OWN = {"username", "displayName", "bio", "title", "slug", "deviceId", "topic", "description", "country"}


def _note(kind: str, name: str, given: Any, answered: Any, status: int = 0, query: str = "") -> None:
    shape = json.dumps([kind, name, _shape(given), _shape(answered), status, re.sub("=[^&]*", "", query)])
    if FOLDER is None or shape in _seen:
        return
    _seen.add(shape)
    line = {"kind": kind, "name": name, "given": given, "answered": answered, "status": status, "query": query}
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def event(name: str, payload: Any, ack: Any) -> None:
    """Note an event that a client sent, and its ack."""
    if FOLDER is not None and not isinstance(payload, tuple | bytes):
        try:
            _note("sent", name, {} if payload is None else payload, ack)
        except (TypeError, ValueError, RecursionError):
            return  # no JSON: tests send that as well


def received(name: str, payload: Any) -> None:
    """Note an event that a client received."""
    if FOLDER is not None:
        _note("received", name, None, {} if payload is None else payload)


async def record_response(response: httpx.Response) -> None:
    """Note a request and its answer; a hook of httpx."""
    request = response.request
    path = request.url.path
    query = request.url.query.decode()
    await response.aread()
    _note(
        request.method.lower(), re.sub(_ID, "{id}", path), _body(request), _body(response), response.status_code, query
    )


_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _body(message: httpx.Request | httpx.Response) -> Any:
    if "json" not in message.headers.get("content-type", ""):
        return None
    try:
        return json.loads(message.content)
    except (ValueError, httpx.RequestNotRead, RecursionError):
        return None
