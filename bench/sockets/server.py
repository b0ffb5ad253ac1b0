"""Measured process of the socket benchmark: `python -m bench.sockets.server parlance|echo PORT`.

`echo` is the limit: uvicorn's WebSocket alone, whose app echoes what it receives.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from cli import serve


def echo() -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    return answer


if __name__ == "__main__":
    is_parlance = sys.argv[1] == "parlance"
    options = serve.server_options(["127.0.0.1"])
    uvicorn.run(
        "cli.serve:application" if is_parlance else "bench.sockets.server:echo",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        **(options if is_parlance else {**options, "lifespan": "off", "ws": "websockets-sansio"}),
    )
