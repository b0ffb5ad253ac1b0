"""Suspensions on a running server take effect within a second, and end by PostgreSQL's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import socketio
import socketio.exceptions

from container import Container
from testing.accounts import make_admin
from testing.databases import query
from testing.polling import eventually
from testing.sanctions import SUSPENSION, issue
from testing.servers import Learner, Phone, Server, http_client
from testing.time_limits import limit

MakePhone = Callable[..., Awaitable[Phone]]


@pytest.fixture
async def admin(server: Server, container: Container) -> AsyncIterator[Learner]:
    async with http_client(server.url) as http:
        yield await make_admin(container, http)


async def read_refusal(url: str, token: str) -> dict[str, Any]:
    """Try to connect; answer with the refusal of the handshake."""
    client = socketio.AsyncClient(reconnection=False)
    refusals: list[dict[str, Any]] = []
    client.on("connect_error", refusals.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(url, auth={"token": token}, transports=["websocket"], wait_timeout=limit(10))
    return refusals[0]


async def test_suspension_ends_sockets_and_calls(
    server: Server, make_phone: MakePhone, admin: Learner, container: Container
) -> None:
    ada, bob = await make_phone(), await make_phone()
    topic = f"suspended {ada.learner.username}"
    await ada.send("find_partner", {"topic": topic})
    await bob.send("find_partner", {"topic": topic})
    room = {"roomId": (await ada.wait_for("match_found"))["roomId"]}
    await bob.wait_for("match_found")
    await ada.send("join_room", room)
    await bob.send("join_room", room)
    await ada.wait_for("peer_joined", count=2)
    sanction = await issue(admin, bob.learner.id, SUSPENSION)
    # The partner does not read what happened to the account.
    assert await ada.wait_for("peer_left", within=2) == {"reason": "disconnected"}

    async def disconnected() -> bool:
        return not bob.client.connected

    await eventually(disconnected, "the socket is closed", within=2)
    refusal = await read_refusal(server.url, bob.learner.access_token)
    assert refusal == {
        "message": "account_suspended",
        "data": {"ground": "spam", "until": sanction["endsAt"]},
    }


async def test_find_is_refused_while_suspended(make_phone: MakePhone, container: Container) -> None:
    """A socket that was not closed yet, as with a web process that is cut off, gets no partner."""
    ada = await make_phone()
    statement = "UPDATE users SET suspended_until = now() + interval '{}' WHERE id = :u"
    await query(container, statement.format("1 day"), u=ada.learner.id)
    refused = await ada.send("find_partner", {"topic": f"alone {ada.learner.username}"})
    assert refused["error"]["code"] == "account_suspended"
    await query(container, statement.format("-1 second"), u=ada.learner.id)
    assert await ada.send("find_partner", {"topic": f"alone {ada.learner.username}"}) == {"ok": True}
    await ada.send("cancel_search")
