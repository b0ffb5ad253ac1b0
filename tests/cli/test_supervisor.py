"""Web processes of one `parlance serve` while a store is unavailable: the death of one does not end the others."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import socketio

from cli.migrations import upgrade_to_head
from devtools.embedded import EmbeddedServices
from testing.containers import load_settings
from testing.polling import eventually
from testing.servers import Learner, Phone, Server, dial, http_client, register, start_server, stop_server
from testing.time_limits import limit

FAILED, STARTED = "web_process_start_failed", "Application startup complete"


def web_process_ids(parent: int) -> set[int]:
    """Return the ids of a server's web processes; another child of it tracks what they share."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()}


@contextmanager
def serving(environment: dict[str, str], directory: Path) -> Iterator[Server]:
    server = start_server(environment, directory / "server.log", workers=2)
    try:
        yield server
    finally:
        stop_server(server)


def count_in_log(server: Server, event: str) -> int:
    """Count the lines with an event; fail where the server has ended."""
    text = server.log.read_text()
    assert server.process.poll() is None, text
    return text.count(event)


async def dial_each(server: Server, learner: Learner) -> list[Phone]:
    """Connect a socket to each of two web processes."""
    phones: dict[str, Phone] = {}

    async def has_both() -> bool:
        try:
            phone = await dial(server.url, learner)
        except socketio.exceptions.ConnectionError:  # a process that is not ready again
            return False
        if phone is not phones.setdefault(phone.worker, phone):
            await phone.client.disconnect()
        return len(phones) == 2

    await eventually(has_both, lambda: f"sockets on {list(phones)}", within=60)
    return list(phones.values())


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedServices]:
    service = EmbeddedServices(tmp_path / "valkey", only=("valkey",))
    yield service
    service.stop()


async def test_killed_process_is_replaced_when_redis_is_back(
    environment: dict[str, str], valkey: EmbeddedServices, tmp_path: Path
) -> None:
    variables = {**environment, **valkey.start()}
    with serving(variables, tmp_path) as server:
        async with http_client(server.url) as http:
            learner = await register(http)
            phones = await dial_each(server, learner)
            valkey.stop()
            os.kill(min(web_process_ids(server.process.pid)), signal.SIGKILL)
            await eventually(lambda: any(not phone.client.connected for phone in phones), "the killed process's socket")
            # The second attempt follows the first, and neither ends what is left.
            await eventually(lambda: count_in_log(server, FAILED) >= 2, server.log.read_text, within=60)
            assert (await http.get("/health")).status_code == 200
            assert (await http.get("/ready")).status_code == 503
            [left] = [phone for phone in phones if phone.client.connected]
            assert (await left.send("find_partner", {}))["error"]["code"] == "unavailable"

            valkey.start()
            both = await dial_each(server, learner)
            assert left.worker in {phone.worker for phone in both}
            assert left.client.connected
            for phone in (left, *both):
                await phone.client.disconnect()
            os.kill(server.process.pid, signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, limit(20)) == 0


async def test_killed_process_is_replaced_without_postgresql(environment: dict[str, str], tmp_path: Path) -> None:
    """A web process starts without PostgreSQL: it answers 503 to what needs it."""
    postgres = EmbeddedServices(tmp_path / "postgres", durable=False, only=("postgres",))
    variables = {**environment, **postgres.start()}
    upgrade_to_head(load_settings(variables))
    try:
        with serving(variables, tmp_path) as server:
            async with http_client(server.url) as http:
                learner = await register(http)
                phones = await dial_each(server, learner)
                postgres.stop()
                before = web_process_ids(server.process.pid)
                os.kill(min(before), signal.SIGKILL)
                count = count_in_log(server, STARTED)
                await eventually(lambda: count_in_log(server, STARTED) > count, server.log.read_text, within=60)
                assert len(web_process_ids(server.process.pid)) == 2
                assert {(await http.get("/health")).status_code for _ in range(8)} == {200}
                assert (await http.get("/users/me")).status_code == 503
                assert sum(phone.client.connected for phone in phones) == 1
                postgres.start()
                for phone in (*phones, *await dial_each(server, learner)):
                    await phone.client.disconnect()
    finally:
        postgres.stop()


async def test_stop_during_pause_ends_the_server(
    environment: dict[str, str], valkey: EmbeddedServices, tmp_path: Path
) -> None:
    with serving({**environment, **valkey.start()}, tmp_path) as server:
        valkey.stop()
        os.kill(min(web_process_ids(server.process.pid)), signal.SIGKILL)
        await eventually(lambda: count_in_log(server, FAILED), server.log.read_text, within=60)
        os.kill(server.process.pid, signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, limit(20)) == 0
