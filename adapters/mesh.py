"""Connections between the web processes of one host: each listens on a Unix socket of its own.

A connection carries the messages of one process to one other: a line of JSON for each turn of the event loop. A process
listens before others can know its id, so the first look-up decides for good whether it is on this host.

A process listens on `{id}.sock` and removes it when it stops. Another process renames the socket of a dead one to the
tombstone `{id}.dead`, so that the others can distinguish a death from a stop when the connection breaks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import orjson

import errors
from adapters import tasks
from adapters.counting import Traffic
from adapters.deliveries import Delivery, Handlers, Message

log = logging.getLogger("parlance.bus")

#: Maximum bytes that wait for one peer; bytes above which `drained` waits, and its timeout.
MAX_PEER_BYTES, _DRAIN_ABOVE_BYTES, _DRAIN_TIMEOUT_SECONDS = 8 * 2**20, 2**20, 5.0
#: Bytes that may wait for slow handlers before reading pauses.
_MAX_UNHANDLED_BYTES = 4 * 2**20
#: Limit of a Unix socket's address, with its NUL: the smallest of Linux, macOS and the BSDs.
_MAX_ADDRESS_BYTES = 104
_TOMBSTONE_SECONDS = 3600


class Link(asyncio.Protocol):
    """The connection to one peer. Messages wait in it while it connects, or while the peer is busy."""

    def __init__(self, sender: str, on_broken: Callable[[], None], traffic: Traffic) -> None:
        """Messages and bytes are counted in `traffic`."""
        self.has_ended = False
        self._sender = sender
        self._on_broken = on_broken
        self._traffic = traffic
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._unsent_bytes = 0
        self._is_scheduled = False
        self._room: asyncio.Future[None] | None = None
        self.closed = asyncio.Event()

    def post(self, message: bytes) -> None:
        """Write a message at the end of this turn; raise Unavailable."""
        if self.has_ended or self._is_full(len(message)):
            raise errors.Unavailable()
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _is_full(self, more: int) -> bool:
        if self._waiting_bytes + self._unsent_bytes + more <= MAX_PEER_BYTES:
            return False
        self._unsent_bytes = self._transport.get_write_buffer_size() if self._transport else 0
        return self._waiting_bytes + self._unsent_bytes + more > MAX_PEER_BYTES

    async def drained(self) -> None:
        """Wait until the peer reads; raise Unavailable after a timeout."""
        if self._room is None:
            return
        try:
            async with asyncio.timeout(_DRAIN_TIMEOUT_SECONDS):
                await asyncio.shield(self._room)
        except TimeoutError:
            raise errors.Unavailable() from None
        if self._transport is None:
            raise errors.Unavailable()

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._transport is None or not self._waiting:
            return
        self._transport.write(b"[%b]\n" % b",".join(self._waiting))
        self._traffic.messages += len(self._waiting)
        self._traffic.bytes += self._waiting_bytes
        self._waiting.clear()
        self._waiting_bytes = 0
        self._unsent_bytes = self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.set_write_buffer_limits(high=_DRAIN_ABOVE_BYTES)
        self._transport.write(orjson.dumps([self._sender]) + b"\n")
        self._flush()

    def pause_writing(self) -> None:
        self._room = self._room or asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    def connection_lost(self, exception: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        self.resume_writing()
        if not self.has_ended:
            self._on_broken()

    def end(self) -> None:
        """Refuse messages from now on, and close when pending ones are written."""
        self._flush()
        self.has_ended = True
        self._waiting.clear()
        if self._transport is None:
            self.closed.set()
        else:
            self._transport.close()

    def abort(self) -> None:
        self.has_ended = True
        self._waiting.clear()
        if self._transport is not None:
            self._transport.abort()


class Inbox(asyncio.Protocol):
    """The connection from one peer, whose first line is its id."""

    def __init__(self, handlers: Handlers, on_hello: Callable[[str], None], open_: set[Inbox]) -> None:
        self._on_hello = on_hello
        self._open = open_
        self._is_known = False
        self._partial: list[bytes] = []
        self._lines: deque[bytes] = deque()
        self._messages: Iterator[Message] = iter(())
        self._bytes = 0
        self._is_paused = False
        self.delivery = Delivery(handlers, self._take)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        if b"\n" not in data:
            self._partial.append(data)
            return
        *lines, rest = b"".join([*self._partial, data]).split(b"\n")
        self._partial = [rest] if rest else []
        if not self._is_known:
            self._is_known = True
            self._on_hello(orjson.loads(lines.pop(0))[0])
        self._lines.extend(lines)
        self._bytes += sum(map(len, lines))
        self.delivery.proceed()
        if self._bytes > _MAX_UNHANDLED_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _take(self) -> Message | None:
        while (message := next(self._messages, None)) is None and self._lines:
            line = self._lines.popleft()
            self._messages = iter(orjson.loads(line))
            self._bytes -= len(line)
            if self._is_paused and self._bytes < _MAX_UNHANDLED_BYTES // 2:
                self._is_paused = False
                self._transport.resume_reading()
        return message

    def connection_lost(self, exception: Exception | None) -> None:
        self._open.discard(self)

    def close(self) -> None:
        self._transport.abort()


class Mesh:
    def __init__(
        self, directory: Path, process_id: str, handlers: Handlers, on_process_lost: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._process_id = process_id
        self._handlers = handlers
        self._on_process_lost = on_process_lost
        self._links: dict[str, Link] = {}
        self.traffic = Traffic()
        self._elsewhere: set[str] = set()
        self._inboxes: set[Inbox] = set()
        self._tasks = tasks.BackgroundTasks()
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listen, and connect to the other processes; raise OSError for an unusable directory."""
        _make_private(self._directory)
        if len(os.fsencode(self._address(self._process_id))) + 1 > _MAX_ADDRESS_BYTES:
            raise OSError(f"{self._directory} is too long a path for Unix sockets")
        unfinished = self._directory / f"{self._process_id}.new"
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: Inbox(self._handlers, self._greet, self._inboxes), str(unfinished), backlog=1024
        )
        # Renamed after listen: between bind and listen a connection would be refused, as by a dead process.
        unfinished.rename(self._address(self._process_id))
        for path in self._directory.iterdir():
            if path.suffix == ".sock":
                self._greet(path.stem)
            elif path.suffix == ".dead" and path.lstat().st_mtime < time.time() - _TOMBSTONE_SECONDS:
                path.unlink(missing_ok=True)

    def link_to(self, process_id: str) -> Link | None:
        """Return the connection to a process of this host; None, for good, for one of another host."""
        link = self._links.get(process_id)
        if link is not None:
            return link
        if self._server is None or process_id in self._elsewhere:
            return None
        if process_id.isalnum() and self._address(process_id).exists():
            return self._connect(process_id)
        self._elsewhere.add(process_id)
        return None

    def neighbours(self) -> list[str]:
        """List the processes of this host with a connection, open or in progress."""
        return [process_id for process_id, link in self._links.items() if not link.has_ended]

    def _greet(self, process_id: str) -> None:
        """Connect to a new process; the connection ends when that process dies."""
        if process_id != self._process_id and process_id not in self._links and process_id not in self._elsewhere:
            self._connect(process_id)

    def _address(self, process_id: str) -> Path:
        return self._directory / f"{process_id}.sock"

    def _connect(self, process_id: str) -> Link:
        link = self._links[process_id] = Link(self._process_id, lambda: self._reconnect(process_id), self.traffic)
        self._tasks.start(self._open(process_id, link))
        return link

    def _reconnect(self, process_id: str) -> None:
        if self._server is not None:
            self._connect(process_id)

    async def _open(self, process_id: str, link: Link) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: link, str(self._address(process_id)))
                return
            except ConnectionRefusedError:
                link.abort()
                with suppress(FileNotFoundError):  # another process was faster
                    self._address(process_id).rename(self._tombstone(process_id))
                self._on_process_lost(process_id)
                return
            except FileNotFoundError:
                link.abort()
                if self._tombstone(process_id).exists():
                    self._on_process_lost(process_id)
                return
            except OSError as error:  # such as too many open files, unrelated to the peer
                log.warning("web_process_unreachable process_id=%s error=%s", process_id, error)
                await asyncio.sleep(0.5)

    def _tombstone(self, process_id: str) -> Path:
        return self._directory / f"{process_id}.dead"

    async def stop(self) -> None:
        """Write pending messages, and close."""
        server, self._server = self._server, None
        if server is None:
            return
        self._address(self._process_id).unlink(missing_ok=True)
        server.close()
        await self._tasks.stop()
        links = [link for link in self._links.values() if not link.has_ended]
        for link in links:
            link.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.gather(*(link.closed.wait() for link in links))
        for link in links:
            link.abort()
        for inbox in tuple(self._inboxes):
            inbox.close()
            await inbox.delivery.stop()


def require_usable(directory: Path) -> None:
    """Check that processes can listen in a directory, which is created if missing; raise OSError."""
    _make_private(directory)
    probe = directory / f".{os.getpid()}.probe"
    probe.touch()
    probe.unlink()


def _make_private(directory: Path) -> None:
    """Create a directory for this user alone, or check that it is one; raise OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} must be a directory of this user's, with mode 0700")
