"""Limits of waits scale with the machine: a fixed limit of tests, or the default of a client, fails here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: A limit of this many seconds or more ends a test that hangs; a shorter one is part of what is tested.
SHORTEST_GUARD = 5


def find_fixed_limits(source: str) -> list[int]:
    """Return the lines of limits that are written as a number, or left to the default of a client."""
    expressions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.expr))
    return sorted(node.lineno for node in expressions if is_fixed(node))


def is_fixed(node: ast.expr) -> bool:
    if isinstance(node, ast.Dict):  # keyword arguments of a call to come
        pairs = zip(node.keys, node.values, strict=True)
        return any(isinstance(key, ast.Constant) and key.value == "timeout" and is_guard(value) for key, value in pairs)
    if not isinstance(node, ast.Call):
        return False
    named = {each.arg: each.value for each in node.keywords}
    match ast.unparse(node.func).split("."):
        case ["httpx", "AsyncClient" | "Client" | "get" | "post"] if "transport" not in named:
            return "timeout" not in named or is_guard(named["timeout"])  # 5 seconds by default
        case [*_, "connect"] if "transports" in named:
            return "wait_timeout" not in named  # one second by default
        case [*_, "timeout" | "wait" | "wait_for"] if any(map(is_guard, node.args)):
            return True
    return is_guard(named.get("timeout"))


def is_guard(limit: ast.expr | None) -> bool:
    return isinstance(limit, ast.Constant) and isinstance(limit.value, int | float) and limit.value >= SHORTEST_GUARD


@pytest.mark.parametrize(
    ("call", "fixed"),
    [
        ("asyncio.timeout(5)", True),
        ("asyncio.timeout(limit(5))", False),
        ("asyncio.wait_for(reader.read(), 30)", True),
        ("asyncio.wait_for(drained, 2)", False),
        ("process.wait(20)", True),
        ("phone.wait_for(event, count=20)", False),
        ("subprocess.run(command, timeout=60)", True),
        ('run(**{"text": True, "timeout": 60})', True),
        ("httpx.get(url)", True),
        ("httpx.AsyncClient(transport=transport)", False),
        ("httpx.AsyncClient(base_url=url, timeout=limit(15))", False),
        ("client.connect(url, transports=[])", True),
        ("client.connect(url, transports=[], wait_timeout=limit(10))", False),
        ("client.connect(url)", False),
    ],
)
def test_fixed_limits_are_found(call: str, fixed: bool) -> None:
    assert find_fixed_limits(call) == [1] * fixed


def test_no_limit_is_fixed() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("tests", "testing")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in find_fixed_limits(path.read_text())
    ]
    assert not found, "use testing.time_limits.limit, or testing.servers.http_client:\n" + "\n".join(found)
