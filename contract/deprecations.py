"""Headers of deprecated operations: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and `Link` to the replacement."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from contract.operations import definitions


def read_headers(document: dict[str, Any]) -> dict[str, list[tuple[bytes, bytes]]]:
    """Map the id of each deprecated operation to the headers of all its responses."""
    operations = definitions(document)
    return {
        operation_id: [(name, value.encode()) for name, value in _headers(definition, operations)]
        for operation_id, definition in operations.items()
        if definition.get("deprecated")
    }


def _headers(definition: dict[str, Any], operations: dict[str, dict[str, Any]]) -> list[tuple[bytes, str]]:
    since, sunset = (
        datetime.fromisoformat(definition[name]).replace(tzinfo=UTC) for name in ("x-deprecated-since", "x-sunset")
    )
    headers = [
        (b"deprecation", f"@{int(since.timestamp())}"),
        (b"sunset", format_datetime(sunset, usegmt=True)),
    ]
    # A path with parameters is no address (RFC 8288).
    if (successor := operations.get(definition.get("x-successor", ""))) and "{" not in successor["path"]:
        headers.append((b"link", f'<{successor["path"]}>; rel="successor-version"'))
    return headers
