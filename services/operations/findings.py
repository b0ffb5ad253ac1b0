"""Findings of `parlance doctor`: results of checks, and how to correct a fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check; `fix` is what to do, None where the verdict is `ok`."""

    check: str
    verdict: Verdict
    summary: str
    fix: str | None = None


class NotOk(Exception):
    """Ends a check with a warning or a fault."""

    def __init__(self, verdict: Verdict, summary: str, fix: str) -> None:
        self.verdict, self.summary, self.fix = verdict, summary, fix


def fault(summary: str, fix: str) -> NotOk:
    return NotOk("fault", summary, fix)


def warning(summary: str, fix: str) -> NotOk:
    return NotOk("warning", summary, fix)


def describe_error(error: BaseException | None) -> str:
    """Return an error's text on one line of at most 200 characters."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
