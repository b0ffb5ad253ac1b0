"""Checked reading of provider data: a valid signature proves the sender, not the shape."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import orjson

import errors
from digests import compute_digest

log = logging.getLogger("parlance.payments")

Fact = TypeVar("Fact")

#: Lengths of the columns that hold them.
_ID_LENGTH = 255
_TYPE_LENGTH = 100
_REASON_LENGTH = 255
#: Limit of PostgreSQL's integer, above the price of any course in any currency.
_LARGEST_AMOUNT = 2**31 - 1

_CURRENCY = re.compile("[A-Za-z]{3}", re.ASCII)
#: No controls, and no lone surrogates, which PostgreSQL's text cannot store.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Unreadable(Exception):
    """Provider data of an unexpected shape; the message names the part, never its value."""


def parse(body: bytes) -> Any:
    """Parse JSON; raise RequestInvalid for a body that is none, Unreadable for one that cannot be parsed."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses lone surrogates and deep nesting, which are valid JSON (RFC 8259, sections 8.2 and 9).
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise errors.RequestInvalid("the body is not JSON") from None
    except (RecursionError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise Unreadable(f"JSON that cannot be parsed ({type(error).__name__})") from None


def _refuse_constant(name: str) -> Any:
    raise errors.RequestInvalid(f"the body is not JSON ({name})")


def event(body: bytes, names: Iterable[str]) -> dict[str, Any]:
    """Parse an event; raise RequestInvalid where it has none of `names`, and Unreadable for a list."""
    parsed = parse(body)
    if isinstance(parsed, list):
        raise Unreadable("a list")
    if not isinstance(parsed, dict) or not any(name in parsed for name in names):
        raise errors.RequestInvalid("the body is not an event")
    return parsed


def derive_event_id(body: bytes) -> str:
    """Derive the id of an event that has none, or none that its column holds."""
    return f"sha256:{compute_digest(body)}"


def printable(value: Any, length: int) -> str:
    """Format a value as a text that fits a column of that length."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value if isinstance(value, str) else "")[:length]


def event_type(value: Any) -> str:
    """Return the type of an event as it is stored and counted; `unknown` if it has none."""
    return printable(value, _TYPE_LENGTH) or "unknown"


def row(parent: Any, name: str) -> dict[str, Any]:
    """Read an object; raise Unreadable."""
    found = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(found, dict):
        raise Unreadable(f"{name} is not an object")
    return found


def identifier(parent: Mapping[str, Any], name: str) -> str:
    """Read an id of the provider's; raise Unreadable."""
    found = parent.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= _ID_LENGTH or _UNPRINTABLE.search(found):
        raise Unreadable(f"{name} is not an id")
    return found


def optional_identifier(parent: Mapping[str, Any], name: str) -> str | None:
    """Read an id that may be absent or null; raise Unreadable."""
    return None if parent.get(name) is None else identifier(parent, name)


def our_id(parent: Mapping[str, Any], name: str) -> str | None:
    """Read an id that we stored at the provider; None if it is not one of ours."""
    try:
        return str(uuid.UUID(parent.get(name)))
    except (ValueError, TypeError, AttributeError):
        return None


def amount(parent: Mapping[str, Any], name: str, *, least: int = 0) -> int:
    """Read an amount in the smallest unit of its currency; raise Unreadable."""
    found = parent.get(name)
    if type(found) is not int or not least <= found <= _LARGEST_AMOUNT:
        raise Unreadable(f"{name} is not an amount")
    return found


def currency(parent: Mapping[str, Any], name: str = "currency") -> str:
    """Read a currency, in lower case; raise Unreadable."""
    found = parent.get(name)
    if not isinstance(found, str) or not _CURRENCY.fullmatch(found):
        raise Unreadable(f"{name} is not a currency")
    return found.lower()


def flag(parent: Mapping[str, Any], name: str) -> bool:
    """Read a boolean; raise Unreadable."""
    found = parent.get(name)
    if not isinstance(found, bool):
        raise Unreadable(f"{name} is not a boolean")
    return found


def word(parent: Mapping[str, Any], name: str, known: Iterable[str] | None = None) -> str:
    """Read a word, one of `known` if given; raise Unreadable."""
    found = parent.get(name)
    if not isinstance(found, str) or (known is not None and found not in known):
        raise Unreadable(f"{name} is not a known word")
    return found


def reason(parent: Mapping[str, Any], name: str) -> str | None:
    """Read a reason, shortened to the length of its column."""
    return printable(parent.get(name), _REASON_LENGTH) or None


def readable(read: Callable[[dict[str, Any]], Fact | None], found: dict[str, Any]) -> list[Fact]:
    """Read one row of a list; nothing for a row without a fact or unreadable, which must not hide the others."""
    try:
        fact = read(found)
    except Unreadable as why:
        log.warning("provider_row_unreadable id=%s reason=%r", printable(found.get("id"), _ID_LENGTH), str(why))
        return []
    return [] if fact is None else [fact]
