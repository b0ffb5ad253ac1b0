"""Python types of both specs: wire/rest.py and wire/events.py, a TypedDict for each schema.

Run as `python -m contract.python_types`, with `--check` to list what is stale. A development tool: the server never
imports it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from datamodel_code_generator import InputFileType, LiteralType, PythonVersion
from datamodel_code_generator import generate as generate_models
from datamodel_code_generator.enums import DataModelType
from datamodel_code_generator.format import Formatter

from contract import schemas
from contract.lint import ROOT, ToolError

WIRE = ROOT / "wire"
#: The modules, each with the spec whose schemas it has.
MODULES = {"rest.py": "openapi.yaml", "events.py": "asyncapi.yaml"}


def generate(contracts: Path = ROOT, output: Path = WIRE, *, check: bool = False) -> None:
    """Write the modules; with `check`, raise ToolError for a stale one."""
    for name, spec in MODULES.items():
        text = _write(schemas.load(contracts / spec), spec)
        path = output / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            raise ToolError(f"wire/{name} is stale; run: make types")


def _write(document: dict[str, Any], spec: str) -> str:
    """Return the module of a spec's schemas. AsyncAPI's are JSON Schema, as those of OpenAPI 3.1 are."""
    version = document.get("openapi", "3.1.0")
    document = {
        "openapi": version,
        "info": document["info"],
        "paths": {},
        "components": {"schemas": document["components"]["schemas"]},
    }
    text = generate_models(
        document,
        input_file_type=InputFileType.OpenAPI,
        output_model_type=DataModelType.TypingTypedDict,
        target_python_version=PythonVersion.PY_311,
        enum_field_as_literal=LiteralType.All,
        strict_nullable=True,
        use_closed_typed_dict=False,  # mypy does not read `closed`
        use_typed_nullable_map_values=True,
        use_object_type=True,
        type_mappings=["binary=string"],
        disable_future_imports=True,
        formatters=[Formatter.RUFF_CHECK, Formatter.RUFF_FORMAT],
        settings_path=ROOT,
        custom_file_header=f'"""Types of {spec}, written by `make types`: edit the spec, not this file."""',
    )
    return f"{text}\n"


def main(arguments: list[str]) -> None:
    """Write the types, or list the stale ones."""
    try:
        generate(check="--check" in arguments)
    except ToolError as error:
        sys.exit(f"contract.python_types: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
