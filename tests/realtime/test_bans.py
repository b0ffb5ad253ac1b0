"""Bans on a running server of two processes take effect within a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import socketio
import socketio.exceptions

from container import Container
from testing.accounts import make_admin
from testing.databases import value
from testing.polling import eventually
from testing.servers import PASSWORD, Learner, Phone, Server, address, http_client
from testing.time_limits import limit

MakePhone = Callable[..., Awaitable[Phone]]
#: Seconds that are promised, and what this machine may take on top of it.
WITHIN = 1.0
SLACK = 1.0
CLOSED_BY_SERVER = socketio.AsyncClient.reason.SERVER_DISCONNECT


@pytest.fixture
async def admin(server: Server, container: Container) -> AsyncIterator[Learner]:
    async with http_client(server.url) as http:
        yield await make_admin(container, http)


async def ban(admin: Learner, banned: Learner) -> None:
    answer = await admin.http.patch(f"/admin/users/{banned.id}/ban", json={"reason": "Spam."})
    assert answer.status_code == 204, answer.text


async def wait_disconnected(*phones: Phone) -> None:
    async def all_disconnected() -> bool:
        return not any(phone.client.connected for phone in phones)

    await eventually(all_disconnected, "the sockets are cut", within=WITHIN + SLACK)


def watch_reasons(phone: Phone) -> list[str]:
    """Keep the reasons for which a socket ends."""
    reasons: list[str] = []
    phone.client.on("disconnect", reasons.append)
    return reasons


async def call_between(ada: Phone, bob: Phone) -> dict[str, str]:
    """Bring two into a call; answer its room."""
    topic = f"bans {ada.learner.username}"
    await ada.send("find_partner", {"topic": topic})
    await bob.send("find_partner", {"topic": topic})
    room = {"roomId": (await ada.wait_for("match_found"))["roomId"]}
    await bob.wait_for("match_found")
    await ada.send("join_room", room)
    await bob.send("join_room", room)
    await ada.wait_for("peer_joined", count=2)
    return room


async def handshake(url: str, token: str) -> str:
    """Try to connect; answer with what it was refused."""
    client = socketio.AsyncClient(reconnection=False)
    refusals: list[str] = []
    client.on("connect_error", lambda reason: refusals.append(reason["message"]))
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(url, auth={"token": token}, transports=["websocket"], wait_timeout=limit(10))
    return refusals[0]


async def test_ban_removes_the_search(make_phone: MakePhone, admin: Learner, container: Container) -> None:
    bob = await make_phone()
    topic = f"lonely {bob.learner.username}"
    assert await bob.send("find_partner", {"topic": topic}) == {"ok": True}
    await bob.wait_for("searching")
    await ban(admin, bob.learner)
    await wait_disconnected(bob)

    async def gone() -> bool:
        return not await container.redis.exists(f"{{match}}:searching:{bob.learner.id}")

    await eventually(gone, "the search is gone", within=SLACK)
    assert await container.redis.zscore("{match}:queue:18_plus:all", bob.learner.id) is None
    assert await container.redis.zscore(f"{{match}}:queue:18_plus:all:{topic}", bob.learner.id) is None
    carol = await make_phone()
    assert await carol.send("find_partner", {"topic": topic}) == {"ok": True}
    await carol.wait_for("searching")
    assert not [name for name, _ in carol.received if name == "match_found"]
    await carol.send("cancel_search")


@pytest.mark.parametrize("same_worker", [True, False])
async def test_ban_ends_the_call_with_its_reason(
    make_phone: MakePhone, admin: Learner, container: Container, same_worker: bool
) -> None:
    ada = await make_phone()
    bob = await make_phone(**{"together_with" if same_worker else "apart_from": ada})
    room = await call_between(ada, bob)
    await ban(admin, bob.learner)
    assert await ada.wait_for("peer_left", within=WITHIN + SLACK) == {"reason": "banned"}
    await wait_disconnected(bob)
    assert ada.client.connected
    row = "SELECT {} FROM call_sessions WHERE room_id = :r"
    assert await value(container, row.format("ended_at IS NOT NULL"), r=room["roomId"])
    (call,) = (await ada.learner.http.get("/sessions")).json()["items"]
    assert call["endedBy"] == "partner"
    assert (await ada.send("webrtc_ice", {**room, "candidate": None}))["error"]["code"] == "room_closed"
    assert not await container.redis.exists(
        f"{{match}}:in_room:{ada.learner.id}", f"{{match}}:in_room:{bob.learner.id}"
    )
    # The partner may search again at once.
    assert await ada.send("find_partner", {"topic": f"next {ada.learner.username}"}) == {"ok": True}
    await ada.send("cancel_search")


async def test_ban_before_both_joined_frees_the_partner(
    make_phone: MakePhone, admin: Learner, container: Container
) -> None:
    ada = await make_phone()
    bob = await make_phone(apart_from=ada)
    topic = f"almost {ada.learner.username}"
    await ada.send("find_partner", {"topic": topic})
    await bob.send("find_partner", {"topic": topic})
    await bob.wait_for("match_found")
    await ban(admin, bob.learner)
    await ada.wait_for("partner_cancelled", within=WITHIN + SLACK)
    sessions = await value(container, "SELECT total_sessions FROM profiles WHERE user_id = :i", i=ada.learner.id)
    assert sessions == 0
    await ada.wait_for("searching", count=2)
    await ada.send("cancel_search")


async def test_ban_takes_effect_everywhere_within_a_second(
    server: Server, make_phone: MakePhone, admin: Learner
) -> None:
    first = await make_phone()
    bob = first.learner
    second = await make_phone(learner=bob, apart_from=first)
    third = await make_phone(learner=bob)
    bystander = await make_phone()
    # Machines that are short of time miss heartbeats, and a socket that is lost by that is not closed by the ban.
    reasons = [watch_reasons(phone) for phone in (first, second, third, bystander)]
    bearer = {"Authorization": f"Bearer {bob.access_token}"}
    # Connections that stay open, on both workers: each is asked again and again until it refuses.
    clients = [http_client(server.url, headers=bearer) for _ in range(12)]
    try:
        answers = await asyncio.gather(*(client.get("/users/me") for client in clients))
        assert {answer.status_code for answer in answers} == {200}
        await ban(admin, bob)
        banned_at = time.monotonic()

        async def refused_after(client: httpx.AsyncClient) -> float:
            async def refusal() -> httpx.Response | None:
                answer = await client.get("/users/me")
                return answer if answer.status_code != 200 else None

            answer = await eventually(refusal, "the token is refused", within=5)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            return time.monotonic() - banned_at

        slowest = max(await asyncio.gather(*(refused_after(client) for client in clients)))
        assert slowest < limit(WITHIN), f"the slowest worker took {slowest:.2f} s"
        await wait_disconnected(first, second, third)
        for client in clients:
            assert (await client.get("/users/me")).status_code == 401
    finally:
        for client in clients:
            await client.aclose()
    *of_banned, of_bystander = reasons
    assert of_banned == [[CLOSED_BY_SERVER]] * 3 and CLOSED_BY_SERVER not in of_bystander
    assert bystander.client.connected or of_bystander, "its socket is gone without a reason"
    assert (await make_phone(learner=bystander.learner)).client.connected
    assert (await bystander.learner.http.get("/users/me")).status_code == 200

    login = {"email": bob.email, "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
    async with http_client(server.url, headers={"X-Forwarded-For": address()}) as http:
        answer = await http.post("/auth/login", json=login)
        assert (answer.status_code, answer.json()["code"]) == (403, "account_banned")
        answer = await http.post("/auth/refresh", json={"refreshToken": bob.refresh_token})
        assert answer.status_code == 401
    for _ in range(4):  # on any web process
        assert await handshake(server.url, bob.access_token) == "banned"


async def test_ban_closes_sockets_that_connect_meanwhile(server: Server, make_phone: MakePhone, admin: Learner) -> None:
    bob = (await make_phone()).learner
    clients = [socketio.AsyncClient(reconnection=False) for _ in range(8)]

    async def connect(client: socketio.AsyncClient, after: float) -> None:
        await asyncio.sleep(after)
        try:
            await client.connect(
                server.url, auth={"token": bob.access_token}, transports=["websocket"], wait_timeout=limit(1)
            )
        except socketio.exceptions.ConnectionError:
            assert not client.connected

    await asyncio.gather(ban(admin, bob), *(connect(client, 0.01 * at) for at, client in enumerate(clients)))

    async def all_disconnected() -> bool:
        return not any(client.connected for client in clients)

    await eventually(all_disconnected, "no socket of the banned stays", within=WITHIN + SLACK)
