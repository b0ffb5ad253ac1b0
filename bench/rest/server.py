"""Measured process of the REST benchmark: `python -m bench.rest.server parlance|hello PORT`.

`hello` is the limit: uvicorn alone, whose app sends the same bytes for every request.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.rest import echo
from cli import serve

_BODY = b'{"status":"ok","timestamp":"2026-03-14T09:26:53.589Z"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


def parlance() -> ASGIApp:
    return serve.application(echo.document())


def hello() -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})

    return answer


if __name__ == "__main__":
    is_parlance = sys.argv[1] == "parlance"
    uvicorn.run(
        f"bench.rest.server:{sys.argv[1]}",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        **(
            serve.server_options(["127.0.0.1"])
            if is_parlance
            else {"lifespan": "off", "server_header": False, "access_log": False}
        ),
    )
