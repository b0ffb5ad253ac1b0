"""Answers of lists and of requests sent side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx


def count_statuses(answers: Sequence[httpx.Response]) -> dict[int, int]:
    """How many answers had which status."""
    found = sorted(answer.status_code for answer in answers)
    return {status: found.count(status) for status in dict.fromkeys(found)}


def read_code(answer: httpx.Response) -> tuple[int, str | None]:
    """The status of an answer, and the code of a problem."""
    return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else None


async def read_all_pages(http: httpx.AsyncClient, path: str, *, limit: int = 2, **query: Any) -> list[dict[str, Any]]:
    """Read a list to its end, page by page."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        answer = await http.get(path, params={"limit": limit, **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["nextCursor"] is None:
            return items
        cursor = {"cursor": page["nextCursor"]}
