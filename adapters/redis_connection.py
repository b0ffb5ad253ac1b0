"""One connection to a server of Redis: commands in the order in which they are sent, and their replies.

A refusal that says that this server is not the primary, or not ready, ends the connection: its owner sends the command
again, on a connection to the server that is the primary then. Such a command has not run.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import hiredis
import redis.exceptions

from setting_values import RedisAddress

Argument = str | bytes | int | float

#: What a command raises while Redis is unreachable or refuses to serve.
UNAVAILABLE = (redis.exceptions.RedisError, OSError)
#: Seconds to connect and log in, and to wait for a reply.
CONNECT_TIMEOUT_SECONDS, REPLY_TIMEOUT_SECONDS = 3.0, 5.0
#: The kernel gives up a peer that acknowledges nothing for so long.
_KEEPALIVE = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5000}
#: Times that one command is refused before its caller gets the refusal.
_MAX_REFUSALS = 5


class NotPrimary(redis.exceptions.ConnectionError):
    """The server is a replica."""


class NotWritable(redis.exceptions.ConnectionError):
    """The primary accepts no writes: its disk or memory is full, or it has too few replicas."""


class Unblocked(redis.exceptions.ResponseError):
    """A blocking read ended because the server's role changed."""


#: Refusals of a server that is not the primary, or that does not know its data yet.
NOT_SERVING = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.MasterDownError,
    Unblocked,
)
#: Refusals of a cluster: the slot is on another node, is about to move, or on none.
REDIRECTS = (
    redis.exceptions.AskError,
    redis.exceptions.MovedError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
)
_ERRORS: dict[str, type[redis.exceptions.RedisError]] = {
    "NOSCRIPT": redis.exceptions.NoScriptError,
    "LOADING": redis.exceptions.BusyLoadingError,
    "READONLY": redis.exceptions.ReadOnlyError,
    "MASTERDOWN": redis.exceptions.MasterDownError,
    "UNBLOCKED": Unblocked,
    "MISCONF": NotWritable,
    "NOREPLICAS": NotWritable,
    "OOM": NotWritable,
    "NOAUTH": redis.exceptions.AuthenticationError,
    "WRONGPASS": redis.exceptions.AuthenticationError,
    "NOPERM": redis.exceptions.NoPermissionError,
    "TRYAGAIN": redis.exceptions.TryAgainError,
    "CLUSTERDOWN": redis.exceptions.ClusterDownError,
}


class Endpoint(NamedTuple):
    """The address of one server; `name` is what its certificate is for."""

    host: str
    port: int
    name: str


