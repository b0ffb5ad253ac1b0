"""JSON encoding, also of values that orjson refuses."""

from __future__ import annotations

import json
from typing import Any

import orjson


def encode_json(value: Any, *, sort_keys: bool = False) -> bytes:
    """Encode compactly, also integers of more than 64 bits, which JSONB holds, and halves of surrogate pairs."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode()
