"""The units of deploy/systemd, read by systemd itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from testing.debian_programs import DEPLOY, find_program

pytestmark = pytest.mark.system

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
#: The most exposure that `systemd-analyze security` may find, in tenths: 0 is none, 100 a service without hardening.
MAX_EXPOSURE = 20


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_unit_is_valid_and_confined(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    command = re.search(r"^ExecStart=(/opt/parlance/bin/parlance) ", text, re.M)
    assert command
    # systemd looks whether the program is there.
    copy = tmp_path / unit.name
    copy.write_text(text.replace(command[1], sys.executable))
    analyze = find_program("systemd", "systemd-analyze")
    checked = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True)
    assert checked.returncode == 0 and unit.stem not in checked.stderr, checked.stderr
    security = [analyze, "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", str(copy)]
    rated = subprocess.run(security, capture_output=True, text=True)
    assert rated.returncode == 0, rated.stdout + rated.stderr


def test_units_set_known_settings() -> None:
    example = (DEPLOY.parent / ".env.example").read_text()
    known = {line.partition("=")[0] for line in example.splitlines()} | {"PYTHONUNBUFFERED", "PARLANCE_ENV_FILE"}
    assert len(UNITS) == 3
    for unit in UNITS:
        variables = " ".join(re.findall(r"^Environment=(.*)$", unit.read_text(), re.M)).split()
        assert variables and {each.partition("=")[0] for each in variables} <= known
