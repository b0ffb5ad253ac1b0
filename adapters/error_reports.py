"""Reports of unexpected errors by Sentry's SDK; nothing of it is imported while `SENTRY_DSN` is not set.

What is logged as an error is reported: of requests, events, jobs and background loops alike. None of the SDK's
integrations is used, because they change libraries, and read requests. A report has the type and the stack of an error,
and the ids that find its log line; no texts, because they may contain e-mail addresses, parameters of SQL or tokens.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import parlance
import spans
from adapters import logs

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

    from settings import Settings

#: Seconds for which the end of a process waits until the reports that are left are sent.
FLUSH_SECONDS = 2.0

#: Loggers of what sends traces and reports: a receiver that is away is no error of the product.
_TELEMETRY = ("opentelemetry", "sentry_sdk")

_reports: ErrorReports | None = None


def configure(settings: Settings) -> None:
    """Report errors where `SENTRY_DSN` is set; called after `logs.configure`, which replaces all handlers."""
    global _reports
    if settings.sentry_dsn is None:
        return
    import sentry_sdk

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        release=f"parlance@{parlance.__version__}",
        environment=settings.app_env,
        default_integrations=False,
        auto_enabling_integrations=False,
        # Traces are OpenTelemetry's.
        traces_sample_rate=None,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        before_send=scrub,
    )
    _reports = _reports or ErrorReports(logging.ERROR)
    logging.getLogger().addHandler(_reports)


def stop() -> None:
    """Send what is left, for `FLUSH_SECONDS` at most, and report no more."""
    global _reports
    if _reports is None:
        return
    import sentry_sdk

    logging.getLogger().removeHandler(_reports)
    _reports = None
    sentry_sdk.get_client().close(timeout=FLUSH_SECONDS)


class ErrorReports(logging.Handler):
    """Log handler that reports each record, with the error that it carries."""

    def emit(self, record: logging.LogRecord) -> None:
        import sentry_sdk

        if record.name.startswith(_TELEMETRY):
            return
        try:
            with sentry_sdk.new_scope() as scope:
                scope.set_tag("logger", record.name)
                scope.set_tag("event", _read_event(record))
                for variable in (logs.request_id, logs.job_id, logs.socket_id):
                    if (value := variable.get()) is not None:
                        scope.set_tag(variable.name, str(value))
                error = record.exc_info[1] if record.exc_info else None
                if error is not None:
                    scope.capture_exception(error)
                else:
                    scope.capture_event({"level": "error", "logentry": {"message": _read_event(record)}})
        except Exception:
            self.handleError(record)


def _read_event(record: logging.LogRecord) -> str:
    """Return the name of the event of a line of ours; of a library's line, whose text has values, the logger."""
    return str(record.msg).partition(" ")[0] if record.name.startswith("parlance.") else record.name


def scrub(report: Event, _hint: Hint) -> Event:
    """Remove all texts of errors, and values of variables; add the current span."""
    found: dict[str, Any] = dict(report)
    for name in ("request", "user", "breadcrumbs", "extra", "modules"):
        found.pop(name, None)
    for each in found.get("exception", {}).get("values", ()):
        each["value"] = "The log line of this request_id has the text."
        for frame in (each.get("stacktrace") or {}).get("frames", ()):
            frame.pop("vars", None)
    contexts = {"runtime": found.get("contexts", {}).get("runtime", {})}
    if (ids := spans.ids()) is not None:
        contexts["trace"] = {"trace_id": ids[0], "span_id": ids[1]}
    found["contexts"] = contexts
    return found  # type: ignore[return-value]
