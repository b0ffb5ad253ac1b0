"""Build hook of the wheel: the repository's top-level modules become one import package, `parlance`.

pyproject.toml selects the files and puts them below `parlance/`. This hook replaces each Python file by a copy whose
imports name that package, and makes `parlance.py` its `__init__`. An editable installation, which is the repository
itself, needs neither. Why: docs/decisions/0050-wheel-with-one-package.md.
"""

from __future__ import annotations

import ast
import shutil
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "parlance"
_MAIN = Path("cli/__main__.py")


class WheelError(Exception):
    """An import that the wheel cannot have; the message names its file and line."""


class Hook(BuildHookInterface[Any]):
    """Hatchling's hook: `initialize` before the files are packed, `finalize` after."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root, copies = Path(self.root), Path(tempfile.mkdtemp(prefix="parlance-wheel-"))
        self._copies = copies
        files = [Path(each.relative_path) for each in self.build_config.builder.recurse_selected_project_files()]
        sources = {file: file for file in files if file.suffix == ".py"}
        sources |= {Path("__init__.py"): Path(f"{PACKAGE}.py"), Path("__main__.py"): _MAIN}
        names = find_top_level_modules(files)
        for target, source in sources.items():
            copy = copies / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            rewritten = rewrite_imports((root / source).read_text(encoding="utf-8"), names, source)
            copy.write_text(rewritten, encoding="utf-8")
            build_data["force_include"][str(copy)] = str(target)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            shutil.rmtree(self._copies)


def find_top_level_modules(files: Iterable[Path]) -> set[str]:
    """Return the names by which the repository imports its files; `alembic/` has no `__init__.py` and is none."""
    packages = {file.parts[0] for file in files if file.parts[1:] == ("__init__.py",)}
    return packages | {file.stem for file in files if len(file.parts) == 1 and file.suffix == ".py"}


def rewrite_imports(source: str, names: Collection[str], file: Path) -> str:
    """Put `parlance.` before each import of `names`; line numbers stay. Raise WheelError where that is impossible."""
    lines = source.encode().splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if module.partition(".")[0] in names:
                old, new = b"from ", f"from {PACKAGE}.".encode()
            case ast.Import(names=aliases) if any(each.name.partition(".")[0] in names for each in aliases):
                if len(aliases) > 1 or "." in aliases[0].name:
                    raise WheelError(f"{file}:{node.lineno}: write `from package import module`, one import a line")
                old, new = b"import ", f"from {PACKAGE} import ".encode()
            case _:
                continue
        line = lines[node.lineno - 1]
        before, after = line[: node.col_offset], line[node.col_offset :]
        if not after.startswith(old):
            raise WheelError(f"{file}:{node.lineno}: write one import a line, with a space after its first word")
        lines[node.lineno - 1] = before + new + after.removeprefix(old)
    return b"".join(lines).decode()
