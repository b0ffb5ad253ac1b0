"""Owns log lines: one JSON object each in production, readable in development; each names its request."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from settings import Settings

#: The request, or the socket, that is being served.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_requests = logging.getLogger("parlance.http")
_TEMPLATE = logging.LogRecord(_requests.name, logging.INFO, __file__, 0, "%s %s %d", None, None).__dict__
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


class _RequestRecord(logging.LogRecord):
    """A copy of one record: to look up the line of code, thread and process again takes longer than the line itself."""

    def __init__(self, arguments: tuple[str, str, int], milliseconds: float) -> None:
        now = time.time()
        self.__dict__.update(_TEMPLATE, args=arguments, created=now, msecs=now % 1 * 1000, milliseconds=milliseconds)


def request(method: str, path: str, status: int, seconds: float) -> None:
    """Log that a request was answered. The path comes without its query, which may carry a token."""
    if _requests.isEnabledFor(logging.INFO):
        _requests.handle(_RequestRecord((method, path, status), round(seconds * 1000, 1)))


class Lines(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of the event loop together, and whatever is worse than info at once."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record))
            if record.levelno > logging.INFO or len(self._waiting) >= 100:
                self.flush()
            elif len(self._waiting) == 1:
                asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:  # no loop runs in this thread
            self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        self.acquire()
        try:
            lines, self._waiting = self._waiting, []
            if lines:
                self.stream.write("\n".join([*lines, ""]))
            super().flush()
        finally:
            self.release()


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **{key: value for key, value in record.__dict__.items() if key not in _STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class ReadableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        name = request_id.get()
        return f"{text}  [{name}]" if name else text


def configure(settings: Settings) -> None:
    """Send every logger to standard error, at LOG_LEVEL; libraries speak from warning on."""
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
            "handlers": {"stderr": {"()": Lines, "formatter": "line"}},
            "root": {"level": "WARNING", "handlers": ["stderr"]},
            "loggers": {
                "parlance": {"level": settings.log_level.upper()},
                "uvicorn.error": {"level": "INFO"},
                # Both tell of every odd client, and at info write packets, tokens included.
                "engineio.server": {"level": "CRITICAL"},
                "socketio.server": {"level": "CRITICAL"},
            },
        }
    )
