"""Calls and searches go on while Sentinels make another Redis the primary: by choice, and after a death."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from container import Container
from testing.calls import Room, call, call_row, ended_call_row
from testing.containers import load_settings
from testing.databases import own_database
from testing.deployment import ReconnectingClient
from testing.polling import eventually
from testing.redis_servers import nodes, running_sentinels, running_servers
from testing.servers import http_client, register, start_servers


async def relayed(sender: ReconnectingClient, receiver: ReconnectingClient, room: Room, text: str) -> bool:
    """Send a candidate until it is accepted; say whether it arrived."""
    if text not in receiver.received_candidates:
        await sender.phone.send("webrtc_ice", {**room, "candidate": {"candidate": text}})
        await asyncio.sleep(0)
    return text in receiver.received_candidates


async def test_calls_and_searches_survive_switches_of_redis(environment: dict[str, str], tmp_path: Path) -> None:
    """Partners are on two hosts, whose bus is Redis."""
    async with AsyncExitStack() as stack:
        pair = stack.enter_context(running_servers(tmp_path / "pair", 2, "--repl-diskless-sync-delay", "0"))
        pair[1].follow(pair[0])
        sentinels = stack.enter_context(running_sentinels(tmp_path, pair[0], "parlance"))
        own = stack.enter_context(own_database(load_settings(environment)))
        variables = {
            **environment,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(pair[0].port),
            "REDIS_URL": f"redis+sentinel://{nodes(sentinels)}/parlance",
            "DB_NAME": own.db_name,
        }
        hosts = [{**variables, "BUS_DIRECTORY": str(tmp_path / f"bus-{number}")} for number in range(2)]
        servers = stack.enter_context(start_servers(hosts, tmp_path))
        services = Container(load_settings(variables))
        stack.push_async_callback(services.close)
        clients = []
        for number in range(4):
            learner = await register(http_client(servers[number % 2].url))
            client = ReconnectingClient(learner, lambda: [server.url for server in servers])
            stack.push_async_callback(client.close)
            await client.connect(at=number % 2)
            clients.append(client)
        ada, bob, carol, dave = clients
        room = await call(ada.phone, bob.phone)
        assert await carol.phone.send("find_partner", {"level": "beginner"}) == {"ok": True}
        await carol.wait_for("searching")

        async def goes_on(label: str) -> None:
            await eventually(lambda: relayed(ada, bob, room, f"to bob {label}"), within=60)
            await eventually(lambda: relayed(bob, ada, room, f"to ada {label}"), within=60)
            row = await call_row(services, room["roomId"])
            assert row is not None and row.ended_at is None

        await goes_on("before")
        sentinels[0].client.execute_command("SENTINEL", "FAILOVER", "parlance")
        await eventually(lambda: pair[1].get_role() == "master", within=60)
        await goes_on("after a planned switch")
        await eventually(lambda: pair[0].client.info("replication").get("master_link_status") == "up", within=60)
        pair[1].kill()
        await eventually(lambda: pair[0].get_role() == "master", within=60)
        await goes_on("after a death")

        async def finds() -> bool:
            if "match_found" not in dave.received:
                await dave.phone.send("find_partner", {"level": "beginner"})
            return "match_found" in dave.received and "match_found" in carol.received

        await eventually(finds, within=60)
        for client in (ada, bob):
            assert not {"peer_left", "peer_reconnecting"} & set(client.received)
            assert client.phone.client.connected and len(client.phones) == 1
        assert await ada.phone.send("end_call", room) == {"ok": True}
        row = await ended_call_row(services, room["roomId"])
        assert row.connected_at is not None and row.ended_by is not None
