"""Calls whose participant's web process is declared dead and comes back with the same socket: both directions work."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from container import Container
from testing.calls import MakePhone, Pair, ack_code, call, call_row, candidates
from testing.polling import eventually
from testing.servers import Phone


async def declare_dead(container: Container, process_id: str) -> None:
    """Drop the participants of a web process that runs, and let it find out, as when it was silent for too long."""
    async for _ in container.recovery.recover_process(process_id):
        pass
    await container.redis.zrem("workers:{match}", process_id)


async def check_both_ways(one: Phone, other: Phone, room: dict[str, str]) -> None:
    """Assert that what either acknowledged sends arrives at the other."""
    for sender, receiver in ((one, other), (other, one)):
        text = uuid.uuid4().hex

        async def is_sent(sender: Phone = sender, text: str = text) -> bool:
            code = ack_code(await sender.send("webrtc_ice", {**room, "candidate": {"candidate": text}}))
            assert code in ("ok", "unavailable"), code
            return code == "ok"

        await eventually(is_sent, "a signal is acknowledged")
        await eventually(
            lambda receiver=receiver, text=text: {"candidate": text} in candidates(receiver),  # type: ignore[misc]
            "an acknowledged signal arrives",
            within=20,
        )


async def count_joins(container: Container, room: dict[str, str], phone: Phone) -> int:
    return int(await container.redis.hget(f"{{match}}:room:{room['roomId']}:meta", f"joins:{phone.learner.id}") or 0)


@pytest.fixture
async def apart(make_phone: MakePhone) -> Pair:
    one = await make_phone()
    return one, await make_phone(apart_from=one)


@pytest.mark.parametrize("who", ["caller", "receiver", "both"])
async def test_process_declared_dead_returns_with_its_sockets(container: Container, apart: Pair, who: str) -> None:
    caller, receiver = apart
    room = await call(caller, receiver)
    declared = [phone for phone, name in ((caller, "caller"), (receiver, "receiver")) if who in (name, "both")]
    before = {phone.worker: await count_joins(container, room, phone) for phone in declared}
    for phone in declared:
        await declare_dead(container, phone.worker)
    for phone in declared:
        await phone.wait_for("resync", within=20)

        async def has_joined_again(phone: Phone = phone) -> bool:
            return await count_joins(container, room, phone) > before[phone.worker]

        await eventually(has_joined_again, "a restored participant counts a join")
    await check_both_ways(caller, receiver, room)
    # What a client does after `resync` changes nothing of it.
    for phone in declared:
        assert await phone.send("join_room", {**room, "after": 0}) == {"ok": True}
    await check_both_ways(caller, receiver, room)
    for phone in apart:
        assert not await container.redis.hexists(f"{{match}}:room:{room['roomId']}:meta", f"away:{phone.learner.id}")
    made = await call_row(container, room["roomId"])
    assert made is not None and made.ended_at is None


@pytest.mark.parametrize("lost", ["binding", "room", "count"])
async def test_lost_record_of_a_participant_is_repaired(container: Container, apart: Pair, lost: str) -> None:
    """No process is declared dead, and none notices a loss: the check of rooms finds it."""
    caller, receiver = apart
    room = await call(caller, receiver)
    meta, user_id = f"{{match}}:room:{room['roomId']}:meta", receiver.learner.id
    if lost == "binding":
        await container.redis.hdel(meta, f"socket:{user_id}")
    elif lost == "count":
        await container.redis.hset(meta, f"joins:{user_id}", "0")
    else:
        await container.redis.delete(meta, f"{{match}}:room:{room['roomId']}:users")
        for phone in apart:
            await container.redis.delete(f"{{match}}:in_room:{phone.learner.id}")

    async def is_repaired() -> bool:
        fields = [f"socket:{phone.learner.id}" for phone in apart]
        found: Any = await container.redis.hmget(meta, fields)
        return found == [phone.client.get_sid() for phone in apart] and await count_joins(container, room, receiver) > 1

    await eventually(is_repaired, "the record has both sockets", within=30)
    await check_both_ways(caller, receiver, room)
    assert await caller.send("end_call", room) == {"ok": True}
    assert await receiver.wait_for("peer_left") == {"reason": "ended"}
