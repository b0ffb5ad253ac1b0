"""The generated Go client: built with Debian's Go, it does the main job and reads a later version's responses."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from testing.debian_programs import find_program
from testing.servers import Server
from tests.clients.conftest import Generate, Program, check_generated, check_growth, check_job, run
from tests.clients.grown import grown_answers

pytestmark = pytest.mark.system

PROGRAM = Path(__file__).parent / "programs" / "program.go"
#: No module but the standard library, and nothing from the network.
OFFLINE = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}


@pytest.fixture(scope="session")
def program(generated: Generate, tmp_path_factory: pytest.TempPathFactory) -> Program:
    go = find_program("golang-go", "go")
    folder = tmp_path_factory.mktemp("go")
    shutil.copytree(generated("go").folder, folder / "parlance")
    shutil.copy(PROGRAM, folder)
    (folder / "go.mod").write_text("module program\n\ngo 1.19\n")
    decoders = "".join(f'\t"{name}": decoder[parlance.{name}],\n' for name in grown_answers())
    (folder / "decoders.go").write_text(
        'package main\n\nimport "program/parlance"\n\n'
        f"var decoders = map[string]func([]byte) (string, error){{\n{decoders}}}\n"
    )
    run([go, "vet", "./..."], cwd=folder, env=OFFLINE)
    run([go, "build", "-o", "built", "."], cwd=folder, env=OFFLINE)
    return Program([str(folder / "built")])


def test_names_and_table(generated: Generate) -> None:
    check_generated(generated("go"), "Go 1.19, standard library alone", "runs", "reads")


async def test_main_job(program: Program, server: Server, course: str) -> None:
    await asyncio.to_thread(check_job, program, server, course)


def test_growth(program: Program, tmp_path: Path) -> None:
    check_growth(program, tmp_path)
