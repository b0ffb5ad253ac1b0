"""A cluster of Redis behind the interface of one connection: each command goes to the node that has its key's slot.

redis-py's cluster client knows which node that is; the commands of one flush for one node are still one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
import redis.exceptions
from redis.asyncio.cluster import ClusterNode, RedisCluster

from adapters import tasks
from adapters.redis_connection import (
    CONNECT_TIMEOUT_SECONDS,
    NOT_SERVING,
    UNAVAILABLE,
    Command,
    Connection,
    Endpoint,
    Owner,
    pack,
)
from adapters.redis_link import RedisLink, identify
from settings import Settings

log = logging.getLogger("parlance.redis")

#: Seconds until a command is sent again whose slot is being moved, or is on no node.
_TRY_AGAIN_SECONDS, _NO_NODE_SECONDS = 0.05, 0.5
#: Seconds after which a command fails that had to be held: it may have waited for a reply before.
_HOLD_SECONDS = 3.0
#: Commands without a key go where rooms and queues are.
_DEFAULT_KEY = "{match}"
_KEYLESS = {b"PING", b"TIME", b"INFO", b"ROLE", b"CONFIG", b"SCRIPT", b"DBSIZE", b"CLUSTER", b"ACL"}


class ClusterLink(RedisLink):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        options = self.client_options()
        self._cluster = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self.address.nodes],
            # Slots without a node fail alone.
            require_full_coverage=False,
            # The configured names stay: all nodes may have other addresses after an outage.
            dynamic_startup_nodes=False,
            **options,
        )
        self._probes: dict[Endpoint, Connection] = {}
        self._run_ids: dict[Endpoint, str] = {}
        self.is_stale = True
        self._refreshing = asyncio.Lock()

    async def connect(self, owner: Owner) -> ClusterConnection:
        """Return what sends each command to its node; raises ConnectionError or TimeoutError where no node answers."""
        self.refuse_silence()
        await self.refresh()
        return ClusterConnection(self, owner)

    async def open(self, owner: Owner | None) -> Connection:
        """Connect to the node that has rooms and queues."""
        await self.refresh()
        return await self.open_at(self.find_node(_DEFAULT_KEY), owner)

    async def find(self) -> list[Endpoint]:
        """Find the primaries."""
        await self.refresh()
        return [_endpoint(node) for node in self._cluster.get_primaries()]

    async def refresh(self) -> None:
        """Read which node has which slots, if that may have changed."""
        was_silent = self.is_silent()
        async with self._refreshing:
            if not self.is_stale:
                return
            if not was_silent:  # another attempt may have failed meanwhile
                self.refuse_silence()
            with self.attempt():
                await self._read_slots()
            self.is_stale = False

    async def _read_slots(self) -> None:
        # One configured node after another is asked, for at most a second each.
        async with asyncio.timeout(max(CONNECT_TIMEOUT_SECONDS, 1 + len(self.address.nodes))):
            try:
                await self._cluster.nodes_manager.initialize()
            except (redis.exceptions.RedisClusterException, LookupError) as error:
                # A node of a cluster that is being made knows no slots, for which redis-py is not prepared.
                raise redis.exceptions.ConnectionError(f"the cluster has no slots: {error}") from None

    def find_node(self, key: str | bytes) -> Endpoint:
        """Find the primary of a key's slot; raises ConnectionError where there is none."""
        try:
            node = self._cluster.nodes_manager.get_node_from_slot(self._cluster.keyslot(key))
        except (redis.exceptions.SlotNotCoveredError, LookupError) as error:
            self.is_stale = True
            raise redis.exceptions.ConnectionError(f"no node has the slot: {error}") from None
        return _endpoint(node)

    async def open_at(
        self, endpoint: Endpoint, owner: Owner | None, seconds: float = CONNECT_TIMEOUT_SECONDS
    ) -> Connection:
        with self.attempt(endpoint):
            return await super().open_at(endpoint, owner, seconds)

    async def move_slot(self, error: redis.exceptions.MovedError) -> None:
        await self._cluster.nodes_manager.move_slot(error)

    async def look(self) -> bool:
        """Look at all primaries; return whether one may lack data that the one seen before had."""
        endpoints = await self.find()
        found = await asyncio.gather(*(self._identify(each) for each in endpoints), return_exceptions=True)
        known, failure = set(self._run_ids.values()), None
        for endpoint, run_id in zip(endpoints, found, strict=True):
            if isinstance(run_id, BaseException):
                failure = run_id
                if (probe := self._probes.pop(endpoint, None)) is not None:
                    self.leave(redis.exceptions.ConnectionError(str(run_id)), probe)
            else:
                self._run_ids[endpoint] = run_id
        is_lost = bool(known) and not {each for each in found if isinstance(each, str)} <= known
        if failure is not None:
            self.is_stale = True
            if not is_lost:
                raise failure
        else:
            self._run_ids = dict(zip(endpoints, map(str, found), strict=True))
        return is_lost

    async def _identify(self, endpoint: Endpoint) -> str:
        probe = self._probes.get(endpoint)
        with self.attempt(endpoint):
            if probe is None or not probe.is_open:
                probe = self._probes[endpoint] = await self.open_at(endpoint, None)
            return (await identify(probe)).run_id

    @property
    def is_watched(self) -> bool:
        return bool(self._run_ids)

    def forget_identity(self) -> None:
        self._run_ids = {}

    async def close(self) -> None:
        for probe in self._probes.values():
            probe.close()
        for nodes in ("nodes_cache", "startup_nodes"):
            await self._cluster.nodes_manager.aclose(nodes)
        await super().close()


