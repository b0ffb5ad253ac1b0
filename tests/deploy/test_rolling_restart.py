"""A rolling restart behind nginx: no request fails, and no call ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from adapters import tasks
from container import Container
from testing.calls import call, call_row, empty_queue
from testing.debian_programs import Nginx, nginx
from testing.deployment import ReconnectingClient
from testing.polling import eventually
from testing.servers import Learner, Phone, Server, dial, http_client, own_address, register, start_server, stop_server
from testing.time_limits import limit
from tests.deploy.test_nginx import trust

pytestmark = pytest.mark.system

#: As long as nginx leaves out a host that refused: the first is back before the second refuses.
#: Longer than `fail_timeout` of nginx, which leaves out a server for as long after it has come back.
DELAY = "8s"
#: A busy machine may take its time to let a client come back: that calls end in time is shown elsewhere.
VARIABLES = {"SHUTDOWN_DELAY": DELAY, "RECONNECT_GRACE": "60s", "PROCESS_LOSS_GRACE": "60s"}


@pytest.fixture
def servers(environment: dict[str, str], tmp_path: Path) -> Iterator[list[Server]]:
    started: list[Server] = []
    try:
        for number in range(2):
            log = tmp_path / f"server-{number}.log"
            started.append(start_server({**environment, **VARIABLES}, log, workers=1))
        yield started
    finally:
        for server in started:
            stop_server(server)


class Requests:
    """A client that sends requests one after another until it is stopped, and counts the statuses of their answers."""

    def __init__(self, edge: Nginx, token: str) -> None:
        transport = httpx.AsyncHTTPTransport(verify=trust(edge), local_address=own_address())
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(transport=transport, base_url=edge.url, timeout=limit(30), headers=headers)
        self.statuses: Counter[str] = Counter()
        self._is_stopped = False

    async def run(self) -> None:
        async with self._http as http:
            while not self._is_stopped:
                for method, path, options in (
                    ("GET", "/users/me", {}),
                    ("PATCH", "/users/me", {"json": {"displayName": secrets.token_hex(8)}}),
                    ("POST", "/auth/login", {"json": {}}),
                ):
                    answer = await http.request(method, path, **options)
                    self.statuses[f"{method} {answer.status_code}"] += 1
                    await asyncio.sleep(0.05)

    def stop(self) -> None:
        self._is_stopped = True


@asynccontextmanager
async def learner_behind(edge: Nginx, server: Server) -> AsyncIterator[ReconnectingClient]:
    learner = await register(http_client(server.url))
    async with AsyncExitStack() as sessions:

        async def dial_edge(url: str, learner: Learner, **options: Any) -> Phone:
            # One for each connection: a client that fails to connect closes it.
            connector = aiohttp.TCPConnector(ssl=trust(edge), local_addr=(own_address(), 0))
            http = await sessions.enter_async_context(aiohttp.ClientSession(connector=connector))
            return await dial(url, learner, http_session=http, **options)

        client = ReconnectingClient(learner, lambda: [edge.url], open=dial_edge)
        await client.connect()
        yield client
        await client.close()


async def restart(servers: list[Server], at: int, environment: dict[str, str], directory: Path) -> None:
    """Stop a server and start it again on its port, as its deployment does: the next one follows once it is ready."""
    port = int(servers[at].url.rpartition(":")[2])
    os.kill(servers[at].process.pid, signal.SIGTERM)
    assert await asyncio.to_thread(servers[at].process.wait, limit(30)) is not None
    log = directory / f"server-{at}-again.log"
    again = {**environment, **VARIABLES}
    servers[at] = await asyncio.to_thread(partial(start_server, again, log, workers=1, port=port))


async def exchange(one: ReconnectingClient, other: ReconnectingClient, room: dict[str, str]) -> None:
    """Send a candidate each way, over the connections that the two have by then; wait until both have arrived."""
    for sender, receiver in ((one, other), (other, one)):
        text = secrets.token_hex(8)

        async def send(sender: ReconnectingClient = sender, text: str = text) -> bool:
            if not sender.phone.client.connected:
                assert await sender.rejoin(room) == "ok"
            phone = sender.phone
            asking = asyncio.create_task(phone.send("webrtc_ice", {**room, "candidate": {"candidate": text}}))
            # The ack of a connection that ends never comes.
            await eventually(lambda: asking.done() or not phone.client.connected, within=30)
            if not asking.done():
                await tasks.end(asking)
            return not asking.cancelled() and asking.exception() is None and bool(asking.result()["ok"])

        async def arrived(receiver: ReconnectingClient = receiver, text: str = text) -> bool:
            if not receiver.phone.client.connected:
                assert await receiver.rejoin(room) == "ok"
            return text in receiver.received_candidates

        await eventually(send, within=30)
        await eventually(arrived, within=30)


async def test_rolling_restart_fails_no_request_and_ends_no_call(
    servers: list[Server], environment: dict[str, str], container: Container, tmp_path: Path
) -> None:
    await empty_queue(container)
    upstreams = [server.url.removeprefix("http://") for server in servers]
    with nginx(tmp_path / "nginx", *upstreams) as edge:
        async with AsyncExitStack() as stack:
            learners = [await stack.enter_async_context(learner_behind(edge, servers[0])) for _ in range(4)]
            pairs = [(learners[0], learners[1]), (learners[2], learners[3])]
            rooms = [await call(one.phone, other.phone) for one, other in pairs]
            requests = [Requests(edge, each.learner.access_token) for each in learners]
            running = [asyncio.create_task(each.run()) for each in requests]
            for at in range(2):
                restarted = asyncio.create_task(restart(servers, at, environment, tmp_path))
                while not restarted.done():
                    # Side by side: a client comes back as soon as it is disconnected.
                    await asyncio.gather(
                        *(exchange(one, other, room) for (one, other), room in zip(pairs, rooms, strict=True))
                    )
                    await asyncio.sleep(0.1)
                await restarted
            for each in requests:
                each.stop()
            await asyncio.gather(*running)
            for (one, other), room in zip(pairs, rooms, strict=True):
                await exchange(one, other, room)
                assert "peer_left" not in {*one.received, *other.received}
                made = await call_row(container, room["roomId"])
                assert made is not None and made.ended_at is None
    statuses = sum((each.statuses for each in requests), Counter())
    assert set(statuses) == {"GET 200", "PATCH 200", "POST 400"}, statuses
