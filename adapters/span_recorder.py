"""Recorder of `spans.py` by the SDK of OpenTelemetry; imported where tracing is on alone."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from spans import Kind, Value

#: Events that a pending span keeps.
MAX_EVENTS = 64
_LOW_64_BITS = 0xFFFF_FFFF_FFFF_FFFF
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}


class _ByFirstHalf(sampling.TraceIdRatioBased):
    """Sampler by the first 64 bits of a trace's id: the last 64 of a UUID, which is a call's, are not all random."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> sampling.SamplingResult:
        return super().should_sample(parent_context, trace_id >> 64, name, kind, attributes, links, trace_state)


def make_sampler(ratio: float) -> sampling.Sampler:
    """Make a sampler of this share of all traces; a trace is sampled as its first span is."""
    return sampling.ParentBased(_ByFirstHalf(ratio))


#: Ids of the span that is being started, if it is the first of a call.
_root_ids: ContextVar[tuple[int, int] | None] = ContextVar("root_ids", default=None)


class CallIds(RandomIdGenerator):
    """Ids of spans: random, but for the first span of a call, whose ids its processes read from its room's id."""

    def generate_trace_id(self) -> int:
        ids = _root_ids.get()
        return ids[0] if ids else super().generate_trace_id()

    def generate_span_id(self) -> int:
        ids = _root_ids.get()
        return ids[1] if ids else super().generate_span_id()


class OpenTelemetryRecorder:
    def __init__(self, tracer: trace.Tracer, sampler: sampling.Sampler) -> None:
        self._tracer = tracer
        self._sampler = sampler
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: str | None, call: str | None, is_root: bool, attributes: dict[str, Value]
    ) -> Iterator[_Recorded]:
        context, ids = contexts.get_current(), _read_call(call)
        links: list[Link] = []
        if parent is not None:
            context = self._propagator.extract({"traceparent": parent}, Context())
        elif ids is not None:
            links = link_to_current()
            context = Context() if is_root else self._in_call(*ids)
            attributes = {**attributes, "parlance.room_id": str(call)}
        root = _root_ids.set(ids if is_root else None)
        try:
            started = self._tracer.start_span(name, context, _KINDS[kind], attributes, links)
        finally:
            _root_ids.reset(root)
        token = contexts.attach(trace.set_span_in_context(started, context))
        recorded = _Recorded(started)
        try:
            yield recorded
        except Exception as error:
            recorded.fail(type(error).__name__)
            raise
        finally:
            if kind != "consumer":  # the task of a job is its own, and logs the outcome afterwards
                contexts.detach(token)
            started.end()

    def begin(self, name: str) -> _Pending:
        return _Pending(self, name)

    def record(
        self,
        name: str,
        began_ns: int,
        call: str,
        links: list[Link],
        events: list[tuple[str, int]],
        attributes: dict[str, Value],
    ) -> None:
        """Record a span in the trace of a call; it began at a time, and ends now."""
        ids = _read_call(call)
        if ids is None:
            return
        all_attributes = {**attributes, "parlance.room_id": call}
        context = self._in_call(*ids)
        started = self._tracer.start_span(name, context, SpanKind.INTERNAL, all_attributes, links, began_ns)
        for event, at_ns in events:
            started.add_event(event, timestamp=at_ns)
        started.end()

    def ids(self) -> tuple[str, str] | None:
        current = trace.get_current_span().get_span_context()
        return (f"{current.trace_id:032x}", f"{current.span_id:016x}") if current.is_valid else None

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def _in_call(self, trace_id: int, span_id: int) -> Context:
        """Return the context below the first span of a call; each process decides alike whether it is sampled."""
        is_sampled = self._sampler.should_sample(None, trace_id, "").decision is sampling.Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
        first = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(first), Context())


class _Recorded:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, error_type: str) -> None:
        # Without the error's text, which may name a person.
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR))


class _Pending:
    def __init__(self, recorder: OpenTelemetryRecorder, name: str) -> None:
        self._recorder, self._name = recorder, name
        self._began_ns = time.time_ns()
        self._links = link_to_current()
        self._events: list[tuple[str, int]] = []

    def note(self, event: str) -> None:
        if len(self._events) < MAX_EVENTS:
            self._events.append((event, time.time_ns()))

    def end(self, call: str, attributes: dict[str, Value] | None = None) -> None:
        self._recorder.record(self._name, self._began_ns, call, self._links, self._events, attributes or {})


def link_to_current() -> list[Link]:
    current = trace.get_current_span().get_span_context()
    return [Link(current)] if current.is_valid else []


def _read_call(room_id: str | None) -> tuple[int, int] | None:
    """Return the ids of a call's trace and of its first span; None without a room, or for text that is no room's id."""
    try:
        number = uuid.UUID(room_id).int if room_id else 0
    except ValueError:
        return None
    return (number, number & _LOW_64_BITS) if number & _LOW_64_BITS else None
