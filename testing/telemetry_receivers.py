"""Receivers of telemetry: a collector that speaks OTLP over HTTP, and Sentry's ingest endpoint."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Span:
    """A span as it was received."""

    name: str
    #: `server`, `client`, `consumer` or `internal`.
    kind: str
    trace_id: str
    span_id: str
    #: Empty for the first span of a trace.
    parent_id: str
    attributes: dict[str, Any]
    #: Traces that it has a link to.
    links: list[str]
    events: list[str]
    is_failed: bool
    began_ns: int
    ended_ns: int
    resource: dict[str, Any]

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


class Collector(ThreadingHTTPServer):
    """Collector of traces; while `gate` is closed it answers nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _CollectorHandler)
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a process exports to this collector, ten times a second."""
        endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    @property
    def spans(self) -> list[Span]:
        return [
            _read_span(span, {each.key: _read_value(each) for each in group.resource.attributes})
            for request in list(self.requests)
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def in_trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace, in the order in which they began."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.began_ns)


class _Handler(BaseHTTPRequestHandler):
    def read_body(self) -> bytes:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def answer(self, body: bytes = b"", content_type: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _CollectorHandler(_Handler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf", self.path
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.requests.append(ExportTraceServiceRequest.FromString(self.read_body()))
        self.server.gate.wait()
        self.answer(content_type="application/x-protobuf")


class SentryStandIn(ThreadingHTTPServer):
    """Sentry's ingest endpoint. `bodies` are whole envelopes, `reports` the events in them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SentryHandler)
        self.bodies: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def environment(self) -> dict[str, str]:
        return {"SENTRY_DSN": f"http://0123456789abcdef@127.0.0.1:{self.server_address[1]}/1"}

    @property
    def reports(self) -> list[dict[str, Any]]:
        found = []
        for body in list(self.bodies):
            # An envelope: a line of headers, then for each item a line of headers and its payload.
            lines = [json.loads(line) for line in body.splitlines() if line]
            found += [
                payload for header, payload in zip(lines[1::2], lines[2::2], strict=True) if header["type"] == "event"
            ]
        return found


class _SentryHandler(_Handler):
    server: SentryStandIn

    def do_POST(self) -> None:
        assert self.path == "/api/1/envelope/", self.path
        self.server.bodies.append(self.read_body())
        self.server.gate.wait()
        self.answer(b"{}")


@contextmanager
def receiving(receiver: Collector | SentryStandIn) -> Iterator[None]:
    """Serve in a thread."""
    thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        receiver.gate.set()
        receiver.shutdown()
        receiver.server_close()


def _read_span(span: SpanMessage, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes={each.key: _read_value(each) for each in span.attributes},
        links=[link.trace_id.hex() for link in span.links],
        events=[event.name for event in span.events],
        is_failed=span.status.code == Status.STATUS_CODE_ERROR,
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        resource=resource,
    )


def _read_value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return getattr(pair.value, kind) if kind else None
