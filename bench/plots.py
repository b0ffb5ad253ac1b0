"""Plots of docs/performance.md: hand-written SVG, readable on light and on dark pages."""

from __future__ import annotations

import math
from html import escape

WIDTH = 820
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #57606a }
.grid { stroke: #8c959f; stroke-opacity: .35 }
.c0 { fill: #2f81f7 } .c1 { fill: #d4762c } .c2 { fill: #3fa45b } .c3 { fill: #a371f7 } .c4 { fill: #8c959f }
polyline { fill: none; stroke-width: 2 }
polyline.c0 { fill: none; stroke: #2f81f7 } polyline.c1 { fill: none; stroke: #d4762c }
polyline.c2 { fill: none; stroke: #3fa45b }
.goal { stroke: #57606a; stroke-width: 2 }
.back { fill: #8c959f; fill-opacity: .3 }
@media (prefers-color-scheme: dark) { text { fill: #b1bac4 } .goal { stroke: #e6edf3 } }
"""


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _line(x: float, y: float, to_x: float, to_y: float, kind: str = "grid") -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'


def _svg(height: float, title: str, shapes: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{_STYLE}</style>", *shapes, "</svg>", ""])


def ratios(title: str, rows: list[tuple[str, float, float | None]]) -> str:
    """How many times as good as the peer: right of 1 is better; a stroke is the goal. The scale is logarithmic."""
    left, row, top = 330, 24, 26
    values = [value for _, ours, goal in rows for value in (ours, goal) if value]
    low, high = math.log10(min([0.25, *values])), math.log10(max([4, *values]))

    def x(value: float) -> float:
        return left + (math.log10(value) - low) / (high - low) * (WIDTH - left - 70)

    height = top + row * len(rows) + 10
    shapes = []
    for mark in (0.1, 0.25, 0.5, 1, 2, 4, 10, 30, 100, 300):
        if low <= math.log10(mark) <= high:
            shapes += [_line(x(mark), top, x(mark), height - 10), _text(x(mark), top - 8, f"{mark:g}", "middle")]
    for number, (name, ours, goal) in enumerate(rows):
        y = top + row * number + 4
        start, end = sorted((x(1), x(ours)))
        shapes += [_text(left - 8, y + 13, name, "end"), _rect(start, y, end - start, row - 8, f"c{int(ours < 1)}")]
        shapes.append(_text(end + 6 if ours >= 1 else x(1) + 6, y + 13, f"{ours:.2g}" if ours < 10 else f"{ours:.0f}"))
        if goal:
            shapes.append(_line(x(goal), y - 2, x(goal), y + row - 6, "goal"))
    return _svg(height, title, shapes)


def day(title: str, hours: list[str], calls: list[float], lines: dict[str, list[float]]) -> str:
    """Calls a second as columns, and lines of seconds on a logarithmic scale over them."""
    left, top, bottom, height = 50, 34, 30, 300
    step = (WIDTH - 2 * left) / len(hours)
    shown = [value for line in lines.values() for value in line if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)) + 0.01)

    def y(seconds: float) -> float:
        return height - bottom - (math.log10(seconds) - low) / (high - low) * (height - top - bottom)

    shapes, most = [], max([*calls, 0.001])
    for number, (hour, rate) in enumerate(zip(hours, calls, strict=True)):
        tall = rate / most * (height - top - bottom)
        shapes.append(_rect(left + number * step + 2, height - bottom - tall, step - 4, tall, "back"))
        if number % 3 == 0:
            shapes.append(_text(left + (number + 0.5) * step, height - 10, hour, "middle"))
    for power in range(low, high + 1):
        shapes += [
            _line(left, y(10.0**power), WIDTH - left, y(10.0**power)),
            _text(left - 6, y(10.0**power) + 4, f"{10.0**power:g} s", "end"),
        ]
    for number, (name, line) in enumerate(lines.items()):
        points = " ".join(
            f"{left + (at + 0.5) * step:.1f},{y(value):.1f}" for at, value in enumerate(line) if value > 0
        )
        shapes += [
            f'<polyline class="c{number}" points="{points}"/>',
            _rect(left + number * 110, 8, 12, 12, f"c{number}"),
            _text(left + number * 110 + 18, 19, name),
        ]
    shapes += [_rect(left + 330, 8, 12, 12, "back"), _text(left + 348, 19, f"calls a second, {most:.1f} at most")]
    return _svg(height, title, shapes)


def stacks(title: str, unit: str, columns: list[str], parts: dict[str, list[float]]) -> str:
    """A column for each name, made of parts."""
    left, top, bottom, height = 50, 34, 30, 300
    step = (WIDTH - 2 * left) / len(columns)
    most = max([*(sum(values) for values in zip(*parts.values(), strict=True)), 0.001])
    scale = (height - top - bottom) / most
    shapes = []
    for mark in (0, most / 2, most):
        y = height - bottom - mark * scale
        shapes += [_line(left, y, WIDTH - left, y), _text(left - 6, y + 4, f"{mark:.1f}", "end")]
    reached = [0.0] * len(columns)
    for number, (name, values) in enumerate(parts.items()):
        for at, value in enumerate(values):
            reached[at] += value
            y = height - bottom - reached[at] * scale
            shapes.append(_rect(left + at * step + step * 0.2, y, step * 0.6, value * scale, f"c{number % 5}"))
        shapes += [_rect(left + number * 150, 8, 12, 12, f"c{number % 5}"), _text(left + number * 150 + 18, 19, name)]
    for at, column in enumerate(columns):
        shapes.append(_text(left + (at + 0.5) * step, height - 10, column, "middle"))
    shapes.append(_text(WIDTH - left, height - 10, unit, "end"))
    return _svg(height, title, shapes)
