"""The server of Redis that is the primary now: found by its name or by Sentinels, and watched.

A primary that is demoted, moves or becomes silent may leave its connections open: those of this process are closed, and
the next command looks the primary up again. A primary that started again or is another server may have lost data.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

import redis.exceptions
from redis.asyncio.connection import RedisSSLContext
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from adapters.redis_connection import (
    CONNECT_TIMEOUT_SECONDS,
    UNAVAILABLE,
    Command,
    Connection,
    Endpoint,
    NotPrimary,
    Owner,
    is_primary,
    open_connection,
    read_field,
)
from setting_values import RedisAddress
from settings import Settings

log = logging.getLogger("parlance.redis")

#: Seconds between two looks at the primary, between attempts to connect, and until a Sentinel must answer.
WATCH_SECONDS, _RECONNECT_DELAYS_SECONDS, _SENTINEL_TIMEOUT_SECONDS = 1.0, (0.05, 0.2), 1.0
#: A failure that took so long is a silence; for how long no command waits for that again. The next look of the watch
#: has ended by then: it reads the slots of a cluster, and connects.
_SLOW_SECONDS, _SILENCE_SECONDS = 1.0, WATCH_SECONDS + 2 * CONNECT_TIMEOUT_SECONDS + 1
#: The second replication id of a server that has never been a replica.
_NO_REPLICATION_ID = "0" * 40


class Identity(NamedTuple):
    """Which data a server has; all empty where the user may not ask.

    `run_id` changes with each start, `replication_id` with each promotion; `former_id` is the one before.
    """

    run_id: str
    replication_id: str
    former_id: str

    def may_have_lost(self, before: Identity) -> bool:
        """Say whether this server may lack data that the one before had."""
        if self.run_id != before.run_id:
            return True
        # The id of a primary also changes, and it forgets the former, when its first replica comes or its last goes.
        return self.replication_id != before.replication_id and self.former_id not in (
            before.replication_id,
            _NO_REPLICATION_ID,
        )


async def identify(connection: Connection) -> Identity:
    """Ask what a server is; raises NotPrimary, another ConnectionError or TimeoutError."""
    role: Any
    replication: Any
    questions = connection.ask("ROLE"), connection.ask("INFO", "replication")
    role, replication = await asyncio.gather(*questions, return_exceptions=True)
    for reply in (role, replication):
        if isinstance(reply, Exception) and not isinstance(reply, redis.exceptions.ResponseError):
            raise reply
    if not is_primary(role):
        raise NotPrimary(f"{connection.endpoint.host}:{connection.endpoint.port} has become a replica")
    replication_id, former_id = (read_field(replication, name) for name in ("master_replid", "master_replid2"))
    return Identity(connection.run_id, replication_id, former_id)


class Sender(Protocol):
    """What takes the commands of a pipeline."""

    def send(self, commands: Sequence[Command]) -> None: ...

    async def stop(self) -> None: ...


class RedisLink:
    """All connections of this process to one Redis."""

    def __init__(self, settings: Settings) -> None:
        self.address = settings.redis or RedisAddress((("localhost", 6379),))
        self.certificates = str(settings.redis_sslrootcert) if settings.redis_sslrootcert else None
        self.tls: ssl.SSLContext | None = None
        self._connections: WeakSet[Connection] = WeakSet()
        self._sentinel: Sentinel | None = None
        self._probe: Connection | None = None
        self._identity: Identity | None = None
        #: When silent servers may be waited for again; None is the primary that is looked for.
        self._silences: dict[Endpoint | None, float] = {}

    def is_silent(self, endpoint: Endpoint | None = None) -> bool:
        """Say whether an attempt was in vain a moment ago: one request sends several commands, and waits only once."""
        return self._silences.get(endpoint, 0.0) > asyncio.get_running_loop().time()

    def note_silence(self, endpoint: Endpoint | None = None) -> None:
        self._silences[endpoint] = asyncio.get_running_loop().time() + _SILENCE_SECONDS

    @contextmanager
    def attempt(self, endpoint: Endpoint | None = None) -> Iterator[None]:
        """Note a silence where the block fails slowly; success and a quick failure end it."""
        began = asyncio.get_running_loop().time()
        try:
            yield
        except UNAVAILABLE:
            if asyncio.get_running_loop().time() - began >= _SLOW_SECONDS:
                self.note_silence(endpoint)
            else:
                self._silences.pop(endpoint, None)
            raise
        self._silences.pop(endpoint, None)

    def refuse_silence(self) -> None:
        """Raise TimeoutError while the primary is silent."""
        if self.is_silent():
            raise redis.exceptions.TimeoutError("it has just not answered, and is tried again in the background")

    async def connect(self, owner: Owner) -> Sender:
        """Connect to the primary, after two more attempts if need be; raises what `open` does.

        While the primary is silent it fails at once; the watch goes on trying.
        """
        self.refuse_silence()
        for pause in (*_RECONNECT_DELAYS_SECONDS, None):
            try:
                return await self.open(owner)
            except (TimeoutError, redis.exceptions.AuthenticationError):
                raise
            except (OSError, redis.exceptions.ConnectionError):
                if pause is None or self.is_silent():
                    raise
                await asyncio.sleep(pause)
        raise AssertionError

    async def open(self, owner: Owner | None) -> Connection:
        """Connect to the primary; raises NotPrimary where there are only replicas, else RedisError or OSError.

        Sentinels and all addresses together take CONNECT_TIMEOUT_SECONDS at most.
        """
        failure: Exception = redis.exceptions.ConnectionError("no address is known for it")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONNECT_TIMEOUT_SECONDS
        with self.attempt():
            async with asyncio.timeout_at(deadline):
                endpoints = await self.find()
            for number, endpoint in enumerate(endpoints):
                # A silent address leaves the later ones their share.
                seconds = (deadline - loop.time()) / (len(endpoints) - number)
                try:
                    return await self.open_at(endpoint, owner, seconds)
                except UNAVAILABLE as error:
                    failure = error if number == 0 or isinstance(failure, OSError) else failure
            raise failure

    async def open_at(
        self, endpoint: Endpoint, owner: Owner | None, seconds: float = CONNECT_TIMEOUT_SECONDS
    ) -> Connection:
        if self.address.uses_tls and self.tls is None:
            self.tls = RedisSSLContext(cert_reqs="required", ca_certs=self.certificates, check_hostname=True).get()
        connection = await open_connection(owner, endpoint, self.address, self.tls, seconds)
        self._connections.add(connection)
        return connection

    async def find(self) -> list[Endpoint]:
        """Find where the primary is; with several addresses of a name it is one of them."""
        if self.address.kind == "sentinel":
            return [await self._ask_sentinels()]
        ((name, port),) = self.address.nodes
        with suppress(ValueError):
            return [Endpoint(str(ipaddress.ip_address(name)), port, name)]
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(Endpoint(str(address[0]), port, name) for *_, address in found))

    async def _ask_sentinels(self) -> Endpoint:
        """Ask all Sentinels; one that was cut off from the others may know an older primary."""
        if self._sentinel is None:
            self._sentinel = self._make_sentinel(with_login=False)
        answers = await self._read_sentinels(self._sentinel)
        refused = any(isinstance(each, redis.exceptions.AuthenticationError) for each in answers)
        if refused and self.address.password is not None:
            await self._sentinel.aclose()
            self._sentinel = self._make_sentinel(with_login=True)
            answers = await self._read_sentinels(self._sentinel)
        name = self.address.primary_name
        states = [each[name] for each in answers if isinstance(each, dict) and name in each]
        usable = [state for state in states if self._sentinel.check_master_state(state, name)]
        if not usable:
            reason = next((str(each) for each in answers if isinstance(each, Exception)), "it is unknown or down")
            raise redis.exceptions.ConnectionError(
                f"no Sentinel knows a primary {name} that runs ({reason if not states else 'it is down'})"
            )
        newest = max(usable, key=lambda state: int(state["config-epoch"]))
        return Endpoint(str(newest["ip"]), int(newest["port"]), str(newest["ip"]))

    def _make_sentinel(self, *, with_login: bool) -> Sentinel:
        options = self.client_options(with_login=with_login)
        return Sentinel(self.address.nodes, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    def client_options(self, *, with_login: bool = True) -> dict[str, Any]:
        """Return the arguments that redis-py's own connections need."""
        options: dict[str, Any] = {
            "socket_connect_timeout": _SENTINEL_TIMEOUT_SECONDS,
            "socket_timeout": _SENTINEL_TIMEOUT_SECONDS,
            "decode_responses": True,
            "protocol": 2,
            # By itself redis-py tries ten times: a Sentinel that is gone would keep the others waiting.
            "retry": Retry(NoBackoff(), 0),
        }
        if with_login and self.address.password is not None:
            options |= {"username": self.address.username, "password": self.address.password.get_secret_value()}
        if self.address.uses_tls:
            options |= {"ssl": True, "ssl_ca_certs": self.certificates}
        return options

    @staticmethod
    async def _read_sentinels(sentinel: Sentinel) -> list[Any]:
        return await asyncio.gather(*(each.sentinel_masters() for each in sentinel.sentinels), return_exceptions=True)

    async def watch(self, on_data_lost: Callable[[], Awaitable[None]] | None = None) -> None:
        """Follow the primary until cancelled; call `on_data_lost` when it may lack data that this process wrote."""
        is_unavailable = False
        while True:
            try:
                if await self.look() and on_data_lost is not None:
                    await on_data_lost()
                if is_unavailable:
                    log.info("redis_primary_found address=%r", str(self.address))
                is_unavailable = False
            except UNAVAILABLE as error:
                if not is_unavailable:
                    log.warning("redis_primary_lost address=%r error=%s", str(self.address), error)
                is_unavailable = True
            except Exception:
                log.exception("redis_watch_failed")
            await asyncio.sleep(WATCH_SECONDS)

    @property
    def is_watched(self) -> bool:
        """Whether the primary has been seen: a later one is compared with it."""
        return self._identity is not None

    def forget_identity(self) -> None:
        """Take the next server as the one whose data is known: a loss was noticed another way, and is repaired."""
        self._identity = None

    async def look(self) -> bool:
        """Look at the primary once; return whether it may lack data that the one seen before had.

        Closes connections to servers that are no longer the primary. Raises where there is none.
        """
        probe = self._probe if self._probe is not None and self._probe.is_open else None
        identity: Identity | None = None
        if probe is not None:
            try:
                identity = await identify(probe)
                self._silences.pop(None, None)  # what a connect waited for was not the primary
            except UNAVAILABLE as error:
                self.leave(error, probe)
        if probe is None or identity is None or await self._may_have_moved(probe):
            try:
                fresh = await self.open(None)
            except UNAVAILABLE:
                if identity is None:
                    raise
                # The name leads to no primary, and the one before still is one.
            else:
                if probe is not None:
                    probe.close()
                self._probe, identity = fresh, await identify(fresh)
                self._leave_others(fresh)
        assert identity is not None
        before, self._identity = self._identity, identity
        return before is not None and identity.may_have_lost(before)

    async def _may_have_moved(self, probe: Connection) -> bool:
        """Say whether the name leads elsewhere, or led another connection to another server."""
        if any(each.run_id != probe.run_id for each in self._connections if each.is_open):
            return True
        try:
            return probe.endpoint not in await self.find()
        except UNAVAILABLE:  # the primary is still one
            return False

    def leave(self, reason: Exception, left: Connection) -> None:
        """Close all connections to the server of one; unanswered commands get the reason."""
        error = redis.exceptions.ConnectionError(str(reason))
        for connection in list(self._connections):
            if connection is left or (connection.endpoint, connection.run_id) == (left.endpoint, left.run_id):
                self._connections.discard(connection)
                connection.abort(error)

    def _leave_others(self, probe: Connection) -> None:
        """Close the connections to servers other than the primary, to which the name or address led before."""
        for connection in list(self._connections):
            if connection.run_id != probe.run_id:
                log.warning("redis_primary_changed endpoint=%s:%d", probe.endpoint.host, probe.endpoint.port)
                self.leave(redis.exceptions.ConnectionError("another server is the primary of Redis now"), connection)

    async def close(self) -> None:
        """Close the connections of the watch and to Sentinels."""
        if self._probe is not None:
            self._probe.close()
        if self._sentinel is not None:
            await self._sentinel.aclose()
