"""Revalidation of answers by their ETag."""

from __future__ import annotations

from starlette.types import Scope

#: Status of a body that the client has already.
NOT_MODIFIED = 304


def is_unchanged(scope: Scope, tag: str) -> bool:
    """Return whether `If-None-Match` names the body that would be sent (RFC 9110, 13.1.2)."""
    given = b",".join(value for name, value in scope["headers"] if name == b"if-none-match").decode("latin-1")
    tags = {each.strip().removeprefix("W/") for each in given.split(",")}
    return "*" in tags or tag in tags
