"""Owns log lines: one JSON object each in production, readable in development; each names its request."""

from __future__ import annotations

import logging
import logging.config
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from settings import Settings

#: The request, or the socket, that is being served.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}


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
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
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
