"""`make clients`: its configurations, and what it says where it cannot generate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.generated_clients import CONFIGURATIONS, LANGUAGES, TEMPLATE_EDITS, document, edit_template, generate
from contract.lint import ROOT, ToolError
from testing.time_limits import limit


def configuration(language: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONFIGURATIONS / f"{language}.yaml").read_text())
    return loaded


def test_packages_have_the_version_of_the_contract() -> None:
    version = document()["info"]["version"]
    for language, name in {"python": "packageVersion", "dart": "pubVersion"}.items():
        assert configuration(language)["additionalProperties"][name] == version


def test_every_client_reads_new_fields() -> None:
    assert LANGUAGES == ("dart", "go", "java", "python", "swift", "typescript")
    for language in LANGUAGES:
        assert configuration(language)["additionalProperties"]["disallowAdditionalPropertiesIfNotPresent"] is False


def test_unknown_language_is_refused() -> None:
    command = [sys.executable, "-m", "contract.generated_clients", "cobol"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit(60), check=False)
    assert (done.returncode, done.stderr) == (1, "contract.generated_clients: no configuration for cobol\n")


def test_refused_document_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"openapi-generator failed for go: [\s\S]*attribute paths is missing"):
        generate("go", tmp_path / "go", {"openapi": "3.0.3", "info": {"title": "Nothing", "version": "1"}})


def test_changed_template_is_reported(tmp_path: Path) -> None:
    edit = TEMPLATE_EDITS["swift"][0]._replace(old="a word that the template does not have")
    with pytest.raises(ToolError, match=r"modelObject\.mustache of openapi-generator changed"):
        edit_template(edit, tmp_path)


def test_nullable_optional_fields_of_inputs_are_marked() -> None:
    schemas = document()["components"]["schemas"]
    marked = {
        (name, field)
        for name, schema in schemas.items()
        for field, each in schema.get("properties", {}).items()
        if each.get("x-null-encodable")
    }
    assert ("MeUpdate", "bio") in marked and ("MeUpdate", "username") not in marked
    assert {name for name, _ in marked} == {"MeUpdate"}
