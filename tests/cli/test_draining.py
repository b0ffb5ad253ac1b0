"""The end of `parlance serve` on SIGTERM: not ready, still answering, then no listener before the last answer."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from uvicorn import Config, Server

from cli import draining
from testing.polling import eventually
from testing.servers import Server as RunningServer
from testing.servers import start_server, stop_server
from testing.time_limits import limit

#: A request that is refused with 400, and that no proxy may send twice.
POST = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@contextmanager
def serving(environment: dict[str, str], directory: Path, *, delay: str, workers: int) -> Iterator[RunningServer]:
    server = start_server({**environment, "SHUTDOWN_DELAY": delay}, directory / "server.log", workers=workers)
    try:
        yield server
    finally:
        stop_server(server)


async def has_stopped_listening(server: RunningServer) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@pytest.mark.parametrize("workers", [1, 2])
async def test_stopping_server_answers_until_its_delay_is_over(
    environment: dict[str, str], tmp_path: Path, workers: int
) -> None:
    """The delay is too long to end here; SIGINT ends it, as Ctrl-C does."""
    with serving(environment, tmp_path, delay="5m", workers=workers) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=limit(10)) as kept:
            assert "Connection" not in (await kept.get("/health")).headers
            assert (await kept.get("/ready")).status_code == 200
            os.killpg(server.process.pid, signal.SIGTERM)

            async def refusal() -> httpx.Response | None:
                async with httpx.AsyncClient(base_url=server.url, timeout=limit(10)) as new:
                    answer = await new.get("/ready")
                return answer if answer.status_code == 503 else None

            # Each process has its own signal; with two, both are asked in turn.
            refused = [await eventually(refusal) for _ in range(8)]
            assert {each.json()["detail"] for each in refused} == {"this server is about to stop"}
            assert all("Retry-After" in each.headers for each in refused)
            for path in ("/health", "/users/me", "/nowhere"):
                answer = await kept.get(path)
                assert answer.status_code in (200, 401, 404) and answer.headers["Connection"] == "close", path
        # A group and a parent both send one: a second signal changes nothing.
        os.killpg(server.process.pid, signal.SIGTERM)
        assert await eventually(refusal)
        assert server.process.poll() is None
        os.killpg(server.process.pid, signal.SIGINT)
        await asyncio.to_thread(server.process.wait, limit(20))


async def test_stopping_server_ends_when_its_delay_is_over(environment: dict[str, str], tmp_path: Path) -> None:
    with serving(environment, tmp_path, delay="2s", workers=2) as server:
        started = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        await asyncio.to_thread(server.process.wait, limit(30))
        assert time.monotonic() - started >= 2


async def test_nothing_listens_while_last_requests_are_answered(environment: dict[str, str], tmp_path: Path) -> None:
    """A proxy has to be refused: what it sent to a listener that nobody reads would be lost with the process."""
    with serving(environment, tmp_path, delay="0s", workers=2) as server:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = ["POST /auth/login HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 2"]
        writer.write("\r\n".join([*head, "Expect: 100-continue", "", ""]).encode())
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        os.kill(server.process.pid, signal.SIGTERM)
        await eventually(lambda: has_stopped_listening(server))
        assert server.process.poll() is None, "the server ended before it stopped listening"
        writer.write(b"{}")
        assert b"connection: close" in (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.close()
        await asyncio.to_thread(server.process.wait, limit(20))


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_request_is_lost_when_the_listener_closes(
    environment: dict[str, str], tmp_path: Path, workers: int
) -> None:
    """Those of connections that wait to be accepted, that are new, and that are kept; a POST cannot be repeated.

    The processes are suspended while these requests are sent, as an event loop is that is busy at that moment.
    """
    delay = 4.0
    with serving(environment, tmp_path, delay=f"{delay:g}s", workers=workers) as server:
        kept = [connect(server) for _ in range(4)]
        for each in kept:
            each.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.to_thread(each.recv, 4096)
        os.kill(server.process.pid, signal.SIGTERM)
        log = tmp_path / "server.log"
        await eventually(lambda: log.read_text().count("server_stopping") == workers)
        over, new = time.monotonic() + delay, [connect(server) for _ in range(4)]
        async with httpx.AsyncClient(base_url=server.url, timeout=limit(10)) as http:
            await http.get("/health")  # by now the new ones are accepted
        os.killpg(server.process.pid, signal.SIGSTOP)
        try:
            waiting = [connect(server) for _ in range(32)]
            for each in (*kept, *new, *waiting):
                each.sendall(POST)
            await asyncio.sleep(over - time.monotonic())
        finally:
            os.killpg(server.process.pid, signal.SIGCONT)
        answers = {}
        for name, connections in (("kept", kept), ("new", new), ("waiting", waiting)):
            answers[name] = [await asyncio.to_thread(read_all, each) for each in connections]
        for name, texts in answers.items():
            assert all(b"HTTP/1.1 400 " in text and b"connection: close" in text.lower() for text in texts), name
        await asyncio.to_thread(server.process.wait, limit(20))


async def test_connections_without_a_request_do_not_hold_up_the_end(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Quiet ones, one in whose head its client stops, and one that would become a session of a process that ends."""
    log = tmp_path / "server.log"
    with serving(environment, tmp_path, delay="0s", workers=1) as server:
        quiet, halting, late = connect(server), connect(server), connect(server)
        halting.sendall(b"GET /health HTTP/1.1\r\nHo")
        async with httpx.AsyncClient(base_url=server.url, timeout=limit(10)) as http:
            assert (await http.get("/health")).status_code == 200  # by now the three are accepted
        os.kill(server.process.pid, signal.SIGTERM)
        await eventually(lambda: "Shutting down" in log.read_text())
        late.sendall(HANDSHAKE)
        assert [await asyncio.to_thread(read_all, each) for each in (quiet, halting, late)] == [b""] * 3
        await asyncio.to_thread(server.process.wait, limit(20))
    assert "timeout graceful shutdown exceeded" not in log.read_text()


async def test_stop_goes_on_after_a_failure_at_the_listeners(caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGTERM)
    server = Server(Config(app="none"))
    server.servers = [None]  # type: ignore[list-item]
    signal.signal(signal.SIGTERM, server.handle_exit)
    try:
        draining.stop_gracefully(SimpleNamespace(stopping=asyncio.Event()), timedelta(0))  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: server.should_exit)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
    assert "listeners_not_closed" in caplog.text


def test_connections_accepted_before_a_failure_are_kept() -> None:
    """As where the process may open no more files."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):

        class Listener:
            accepted = 0

            def setblocking(self, is_blocking: bool) -> None:
                listener.setblocking(is_blocking)

            def accept(self) -> Any:
                self.accepted += 1
                if self.accepted > 1:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return listener.accept()

        (accepted,) = draining.accept_all(Listener())  # type: ignore[arg-type]
        accepted.close()


def connect(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=limit(10))


def read_all(connection: socket.socket) -> bytes:
    """Return all that arrives until the other side closes; what arrived until then where it resets the connection."""
    received = b""
    with connection:
        try:
            while piece := connection.recv(4096):
                received += piece
        except ConnectionResetError:
            received += b"(reset)"
    return received
