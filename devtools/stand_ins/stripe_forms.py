"""Stripe's bracket form: `line_items[0][price_data][currency]=inr` as nested dictionaries and lists."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from devtools.stand_ins.store import Json


def decode(encoded: str) -> Json:
    """Decode a body or a query string; every leaf is a string, and `[]` or `[0]`, `[1]` make a list."""
    tree: Json = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        first, _, rest = name.partition("[")
        path = [first, *re.findall(r"([^\[\]]*)\]", rest)]
        node = tree
        for key in path[:-1]:
            child = node.setdefault(key or str(len(node)), {})
            if not isinstance(child, dict):
                break
            node = child
        else:
            node[path[-1] or str(len(node))] = value
    return {name: _listed(value) for name, value in tree.items()}


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    # Only 0, 1, 2...: metadata may have a key such as 2026.
    if node and sorted(node) == sorted(str(index) for index in range(len(node))):
        return [_listed(node[str(index)]) for index in range(len(node))]
    return {key: _listed(value) for key, value in node.items()}
