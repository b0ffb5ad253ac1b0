"""Log lines by structlog, with the id of the request, event or job: JSON in production, readable in development.

Modules log through `logging`; their lines and those of libraries have one handler and one formatter.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import logging.config
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

import orjson
import structlog
from procrastinate.exceptions import ConnectorException
from structlog.processors import EventRenamer, format_exc_info
from structlog.typing import EventDict, Processor

import spans
from settings import Settings

#: Id of the current request, event (its socket and a number) or job, which has the id of the request that enqueued it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
job_id: ContextVar[int | None] = ContextVar("job_id", default=None)
socket_id: ContextVar[str | None] = ContextVar("socket_id", default=None)
user_id: ContextVar[str | None] = ContextVar("user_id", default=None)

_requests = logging.getLogger("parlance.http")
#: Seconds until a failed export of traces is logged again.
_REPEAT_EXPORT_LOG_SECONDS = 60


class Lines(logging.StreamHandler[TextIO]):
    """Handler that writes the lines of one turn of the event loop together, and those above info at once."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.add(self.format(record), urgent=record.levelno > logging.INFO)
        except Exception:
            self.handleError(record)

    def add(self, line: str, *, urgent: bool = False) -> None:
        self._waiting.append(line)
        if urgent or len(self._waiting) >= 100:
            self.flush()
        elif len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:  # no loop runs in this thread
                self.flush()

    def flush(self) -> None:
        self.acquire()
        try:
            lines, self._waiting = self._waiting, []
            if lines:
                self.stream.write("\n".join([*lines, ""]))
            super().flush()
        finally:
            self.release()


#: Takes the lines of requests in production.
_json_lines: Lines | None = None


def request(method: str, path: str, status: int, seconds: float) -> None:
    """Log that a request was answered. The path comes without its query, which may carry a token."""
    if not _requests.isEnabledFor(logging.INFO):
        return
    message, milliseconds = f"{method} {path} {status}", round(seconds * 1000, 1)
    if _json_lines is None:
        _requests.info(message, extra={"milliseconds": milliseconds})
        return
    # As the formatter writes it, at a third of the time: decision 0043.
    line = {
        "logger": _requests.name,
        "level": "info",
        "milliseconds": milliseconds,
        "time": _format_time(),
        "request_id": request_id.get(),
        "user_id": user_id.get(),
        "message": message,
    }
    if line["user_id"] is None:
        del line["user_id"]
    if (ids := spans.ids()) is not None:
        line["trace_id"], line["span_id"] = ids
    _json_lines.add(orjson.dumps(line).decode())


def _add_time(_logger: object, _method: str, line: EventDict) -> EventDict:
    # structlog's TimeStamper takes longer than all other processing of a line.
    line["time"] = _format_time()
    return line


def _format_time() -> str:
    now = time.time()
    return f"{_format_second(int(now))}.{int(now % 1 * 1000):03d}+00:00"


@functools.lru_cache(maxsize=2)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _add_ids(_logger: object, _method: str, line: EventDict) -> EventDict:
    line["request_id"] = request_id.get()
    for variable in (job_id, socket_id, user_id):
        if (value := variable.get()) is not None:
            line[variable.name] = value
    if (ids := spans.ids()) is not None:
        line["trace_id"], line["span_id"] = ids
    return line


def _drop_color(_logger: object, _method: str, line: EventDict) -> EventDict:
    line.pop("color_message", None)  # uvicorn's second version of each message
    return line


def _to_json(_logger: object, _method: str, line: EventDict) -> str:
    return orjson.dumps(line, default=str).decode()


#: Attributes of every record that are no fields of its own.
_CONTEXT: tuple[Processor, ...] = (_add_time, structlog.stdlib.add_log_level, _add_ids)


def _formatter(*, production: bool) -> logging.Formatter:
    end: tuple[Processor, ...]
    if production:
        end = (format_exc_info, EventRenamer("message"), _to_json)
    else:
        # Not the traceback of rich, which shows local variables, passwords among them.
        colors = sys.stderr.isatty()
        end = (
            structlog.dev.ConsoleRenderer(
                colors=colors, exception_formatter=structlog.dev.plain_traceback, timestamp_key="time"
            ),
        )
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end],
        foreign_pre_chain=[*_CONTEXT, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), _drop_color],
    )


class WithoutQuery(logging.Filter):
    """Filter that removes the query of socket addresses from uvicorn's lines: some clients put their token there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(each.partition("?")[0] if isinstance(each, str) else each for each in record.args)
        return True


class FailedJobs(logging.Filter):
    """Filter that passes failed jobs, also those that will be retried, which procrastinate logs at info."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "action", None) == "job_error_retry":
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return record.levelno >= logging.WARNING


class Outages(logging.Filter):
    """Filter that drops procrastinate's lines about an unavailable PostgreSQL: `cli/worker.py` logs an outage once."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (record.name.startswith("procrastinate") and isinstance(error, ConnectorException))


class Exports(logging.Filter):
    """Filter that passes one line of OpenTelemetry a minute: its exporter logs each attempt to reach a collector."""

    _next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("opentelemetry"):
            return True
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _REPEAT_EXPORT_LOG_SECONDS
        return True


def configure(settings: Settings) -> None:
    """Send every logger to standard error, at LOG_LEVEL; libraries log from warning on."""
    global _json_lines
    lines = Lines()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": _formatter, "production": settings.is_production}},
            "filters": {
                "without_query": {"()": WithoutQuery},
                "failed_jobs": {"()": FailedJobs},
                "outages": {"()": Outages},
                "exports": {"()": Exports},
            },
            "handlers": {"stderr": {"()": lambda: lines, "formatter": "line", "filters": ["outages", "exports"]}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {
                "parlance": {"level": settings.log_level.upper()},
                "uvicorn.error": {"level": "INFO", "filters": ["without_query"]},
                "procrastinate.worker": {"level": "INFO", "filters": ["failed_jobs"]},
                # The logger above reports the results of jobs, this one everything else.
                "procrastinate.worker.worker": {"level": "WARNING"},
                # Warns at each attempt to connect; an outage of PostgreSQL is logged once, by its users.
                "psycopg.pool": {"level": "ERROR"},
                # Both log every malformed client, and at info packets with their tokens.
                "engineio.server": {"level": "CRITICAL"},
                "socketio.server": {"level": "CRITICAL"},
            },
        }
    )
    _json_lines = lines if settings.is_production else None
