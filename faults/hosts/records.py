"""What the clients of a run saw: the record that goals are checked against."""

from __future__ import annotations

from dataclasses import dataclass, field

from faults.load import Claims


@dataclass
class CallSide:
    """One learner's view of one call, from when both were in the room. Times are seconds since the epoch."""

    room: str
    user: str
    partner: str
    #: It stays until the load ends, unlike one that its caller ends after some signals.
    is_lasting: bool
    joined_at: float
    #: When this side first asked to join.
    asked_at: float
    #: Numbers of this side's signals that were acknowledged; how many were sent again after a lost ack.
    acked: list[int] = field(default_factory=list)
    repeated: int = 0
    last_acked_at: float = 0.0
    #: Numbers of the partner's signals, as they came.
    received: list[int] = field(default_factory=list)
    last_received_at: float = 0.0
    #: When this side asked for the end, or gave up, the first time.
    end_sent_at: float = 0.0
    #: When this side knew that the call had ended, and how: `ended` by this side, or what was received.
    ended_at: float = 0.0
    end: str = ""
    #: Whether its client was connected when the load stopped signaling.
    is_connected: bool = False
    #: Whether this side signals so seldom that it sends nothing during most faults.
    is_quiet: bool = False


@dataclass
class Revocation:
    """A ban, or a logout of all devices, and when each host refused the access token."""

    kind: str
    acked_at: float
    refused: dict[str, float] = field(default_factory=dict)


@dataclass
class Record(Claims):
    """What clients of several hosts were answered.

    Of `tries`, the time is that at which the request was sent.
    """

    sides: list[CallSide] = field(default_factory=list)
    #: The last number that each learner wrote into their profile and was acknowledged.
    written: dict[str, int] = field(default_factory=dict)
    #: Numbers without an answer of success, by learner: such a write may come late, after another was acknowledged.
    unanswered: dict[str, list[int]] = field(default_factory=dict)
    #: When each registration was acknowledged, by address.
    registered_at: dict[str, float] = field(default_factory=dict)
    revocations: list[Revocation] = field(default_factory=list)
    #: Seconds of each reconnect to a call.
    returns: list[float] = field(default_factory=list)
    #: When the load stopped signaling, and had hung up.
    stopped_at: float = 0.0
    #: Errors of the load itself.
    failures: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, fields: dict[str, object]) -> Record:
        record = cls(**fields)  # type: ignore[arg-type]
        record.sides = [CallSide(**each) for each in record.sides]  # type: ignore[arg-type]
        record.revocations = [Revocation(**each) for each in record.revocations]  # type: ignore[arg-type]
        record.tries = [(at, what, outcome) for at, what, outcome in record.tries]
        return record
