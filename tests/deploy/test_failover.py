"""deploy/nginx.conf before two hosts, of which one refuses, is silent, or ends in the middle of a request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from testing.debian_programs import Nginx, nginx
from testing.ports import free_port
from testing.servers import Server, own_address, start_server, stop_server
from testing.time_limits import limit
from tests.deploy.test_nginx import trust

pytestmark = pytest.mark.system


@asynccontextmanager
async def client_of(edge: Nginx) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(verify=trust(edge), local_address=own_address())
    async with httpx.AsyncClient(transport=transport, base_url=edge.url, timeout=limit(30)) as http:
        yield http


def address_of(server: Server) -> str:
    return server.url.removeprefix("http://")


@contextmanager
def silent_host() -> Iterator[str]:
    """A port whose packets are dropped, as by a host that is off: its queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        while True:
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0.3)
            try:
                filler.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield f"127.0.0.1:{port}"


async def test_refusing_host_fails_no_request(server: Server, tmp_path: Path) -> None:
    with nginx(tmp_path, f"127.0.0.1:{free_port()}", address_of(server)) as edge:
        async with client_of(edge) as http:
            for _ in range(10):
                assert (await http.get("/health")).status_code == 200
                # Not repeatable, and repeated all the same: a host that refuses the connection has received nothing.
                assert (await http.post("/auth/login", json={})).status_code == 400


async def test_silent_host_is_left_out(server: Server, tmp_path: Path) -> None:
    with silent_host() as off, nginx(tmp_path, off, address_of(server)) as edge:
        async with client_of(edge) as http:
            for _ in range(30):
                assert (await http.get("/health")).status_code == 200
                assert (await http.post("/auth/login", json={})).status_code == 400
        attempts = (tmp_path / "nginx.log").read_text().count("upstream timed out")
        # Half of the requests would be, were it not left out; it is tried again every 5 s.
        assert 0 < attempts < 20


async def test_handshake_leaves_a_stopped_host(environment: dict[str, str], server: Server, tmp_path: Path) -> None:
    """A stopped process accepts connections, by the kernel, and answers nothing."""
    stopped = await asyncio.to_thread(start_server, environment, tmp_path / "stopped.log", workers=1)
    os.killpg(stopped.process.pid, signal.SIGSTOP)
    try:
        with nginx(tmp_path, address_of(stopped), address_of(server)) as edge:
            url = edge.url.replace("https", "wss") + "/socket.io/?EIO=4&transport=websocket"

            async def open_socket() -> str:
                # Not scaled with the machine: nginx's clock is not.
                async with connect(url, ssl=trust(edge), local_addr=(own_address(), 0), open_timeout=60) as raw:
                    return str(await raw.recv())

            opened = await asyncio.gather(*(open_socket() for _ in range(6)))
        assert all(each.startswith('0{"sid":') for each in opened), opened
        assert "upstream timed out" in (tmp_path / "nginx.log").read_text()
    finally:
        os.killpg(stopped.process.pid, signal.SIGCONT)
        stop_server(stopped)


@pytest.mark.parametrize(("method", "is_repeated"), [("GET", True), ("POST", False), ("PATCH", False)])
async def test_only_repeatable_request_goes_to_next_host(
    server: Server, tmp_path: Path, method: str, is_repeated: bool
) -> None:
    """A host that ends after it has received a request may have done what was asked."""
    received = []

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    ending = await asyncio.start_server(end, "127.0.0.1")
    port = ending.sockets[0].getsockname()[1]
    with nginx(tmp_path, f"127.0.0.1:{port}", address_of(server)) as edge:
        async with client_of(edge) as http:
            body: dict[str, str] | None = None if method == "GET" else {}
            answers = [await http.request(method, "/users/me", json=body) for _ in range(2)]
    ending.close()
    assert len(received) >= 1
    statuses = sorted(answer.status_code for answer in answers)
    reached = 405 if method == "POST" else 401
    assert statuses == ([reached] * 2 if is_repeated else [reached, 503])
