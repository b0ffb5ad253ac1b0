"""The generated Java client: built with Debian's JDK, it does the main job and reads a later version's responses.

Jackson with its module of times comes from the generator's own jar, since Debian has none of the latter; for its
module of nullable fields see `java/README.md`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from contract.generated_clients import GENERATOR
from testing.debian_programs import find_program
from testing.servers import Server
from tests.clients.conftest import Generate, Program, check_generated, check_growth, check_job, run

pytestmark = pytest.mark.system

HERE = Path(__file__).parent
#: Debian's packages of the client's other dependencies.
JARS = {
    "libhttpclient-java": "httpclient.jar",
    "libhttpcore-java": "httpcore.jar",
    "libhttpmime-java": "httpmime.jar",
    "libjakarta-annotation-api-java": "jakarta-annotation-api.jar",
}


@pytest.fixture(scope="session")
def program(generated: Generate, tmp_path_factory: pytest.TempPathFactory) -> Program:
    java, javac = (find_program("default-jdk-headless", name) for name in ("java", "javac"))
    jars = [GENERATOR]
    for package, name in JARS.items():
        jars.append(Path("/usr/share/java") / name)
        assert jars[-1].exists(), f"the Java client needs {name}; install it with: apt-get install {package}"
    classes = tmp_path_factory.mktemp("java")
    sources = [*generated("java").folder.glob("src/main/**/*.java"), HERE / "programs" / "Program.java"]
    sources += (HERE / "java").glob("*.java")
    path = os.pathsep.join(map(str, jars))
    run([javac, "-d", str(classes), "-cp", path, "-proc:none", *map(str, sources)])
    return Program([java, "-cp", os.pathsep.join([str(classes), path]), "Program"])


def test_names_and_table(generated: Generate) -> None:
    check_generated(generated("java"), "JDK 17", "runs", "reads")


async def test_main_job(program: Program, server: Server, course: str) -> None:
    await asyncio.to_thread(check_job, program, server, course)


def test_growth(program: Program, tmp_path: Path) -> None:
    check_growth(program, tmp_path)