class ClusterConnection:
    """Connections to the nodes of a cluster; also what refuses and loses their commands."""

    def __init__(self, link: ClusterLink, owner: Owner) -> None:
        self._link = link
        self._owner = owner
        self._nodes: dict[Endpoint, Connection] = {}
        #: Commands that wait for a connection to their node, and those that wait for the slots.
        self._waiting: dict[Endpoint, list[Command]] = {}
        self._held: list[Command] = []
        self._moved: list[redis.exceptions.MovedError] = []
        self._is_held = False
        self._tasks = tasks.BackgroundTasks()

    def get_script(self, name: str) -> str:
        return self._owner.get_script(name)

    def send(self, commands: Sequence[Command]) -> None:
        if self._is_held:
            self._held.extend(commands)
            return
        by_node: dict[Endpoint, list[Command]] = {}
        for command in commands:
            try:
                by_node.setdefault(self._link.find_node(_find_key(command.packed)), []).append(command)
            except redis.exceptions.ConnectionError as error:
                self._hold([command], error, _NO_NODE_SECONDS)
        for endpoint, some in by_node.items():
            self._send_to(endpoint, some)

    def _send_to(self, endpoint: Endpoint, commands: list[Command]) -> None:
        connection = self._nodes.get(endpoint)
        if connection is not None and connection.is_open:
            connection.send(commands)
        elif self._link.is_silent(endpoint) or self._link.is_silent():
            error = redis.exceptions.TimeoutError(f"{endpoint.host}:{endpoint.port} does not answer")
            if self._link.is_stale:
                self._hold(commands, error, 0)  # the slots may have another node by now
            else:
                _fail(commands, error)
        elif endpoint in self._waiting:
            self._waiting[endpoint].extend(commands)
        else:
            self._waiting[endpoint] = commands
            self._tasks.start(self._connect(endpoint))

    async def _connect(self, endpoint: Endpoint) -> None:
        try:
            connection = self._nodes[endpoint] = await self._link.open_at(endpoint, self)
        except UNAVAILABLE as error:
            self._link.is_stale = True
            reason = redis.exceptions.ConnectionError(f"{endpoint.host}:{endpoint.port} cannot be reached: {error}")
            # Not sent yet: the slots may have another node by then.
            self._hold(self._waiting.pop(endpoint), reason, 0 if self._link.is_silent(endpoint) else _NO_NODE_SECONDS)
        else:
            connection.send(_unanswered(self._waiting.pop(endpoint)))

    def refuse(self, connection: Connection, command: Command, error: redis.exceptions.RedisError) -> None:
        """Follow a redirection, or wait for the slots."""
        if type(error) is redis.exceptions.AskError:
            if command.may_repeat():
                endpoint = Endpoint(error.host or connection.endpoint.host, error.port, error.host)
                answer = asyncio.get_running_loop().create_future()
                answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody awaits it
                self._send_to(endpoint, [Command(pack("ASKING"), answer), command])
            else:
                command.fail(error)
        elif isinstance(error, redis.exceptions.MovedError):
            if not error.host:
                error.host = connection.endpoint.host
            self._moved.append(error)
            self._hold([command], error, 0)
        elif isinstance(error, redis.exceptions.TryAgainError):
            self._hold([command], error, _TRY_AGAIN_SECONDS)
        else:
            if isinstance(error, NOT_SERVING) and self._nodes.get(connection.endpoint) is connection:
                del self._nodes[connection.endpoint]
                connection.retire()
            self._link.is_stale = True
            self._hold([command], error, _NO_NODE_SECONDS)

    def _hold(self, commands: list[Command], error: Exception, seconds: float) -> None:
        """Send commands again, before all later ones, when the slots are known.

        Fail those refused too often, and those that have no answer _HOLD_SECONDS later.
        """
        failure = redis.exceptions.ConnectionError(f"Redis does not serve this slot: {error}")
        for command in commands:
            if command.may_repeat():
                self._held.append(command)
            else:
                command.fail(failure)
        asyncio.get_running_loop().call_later(_HOLD_SECONDS, _fail, commands, failure)
        if not self._is_held:
            self._is_held = True
            self._tasks.start(self._release(seconds))

    async def _release(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        failure: Exception | None = None
        moved, self._moved = self._moved, []
        try:
            self._link.refuse_silence()
            await self._link.refresh()
            for error in moved:
                await self._link.move_slot(error)
        except (*UNAVAILABLE, redis.exceptions.RedisClusterException, LookupError) as unavailable:
            failure = unavailable
        held, self._held, self._is_held = self._held, [], False
        if failure is None:
            self.send(_unanswered(held))
        else:
            _fail(held, redis.exceptions.ConnectionError(f"Redis cannot be reached: {failure}"))

    def lose(self, connection: Connection, unanswered: list[Command], error: Exception) -> None:
        if self._nodes.get(connection.endpoint) is connection:
            del self._nodes[connection.endpoint]
            self._link.is_stale = True
        self._owner.lose(connection, unanswered, error)

    async def stop(self) -> None:
        await self._tasks.stop()
        for connection in list(self._nodes.values()):
            await connection.stop()
        for commands in (self._held, *self._waiting.values()):
            _fail(commands, redis.exceptions.ConnectionError("closed"))


def _fail(commands: Iterable[Command], error: Exception) -> None:
    for command in commands:
        command.fail(error)


def _unanswered(commands: list[Command]) -> list[Command]:
    """Leave out those whose callers have an error already, or are gone: they do not run."""
    return [command for command in commands if not command.answer.done()]


def make_link(settings: Settings) -> RedisLink:
    """Make the link to the configured Redis."""
    return ClusterLink(settings) if settings.redis and settings.redis.kind == "cluster" else RedisLink(settings)


def _endpoint(node: Any) -> Endpoint:
    return Endpoint(str(node.host), int(node.port), str(node.host))


def _find_key(packed: bytes) -> bytes | str:
    """Find the key of a packed command, whose slot is the command's."""
    reader = hiredis.Reader()
    reader.feed(packed)
    name, *arguments = reader.gets()
    name = name.upper()
    if name in _KEYLESS:
        return _DEFAULT_KEY
    if name in (b"EVALSHA", b"EVAL"):
        return bytes(arguments[2]) if int(arguments[1]) else _DEFAULT_KEY
    if name == b"XREAD":
        return bytes(arguments[arguments.index(b"STREAMS") + 1])
    if name == b"SCAN":  # of a pattern with a hash tag
        return bytes(arguments[arguments.index(b"MATCH") + 1])
    return bytes(arguments[0]) if arguments else _DEFAULT_KEY
