"""Python types of both specs: those in wire/ are current, and each rule of JSON Schema has its form in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from contract import lint
from contract.python_types import MODULES, WIRE, generate

ROOT = Path(__file__).resolve().parents[2]


def test_wire_types_match_the_specs() -> None:
    generate(check=True)


def test_generate_check_reports_stale_types(tmp_path: Path) -> None:
    for name, spec in MODULES.items():
        shutil.copy(WIRE / name, tmp_path)
        shutil.copy(ROOT / spec, tmp_path)
    document = (ROOT / "asyncapi.yaml").read_text()
    (tmp_path / "asyncapi.yaml").write_text(document.replace("maxLength: 60", "maxLength: 61"))
    generate(tmp_path, tmp_path, check=True)  # a limit is no type
    (tmp_path / "asyncapi.yaml").write_text(document.replace("estimatedWaitSeconds", "estimatedWait"))
    with pytest.raises(lint.ToolError, match=r"wire/events\.py is stale; run: make types"):
        generate(tmp_path, tmp_path, check=True)


def test_generated_types_keep_what_schemas_say(tmp_path: Path) -> None:
    nullable = {"type": "string", "format": "date-time", "nullable": True}
    thing = {
        "type": "object",
        "required": ["id", "when", "kind", "extra"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "when": nullable,
            "kind": {"type": "string", "enum": ["small", "large"]},
            "extra": {"type": "object", "additionalProperties": {"type": "string"}},
            "anything": {"type": "object", "additionalProperties": True},
            "bytes": {"type": "string", "format": "binary"},
        },
    }
    rest = {"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "components": {"schemas": {"Thing": thing}}}
    union = {"oneOf": [{"type": "null"}, {"type": "object", "properties": {"at": {"type": ["integer", "null"]}}}]}
    data = {
        "type": "object",
        "properties": {"of": {"type": ["object", "null"], "additionalProperties": {"type": "string"}}},
    }
    done = {"type": "object", "required": ["ok"], "properties": {"ok": {"const": True}}}
    schemas = {"Place": union, "Data": data, "Done": done}
    events = {"asyncapi": "3.0.0", "info": {"title": "t", "version": "1"}, "components": {"schemas": schemas}}
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(rest, sort_keys=False))
    (tmp_path / "asyncapi.yaml").write_text(yaml.safe_dump(events))
    generate(tmp_path, tmp_path)
    text = (tmp_path / "rest.py").read_text()
    assert text.partition("class Thing(TypedDict):\n")[2].splitlines() == [
        "    id: str",
        "    when: str | None",
        '    kind: Literal["small", "large"]',
        "    extra: dict[str, str]",
        "    anything: NotRequired[dict[str, object]]",
        "    bytes: NotRequired[str]",
    ]
    text = (tmp_path / "events.py").read_text()
    assert "    at: NotRequired[int | None]" in text
    assert "Place: TypeAlias = Place1 | None" in text
    assert "    of: NotRequired[dict[str, str] | None]" in text
    assert "    ok: Literal[True]" in text
