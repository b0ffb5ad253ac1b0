"""State of a participant: one socket in a room, the state of its peer, and the signals it has sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import orjson

import spans
from services.calls.room_state import Role
from wire import events

#: Relayed fields of an offer, an answer or a candidate.
SignalPayload = events.RemoteDescription | events.RemoteCandidate
#: Signals that a participant keeps for a peer that reconnects: more than a socket may send within the grace.
MAX_RECORDED_SIGNALS, MAX_RECORDED_BYTES = 512, 512 * 1024
#: `seq` starts at a multiple of this with each join of a room, so that it rises from one web process to the next.
SEQ_PER_JOIN = 1 << 20


class Signal(NamedTuple):
    seq: int
    name: str
    payload: SignalPayload


@dataclass(slots=True)
class Participant:
    """One socket in a room, in the web process that holds it."""

    room_id: str
    user_id: str
    role: Role | Literal[""] = ""
    peer_id: str = ""
    peer_socket_id: str | None = None
    #: The peer's last join that is known here; and whether the connection of that join dropped.
    peer_joins: int = 0
    is_peer_away: bool = False
    closed: bool = False
    #: Signals that the peer missed are being sent; new ones follow them.
    is_catching_up: bool = False
    joins: int = 1
    seq: int = 0
    #: The last signal that was forwarded to a peer that is away or catching up.
    forwarded_seq: int = 0
    recorded_signals: deque[bytes] = field(default_factory=deque)
    recorded_bytes: int = 0
    #: Messages of other web processes that came while this one was joining.
    pending_messages: list[Callable[[Participant], Awaitable[None]]] = field(default_factory=list)
    #: From the join to the end of this participant, where tracing is on.
    span: spans.PendingSpan | None = None

    def record(self, seq: int, name: str, payload: SignalPayload) -> None:
        """Keep a signal for a peer that reconnects; beyond the limit the oldest are dropped."""
        # As bytes, which Python's garbage collector does not traverse: its pauses make the tail latency.
        kept = orjson.dumps((seq, name, payload))
        self.seq = seq
        self.recorded_signals.append(kept)
        self.recorded_bytes += len(kept)
        while len(self.recorded_signals) > MAX_RECORDED_SIGNALS or self.recorded_bytes > MAX_RECORDED_BYTES:
            self.recorded_bytes -= len(self.recorded_signals.popleft())

    def signals_after(self, seq: int) -> list[Signal]:
        """Return the recorded signals with a higher `seq`."""
        signals = [Signal(*orjson.loads(kept)) for kept in self.recorded_signals]
        return [signal for signal in signals if signal.seq > seq]

    def forget(self, seq: int) -> None:
        """Forget the last signal, if it has this `seq`."""
        if self.recorded_signals and orjson.loads(self.recorded_signals[-1])[0] == seq:
            self.recorded_bytes -= len(self.recorded_signals.pop())

    def close(self) -> None:
        """Note that the participant has left the room."""
        self.closed = True
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
            sent = max(0, self.seq - self.joins * SEQ_PER_JOIN)
            span.end(
                self.room_id,
                {
                    "parlance.role": self.role,
                    "parlance.joins": self.joins,
                    "parlance.signals": sent,
                    "parlance.outcome": outcome,
                },
            )

    @property
    def last_forwarded_seq(self) -> int:
        return self.forwarded_seq if self.is_peer_away or self.is_catching_up else self.seq

    def mark_peer_away(self, joins: int) -> None:
        """Note that the connection with which the peer joined is gone."""
        self.forwarded_seq, self.peer_joins = self.last_forwarded_seq, joins
        self.is_peer_away, self.is_catching_up = True, False
        self.note("peer_away")

    def serialize(self) -> bytes:
        """Serialize the state that the user's next socket restores."""
        sent = [orjson.Fragment(kept) for kept in self.recorded_signals]
        return orjson.dumps({"sent": sent, "sentOn": self.last_forwarded_seq, "peerJoins": self.peer_joins})

    def restore(self, saved_state: str, joins: int) -> None:
        """Restore the state of the user's earlier socket, if there is one."""
        self.joins, self.seq = joins, joins * SEQ_PER_JOIN
        if saved_state:
            saved = orjson.loads(saved_state)
            for each in saved["sent"]:
                self.record(*each)
            self.seq = max(self.seq, joins * SEQ_PER_JOIN)
            # Away in any case: this socket has forwarded nothing yet.
            self.forwarded_seq, self.peer_joins, self.is_peer_away = saved["sentOn"], saved["peerJoins"], True
