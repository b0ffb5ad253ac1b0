"""JSON encoding, also of values that orjson refuses."""

from __future__ import annotations

import json

import orjson


def encode_json(value: object, *, sort_keys: bool = False) -> bytes:
    """Encode compactly, also integers of more than 64 bits, which JSONB holds, and halves of surrogate pairs."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode()
