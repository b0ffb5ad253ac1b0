"""Goals of a run, checked against what its clients saw, its rows and its mails. Each lists what does not hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from faults.hosts.records import CallSide, Record

#: Seconds in which writes and finds are back, and in which each host knows a ban, where `slowness` is 1.
BACK_SECONDS, BAN_SECONDS = 15.0, 5.0
#: Seconds without a failure that count as being back.
STEADY_SECONDS = 3.0
#: Seconds without a new call that are an outage: the load makes more than one a second.
GAP_SECONDS = 8.0
#: Seconds before the end of the load in which each side of a call has to get a signal acknowledged.
RELAY_SECONDS = 20.0
#: Seconds by which a call row may differ from what its clients saw.
ROW_TOLERANCE_SECONDS = 3.0
#: Seconds of silence, while the partner's signals are acknowledged, after which a call is half open.
SILENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Timing:
    """When a fault began, when it was healed, and from when on the product could work. Seconds since the epoch."""

    began: float
    reachable: float
    healed: float


@dataclass(frozen=True)
class CallRow:
    """What `call_sessions` has of a call."""

    room: str
    users: frozenset[str]
    is_connected: bool
    #: None while it is open.
    seconds: int | None


@dataclass
class Evidence:
    """All that the goals read."""

    record: Record
    timing: Timing
    rows: dict[str, CallRow] = field(default_factory=dict)
    #: (user, minutes of the profile, minutes of their calls), where they differ.
    credits: list[tuple[str, int, int]] = field(default_factory=list)
    #: The number in each learner's profile.
    profiles: dict[str, int] = field(default_factory=dict)
    #: When the mail to each address was written.
    mails: dict[str, float] = field(default_factory=dict)
    #: How many times slower the machine is than the one for which the goals' seconds are.
    slowness: float = 1.0

    def rooms(self) -> dict[str, list[CallSide]]:
        found: dict[str, list[CallSide]] = defaultdict(list)
        for side in self.record.sides:
            found[side.room].append(side)
        return found


# --- Recovery ---------------------------------------------------------------------------------------------------------


def seconds_until_writes(evidence: Evidence) -> float | None:
    """Return the seconds until registrations succeed again; None where they do not."""
    after = evidence.timing.reachable
    tries = sorted((at, outcome) for at, what, outcome in evidence.record.tries if what == "write" and at >= after)
    for at, outcome in tries:
        steady = [each for later, each in tries if at <= later <= at + STEADY_SECONDS]
        if outcome == "ok" and all(each == "ok" for each in steady):
            return at - after
    return None


def seconds_until_finds(evidence: Evidence) -> float | None:
    """Return the seconds until learners come into new calls again, and go on to do so; None where they do not."""
    after, until = evidence.timing.reachable, evidence.record.stopped_at
    joins = sorted(side.joined_at for side in evidence.record.sides if after <= side.joined_at)
    back = None
    for join, following in pairwise([*joins, until]):
        back = None if following - join > GAP_SECONDS else join if back is None else back
    return None if back is None else back - after


def seconds_until_jobs(evidence: Evidence) -> float | None:
    """Return the seconds until the first mail is sent again; None where none is."""
    after = evidence.timing.reachable
    return min((at - after for at in evidence.mails.values() if at >= after), default=None)


def recovery(evidence: Evidence) -> list[str]:
    """Writes and finds are back within 15 s of the new primary being reachable."""
    found = []
    for what, seconds in (("writes", seconds_until_writes(evidence)), ("finds", seconds_until_finds(evidence))):
        if seconds is None:
            found.append(f"{what} are not back")
        elif seconds > BACK_SECONDS * evidence.slowness:
            found.append(f"{what} are back after {seconds:.1f} s")
    return found


def jobs_run(evidence: Evidence) -> list[str]:
    """Each acknowledged registration has its mail."""
    missing = [email for email in evidence.record.registered_at if email not in evidence.mails]
    return [f"no mail to {email}" for email in missing]


# --- Calls ------------------------------------------------------------------------------------------------------------


def _pairs(evidence: Evidence) -> list[tuple[CallSide, CallSide]]:
    """Return (sender, receiver) of each call that both its learners saw."""
    both = [sides for sides in evidence.rooms().values() if len(sides) == 2]
    return [pair for one, other in both for pair in ((one, other), (other, one))]


def _is_live(evidence: Evidence, side: CallSide) -> bool:
    """Say whether a call went on until the load stopped."""
    return side.is_connected and (not side.end or side.ended_at >= evidence.record.stopped_at)


def _missing(sender: CallSide, receiver: CallSide) -> list[int]:
    received = set(receiver.received)
    return [number for number in sender.acked if number not in received]


def _is_half_open(evidence: Evidence, sender: CallSide, receiver: CallSide) -> bool:
    if not (_is_live(evidence, sender) and _is_live(evidence, receiver)):
        return False
    silent_since = max(receiver.last_received_at, receiver.joined_at)
    return bool(_missing(sender, receiver)) and sender.last_acked_at > silent_since + SILENCE_SECONDS


def half_open(evidence: Evidence) -> list[str]:
    """No call is half open: signals acknowledged on one side, and nothing received on the other."""
    return [
        f"{receiver.user} received nothing of {len(_missing(sender, receiver))} signals in {receiver.room}"
        for sender, receiver in _pairs(evidence)
        if _is_half_open(evidence, sender, receiver)
    ]


def relayed(evidence: Evidence) -> list[str]:
    """Calls go on to relay: in the last 20 s of the load a signal of each side that sends any was acknowledged."""
    until = evidence.record.stopped_at
    return [
        f"no signal of {side.user} in {side.room} was acknowledged for {until - side.last_acked_at:.0f} s"
        for side in evidence.record.sides
        if side.is_lasting
        and not side.is_quiet
        and (not side.ended_at or side.ended_at >= until)
        and max(side.last_acked_at, side.joined_at) < until - RELAY_SECONDS
    ]


def nothing_lost(evidence: Evidence) -> list[str]:
    """Nothing that was acknowledged is lost: signals of calls that went on, and profiles."""
    found = []
    for sender, receiver in _pairs(evidence):
        missing = _missing(sender, receiver)
        if not (_is_live(evidence, sender) and _is_live(evidence, receiver)):
            # A call that ended took its last signals along.
            missing = [number for number in missing if number < max(receiver.received, default=0)]
        elif _is_half_open(evidence, sender, receiver):
            continue
        found += [f"the signal {number} of {sender.user} in {sender.room} is lost" for number in missing]
    for user, number in evidence.record.written.items():
        held = evidence.profiles.get(user, -1)
        if held < number and held not in evidence.record.unanswered.get(user, []):
            found.append(f"the profile of {user} has {held}, and {number} was acknowledged")
    return found


def in_order(evidence: Evidence) -> list[str]:
    """Signals arrive in order, and twice only where they were sent twice."""
    found = []
    for sender, receiver in _pairs(evidence):
        first = list(dict.fromkeys(receiver.received))
        if any(later < earlier for earlier, later in pairwise(first)):
            found.append(f"{receiver.user} received signals in {receiver.room} out of order")
        if (twice := len(receiver.received) - len(first)) > sender.repeated:
            found.append(f"{receiver.user} received {twice} signals twice in {receiver.room}")
    return found


def ended_early(evidence: Evidence) -> list[str]:
    """Calls go on."""
    found: dict[str, str] = {}
    for side in evidence.record.sides:
        if side.is_lasting and evidence.timing.began <= side.ended_at < evidence.record.stopped_at:
            found.setdefault(side.room, f"the call {side.room} ended: {side.end}")
    return list(found.values())


def call_rows(evidence: Evidence) -> list[str]:
    """Each call has one row, whose duration is what its clients saw; profiles have the sum of their calls."""
    found = []
    for room, sides in evidence.rooms().items():
        row = evidence.rows.get(room)
        if row is None or not row.is_connected or row.seconds is None:
            state = "missing" if row is None else "open" if row.is_connected else "never connected"
            found.append(f"the call {room} is recorded as {state}")
            continue
        if row.users != {sides[0].user, sides[0].partner}:
            found.append(f"the call {room} is recorded as that of {', '.join(sorted(row.users))}")
        least, most = _duration_bounds(sides)
        if not least <= row.seconds <= most:
            found.append(
                f"the call {room} lasted {max(least, 0):.0f} to {most:.0f} s, and is recorded with {row.seconds} s"
            )
    for user, counted, lasted in evidence.credits:
        found.append(f"{user} has {counted} minutes of practice, and {lasted} in calls")
    return found


def _duration_bounds(sides: list[CallSide]) -> tuple[float, float]:
    """Return the shortest and the longest duration that fits what the clients of a call saw."""
    ends = [
        side.end_sent_at if side.end == "ended" else max(side.joined_at, side.last_received_at, side.last_acked_at)
        for side in sides
    ]
    # A client whose events were lost learns of a join late, but before its partner's signals: the call may have begun
    # as soon as both had asked to join.
    least = min(ends) - max(side.joined_at for side in sides)
    most = max(side.ended_at for side in sides) - max(side.asked_at for side in sides)
    return least - ROW_TOLERANCE_SECONDS, most + ROW_TOLERANCE_SECONDS


# --- Bans and answers -------------------------------------------------------------------------------------------------


def ban_seconds(evidence: Evidence) -> dict[str, float]:
    """Return, of each ban and logout at each host, the seconds from when the host could know it until it did."""
    timing, record = evidence.timing, evidence.record
    found, allowed = {}, BAN_SECONDS * evidence.slowness
    for number, each in enumerate(record.revocations):
        during = timing.began - allowed <= each.acked_at <= timing.healed
        known_from = max(each.acked_at, timing.healed) if during else each.acked_at
        if known_from > record.stopped_at - allowed:
            continue  # the load ended before it had to be known
        for host in ("app1", "app2"):
            found[f"{each.kind} {number} at {host}"] = max(0.0, each.refused.get(host, float("inf")) - known_from)
    return found


def bans_known(evidence: Evidence) -> list[str]:
    """A ban and a logout reach each host that is connected to a store within 5 s of the heal."""
    return [
        f"the {name} is not known" if seconds == float("inf") else f"the {name} is known after {seconds:.1f} s"
        for name, seconds in ban_seconds(evidence).items()
        if seconds > BAN_SECONDS * evidence.slowness
    ]


#: Requests whose errors count; of the others some are to be refused.
_ASKED = ("write", "read", "profile", "refresh", "rate")


def _failed(evidence: Evidence) -> list[tuple[float, str, str]]:
    """Return (when, what, outcome) of each answer of 5xx and request without an answer, from the fault on."""
    began = evidence.timing.began
    return [
        (at, what, outcome)
        for at, what, outcome in evidence.record.tries
        if what in _ASKED and at >= began and outcome.startswith(("5", "lost"))
    ]


def http_errors(evidence: Evidence) -> Counter[str]:
    """Count answers of 5xx, and requests without an answer, from the fault on."""
    return Counter(outcome for _, _, outcome in _failed(evidence))


def _sentences(evidence: Evidence, failed: list[tuple[float, str, str]]) -> list[str]:
    return [f"{what} at {at - evidence.timing.began:.2f} s: {outcome}" for at, what, outcome in sorted(failed)]


def outages_said(evidence: Evidence) -> list[str]:
    """An outage is answered with 503 and Retry-After, never with 500."""
    wrong = [each for each in _failed(evidence) if each[2] != "503" and each[2].startswith("5")]
    return _sentences(evidence, wrong)


def no_errors(evidence: Evidence) -> list[str]:
    """No request is answered with 5xx, and none is lost."""
    return _sentences(evidence, _failed(evidence))


def load_worked(evidence: Evidence) -> list[str]:
    """The load itself did not fail."""
    return evidence.record.failures


#: Goals of every scenario.
GOALS = (
    recovery,
    jobs_run,
    relayed,
    half_open,
    nothing_lost,
    in_order,
    call_rows,
    bans_known,
    outages_said,
    load_worked,
)


def unmet(evidence: Evidence, *, calls_go_on: bool, without_errors: bool) -> dict[str, list[str]]:
    """Check the goals of a scenario; return what does not hold, by goal."""
    goals = (*GOALS, *((ended_early,) if calls_go_on else ()), *((no_errors,) if without_errors else ()))
    return {goal.__name__: found for goal in goals if (found := goal(evidence))}
