"""Traces by OpenTelemetry, exported by OTLP over HTTP; nothing of it is imported while tracing is off.

`spans.py` has what the other modules call. A collector that is away or slow delays neither requests nor the end of a
process: spans wait in a bounded queue, a thread sends them, and what does not fit is dropped.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import parlance
import spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from settings import Settings

#: Seconds for which the end of a process waits until the spans that are left are exported.
FLUSH_SECONDS = 2.0

_provider: TracerProvider | None = None


def configure(settings: Settings, *, process: str) -> None:
    """Turn tracing on where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; `process` is `web` or `worker`."""
    global _provider
    if settings.otel_exporter_otlp_endpoint is None or _provider is not None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from adapters.span_recorder import CallIds, OpenTelemetryRecorder, make_sampler

    endpoint, given = settings.otel_exporter_otlp_endpoint.rstrip("/"), settings.otel_exporter_otlp_headers
    exporter = OTLPSpanExporter(
        f"{endpoint}/v1/traces", headers=read_headers(given.get_secret_value()) if given else None
    )
    described = {
        "service.name": f"parlance-{process}",
        "service.version": parlance.__version__,
        "service.instance.id": str(uuid.uuid4()),
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have precedence.
        **OTELResourceDetector().detect().attributes,
    }
    sampler = make_sampler(settings.otel_traces_sampler_arg)
    _provider = TracerProvider(
        sampler=sampler, id_generator=CallIds(), resource=Resource.create(described), shutdown_on_exit=False
    )
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    spans.recorder = OpenTelemetryRecorder(_provider.get_tracer("parlance"), sampler)


def stop() -> None:
    """Export what is left, for `FLUSH_SECONDS` at most, and turn tracing off."""
    global _provider
    provider, _provider, spans.recorder = _provider, None, None
    if provider is not None:
        # In a thread that nothing waits for: an export to a collector that does not answer takes longer.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(FLUSH_SECONDS)


def read_headers(text: str) -> dict[str, str]:
    """Read `name=value,name=value`, as the SDK reads OTEL_EXPORTER_OTLP_HEADERS: values are percent-encoded."""
    from opentelemetry.util.re import parse_env_headers

    return dict(parse_env_headers(text, liberal=True))
