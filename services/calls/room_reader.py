"""Reads of the queue and the rooms in Redis; services/calls/rooms.py describes the keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import get_args

import orjson

from adapters.redis_pipeline import RedisPipeline
from models import AgeBand, Level
from services.calls.room_state import Binding, QueueEntry, RoomRecord

#: The levels of a conversation, each with its queue.
LEVELS: tuple[Level, ...] = get_args(Level)
#: Rooms or queues that are read at once.
READ_BATCH_SIZE = 200


class RoomReader:
    def __init__(self, pipeline: RedisPipeline) -> None:
        self._pipeline = pipeline

    async def read_record(self, room_id: str, user_id: str, peer_id: str) -> RoomRecord | None:
        """Read what Redis has of a room for one participant; None where the room is not there."""
        each_user = (f"{of}:{user}" for user in (user_id, peer_id) for of in ("socket", "joins"))
        found, connected, mine, joins, peers, peer_joins = await self._pipeline.execute(
            "HMGET", f"{{match}}:room:{room_id}:meta", "sessionId", "connected", *each_user, idempotent=True
        )
        if found is None:
            return None
        return RoomRecord(connected is not None, mine or "", int(joins or 0), peers or "", int(peer_joins or 0))

    async def read_grace(self, room_id: str, user_id: str) -> timedelta:
        """Read how long an absent participant still has to come back; nothing where they are not absent."""
        at_ms = await self._pipeline.execute(
            "HGET", f"{{match}}:room:{room_id}:meta", f"away:{user_id}", idempotent=True
        )
        return timedelta(milliseconds=max(0, int(at_ms) - await self._read_clock())) if at_ms else timedelta()

    async def read_outcomes(self, room_id: str) -> str:
        """Read the outcomes of a closed room that its row does not have yet; empty where there are none."""
        return str(await self._pipeline.execute("GET", f"{{match}}:outcomes:{room_id}", idempotent=True) or "")

    async def read_poll(self, reader: str) -> int:
        """Read the number of a reader's last poll of the deadlines, 0 where Redis does not know it."""
        return int(await self._pipeline.execute("GET", f"poll:{{match}}:{reader}", idempotent=True) or 0)

    async def elapsed_since(self, at_ms: str) -> timedelta:
        """Return the time since a moment of Redis's clock."""
        return timedelta(milliseconds=max(0, await self._read_clock() - int(at_ms)))

    async def _read_clock(self) -> int:
        """Read Redis's clock (ms)."""
        seconds, microseconds = await self._pipeline.execute("TIME", idempotent=True)
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def count_searches(self) -> int:
        """Count the searches in the queues."""
        return sum((await self.count_searches_by_level()).values())

    async def count_searches_by_level(self) -> dict[str, int]:
        """Count the searches in the queues of all pools, by level."""
        others = await self._pipeline.execute("ZRANGE", "{match}:pools", 0, -1, idempotent=True)
        places = [(level, pool) for level in LEVELS for pool in (*AgeBand, *others)]
        found: dict[str, int] = dict.fromkeys(LEVELS, 0)
        for begin in range(0, len(places), READ_BATCH_SIZE):
            batch = places[begin : begin + READ_BATCH_SIZE]
            queues = (f"{{match}}:queue:{pool}:{level}" for level, pool in batch)
            counts = await asyncio.gather(*(self._pipeline.execute("ZCARD", key, idempotent=True) for key in queues))
            for (level, _), count in zip(batch, counts, strict=True):
                found[level] += count
        return found

    async def iterate_searches(self) -> AsyncIterator[QueueEntry]:
        """Iterate over every search."""
        async for _, value in self._scan("{match}:searching:*"):
            yield orjson.loads(value.split("\n", 4)[4])

    async def read_search_socket(self, user_id: str) -> str | None:
        """Read the socket of a user's search; None where there is none."""
        value: str | None = await self._pipeline.execute("GET", f"{{match}}:searching:{user_id}", idempotent=True)
        return value.split("\n", 4)[2] if value else None

    async def iterate_participants(self) -> AsyncIterator[tuple[str, str]]:
        """Iterate over the users in rooms: user and room id."""
        async for key, value in self._scan("{match}:in_room:*"):
            yield key.rpartition(":")[2], value.partition("\n")[0]

    async def list_bindings(self) -> list[Binding]:
        """List the users in rooms, each with the socket by which Redis knows them there."""
        scan = self._scan("{match}:in_room:*")
        held = [(key.rpartition(":")[2], *value.split("\n", 1)) async for key, value in scan]
        found: list[Binding] = []
        for begin in range(0, len(held), READ_BATCH_SIZE):
            batch = held[begin : begin + READ_BATCH_SIZE]
            metas = await asyncio.gather(
                *(
                    self._pipeline.execute(
                        "HMGET", f"{{match}}:room:{room_id}:meta", f"socket:{user_id}", "connected", idempotent=True
                    )
                    for user_id, room_id, *_ in batch
                )
            )
            for (user_id, room_id, *entry), (socket_id, connected) in zip(batch, metas, strict=True):
                is_joined = bool(socket_id or connected or not entry)
                socket_id = socket_id or ("" if is_joined else orjson.loads(entry[0])["socket"])
                found.append(Binding(user_id, room_id, socket_id, is_joined, connected is not None))
        return found

    async def list_dead_processes(self, process_ids: Iterable[str]) -> set[str]:
        """List those web processes of which Redis has no heartbeat."""
        ids = sorted(set(process_ids))
        found = await asyncio.gather(
            *(self._pipeline.execute("EXISTS", f"worker:{{match}}:{each}", idempotent=True) for each in ids)
        )
        return {each for each, is_there in zip(ids, found, strict=True) if not is_there}

    async def read_last_heartbeats(self, process_ids: Iterable[str]) -> dict[str, timedelta]:
        """Read how long ago Redis last knew of each web process, dead ones too, without those that it has forgotten."""
        ids = sorted(set(process_ids))
        if not ids:
            return {}
        now_ms = await self._read_clock()
        alive = await self._pipeline.execute("ZMSCORE", "workers:{match}", *ids, idempotent=True)
        dead = await self._pipeline.execute(
            "MGET", *(f"last_heartbeat:{{match}}:{each}" for each in ids), idempotent=True
        )
        known = {each: now or last for each, now, last in zip(ids, alive, dead, strict=True)}
        return {each: timedelta(milliseconds=max(0.0, now_ms - float(at_ms))) for each, at_ms in known.items() if at_ms}

    async def list_deadlines(self, *kinds: str) -> list[list[str]]:
        """List the deadlines of some kinds, due or not."""
        found: list[list[str]] = []
        for kind in kinds:
            cursor = "0"
            while True:
                cursor, entries = await self._pipeline.execute(
                    "ZSCAN", "{match}:due", cursor, "MATCH", f"{kind}:*", "COUNT", 1000, idempotent=True
                )
                found += [entry.split(":") for entry in entries[::2]]
                if cursor == "0":
                    break
        return found

    async def _scan(self, pattern: str) -> AsyncIterator[tuple[str, str]]:
        cursor = "0"
        while True:
            cursor, keys = await self._pipeline.execute(
                "SCAN", cursor, "MATCH", pattern, "COUNT", 1000, idempotent=True
            )
            values = await self._pipeline.execute("MGET", *keys, idempotent=True) if keys else []
            for key, value in zip(keys, values, strict=True):
                if value is not None:
                    yield key, value
            if cursor == "0":
                return
