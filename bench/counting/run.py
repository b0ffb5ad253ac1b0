"""Cost of counting: `python -m bench.counting.run` takes ten seconds and writes results/counting.md.

The HTTP middleware with and without its count, around an app that answers at once, and the count of an event; in turn,
in one process. The fastest of many rounds counts, because other load of the machine slows the rest.
"""

from __future__ import annotations

import asyncio
import platform
import tempfile
import time
import timeit
from collections import defaultdict

from starlette.types import Message, Receive, Scope, Send

import settings as configuration
from adapters.keys import KeyFiles
from bench import figures
from container import Container
from contract.middleware import Count, RequestMiddleware
from contract.operations import OPERATION

ROUNDS, CALLS = 40, 5000


def _scope() -> Scope:
    return {"type": "http", "method": "GET", "path": "/health", "raw_path": b"/health", "headers": []}


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    scope[OPERATION][0] = "checkHealth"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def _request(count: Count) -> float:
    """Microseconds of a request through the edge."""

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None: ...

    edge = RequestMiddleware(_app, configuration.load(None), count)
    began = time.process_time()
    for _ in range(CALLS):
        await edge(_scope(), receive, send)
    return (time.process_time() - began) / CALLS * 1e6


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="parlance-bench-") as directory:
        keys = {"jwt_private_key_path": f"{directory}/private.pem", "jwt_public_key_path": f"{directory}/public.pem"}
        settings = configuration.load(None, db_host="127.0.0.1", redis_host="127.0.0.1", **keys)
        KeyFiles(settings).generate()
        container = Container(settings)  # only its numbers are used: it connects to nothing
    counts: dict[str, Count] = {"on": container.metrics.count_request, "off": lambda operation, status, seconds: None}
    taken: dict[str, list[float]] = {"on": [], "off": []}
    for _ in range(ROUNDS):
        for name, count in counts.items():
            taken[name].append(await _request(count))
    events: defaultdict[tuple[str, str], int] = container.metrics.events
    outcome = ("webrtc_ice", "ok")

    def count_event() -> None:
        events[outcome] += 1

    def nothing() -> None: ...

    event, empty = (min(timeit.repeat(what, number=100_000, repeat=20)) * 10 for what in (count_event, nothing))
    await container.close()
    on, off = min(taken["on"]), min(taken["off"])
    costs = {"request_on": on, "request_off": off, "event": event - empty}
    figures.write(
        "counting",
        [
            figures.Figure("counting an HTTP request", "µs of CPU", on - off),
            figures.Figure("counting an event", "µs of CPU", event - empty),
        ],
        **costs,
    )
    lines = [
        "# What counting costs",
        "",
        f"`make bench-counting`: {ROUNDS} rounds, with and without in turn, of {CALLS:,} requests through"
        f" `contract/middleware.py` to an app that answers at once; the fastest of each. Python"
        f" {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        *figures.table(
            ["", "µs of CPU"],
            [
                ["the edge, counting", f"{on:.2f}"],
                ["the edge, not counting", f"{off:.2f}"],
                ["counting an event", f"{event - empty:.3f}"],
            ],
        ),
        "",
    ]
    text = "\n".join(lines)
    (figures.RESULTS / "counting.md").write_text(text)
    print(text)


if __name__ == "__main__":
    asyncio.run(main())
