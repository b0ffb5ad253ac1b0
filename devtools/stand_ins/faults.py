"""API calls that fail on request: before they take effect, or after it and without an answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

from starlette.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HANG_SECONDS = 120
FaultKind = Literal["refuse", "slow", "hang", "cut", "lie", "garble"]


@dataclass
class Fault:
    """Fault of the next `times` calls that `match` a pattern of `METHOD path`, such as `POST */refunds`.

    refuse  nothing happens; `status` is answered (500, or 429 with `Retry-After: seconds`)
    slow    the call is answered after `seconds`
    hang    the effect happens and the answer never comes
    cut     the effect happens and the connection breaks before the answer
    lie     the effect happens and `status` is answered
    garble  nothing happens; a page that is not JSON is answered, with status 200
    """

    kind: FaultKind
    match: str = "*"
    times: int = 1
    status: int = 500
    seconds: float = 1


class Faults:
    """The faults still to come; the oldest that matches a call is used up by it."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, kind: FaultKind, match: str = "*", **options: Any) -> Fault:
        fault = Fault(kind, match, **options)
        with self._lock:
            self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, call: str) -> Fault | None:
        with self._lock:
            for fault in self._waiting:
                if fnmatch(call, fault.match):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                    return fault
        return None


class FaultInjector:
    """An API in front of which the faults stand; `body` words an error as that provider does."""

    def __init__(self, api: ASGIApp, faults: Faults, body: Any) -> None:
        self._api, self._faults, self._body = api, faults, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.take(f"{scope['method']} {scope['path']}") if scope["type"] == "http" else None
        if fault is None:
            await self._api(scope, receive, send)
            return
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            await self._api(scope, receive, send)
            return
        if fault.kind == "garble":
            await HTMLResponse("<!doctype html><title>Maintenance</title>")(scope, receive, send)
            return
        if fault.kind != "refuse":
            await self._api(scope, receive, _nowhere)
        if fault.kind == "hang":
            await _until_gone(receive)
        elif fault.kind == "cut":
            # A length that never comes: the server closes the connection when this function returns.
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
        else:
            headers = {"Retry-After": f"{fault.seconds:g}"} if fault.status in (429, 503) else {}
            await JSONResponse(self._body(fault.status), fault.status, headers)(scope, receive, send)


async def _nowhere(_message: Message) -> None:
    pass


async def _until_gone(receive: Receive) -> None:
    async with asyncio.timeout(_HANG_SECONDS):
        while (await receive())["type"] != "http.disconnect":
            pass
