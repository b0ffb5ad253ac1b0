"""Log lines by structlog: one JSON object each in production, readable in development, with the ids of what is served.

Modules write through `logging`; what they and libraries write ends in one handler and one formatter.
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
from typing import Any, TextIO

import orjson
import structlog
from procrastinate.exceptions import ConnectorException
from structlog.processors import EventRenamer, format_exc_info
from structlog.stdlib import render_to_log_kwargs
from structlog.typing import EventDict, Processor

from settings import Settings

#: What is being served: a request, an event (its socket and a number) or a job, which has the id of what asked for it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
job_id: ContextVar[int | None] = ContextVar("job_id", default=None)
socket_id: ContextVar[str | None] = ContextVar("socket_id", default=None)
user_id: ContextVar[str | None] = ContextVar("user_id", default=None)


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


def request(method: str, path: str, status: int, seconds: float) -> None:
    """Log that a request was answered. The path comes without its query, which may carry a token."""
    _requests.info(f"{method} {path} {status}", milliseconds=round(seconds * 1000, 1))


def _add_time(_logger: object, _method: str, line: EventDict) -> EventDict:
    # structlog's TimeStamper takes longer than all else that is done to a line.
    now = time.time()
    line["time"] = f"{_format_second(int(now))}.{int(now % 1 * 1000):03d}+00:00"
    return line


@functools.lru_cache(maxsize=2)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _add_ids(_logger: object, _method: str, line: EventDict) -> EventDict:
    line["request_id"] = request_id.get()
    for variable in (job_id, socket_id, user_id):
        if (value := variable.get()) is not None:
            line[variable.name] = value
    return line


def _drop_color(_logger: object, _method: str, line: EventDict) -> EventDict:
    line.pop("color_message", None)  # uvicorn's second version of each message
    return line


def _to_json(_logger: object, _method: str, line: EventDict) -> str:
    return orjson.dumps(line, default=str).decode()


#: What every line has, besides its message and its own fields.
_CONTEXT: tuple[Processor, ...] = (_add_time, structlog.stdlib.add_log_level, _add_ids)
#: The end of a line in production.
_JSON: tuple[Processor, ...] = (EventRenamer("message"), _to_json)


def _formatter(*, production: bool) -> logging.Formatter:
    end: tuple[Processor, ...]
    if production:
        end = (format_exc_info, *_JSON)
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


class _LineLogger:
    """Logger of lines that are finished: a logging.LogRecord looks up its line of code, thread and process."""

    def __init__(self, lines: Lines) -> None:
        self.info = lines.add


def _request_logger(lines: Lines | None = None) -> Any:
    """Make the logger of requests: one that goes through `logging`, or one that writes to `lines` itself, for speed."""
    if lines is None:
        return structlog.wrap_logger(
            logging.getLogger(_REQUESTS), processors=[render_to_log_kwargs], wrapper_class=structlog.stdlib.BoundLogger
        )
    return structlog.wrap_logger(
        _LineLogger(lines),
        processors=[_add_time, _add_ids, *_JSON],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLogger(_REQUESTS).getEffectiveLevel()),
    ).bind(logger=_REQUESTS, level="info")


_REQUESTS = "parlance.http"
_requests = _request_logger()


class WithoutQuery(logging.Filter):
    """Filter that takes the query off addresses in uvicorn's lines of sockets: some clients put their token there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(each.partition("?")[0] if isinstance(each, str) else each for each in record.args)
        return True


class FailedJobs(logging.Filter):
    """Filter that passes failed jobs, also those that are tried again, which procrastinate logs at info."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "action", None) == "job_error_retry":
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return record.levelno >= logging.WARNING


class Outages(logging.Filter):
    """Filter that drops procrastinate's lines about a PostgreSQL that is away: `cli/worker.py` logs an outage once."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (record.name.startswith("procrastinate") and isinstance(error, ConnectorException))


def configure(settings: Settings) -> None:
    """Send every logger to standard error, at LOG_LEVEL; libraries speak from warning on."""
    global _requests
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
            },
            "handlers": {"stderr": {"()": lambda: lines, "formatter": "line", "filters": ["outages"]}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {
                "parlance": {"level": settings.log_level.upper()},
                "uvicorn.error": {"level": "INFO", "filters": ["without_query"]},
                "procrastinate.worker": {"level": "INFO", "filters": ["failed_jobs"]},
                # The one above speaks of what became of jobs, this one of all else.
                "procrastinate.worker.worker": {"level": "WARNING"},
                # Warns at each try to connect; that PostgreSQL is away is logged once, by its users.
                "psycopg.pool": {"level": "ERROR"},
                # Both log every odd client, and at info write packets, tokens included.
                "engineio.server": {"level": "CRITICAL"},
                "socketio.server": {"level": "CRITICAL"},
            },
        }
    )
    _requests = _request_logger(lines if settings.is_production else None)
