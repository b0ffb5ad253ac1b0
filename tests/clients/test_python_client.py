"""The generated Python client: its types hold, it does the main job, and it reads a later version's responses."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from testing.servers import Server
from tests.clients.conftest import Generate, Program, check_generated, check_growth, check_job, run

PROGRAM = Path(__file__).parent / "programs" / "program.py"


@pytest.fixture(scope="session")
def program(generated: Generate) -> Program:
    path = os.pathsep.join([str(generated("python").folder), os.environ.get("PYTHONPATH", "")])
    return Program([sys.executable, str(PROGRAM)], env={**os.environ, "PYTHONPATH": path})


def test_types_hold(generated: Generate, tmp_path: Path) -> None:
    folder = generated("python").folder
    shutil.copy(PROGRAM, tmp_path)
    # The generator's own settings of mypy.
    settings = ["--config-file", str(folder / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    run([sys.executable, "-m", "mypy", *settings, str(folder / "parlance_client"), PROGRAM.name], cwd=tmp_path)


def test_names_and_table(generated: Generate) -> None:
    check_generated(generated("python"), "mypy, the generator's settings", "runs", "reads")


async def test_main_job(program: Program, server: Server, course: str) -> None:
    await asyncio.to_thread(check_job, program, server, course)


def test_growth(program: Program, tmp_path: Path) -> None:
    check_growth(program, tmp_path)
