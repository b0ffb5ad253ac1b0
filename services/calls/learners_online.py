"""Number of learners online: of each web process those with a socket, published beside its heartbeat.

    online:{match}:{id}    learners with a socket of that process; expires when it is not published again

`{match}` is written as it stands. A learner with sockets of several processes counts once for each.
"""

from __future__ import annotations

from collections import Counter

from adapters.redis_pipeline import RedisPipeline

#: Seconds between two publications, and for which a count is kept.
PUBLISH_SECONDS, KEPT_SECONDS = 5, 20


class LearnersOnline:
    def __init__(self, pipeline: RedisPipeline, process_id: str) -> None:
        self._pipeline = pipeline
        self._process_id = process_id
        #: Learners by socket, and sockets by learner, of this web process.
        self._users: dict[str, str] = {}
        self._sockets: Counter[str] = Counter()
        self._others = 0

    def add(self, user_id: str, socket_id: str) -> None:
        if socket_id not in self._users:
            self._users[socket_id] = user_id
            self._sockets[user_id] += 1

    def remove(self, socket_id: str) -> None:
        user_id = self._users.pop(socket_id, None)
        if user_id is not None:
            self._sockets[user_id] -= 1
            if not self._sockets[user_id]:
                del self._sockets[user_id]

    def list_sockets(self) -> dict[str, list[str]]:
        """List the sockets of this web process by learner."""
        found: dict[str, list[str]] = {}
        for socket_id, user_id in self._users.items():
            found.setdefault(user_id, []).append(socket_id)
        return found

    @property
    def count(self) -> int:
        """The learners of this web process, and those that the others had published by the last `publish`."""
        return len(self._sockets) + self._others

    async def publish(self) -> None:
        """Publish the count of this web process, and read those of the others that run."""
        own = f"online:{{match}}:{self._process_id}"
        await self._pipeline.execute("SET", own, len(self._sockets), "EX", KEPT_SECONDS, idempotent=True)
        running = await self._pipeline.execute("ZRANGE", "workers:{match}", 0, -1, idempotent=True)
        others = [f"online:{{match}}:{each}" for each in running if each != self._process_id]
        counts = await self._pipeline.execute("MGET", *others, idempotent=True) if others else []
        self._others = sum(int(count) for count in counts if count)
