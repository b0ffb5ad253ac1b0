"""Presence of partners, over sockets on two web processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from adapters.redis_pipeline import RedisPipeline
from container import Container
from services.calls.rooms import LUA_DIRECTORY
from services.people.presence import PresenceService
from settings import Settings
from testing.call_history import add_call
from testing.calls import call
from testing.people import make_partners
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import Learner, Phone

MakePhone = Callable[..., Awaitable[Phone]]


async def read_presence(reader: Learner) -> Any:
    (partner,) = (await reader.http.get("/partners")).json()["items"]
    return partner["presence"]


async def test_presence_follows_sockets_and_calls(make_phone: MakePhone, container: Container) -> None:
    ada = await make_phone()
    bob = await make_phone(apart_from=ada)
    await add_call(container, ada.learner, bob.learner)
    await make_partners(ada.learner, bob.learner)
    assert await read_presence(ada.learner) is None, "it is not shared yet"
    await bob.learner.http.patch("/users/me", json={"sharesPresence": True})
    assert await read_presence(bob.learner) is None, "to share is not to see"

    async def is_(presence: str) -> bool:
        return bool(await read_presence(ada.learner) == presence)

    await eventually(lambda: is_("online"))
    room = await call(ada, bob)
    await eventually(lambda: is_("in_call"))
    assert await bob.send("end_call", room) == {"ok": True}
    await eventually(lambda: is_("online"))
    await bob.client.disconnect()
    await eventually(lambda: is_("offline"))
    await bob.learner.http.patch("/users/me", json={"sharesPresence": False})
    assert await read_presence(ada.learner) is None


async def test_sockets_of_a_dead_process_are_offline(container: Container) -> None:
    """A process that was killed has not removed its sockets."""
    user_id = "5b2d9c3e-0d0f-4d0a-9f2e-3a4b5c6d7e8f"
    await container.redis.zadd(f"user:{{match}}:{user_id}:sockets", {"gone0000.1": 1})
    found = await PresenceService(container.scripts).read([user_id])
    assert found == {user_id: "offline"}
    await container.redis.delete(f"user:{{match}}:{user_id}:sockets")


async def test_presence_is_unknown_without_redis(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_host": "127.0.0.1", "redis_port": free_port(), "redis_url": None})
    pipeline = RedisPipeline(nowhere, LUA_DIRECTORY)
    assert await PresenceService(pipeline).read(["5b2d9c3e-0d0f-4d0a-9f2e-3a4b5c6d7e8f"]) == {}
    await pipeline.close()
