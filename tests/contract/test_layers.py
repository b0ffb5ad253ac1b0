"""Import rules between layers."""

from __future__ import annotations

import ast
import re
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


PRODUCTION = ("adapters", "cli", "contract", "handlers", "models", "realtime", "services")


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


@pytest.mark.parametrize(
    "module", ["digests.py", "errors.py", "instants.py", "settings.py", "spans.py", "texts.py", "time_zones.py"]
)
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


def test_one_module_connects_to_postgresql() -> None:
    """Time limits, TLS and several hosts are options of a connection; a second place would forget some."""
    connecting = {"create_async_engine", "create_engine", "PsycopgConnector", "make_conninfo", "database_url"}
    found = {}
    for path in [
        ROOT / "app.py",
        ROOT / "container.py",
        *sources(*PRODUCTION),
        *sorted((ROOT / "alembic").glob("*.py")),
    ]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        opened = {call for call in calls if re.fullmatch(r"psycopg\.(\w*Connection\.)?connect", call)}
        if used := opened | (names & connecting):
            found[str(path.relative_to(ROOT))] = used
    # It enqueues over connections of others, and its own is never opened.
    assert found.pop("adapters/jobs.py") == {"PsycopgConnector"}
    assert set(found) == {"adapters/postgresql.py"}, found
