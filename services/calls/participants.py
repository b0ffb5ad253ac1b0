"""State of a participant: one socket in a room, the state of its peer, and the signals it has sent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import orjson

import spans
from services.calls.room_state import JoinResult, Role
from wire import events

#: Relayed fields of an offer, an answer or a candidate.
SignalPayload = events.RemoteDescription | events.RemoteCandidate
#: The signal with which a connection is negotiated.
ANSWER = "webrtc_answer"
#: Signals that a participant keeps for a peer that reconnects: more than a socket may send within the longest grace.
MAX_RECORDED_SIGNALS, MAX_RECORDED_BYTES = 1024, 512 * 1024

#: Ends an event: takes the argument given with it, and None where it is acknowledged, or the error that refuses it.
Acknowledge = Callable[..., None]


@dataclass(slots=True, eq=False)
class Participant:
    """One socket in a room, in the web process that holds it."""

    room_id: str
    user_id: str
    socket_id: str
    role: Role | Literal[""] = ""
    peer_id: str = ""
    peer_socket_id: str | None = None
    #: The peer's last join that is known here; and whether the connection of that join dropped.
    peer_joins: int = 0
    is_peer_away: bool = False
    #: Whether this socket has sent an answer, or the peer's was written to it.
    is_negotiated: bool = False
    closed: bool = False
    #: When it was, by the clock of `time.monotonic`.
    closed_at: float = 0.0
    joins: int = 1
    #: Whether the room has another role for this socket than its client was informed of.
    is_role_changed: bool = False
    #: Numbers of signals: before the first, the last, the last recorded, the last that the peer's connection has.
    first_seq: int = 0
    seq: int = 0
    last_seq: int = 0
    confirmed_seq: int = 0
    #: The last signal that Redis has for a peer who did not get it, until the peer has it; else 0.
    stored_seq: int = 0
    #: The last signal of the peer that was written to this socket.
    received_seq: int = 0
    #: Signals as JSON, `[seq, name, payload]`: bytes, which Python's garbage collector does not traverse.
    recorded_signals: deque[bytes] = field(default_factory=deque)
    recorded_bytes: int = 0
    #: Signals without an ack: `seq`, and what acknowledges it with which argument.
    unacknowledged: deque[tuple[int, Acknowledge, object]] = field(default_factory=deque)
    #: A message of a signal could not be sent: no later one is, before it.
    is_stalled: bool = False
    is_storing: bool = False
    #: Whether the next sweep looks at it; what was sent when the last did; sweeps until signals are sent again.
    is_watched: bool = False
    swept_seq: int = 0
    sweeps_left: int = 1
    sweep_pause: int = 1
    #: `confirmed_seq` when signals were last sent again because one was missing.
    repeated_after: int = -1
    #: Messages of other web processes that came while this one was joining.
    pending_messages: list[Callable[[Participant], Awaitable[None]]] = field(default_factory=list)
    #: From the join to the end of this participant, where tracing is on.
    span: spans.PendingSpan | None = None

    @property
    def is_full(self) -> bool:
        """Whether no signal can be recorded without losing one that the peer does not have."""
        is_at_limit = len(self.recorded_signals) >= MAX_RECORDED_SIGNALS or self.recorded_bytes >= MAX_RECORDED_BYTES
        return is_at_limit and not self._is_oldest_confirmed()

    def record(self, name: str, payload: SignalPayload) -> bytes:
        """Number a signal and keep it for a peer that reconnects; return its payload as JSON.

        Beyond the limit the oldest that the peer has are dropped.
        """
        self.seq = payload["seq"] = self.seq + 1
        content = orjson.dumps(payload)
        self._keep(self.seq, b'[%d,"%b",%b]' % (self.seq, name.encode(), content))
        return content

    def _keep(self, seq: int, kept: bytes) -> None:
        recorded = self.recorded_signals
        self.last_seq = seq
        recorded.append(kept)
        self.recorded_bytes += len(kept)
        while len(recorded) > MAX_RECORDED_SIGNALS or self.recorded_bytes > MAX_RECORDED_BYTES:
            if not self._is_oldest_confirmed():
                break
            self.recorded_bytes -= len(recorded.popleft())

    def _is_oldest_confirmed(self) -> bool:
        # Numbers are distinct: with more signals than numbers after the last confirmed, the oldest is not after it.
        recorded = self.recorded_signals
        return self.last_seq - self.confirmed_seq < len(recorded) or read_seq(recorded[0]) <= self.confirmed_seq

    def signals_after(self, seq: int) -> list[bytes]:
        """Return the recorded signals with a higher `seq`."""
        found = []
        for kept in reversed(self.recorded_signals):
            if read_seq(kept) <= seq:
                break
            found.append(kept)
        return found[::-1]

    def forget_signals(self, after: int, last: int) -> None:
        """Forget the signals with numbers above `after`, up to `last`: their sender has to repeat them."""
        kept = [each for each in self.recorded_signals if not after < read_seq(each) <= last]
        self.recorded_signals = deque(kept)
        self.recorded_bytes = sum(map(len, kept))
        self.last_seq = read_seq(kept[-1]) if kept else 0

    def close(self) -> None:
        """Note that the participant has left the room."""
        self.closed, self.closed_at = True, time.monotonic()
        self.recorded_signals.clear()
        self.end_span("left")

    def note(self, event: str) -> None:
        """Add an event to the span."""
        if self.span is not None:
            self.span.note(event)

    def end_span(self, outcome: Literal["left", "disconnected"]) -> None:
        """Record the span; its signals are counted here, because a span for each would cost more than the signal."""
        span, self.span = self.span, None
        if span is not None:
            sent = max(0, self.seq - self.first_seq)
            span.end(
                self.room_id,
                {
                    "parlance.role": self.role,
                    "parlance.joins": self.joins,
                    "parlance.signals": sent,
                    "parlance.outcome": outcome,
                },
            )

    def mark_peer_away(self, joins: int) -> None:
        """Note that the connection with which the peer joined is gone."""
        self.peer_joins, self.is_peer_away = joins, True
        self.note("peer_away")

    def join_again(self, join: JoinResult) -> None:
        """Note that this socket has joined with a higher count; the role of the room counts."""
        self.is_role_changed |= join.role != self.role
        self.role = join.role
        if join.joins != self.joins:
            self.joins, self.first_seq = join.joins, max(self.seq, join.first_seq)
            self.seq = self.first_seq

    def pop_role_change(self) -> bool:
        """Return whether the client is to be informed of another role; it is, from now on."""
        is_changed, self.is_role_changed = self.is_role_changed, False
        return is_changed

    def serialize(self) -> bytes:
        """Serialize the state that the user's next socket restores."""
        sent = [orjson.Fragment(kept) for kept in self.recorded_signals]
        return orjson.dumps({"sent": sent, "sentOn": self.confirmed_seq, "peerJoins": self.peer_joins})

    def restore(self, join: JoinResult) -> None:
        """Restore the state of the user's earlier socket, and signals that its web process stored before it died."""
        self.role, self.peer_id, self.joins = join.role, join.peer_id, join.joins
        signals = {read_seq(kept): kept for kept in (each.encode() for each in join.stored_signals)}
        if join.saved_state:
            saved = orjson.loads(join.saved_state)
            signals |= {signal[0]: orjson.dumps(signal) for signal in saved["sent"]}
            # Away in any case: this socket has sent nothing yet.
            self.confirmed_seq, self.peer_joins, self.is_peer_away = saved["sentOn"], saved["peerJoins"], True
        for seq in sorted(signals):
            self._keep(seq, signals[seq])
        self.stored_seq = self.last_seq
        self.seq = self.first_seq = max(join.first_seq, self.last_seq)


def read_seq(kept: bytes) -> int:
    """Read the number of a recorded signal."""
    return int(kept[1 : kept.index(b",")])
