"""Tests wait for events, not for time: a fixed sleep over a tenth of a second fails here."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 0.1
#: Longer sleeps that are still there, by file. The list only shrinks: wait with `testing.polling.eventually`, show that
#: nothing happens by an event that comes after it, and move clocks or deadlines where time has to pass.
ALLOWED = {"tests/adapters/test_tasks.py": 1}  # a task that is cancelled


def fixed_sleeps(source: str) -> list[int]:
    """Return the lines of calls of `sleep` whose seconds are fixed, and over LONGEST or a constant of elsewhere."""
    tree = ast.parse(source)
    constants = {
        target.id: statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }

    def seconds(node: ast.expr, depth: int = 0) -> float | None:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name) | ast.Attribute(attr=name) if name.isupper():
                known = constants.get(name)
                found = seconds(known, depth + 1) if known is not None and depth < 5 else None
                return float("inf") if found is None else found
            case ast.BinOp(left=left, op=op, right=right):
                one, other = seconds(left, depth), seconds(right, depth)
                if one is None or other is None:
                    return None
                by_operator = {ast.Add: one + other, ast.Sub: one - other, ast.Mult: one * other}
                return by_operator.get(type(op), float("inf"))
        return None

    def is_sleep(node: ast.Call) -> bool:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return name == "sleep"

    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and is_sleep(node) and node.args]
    return sorted(call.lineno for call in calls if (seconds(call.args[0]) or 0) > LONGEST)


@pytest.mark.parametrize(
    ("call", "is_fixed"),
    [
        ("asyncio.sleep(0.1)", False),
        ("asyncio.sleep(0.11)", True),
        ("time.sleep(1)", True),
        ("sleep(2 * PAUSE)", True),
        ("sleep(PAUSE / 2)", True),
        ("sleep(other.GRACE + 1)", True),
        ("sleep(SHORT)", False),
        ("sleep(delay)", False),
        ("sleep(random() * 0.5)", False),
    ],
)
def test_fixed_sleeps_are_found(call: str, is_fixed: bool) -> None:
    assert fixed_sleeps(f"PAUSE = 0.06\nSHORT = 0.05\n{call}\n") == ([3] if is_fixed else [])


def test_no_fixed_sleep_outside_the_list() -> None:
    found: Counter[str] = Counter()
    for folder in ("tests", "testing"):
        for path in (ROOT / folder).rglob("*.py"):
            found[str(path.relative_to(ROOT))] = len(fixed_sleeps(path.read_text()))
    assert len(found) > 100
    assert {path: count for path, count in found.items() if count} == ALLOWED
