"""Forwarding of signals to the peer's socket, and their acks.

A signal is acknowledged when it is written to the peer's connection, or stored in Redis for a peer who does not get
it now. A peer's socket of another web process is sent to over the bus, where a message may be lost with a connection or
a process: that process confirms the last `seq` that it has written, once for all signals of an iteration of the event
loop. What is not confirmed in time is stored, and sent again until it is. Each message has the `seq` of the one before,
so the receiver finds a gap, and drops what comes twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import orjson

import errors
from adapters.ports import Bus
from adapters.redis import UNAVAILABLE
from adapters.tasks import BackgroundTasks
from services.bus_messages import Message
from services.calls.participants import ANSWER, MAX_RECORDED_SIGNALS, Acknowledge, Participant, SignalPayload, read_seq
from services.calls.rooms import Rooms

log = logging.getLogger("parlance.signaling")

#: A signal: room, sender's socket, the `seq` before it or 0, `[seq, name, payload]`.
SIGNAL: Message[[str, str, int, tuple[int, str, SignalPayload]]] = Message("signal")
#: Signals written to sockets, of each: sender's socket, room, receiver's socket, last `seq`, whether one is missing.
SIGNALS_WRITTEN: Message[[list[tuple[str, str, str, int, bool]]]] = Message("signals_written")
#: Seconds between two sweeps: a signal is stored, and sent again, when it is not confirmed after one to two of them.
SWEEP_SECONDS = 1.0
#: The longest pause between two repetitions, in sweeps; and the timeout of storing, in seconds.
MAX_SWEEP_PAUSE, STORE_TIMEOUT_SECONDS = 8, 2.0

#: Writes an event, given its payload as JSON, to a socket of this web process; returns whether it is connected.
Write = Callable[[str, str, bytes], bool]
#: Returns the participant of a socket in a room, also while it joins.
FindParticipant = Callable[[str, str], Participant | None]


class Forwarding:
    def __init__(self, bus: Bus, rooms: Rooms, find: FindParticipant) -> None:
        self._bus = bus
        self._rooms = rooms
        self._find = find
        self._write: Write = lambda socket_id, name, content: False
        self._id_prefix = f"{bus.process_id}."
        #: Participants with signals that are not confirmed.
        self._watched: set[Participant] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        #: Participants to whose sockets signals were written in this iteration, by the sender's socket.
        self._written: dict[str, tuple[Participant, bool]] = {}
        self._tasks = BackgroundTasks()
        SIGNAL.on(bus, self._receive)
        SIGNALS_WRITTEN.on(bus, self._handle_written)

    def on_signal(self, write: Write) -> None:
        """Set what writes a signal to a socket of this web process."""
        self._write = write

    # --- Sending ------------------------------------------------------------------------------------

    def forward(
        self,
        participant: Participant,
        name: str,
        payload: SignalPayload,
        acknowledge: Acknowledge,
        argument: object,
    ) -> bool:
        """Number, record and forward a signal; return whether the peer's connection has it.

        If not, `acknowledge(argument, error)` is called later. Raises Unavailable where no more can be recorded.
        """
        if participant.is_full:
            raise errors.Unavailable()
        previous = participant.last_seq if participant.last_seq > participant.confirmed_seq else 0
        content = participant.record(name, payload)
        seq, peer_socket_id = participant.seq, participant.peer_socket_id
        if not participant.is_peer_away and not participant.is_stalled and peer_socket_id is not None:
            if not peer_socket_id.startswith(self._id_prefix):
                self._post(participant, peer_socket_id, previous, participant.recorded_signals[-1])
            elif self._write_new(participant, peer_socket_id, name, content):
                participant.confirmed_seq = seq
                return True
            else:
                participant.is_stalled = True  # its disconnect is being recorded
        participant.unacknowledged.append((seq, acknowledge, argument))
        if participant.is_peer_away or participant.is_stalled:
            self._begin_storing(participant)
        if not participant.is_watched:
            self._watch(participant)
        return False

    def bind(self, participant: Participant, peer_socket_id: str, joins: int, since: int) -> None:
        """Forward to a socket of the peer from now on, first what it missed: the signals after `since`."""
        participant.note("peer_here")
        participant.peer_socket_id, participant.peer_joins, participant.is_peer_away = peer_socket_id, joins, False
        # Not beyond what was sent: `since` may be a client's, and later signals would count as received.
        participant.confirmed_seq = min(since, participant.last_seq)
        self._settle(participant)
        self._send_again(participant)

    def suspend(self, participant: Participant, joins: int) -> None:
        """Note that the peer's connection is gone, and store what it may not have."""
        participant.mark_peer_away(joins)
        if participant.unacknowledged:
            self._begin_storing(participant)

    def close(self, participant: Participant) -> None:
        """End a participant that has left the room; refuse its signals that are not acknowledged."""
        participant.close()
        self._refuse(participant, participant.seq, errors.RoomClosed())

    def release(self, participant: Participant) -> None:
        """Refuse the signals, not acknowledged, of a participant whose own connection is gone."""
        self._refuse(participant, participant.seq, errors.Unavailable())

    def _post(self, participant: Participant, peer_socket_id: str, previous: int, signal: bytes) -> None:
        room_id, socket_id = participant.room_id, participant.socket_id
        try:
            self._bus.post(peer_socket_id, SIGNAL.kind, room_id, socket_id, previous, orjson.Fragment(signal))
        except errors.Unavailable:
            participant.is_stalled = True

    def _write_new(self, participant: Participant, peer_socket_id: str, name: str, content: bytes) -> bool:
        try:
            return self._write_once(self._find(peer_socket_id, participant.room_id), participant.seq, name, content)
        except Exception:
            participant.forget_signals(participant.seq - 1, participant.seq)
            raise

    def _send_again(self, participant: Participant) -> None:
        """Send the signals that the peer's connection is not known to have, in order."""
        peer_socket_id, previous = participant.peer_socket_id, 0
        assert peer_socket_id is not None
        participant.is_stalled = False
        for signal in participant.signals_after(participant.confirmed_seq):
            if not peer_socket_id.startswith(self._id_prefix):
                self._post(participant, peer_socket_id, previous, signal)
                previous = read_seq(signal)
            else:
                seq, name, payload = orjson.loads(signal)
                peer = self._find(peer_socket_id, participant.room_id)
                if self._write_once(peer, seq, name, orjson.dumps(payload)):
                    participant.confirmed_seq = seq
                else:
                    participant.is_stalled = True
            if participant.is_stalled:
                break
        self._settle(participant)
        if participant.confirmed_seq < participant.last_seq and not participant.is_watched:
            self._watch(participant)

    # --- Receiving ----------------------------------------------------------------------------------

    def _receive(
        self, socket_id: str, room_id: str, sender: str, previous: int, signal: tuple[int, str, SignalPayload]
    ) -> None:
        participant = self._find(socket_id, room_id)
        if participant is None or participant.closed:
            return
        seq, name, payload = signal
        is_gap = previous > participant.received_seq
        if not is_gap and not self._write_once(participant, seq, name, orjson.dumps(payload)):
            return
        if not self._written:
            # After the write of this iteration, which was scheduled before.
            asyncio.get_running_loop().call_soon(self._report_written)
        self._written[sender] = participant, is_gap

    def _write_once(self, receiver: Participant | None, seq: int, name: str, content: bytes) -> bool:
        """Write a signal to a socket of this process, unless it has it; return False where it is not connected."""
        if receiver is None:
            return False
        if seq > receiver.received_seq:
            if not self._write(receiver.socket_id, name, content):
                return False
            receiver.received_seq = seq
            receiver.is_negotiated |= name == ANSWER
        return True

    def _report_written(self) -> None:
        written, self._written = self._written, {}
        by_process: dict[str, list[tuple[str, str, str, int, bool]]] = {}
        for sender, (receiver, is_gap) in written.items():
            entry = (sender, receiver.room_id, receiver.socket_id, receiver.received_seq, is_gap)
            by_process.setdefault(sender.partition(".")[0], []).append(entry)
        for process_id, entries in by_process.items():
            try:
                self._bus.post(f"{process_id}.", SIGNALS_WRITTEN.kind, entries)
            except errors.Unavailable:
                log.info("signals_not_confirmed process_id=%s sockets=%d", process_id, len(entries))

    def _handle_written(self, _: str, entries: list[tuple[str, str, str, int, bool]]) -> None:
        for socket_id, room_id, peer_socket_id, seq, is_gap in entries:
            participant = self._find(socket_id, room_id)
            if participant is None or participant.closed or participant.is_peer_away:
                continue
            if participant.peer_socket_id != peer_socket_id:
                continue
            if participant.confirmed_seq < seq <= participant.seq:
                participant.confirmed_seq = seq
                self._settle(participant)
            if is_gap and participant.repeated_after != participant.confirmed_seq:
                participant.repeated_after = participant.confirmed_seq
                self._send_again(participant)

    # --- Acks ---------------------------------------------------------------------------------------

    def _settle(self, participant: Participant) -> None:
        """Acknowledge what the peer's connection has, and discard what is stored of it."""
        participant.sweep_pause = participant.sweeps_left = 1
        self._acknowledge(participant, participant.confirmed_seq)
        if participant.stored_seq and participant.confirmed_seq >= participant.stored_seq:
            participant.stored_seq = 0
            self._tasks.start(self._discard(participant, participant.confirmed_seq))

    @staticmethod
    def _acknowledge(participant: Participant, last: int) -> None:
        pending = participant.unacknowledged
        while pending and pending[0][0] <= last:
            _, acknowledge, argument = pending.popleft()
            acknowledge(argument, None)

    @staticmethod
    def _refuse(participant: Participant, last: int, error: errors.ProductError) -> None:
        pending = participant.unacknowledged
        while pending and pending[0][0] <= last:
            _, acknowledge, argument = pending.popleft()
            acknowledge(argument, error)

    # --- Storing ------------------------------------------------------------------------------------

    def _begin_storing(self, participant: Participant) -> None:
        if not participant.is_storing:
            participant.is_storing = True
            self._tasks.start(self._store(participant))

    async def _store(self, participant: Participant) -> None:
        """Store and acknowledge what the peer's connection does not have, or refuse it."""
        try:
            while participant.unacknowledged:
                after, last = max(participant.stored_seq, participant.confirmed_seq), participant.last_seq
                if await self._try_storing(participant, participant.signals_after(after)):
                    participant.stored_seq = max(last, participant.stored_seq)
                    self._acknowledge(participant, last)
                elif not participant.closed:
                    # Not those acknowledged before: to a peer that comes back without them they are sent again.
                    first = participant.unacknowledged[0][0] if participant.unacknowledged else last + 1
                    participant.forget_signals(max(after, participant.confirmed_seq, first - 1), last)
                    self._refuse(participant, last, errors.Unavailable())
                    if participant.confirmed_seq >= participant.last_seq:
                        participant.is_stalled = False  # nothing is left that the next one would have to follow
                if not participant.is_peer_away and not participant.is_stalled:
                    break
        finally:
            participant.is_storing = False

    async def _try_storing(self, participant: Participant, signals: list[bytes]) -> bool:
        ids = participant.room_id, participant.user_id, participant.socket_id
        try:
            async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
                is_stored = await self._rooms.store_signals(*ids, signals, limit=MAX_RECORDED_SIGNALS)
        except (*UNAVAILABLE, TimeoutError) as error:
            log.warning("signals_not_stored room_id=%s socket_id=%s error=%r", ids[0], ids[2], error)
            return False
        log.info(
            "signals_stored room_id=%s socket_id=%s signals=%d is_stored=%s", ids[0], ids[2], len(signals), is_stored
        )
        return is_stored

    async def _discard(self, participant: Participant, seq: int) -> None:
        try:
            await self._rooms.discard_signals(participant.room_id, participant.user_id, seq)
        except UNAVAILABLE as error:  # the peer's process drops what comes twice
            log.info("signals_not_discarded room_id=%s error=%r", participant.room_id, error)

    # --- Repeating ----------------------------------------------------------------------------------

    def _watch(self, participant: Participant) -> None:
        participant.is_watched = True
        self._watched.add(participant)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Store, and send again, what has not been confirmed since the last sweep."""
        try:
            self._repeat_unconfirmed()
        finally:
            loop = asyncio.get_running_loop()
            self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep) if self._watched else None

    def _repeat_unconfirmed(self) -> None:
        for participant in tuple(self._watched):
            is_held = self._find(participant.socket_id, participant.room_id) is participant
            if not is_held or participant.closed or participant.confirmed_seq >= participant.last_seq:
                participant.is_watched = False
                self._watched.discard(participant)
            elif participant.confirmed_seq < participant.swept_seq or participant.is_stalled:
                self._repeat(participant)
            participant.swept_seq = participant.last_seq

    def _repeat(self, participant: Participant) -> None:
        if participant.unacknowledged:
            self._begin_storing(participant)
        if participant.is_peer_away:
            return
        participant.sweeps_left -= 1
        if participant.sweeps_left <= 0:
            pause = min(MAX_SWEEP_PAUSE, 2 * participant.sweep_pause)
            self._send_again(participant)
            participant.sweep_pause = participant.sweeps_left = pause

    async def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._tasks.stop()


def end_wait(done: asyncio.Future[None], error: errors.ProductError | None) -> None:
    """Acknowledge or refuse a signal whose sender waits for `done`."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
