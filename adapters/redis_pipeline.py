"""Redis pipeline: the commands of all callers in one turn of the event loop, sent in one write.

A client of redis-py (redis.py) takes a connection for each command, and repeats, twice, any command that a broken
connection left unanswered, although it may have run. Here only calls marked as idempotent are repeated, once; others
fail with a ConnectionError. A command that was not sent yet, or whose script Redis did not know, is sent again in any
case.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import hiredis
import redis.exceptions

from setting_values import url_host
from settings import Settings

log = logging.getLogger("parlance.redis")

Argument = str | bytes | int | float

#: Seconds to connect, to wait for a reply, and between attempts to connect.
_CONNECT_TIMEOUT_SECONDS, _REPLY_TIMEOUT_SECONDS, _RECONNECT_DELAYS_SECONDS = 3.0, 5.0, (0.05, 0.2)
#: Times that a script is loaded for one call: SCRIPT FLUSH may come between the two.
_MAX_SCRIPT_LOADS = 3
#: Calls that one run of a script answers: Redis serves no other client meanwhile.
_SCRIPT_BATCH_SIZE = 64

_ERRORS: dict[str, type[redis.exceptions.RedisError]] = {
    "NOSCRIPT": redis.exceptions.NoScriptError,
    "LOADING": redis.exceptions.BusyLoadingError,
    "READONLY": redis.exceptions.ReadOnlyError,
    "NOAUTH": redis.exceptions.AuthenticationError,
    "WRONGPASS": redis.exceptions.AuthenticationError,
}


class _Command:
    """One command and the callers that wait for its reply."""

    __slots__ = ("answer", "is_idempotent", "loads", "packed", "script")

    def __init__(
        self,
        packed: bytes,
        answer: asyncio.Future[Any] | _Joint,
        script: str | None = None,
        *,
        is_idempotent: bool = False,
    ) -> None:
        self.packed = packed
        self.answer = answer
        self.script = script
        self.is_idempotent = is_idempotent
        self.loads = 0

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


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


class _Connection(asyncio.Protocol):
    def __init__(self, scripts: RedisPipeline) -> None:
        self._pipeline = scripts
        self._reader = hiredis.Reader(replyError=_error, encoding="utf-8")
        self._sent: deque[_Command] = deque()
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._last_reply_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self, commands: list[_Command]) -> None:
        if not self._sent:
            self._last_reply_at = self._loop.time()
        self._sent.extend(commands)
        self._transport.write(b"".join([command.packed for command in commands]))
        if self._watch is None:
            self._watch = self._loop.call_later(_REPLY_TIMEOUT_SECONDS, self._look)

    def _look(self) -> None:
        """Close a connection whose reply has been missing for too long."""
        self._watch = None
        if not self._sent:
            return
        silent = self._loop.time() - self._last_reply_at
        if silent >= _REPLY_TIMEOUT_SECONDS:
            self._lose(redis.exceptions.TimeoutError("Redis does not answer"))
            self._transport.abort()
        else:
            self._watch = self._loop.call_later(_REPLY_TIMEOUT_SECONDS - silent, self._look)

    def data_received(self, data: bytes) -> None:
        self._last_reply_at = self._loop.time()
        reader, sent = self._reader, self._sent
        reader.feed(data)
        while sent:
            answer = reader.gets()
            if answer is False:
                return
            command = sent.popleft()
            if command.answer.done():  # cancelled by its caller
                continue
            if not isinstance(answer, Exception):
                command.answer.set_result(answer)
            elif command.script is not None and isinstance(answer, redis.exceptions.NoScriptError):
                self._pipeline.load_and_repeat(command)
            else:
                command.answer.set_exception(answer)

    def connection_lost(self, exception: Exception | None) -> None:
        self._lose(redis.exceptions.ConnectionError("the connection to Redis was lost"))

    def _lose(self, error: Exception) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        lost = list(self._sent)
        self._sent.clear()
        self._pipeline.lose(self, lost, error)

    def close(self) -> None:
        self._transport.close()


class RedisPipeline:
    """One shared connection to Redis: opened by the first command, and again after a loss."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        """`directory` holds the scripts, `{name}.lua`."""
        self._address = (settings.redis_host or "localhost", settings.redis_port)
        self._password = settings.redis_password.get_secret_value() if settings.redis_password else None
        self._sources = {path.stem: path.read_text() for path in directory.glob("*.lua")}
        self._hashes = {
            name: hashlib.sha1(source.encode()).hexdigest()  # noqa: S324 - Redis's name for a script
            for name, source in self._sources.items()
        }
        self._waiting: list[_Command] = []
        self._together: dict[tuple[Any, ...], list[tuple[asyncio.Future[Any], tuple[Argument, ...]]]] = {}
        self._is_scheduled = False
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._loading: set[str] = set()

    def call(
        self, name: str, keys: Iterable[str] = (), args: Iterable[Argument] = (), *, idempotent: bool = False
    ) -> asyncio.Future[Any]:
        """Run a script and return its result; raises redis-py's errors."""
        keys = tuple(keys)
        answer = asyncio.get_running_loop().create_future()
        packed = _pack("EVALSHA", self._hashes[name], len(keys), *keys, *args)
        self._submit(_Command(packed, answer, name, is_idempotent=idempotent))
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
        self._submit(_Command(_pack(*arguments), answer, is_idempotent=idempotent))
        return answer

    def _submit(self, command: _Command) -> None:
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
                packed = _pack("EVALSHA", self._hashes[name], len(keys), *keys, *shared, *args)
                self._waiting.append(_Command(packed, _Joint([answer for answer, _ in some]), name))

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
            self._connection = await self._connected()
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            reason = f"Redis at {url_host(self._address[0])}:{self._address[1]} cannot be reached: {error}"
            waiting, self._waiting = self._waiting, []
            for command in waiting:
                command.fail(redis.exceptions.ConnectionError(reason))
        finally:
            self._connecting = None
        self._flush()

    async def _connected(self) -> _Connection:
        for pause in (*_RECONNECT_DELAYS_SECONDS, None):
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                    loop = asyncio.get_running_loop()
                    _, connection = await loop.create_connection(lambda: _Connection(self), *self._address)
                    if self._password is not None:
                        await self._authenticate(connection, self._password)
                    return connection
            except (OSError, TimeoutError, redis.exceptions.ConnectionError):
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError

    @staticmethod
    async def _authenticate(connection: _Connection, password: str) -> None:
        answer = asyncio.get_running_loop().create_future()
        connection.send([_Command(_pack("AUTH", password), answer)])
        try:
            await answer
        except BaseException:
            connection.close()
            raise

    def load_and_repeat(self, command: _Command) -> None:
        """Load a script that Redis does not know, and repeat its call."""
        assert command.script is not None
        command.loads += 1
        if command.loads > _MAX_SCRIPT_LOADS:
            command.fail(redis.exceptions.NoScriptError(f"Redis does not keep the script {command.script}"))
            return
        if command.script not in self._loading:
            self._loading.add(command.script)
            answer = asyncio.get_running_loop().create_future()
            answer.add_done_callback(functools.partial(self._loaded, command.script))
            self._submit(_Command(_pack("SCRIPT", "LOAD", self._sources[command.script]), answer))
        self._submit(command)

    def _loaded(self, name: str, done: asyncio.Future[Any]) -> None:
        self._loading.discard(name)
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("redis_script_not_loaded script=%s error=%s", name, error)

    def lose(self, connection: _Connection, unanswered: list[_Command], error: Exception) -> None:
        """Repeat the idempotent commands that a lost connection left unanswered, and fail the others."""
        if connection is self._connection:
            self._connection = None
        for command in unanswered:
            if command.is_idempotent and not command.answer.done():
                command.is_idempotent = False  # once
                self._submit(command)
            else:
                command.fail(error)

    async def close(self) -> None:
        """Fail pending commands, and close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            await asyncio.sleep(0)
        self._join()
        for command in self._waiting:
            command.fail(redis.exceptions.ConnectionError("closed"))
        self._waiting = []


def _pack(*arguments: Argument) -> bytes:
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]
    return packed


def _error(text: str) -> redis.exceptions.RedisError:
    return _ERRORS.get(text.partition(" ")[0], redis.exceptions.ResponseError)(text)
