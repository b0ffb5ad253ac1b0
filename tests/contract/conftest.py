"""What tests of the Socket.IO contract share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testing.servers import Server


@pytest.fixture
def quiet_log(server: Server) -> Iterator[None]:
    """Assert that the test leaves no traceback in the server's log, but for the one that uvicorn writes by itself."""
    start = server.log.stat().st_size
    yield
    with server.log.open("rb") as log:
        log.seek(start)
        written = log.read().decode(errors="replace")
    by_uvicorn = written.count("Invalid UTF-8 sequence received from client.")
    assert written.count("Traceback") == written.count(" ERROR ") == by_uvicorn, written[-6000:]
