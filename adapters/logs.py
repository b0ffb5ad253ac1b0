"""Owns log lines: one JSON object each in production, readable in development; each names its request."""

from __future__ import annotations

import asyncio
import functools
import logging
import logging.config
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
from procrastinate.exceptions import ConnectorException

from settings import Settings

#: The request, or the socket, that is being served.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_requests = logging.getLogger("parlance.http")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


class Lines(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of the event loop together, and whatever is worse than info at once."""

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


#: Takes production's lines about requests.
_json_lines: Lines | None = None


def request(method: str, path: str, status: int, seconds: float) -> None:
    """Log that a request was answered. The path comes without its query, which may carry a token."""
    if not _requests.isEnabledFor(logging.INFO):
        return
    message, milliseconds = f"{method} {path} {status}", round(seconds * 1000, 1)
    if _json_lines is None:
        _requests.info(message, extra={"milliseconds": milliseconds})
    else:
        # A record looks up its line of code, thread and process, which takes longer than to answer.
        _json_lines.add(_json(time.time(), "info", _requests.name, message, {"milliseconds": milliseconds}))


def _json(created: float, level: str, logger: str, message: str, more: dict[str, Any]) -> str:
    line = {
        "time": f"{_second(int(created))}.{int(created % 1 * 1000):03d}+00:00",
        "level": level,
        "logger": logger,
        "message": message,
        "request_id": request_id.get(),
        **more,
    }
    return orjson.dumps(line, default=str).decode()


@functools.lru_cache(maxsize=2)
def _second(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        more = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            more["exception"] = self.formatException(record.exc_info)
        return _json(record.created, record.levelname.lower(), record.name, record.getMessage(), more)


class ReadableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        name = request_id.get()
        return f"{text}  [{name}]" if name else text


class WithoutQuery(logging.Filter):
    """Takes the query off the addresses that uvicorn tells of sockets: some clients put their token there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(each.partition("?")[0] if isinstance(each, str) else each for each in record.args)
        return True


class FailedJobs(logging.Filter):
    """Lets failed jobs through, those that are tried again too, which procrastinate tells at info like all others."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "action", None) == "job_error_retry":
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return record.levelno >= logging.WARNING


class Outages(logging.Filter):
    """Leaves out what procrastinate says of a PostgreSQL that is away: `cli/worker.py` logs an outage once."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (record.name.startswith("procrastinate") and isinstance(error, ConnectorException))


def configure(settings: Settings) -> None:
    """Send every logger to standard error, at LOG_LEVEL; libraries speak from warning on."""
    global _json_lines
    lines = Lines()
    formatter = (
        {"()": JsonFormatter}
        if settings.is_production
        else {
            "()": ReadableFormatter,
            "format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s",
            "datefmt": "%H:%M:%S",
        }
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": formatter},
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
                # Warns at each try to connect; that PostgreSQL is away is logged once, by whoever needs it.
                "psycopg.pool": {"level": "ERROR"},
                # Both tell of every odd client, and at info write packets, tokens included.
                "engineio.server": {"level": "CRITICAL"},
                "socketio.server": {"level": "CRITICAL"},
            },
        }
    )
    _json_lines = lines if settings.is_production else None
