"""Invitations under faults: processes that die with one, a Redis that loses its data, connections that break."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from container import Container
from testing.calls import ack_code
from testing.databases import query, rows
from testing.deployment import Deployment, ReconnectingClient, deployed
from testing.invitations import list_calls, make_partners, read_state
from testing.polling import eventually
from tests.realtime.conftest import MakeClient


@pytest.fixture(scope="module")
def deployment(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(environment, tmp_path_factory.mktemp("invitations")) as running:
        yield running


@pytest.fixture
async def pair(make_client: MakeClient, services: Container) -> tuple[ReconnectingClient, ReconnectingClient]:
    """Two partners, of whom the first is on the server that the tests kill."""
    ada, ben = await make_client(at=0), await make_client(at=1)
    await make_partners(services, ada.learner, ben.learner)
    return ada, ben


async def invite(ada: ReconnectingClient, ben: ReconnectingClient) -> str:
    ack = await ada.phone.send("invite_partner", {"userId": ben.learner.id})
    assert ack["ok"], ack
    await ben.wait_for("invitation")
    return str(ack["invitationId"])


async def accept(client: ReconnectingClient, invitation: str) -> str:
    """Accept until it is answered by something else than an outage; return the code."""
    codes: list[str] = []

    async def is_answered() -> bool:
        ack = await client.phone.send("answer_invitation", {"invitationId": invitation, "isAccepted": True})
        codes.append(ack_code(ack))
        return codes[-1] != "unavailable"

    await eventually(is_answered, lambda: f"answers: {codes}")
    return codes[-1]


def read_matches(client: ReconnectingClient) -> list[Any]:
    return [payload for phone in client.phones for name, payload in phone.received if name == "match_found"]


async def check_room(ada: ReconnectingClient, ben: ReconnectingClient, services: Container) -> None:
    """Assert that both are in one room, and end the call."""
    for client in (ada, ben):
        await client.wait_for("match_found")
    room = {"roomId": read_matches(ada)[-1]["roomId"]}
    assert room["roomId"] == read_matches(ben)[-1]["roomId"]
    for client in (ada, ben):
        assert await client.rejoin(room) == "ok"
    await ada.wait_for("peer_joined")
    assert ack_code(await ada.phone.send("end_call", room)) == "ok"
    assert [each.room_id for each in await list_calls(services, ada.learner.id)] == [room["roomId"]]


async def test_inviter_of_a_killed_process_gets_the_room_elsewhere(
    deployment: Deployment, pair: tuple[ReconnectingClient, ReconnectingClient], services: Container
) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    deployment.kill(0)
    try:
        await ada.connect(at=1)
        assert await accept(ben, invitation) == "ok"
        await check_room(ada, ben, services)
    finally:
        deployment.start(0)


async def test_invitation_of_a_killed_process_ends(
    deployment: Deployment, pair: tuple[ReconnectingClient, ReconnectingClient], services: Container
) -> None:
    """The inviter does not come back: the invitee is informed before the invitation would expire."""
    ada, ben = pair
    invitation = await invite(ada, ben)
    deployment.kill(0)
    try:
        await ben.wait_for("invitation_over", within=30)
        assert await read_state(services, invitation) == "cancelled"
    finally:
        deployment.start(0)


async def test_match_of_an_invitee_whose_process_is_killed_ends(
    deployment: Deployment, make_client: MakeClient, services: Container
) -> None:
    ben, ada = await make_client(at=0), await make_client(at=1)
    await make_partners(services, ada.learner, ben.learner)
    invitation = await invite(ada, ben)
    assert await accept(ben, invitation) == "ok"
    await ada.wait_for("match_found")
    deployment.kill(0)
    try:
        await ada.wait_for("partner_cancelled", within=30)

        async def is_free() -> bool:
            keys = [f"{{match}}:in_room:{each.learner.id}" for each in (ada, ben)]
            return not await services.redis.exists(*keys)

        await eventually(is_free, "neither is in a room")
        assert "searching" not in ada.received
        [found] = await list_calls(services, ada.learner.id)
        assert found.ended_at is not None and found.connected_at is None
    finally:
        deployment.start(0)


@pytest.mark.parametrize("fault", ["FLUSHALL", "Redis restarted", "connections to PostgreSQL broken"])
async def test_open_invitation_survives_a_store(
    deployment: Deployment, pair: tuple[ReconnectingClient, ReconnectingClient], services: Container, fault: str
) -> None:
    ada, ben = pair
    invitation = await invite(ada, ben)
    if fault == "FLUSHALL":
        await services.redis.flushall()

        async def is_restored() -> bool:
            return await services.redis.zscore("{match}:due", f"invite:{invitation}") is not None

        await eventually(is_restored, "the deadline is set again")
    elif fault == "Redis restarted":
        deployment.restart_redis()
    else:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        await query(services, f"{others} AND pid <> pg_backend_pid()")
    assert await accept(ben, invitation) == "ok"
    await check_room(ada, ben, services)


@pytest.mark.parametrize("event", ["cancel_invitation", "answer_invitation"])
async def test_end_reaches_sockets_that_redis_has_lost(
    deployment: Deployment, pair: tuple[ReconnectingClient, ReconnectingClient], services: Container, event: str
) -> None:
    """Ended before the web processes have recorded their sockets again: nobody rings on."""
    ada, ben = pair
    invitation = await invite(ada, ben)
    await services.redis.flushall()
    if event == "cancel_invitation":
        ack = await ada.phone.send(event, {"invitationId": invitation})
    else:
        ack = await ben.phone.send(event, {"invitationId": invitation, "isAccepted": False})
    assert ack_code(ack) == "ok"
    for client in (ada, ben):
        await client.wait_for("invitation_over", within=20)


async def test_expiry_survives_the_loss_of_all_data(
    deployment: Deployment, pair: tuple[ReconnectingClient, ReconnectingClient], services: Container
) -> None:
    """FLUSHALL, and the process of the inviter killed: another one ends the invitation when its time is over."""
    ada, ben = pair
    invitation = await invite(ada, ben)
    # Soon: what restores the deadline reads it.
    sooner = "UPDATE invitations SET expires_at = now() + interval '3 seconds' WHERE id = :id"
    await query(services, sooner, id=uuid.UUID(invitation))
    await services.redis.flushall()
    for client in (ada, ben):
        await client.wait_for("invitation_over", within=20)
    assert await read_state(services, invitation) == "expired"
    assert await rows(services, "SELECT 1 FROM call_sessions WHERE user_a_id = :u", u=uuid.UUID(ada.learner.id)) == []
