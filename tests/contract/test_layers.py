"""Import rules between layers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "adapters",
    "app",
    "cli",
    "container",
    "contract",
    "errors",
    "handlers",
    "models",
    "realtime",
    "services",
    "wire",
}


def imports(path: Path) -> set[str]:
    """Return the top-level names that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("module", ["digests.py", "errors.py", "instants.py", "settings.py", "spans.py", "texts.py"])
def test_shared_modules_import_no_own_module(module: str) -> None:
    assert not imports(ROOT / module) & (PACKAGES | {"settings"})


def test_only_contract_reads_the_specs() -> None:
    readers = [
        path
        for path in sources("adapters", "cli", "handlers", "models", "realtime", "services", "wire")
        if "yaml" in imports(path)
    ]
    assert readers == []


def test_only_the_container_constructs_services() -> None:
    services = {
        node.name
        for path in sources("services")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Service")
    }
    assert services
    for path in [*sources("adapters", "cli", "contract", "handlers", "realtime", "services"), ROOT / "app.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in services, f"{path.name} constructs {node.func.id}"
