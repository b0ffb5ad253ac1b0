"""A web process that is suspended (SIGSTOP) for longer than it takes to be declared dead, with a call over it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from container import Container
from testing.calls import ack_code, call, call_row
from testing.deployment import Deployment, ReconnectingClient, deployed
from testing.polling import eventually
from testing.servers import http_client, register


@pytest.fixture
def deployment(environment: dict[str, str], tmp_path: object) -> Iterator[Deployment]:
    # A grace that outlasts the suspension and the time to come back, on a slow machine too.
    with deployed({**environment}, tmp_path, grace="120s") as running:  # type: ignore[arg-type]
        yield running


class Talker:
    """A client that sends numbered candidates, repeats those that are not acknowledged, and joins again on `resync`."""

    def __init__(self, client: ReconnectingClient, room: dict[str, str]) -> None:
        self.client = client
        self.room = room
        self.acknowledged: list[str] = []

    async def send(self, text: str) -> None:
        """Send a candidate until it is acknowledged."""
        while True:
            phone = self.client.phone
            try:
                ack = await phone.send("webrtc_ice", {**self.room, "candidate": {"candidate": text}})
            except Exception:
                ack = {"ok": False, "error": {"code": "unavailable"}}
            if (code := ack_code(ack)) == "ok":
                self.acknowledged.append(text)
                return
            assert code in ("unavailable", "not_in_room"), code
            if not phone.client.connected:
                await self.client.rejoin(self.room)


async def test_call_survives_a_suspended_process(deployment: Deployment, services: Container) -> None:
    """Nothing is half-open afterwards, and nothing is lost that was acknowledged."""
    clients = []
    for at in (0, 1):
        learner = await register(http_client(deployment.servers[1].url))
        client = ReconnectingClient(learner, lambda: [server.url for server in deployment.servers])
        await client.connect(at=at)
        clients.append(client)
    one, other = clients
    room = await call(one.phone, other.phone)
    suspended = one.phone.worker
    there, here = Talker(one, room), Talker(other, room)
    await there.send("before")
    await here.send("before")
    pid = deployment.servers[0].process.pid
    os.killpg(pid, signal.SIGSTOP)
    try:
        await other.wait_for("peer_reconnecting", within=30)
        assert not await services.redis.exists(f"worker:{{match}}:{suspended}")
        for number in range(3):
            await here.send(f"while suspended {number}")
    finally:
        os.killpg(pid, signal.SIGCONT)

    async def is_back() -> bool:
        return bool(await services.redis.exists(f"worker:{{match}}:{suspended}"))

    await eventually(is_back, "the process is known again", within=30)
    # What a client does: join again on `resync`, or on a new connection.
    await eventually(
        lambda: "resync" in one.received or not one.phone.client.connected, "the client learns of it", within=30
    )
    assert await one.rejoin(room) == "ok"
    await there.send("after")
    await here.send("after")
    for talker, listener in ((here, one), (there, other)):
        await eventually(
            lambda talker=talker, listener=listener: (  # type: ignore[misc]
                set(talker.acknowledged) <= set(listener.received_candidates)
            ),
            lambda talker=talker, listener=listener: (  # type: ignore[misc]
                f"{talker.acknowledged} arrive; arrived: {listener.received_candidates}"
            ),
            within=30,
        )
        arrived = [each for each in listener.received_candidates if each in talker.acknowledged]
        assert arrived == talker.acknowledged, "out of order, or twice"
    made = await call_row(services, room["roomId"])
    assert made is not None and made.ended_at is None
    for client in clients:
        await client.close()
