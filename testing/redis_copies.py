"""Older copies of Redis's data, as a promoted replica that was seconds behind has them."""

from __future__ import annotations

from dataclasses import dataclass

import redis.asyncio


@dataclass
class RedisCopy:
    """All keys at one time, with the moments at which they expire."""

    port: int
    keys: dict[bytes, tuple[bytes, int]]

    @classmethod
    async def take(cls, port: int) -> RedisCopy:
        async with redis.asyncio.Redis(host="127.0.0.1", port=port) as client:
            keys: dict[bytes, tuple[bytes, int]] = {}
            names = [name async for name in client.scan_iter(count=1000)]
            async with client.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.dump(name)
                    pipeline.pexpiretime(name)
                answers = await pipeline.execute() if names else []
            for name, dumped, expires in zip(names, answers[::2], answers[1::2], strict=True):
                if dumped is not None:
                    keys[name] = dumped, max(0, expires)
            return cls(port, keys)

    async def restore(self) -> None:
        """Replace all data by the copy; what has expired since stays away."""
        async with redis.asyncio.Redis(host="127.0.0.1", port=self.port) as client, client.pipeline() as pipeline:
            pipeline.flushall()
            for name, (dumped, expires) in self.keys.items():
                pipeline.restore(name, expires, dumped, absttl=True)
            await pipeline.execute()
