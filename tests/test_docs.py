"""What is written down is there, and what is there is written down."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import app
from settings import Settings

ROOT = Path(__file__).resolve().parents[1]
LOCK_FILES = [ROOT / "package-lock.json", ROOT / "clients" / "typescript" / "package-lock.json"]


def commands() -> list[str]:
    """Every command of the CLI, as one types it."""

    def below(command: Any, words: list[str]) -> list[str]:
        children = getattr(command, "commands", None)
        if children is None:
            return [" ".join(words)]
        return [each for name, child in children.items() for each in below(child, [*words, name])]

    return below(typer.main.get_command(app), [])


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    example = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert sorted(example) == sorted(name.upper() for name in Settings.model_fields)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    readme = (ROOT / "README.md").read_text()
    group, _, name = command.partition(" ")
    rows = [line for line in readme.splitlines() if line.startswith(f"| `parlance {group}")]
    assert any(f"`parlance {command}`" in row or f"`{name}`" in row for row in rows), command


def test_every_file_that_the_documents_name_is_there() -> None:
    for document in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (ROOT / target).exists(), f"{document.name} names {target}"


def test_no_file_names_a_package_host() -> None:
    for path in [
        *ROOT.glob("requirements/*.txt"),
        *LOCK_FILES,
        ROOT / "pyproject.toml",
        ROOT / "Makefile",
    ]:
        assert not re.search(r"pypi\.org|pythonhosted|registry\.npmjs", path.read_text()), path.name


@pytest.mark.parametrize("lock", LOCK_FILES, ids=lambda lock: lock.parent.name)
def test_every_node_package_is_pinned_by_hash(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
