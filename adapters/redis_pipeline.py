"""Redis pipeline: the commands of all callers in one turn of the event loop, sent in one write.

Calls marked as idempotent are repeated, once, where a connection broke before their reply; others fail with a
ConnectionError, because they may have run. A command that was not sent yet, or that did not run because the server is
not the primary or does not know the script, is sent again in any case.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import redis.exceptions

from adapters.redis_cluster import make_link
from adapters.redis_connection import UNAVAILABLE, Argument, Command, Connection, NotPrimary, pack
from adapters.redis_link import RedisLink, Sender
from settings import Settings

#: Calls that one run of a script answers: Redis serves no other client meanwhile.
_SCRIPT_BATCH_SIZE = 64
_INCLUDE = re.compile(r"^-- include (\w+\.lua)$", re.MULTILINE)


def _read_script(path: Path) -> str:
    return _INCLUDE.sub(lambda line: (path.parent / line[1]).read_text(), path.read_text())


class _Joint:
    """Replies of a script that was called once for several callers."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[asyncio.Future[Any]]) -> None:
        self._parts = parts

    def done(self) -> bool:
        return all(part.done() for part in self._parts)

    def set_result(self, answers: list[Any]) -> None:
        for part, answer in zip(self._parts, answers, strict=True):
            if not part.done():
                part.set_result(answer)

    def set_exception(self, error: Exception) -> None:
        for part in self._parts:
            if not part.done():
                part.set_exception(error)


class RedisPipeline:
    """One shared connection to Redis: opened by the first command, and again after a loss."""

    def __init__(self, settings: Settings, directory: Path | None = None, link: RedisLink | None = None) -> None:
        """`directory` holds the scripts, `{name}.lua`; the pipelines of a process share a `link`.

        In a script the line `-- include {name}.lua` stands for that file.
        """
        self.link = link or make_link(settings)
        self._owns_link = link is None
        self._sources: dict[str, str] = {}
        self._hashes: dict[str, str] = {}
        for path in directory.glob("*.lua") if directory else ():
            self.add_script(path.stem, _read_script(path))
        self._waiting: list[Command] = []
        self._together: dict[tuple[Any, ...], list[tuple[asyncio.Future[Any], tuple[Argument, ...]]]] = {}
        self._is_scheduled = False
        self._connection: Sender | None = None
        self._connecting: asyncio.Task[None] | None = None

    def add_script(self, name: str, source: str) -> None:
        self._sources[name] = source
        self._hashes[name] = hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - Redis's name for a script

    def get_script(self, name: str) -> str:
        return self._sources[name]

    def call(
        self, name: str, keys: Iterable[str] = (), args: Iterable[Argument] = (), *, idempotent: bool = False
    ) -> asyncio.Future[Any]:
        """Run a script and return its result; raises redis-py's errors."""
        keys = tuple(keys)
        answer = asyncio.get_running_loop().create_future()
        packed = pack("EVALSHA", self._hashes[name], len(keys), *keys, *args)
        self._submit(Command(packed, answer, name, is_idempotent=idempotent))
        return answer

    def call_together(
        self, name: str, keys: tuple[str, ...], shared: tuple[Argument, ...], args: tuple[Argument, ...]
    ) -> asyncio.Future[Any]:
        """Run a script once for all calls of one turn with the same keys and shared arguments.

        The script takes the arguments of each call after the shared ones, and returns as many replies, in that order.
        """
        answer = asyncio.get_running_loop().create_future()
        calls = self._together.setdefault((name, keys, shared), [])
        calls.append((answer, args))
        if len(calls) == _SCRIPT_BATCH_SIZE and self._connection is not None:
            self._flush()  # Redis runs these while more calls are added
        else:
            self._schedule()
        return answer

    def execute(self, *arguments: Argument, idempotent: bool = False) -> asyncio.Future[Any]:
        """Run a single command."""
        answer = asyncio.get_running_loop().create_future()
        self._submit(Command(pack(*arguments), answer, is_idempotent=idempotent))
        return answer

    def _submit(self, command: Command) -> None:
        self._waiting.append(command)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _join(self) -> None:
        """Make one command of calls that run together."""
        together, self._together = self._together, {}
        for (name, keys, shared), calls in together.items():
            wanted = [call for call in calls if not call[0].done()]
            for begin in range(0, len(wanted), _SCRIPT_BATCH_SIZE):
                some = wanted[begin : begin + _SCRIPT_BATCH_SIZE]
                args = [each for _, args in some for each in args]
                packed = pack("EVALSHA", self._hashes[name], len(keys), *keys, *shared, *args)
                self._waiting.append(Command(packed, _Joint([answer for answer, _ in some]), name))

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._together:
            self._join()
        # A call that was cancelled before it was sent does not run.
        commands = [command for command in self._waiting if not command.answer.done()]
        if self._connection is not None and commands:
            self._waiting = []
            self._connection.send(commands)
        elif commands and self._connecting is None:
            self._waiting = commands
            self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            self._connection = await self.link.connect(self)
        except UNAVAILABLE as error:
            reason = f"Redis at {self.link.address} cannot be reached: {error or type(error).__name__}"
            kind = NotPrimary if isinstance(error, NotPrimary) else redis.exceptions.ConnectionError
            waiting, self._waiting = self._waiting, []
            for command in waiting:
                command.fail(kind(reason))
        finally:
            self._connecting = None
        self._flush()

    def refuse(self, connection: Connection, command: Command, error: redis.exceptions.RedisError) -> None:
        """Send a command again, to the server that is the primary then."""
        self._forget(connection)
        connection.retire()
        if command.may_repeat():
            self._submit(command)
        else:
            command.fail(redis.exceptions.ConnectionError(str(error)))

    def lose(self, connection: Connection, unanswered: list[Command], error: Exception) -> None:
        """Repeat the idempotent commands that a lost connection left unanswered, and fail the others."""
        self._forget(connection)
        for command in unanswered:
            if command.is_idempotent and not command.answer.done():
                command.is_idempotent = False  # once
                self._submit(command)
            else:
                command.fail(error)

    def _forget(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None

    async def close(self) -> None:
        """Fail pending commands, and close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            await self._connection.stop()
        self._join()
        for command in self._waiting:
            command.fail(redis.exceptions.ConnectionError("closed"))
        self._waiting = []
        if self._owns_link:
            await self.link.close()
