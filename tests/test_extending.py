"""docs/extending.md works: its code, applied to a copy of the project, makes an endpoint and an event."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from testing.time_limits import limit

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "extending.md"
#: A piece of the guide: the file it belongs to, the line it stands behind (else at the end), and the text.
PIECE = re.compile(r"^<!-- file: (\S+?)(?:, after: (.+?))? -->\n```\w+\n(.*?)^```$", re.M | re.S)


def copy_of_the_project(directory: Path) -> None:
    kept = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(kept, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name)
    for packages in ("node_modules", "clients/typescript/node_modules"):
        if (ROOT / packages).exists():
            (directory / packages).symlink_to(ROOT / packages)


def put(directory: Path, name: str, after: str | None, text: str) -> None:
    path = directory / name
    lines = path.read_text() if path.exists() else ""
    if after is None:
        path.write_text(lines + text)
        return
    assert f"\n{after}\n" in lines, f"{name} has no line {after!r}"
    path.write_text(lines.replace(f"\n{after}\n", f"\n{after}\n{text}", 1))


def run(directory: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=directory, capture_output=True, text=True, timeout=limit(240), check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"


def test_guide_steps_make_an_endpoint_and_an_event(tmp_path: Path) -> None:
    copy_of_the_project(tmp_path)
    pieces = PIECE.findall(GUIDE.read_text())
    assert len(re.findall(r"^\*\*[1-5]\. ", GUIDE.read_text(), re.M)) == 10
    for name, after, text in pieces:
        put(tmp_path, name, after or None, text)
    code = sorted({name for name, _, _ in pieces if name.endswith(".py")})
    run(tmp_path, "ruff", "check", *code)
    run(tmp_path, "ruff", "format", "--check", *code)
    run(tmp_path, "contract.lint")
    run(tmp_path, "contract.python_types")
    shown = [name for name in code if name.startswith("tests/")]
    assert len(shown) == 2
    run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", *shown, "tests/contract/test_typed_code.py")
