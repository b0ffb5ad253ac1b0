"""Spans of traces, for all layers: recorded where tracing is on (`adapters/tracing.py`), and nothing otherwise.

Imports no library and no module of the product, so that a process without tracing does not import OpenTelemetry.
A reader may skip all uses of this module: none changes what the product does.

All spans of a call are in one trace, whose id is the room's id without hyphens: no process has to pass it to another,
and an operator finds the trace by the `room_id` of a log line.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

Kind = Literal["internal", "server", "client", "consumer"]
Value = str | int | float | bool


class Span(Protocol):
    """Span that is being recorded. Attributes never contain tokens, addresses of people or signed URLs."""

    def rename(self, name: str) -> None:
        """Give the span its name, where that was not known at its start."""

    def set(self, name: str, value: Value) -> None:
        """Set an attribute."""

    def fail(self, error_type: str) -> None:
        """Mark the span as failed, by the name of an error class, a code or a status."""


class PendingSpan(Protocol):
    """Span of something that ends later, possibly after hours: nothing of it is exported before."""

    def note(self, event: str) -> None:
        """Add an event with the current time; beyond the limit it is dropped."""

    def end(self, call: str, attributes: dict[str, Value] | None = None) -> None:
        """Record the span, in the trace of the call in room `call`."""


class Recorder(Protocol):
    def span(
        self, name: str, kind: Kind, parent: str | None, call: str | None, is_root: bool, attributes: dict[str, Value]
    ) -> AbstractContextManager[Span]: ...

    def begin(self, name: str) -> PendingSpan: ...

    def ids(self) -> tuple[str, str] | None: ...

    def traceparent(self) -> str | None: ...


class _Nothing:
    def rename(self, name: str) -> None: ...

    def set(self, name: str, value: Value) -> None: ...

    def fail(self, error_type: str) -> None: ...


_OFF: AbstractContextManager[Span] = nullcontext(_Nothing())
#: None while tracing is off.
recorder: Recorder | None = None


def span(
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    call: str | None = None,
    is_root: bool = False,
    attributes: dict[str, Value] | None = None,
) -> AbstractContextManager[Span]:
    """Record a span around a block, below the current one; it fails with the block.

    `parent` is a `traceparent` (W3C Trace Context) to continue. `call` is a room's id: the span is in the trace of that
    call, with a link to the current span; `is_root`: it is the first span of that trace.
    """
    if recorder is None:
        return _OFF
    return recorder.span(name, kind, parent, call, is_root, attributes or {})


def vendor(name: str, operation: str) -> AbstractContextManager[Span]:
    """Record the call of a vendor around a block."""
    if recorder is None:
        return _OFF
    return recorder.span(f"{name} {operation}", "client", None, None, False, {"peer.service": name})


def begin(name: str) -> PendingSpan | None:
    """Begin a span that ends later, with a link to the current one; None while tracing is off."""
    return recorder.begin(name) if recorder is not None else None


def ids() -> tuple[str, str] | None:
    """Return the ids of the current trace and span, in hexadecimal; None without them."""
    return recorder.ids() if recorder is not None else None


def traceparent() -> str | None:
    """Return the current span as `traceparent`, for a job that continues its trace; None without one."""
    return recorder.traceparent() if recorder is not None else None