class Answer(Protocol):
    """What a reply goes to: a future, or several of them."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


class Command:
    """One command and the callers that wait for its reply."""

    __slots__ = ("answer", "is_idempotent", "packed", "refusals", "script")

    def __init__(
        self, packed: bytes, answer: Answer, script: str | None = None, *, is_idempotent: bool = False
    ) -> None:
        self.packed = packed
        self.answer = answer
        self.script = script
        self.is_idempotent = is_idempotent
        self.refusals = 0

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def may_repeat(self) -> bool:
        """Count a refusal; return whether the command may be sent again."""
        self.refusals += 1
        return self.refusals <= _MAX_REFUSALS


class Owner(Protocol):
    """The sender of the commands of a connection."""

    def get_script(self, name: str) -> str:
        """Return the source of a script."""

    def refuse(self, connection: Connection, command: Command, error: redis.exceptions.RedisError) -> None:
        """Send a command again that a server did not run because of what it is, or fail it."""

    def lose(self, connection: Connection, unanswered: list[Command], error: Exception) -> None:
        """Forget a connection, and repeat or fail what it left unanswered."""


class Connection(asyncio.Protocol):
    def __init__(self, endpoint: Endpoint) -> None:
        #: Without one every error is the caller's.
        self._owner: Owner | None = None
        self.endpoint = endpoint
        #: Changes with each start of a server; empty where the user may not ask.
        self.run_id = ""
        self._reader = hiredis.Reader(replyError=_error, encoding="utf-8")
        self._sent: deque[Command] = deque()
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._last_reply_at = 0.0
        self._loading: set[str] = set()
        self._is_retired = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        peer: socket.socket = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if option := getattr(socket, name, None):  # of Linux; others know some of them
                peer.setsockopt(socket.IPPROTO_TCP, option, value)

    def own(self, owner: Owner | None) -> None:
        self._owner = owner

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def send(self, commands: Sequence[Command]) -> None:
        if not self._sent:
            self._last_reply_at = self._loop.time()
        self._sent.extend(commands)
        self._transport.write(b"".join([command.packed for command in commands]))
        if self._watch is None:
            self._watch = self._loop.call_later(REPLY_TIMEOUT_SECONDS, self._look)

    def ask(self, *arguments: Argument) -> asyncio.Future[Any]:
        """Send one command, in a write of its own."""
        answer = self._loop.create_future()
        self.send([Command(pack(*arguments), answer)])
        return answer

    def _look(self) -> None:
        """Close a connection whose reply has been missing for too long."""
        self._watch = None
        if not self._sent:
            return
        silent = self._loop.time() - self._last_reply_at
        if silent >= REPLY_TIMEOUT_SECONDS:
            self.abort(redis.exceptions.TimeoutError("Redis does not answer"))
        else:
            self._watch = self._loop.call_later(REPLY_TIMEOUT_SECONDS - silent, self._look)

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
            else:
                self._refuse(command, cast("redis.exceptions.RedisError", answer))
        if self._is_retired:
            self._transport.close()

    def _refuse(self, command: Command, error: redis.exceptions.RedisError) -> None:
        owner = self._owner
        if owner is None:
            command.answer.set_exception(error)
        elif command.script is not None and isinstance(error, redis.exceptions.NoScriptError):
            self._load_and_repeat(owner, command)
        elif isinstance(error, (*NOT_SERVING, *REDIRECTS)):
            owner.refuse(self, command, error)
        else:
            command.answer.set_exception(error)

    def _load_and_repeat(self, owner: Owner, command: Command) -> None:
        """Load a script that this server does not know, and repeat its call."""
        assert command.script is not None
        if not command.may_repeat():
            command.fail(redis.exceptions.NoScriptError(f"Redis does not keep the script {command.script}"))
            return
        repeated = [command]
        if command.script not in self._loading:
            self._loading.add(command.script)
            answer = self._loop.create_future()
            answer.add_done_callback(functools.partial(self._finish_load, command.script))
            repeated.insert(0, Command(pack("SCRIPT", "LOAD", owner.get_script(command.script)), answer))
        self.send(repeated)

    def _finish_load(self, name: str, done: asyncio.Future[Any]) -> None:
        self._loading.discard(name)
        if not done.cancelled():
            done.exception()  # the call that follows says why

    def retire(self) -> None:
        """Close the connection once what was sent has been answered."""
        self._is_retired = True
        if not self._sent:
            self._transport.close()

    def abort(self, error: Exception) -> None:
        """Close the connection at once; `error` is what its unanswered commands get."""
        self._lose(error)
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    async def stop(self) -> None:
        """Close the connection, and let its owner learn it."""
        self.close()
        await asyncio.sleep(0)

    def connection_lost(self, exception: Exception | None) -> None:
        self._lose(redis.exceptions.ConnectionError("the connection to Redis was lost"))

    def _lose(self, error: Exception) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        lost = list(self._sent)
        self._sent.clear()
        if self._owner is not None:
            self._owner.lose(self, lost, error)
        else:
            for command in lost:
                command.fail(error)


async def open_connection(
    owner: Owner | None,
    endpoint: Endpoint,
    address: RedisAddress,
    tls: ssl.SSLContext | None,
    seconds: float = CONNECT_TIMEOUT_SECONDS,
) -> Connection:
    """Connect to a server and log in, within `seconds`.

    Raises NotPrimary for a replica, BusyLoadingError, AuthenticationError, OSError or TimeoutError.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        _, connection = await loop.create_connection(
            lambda: Connection(endpoint),
            endpoint.host,
            endpoint.port,
            ssl=tls,
            server_hostname=endpoint.name if tls else None,
        )
        try:
            await _log_in(connection, address)
        except BaseException:
            connection.close()
            raise
    connection.own(owner)
    return connection


async def _log_in(connection: Connection, address: RedisAddress) -> None:
    login: tuple[asyncio.Future[Any], ...] = ()
    if address.password is not None:
        user = (address.username,) if address.username else ()
        login = (connection.ask("AUTH", *user, address.password.get_secret_value()),)
    # PING, unlike ROLE, is refused while the data is loading, and by a replica without its primary.
    questions = connection.ask("ROLE"), connection.ask("INFO", "server"), connection.ask("PING")
    *logged_in, role, info, pong = await asyncio.gather(*login, *questions, return_exceptions=True)
    for reply in (*logged_in, pong):
        if isinstance(reply, Exception) and not isinstance(reply, redis.exceptions.NoPermissionError):
            raise reply
    connection.run_id = read_field(info, "run_id")
    if not is_primary(role):
        raise NotPrimary(f"{connection.endpoint.host}:{connection.endpoint.port} is a replica, not the primary")


def is_primary(role: object) -> bool:
    """Say whether the reply to ROLE is a primary's; True where the user may not ask."""
    return not isinstance(role, list) or role[0] == "master"


def read_field(info: object, name: str) -> str:
    """Read a field of the reply to INFO; empty without one."""
    for line in info.splitlines() if isinstance(info, str) else ():
        key, _, value = line.partition(":")
        if key == name:
            return value
    return ""


def pack(*arguments: Argument) -> bytes:
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]
    return packed


def _error(text: str) -> redis.exceptions.RedisError:
    code, _, rest = text.partition(" ")
    if code == "MOVED":
        return redis.exceptions.MovedError(rest)
    if code == "ASK":
        return redis.exceptions.AskError(rest)
    return _ERRORS.get(code, redis.exceptions.ResponseError)(text)
