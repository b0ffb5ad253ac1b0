"""The examples at the start of docs/clients.md: those in TypeScript, Python and Go run, the others are parsed."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest
import redis
import tree_sitter_kotlin
from tree_sitter import Language, Parser

from container import Container
from contract.lint import install_node_packages
from contract.typescript import CLIENT
from settings import Settings
from testing.call_history import MakeLearner
from testing.calls import empty_queue
from testing.debian_programs import find_program
from testing.servers import PASSWORD, Learner, Server
from tests.clients.conftest import GUIDE, Generate, run
from tests.clients.test_go_client import OFFLINE
from tests.clients.test_parsed_clients import PARSERS, faults
from tests.clients.test_typescript_client import NODE

BLOCKS: dict[str, str] = dict(
    re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text().partition("## Authentication")[0], re.M | re.S)
)


@pytest.fixture
async def learner(container: Container, settings: Settings, make_learner: MakeLearner) -> Learner:
    await empty_queue(container)
    with redis.Redis(str(settings.redis_host), settings.redis_port) as client:
        # The examples log in from one address.
        for key in client.scan_iter("limit:*", count=1000):
            client.delete(key)
    return await make_learner()


def example(language: str, server: Server, learner: Learner) -> str:
    """Return an example with the address and the account of this test."""
    text = BLOCKS[language]
    for written, own in {
        "http://localhost:5503": server.url,
        "ada@example.com": learner.email,
        "correct horse battery": PASSWORD,
    }.items():
        assert written in text
        text = text.replace(written, own)
    return text


def test_examples_are_there() -> None:
    assert list(BLOCKS) == ["typescript", "python", "dart", "swift", "kotlin", "go"]


async def test_typescript_connects_after_a_refusal(server: Server, learner: Learner, tmp_path: Path) -> None:
    await asyncio.to_thread(install_node_packages, CLIENT)
    text, refused = example("typescript", server, learner), 'tokens.accessToken = "expired";\nconst socket = '
    end = "(console.log(ack), socket.disconnect())"
    text = text.replace("const socket = ", refused).replace("console.log(ack)", end)
    (tmp_path / "example.mts").write_text(text)
    (tmp_path / "node_modules").symlink_to(CLIENT / "node_modules")
    strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--noEmit", "--types", "node"]
    compiler = [*NODE, str(CLIENT / "node_modules" / "typescript" / "bin" / "tsc")]
    await asyncio.to_thread(run, [*compiler, *strict, "example.mts"], cwd=tmp_path)
    printed = await asyncio.to_thread(run, [*NODE, "example.mts"], cwd=tmp_path)
    assert printed == "{ ok: true }\n"


async def test_python_connects_after_a_refusal(server: Server, learner: Learner, tmp_path: Path) -> None:
    text = example("python", server, learner)
    refused = 'tokens["accessToken"] = "expired"\nsocket = socketio.Client()'
    end = "socket.disconnect()\n"
    (tmp_path / "example.py").write_text(text.replace("socket = socketio.Client()", refused) + end)
    assert await asyncio.to_thread(run, [sys.executable, "example.py"], cwd=tmp_path) == "{'ok': True}\n"


@pytest.mark.system
async def test_go_reads_the_profile(generated: Generate, server: Server, learner: Learner, tmp_path: Path) -> None:
    shutil.copytree(generated("go").folder, tmp_path / "parlance")
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.19\n")
    imports = '"context"\n"fmt"\n"log"\n"example/parlance"'
    text = f"package main\nimport (\n{imports}\n)\nfunc main() {{\n{example('go', server, learner)}}}\n"
    (tmp_path / "example.go").write_text(text)
    go = find_program("golang-go", "go")
    printed = await asyncio.to_thread(run, [go, "run", "example.go"], cwd=tmp_path, env=OFFLINE)
    assert printed == f"{learner.username} <nil>\n"


@pytest.mark.parametrize("language", ["dart", "swift", "kotlin"])
def test_example_parses(language: str) -> None:
    parsers = {**PARSERS, "kotlin": Parser(Language(tree_sitter_kotlin.language()))}
    assert [*faults(parsers[language].parse(BLOCKS[language].encode()).root_node)] == []
    broken = BLOCKS[language].rstrip().removesuffix("}")
    assert [*faults(parsers[language].parse(broken.encode()).root_node)] != []


def test_patch_examples_are_those_of_the_programs() -> None:
    """What the table shows for clearing a field is what the programs of the main job send."""
    programs = "".join(path.read_text() for path in (Path(__file__).parent / "programs").glob("[pP]rogram.*"))
    rows = re.findall(r"^\| (\w+) \| `(.*?)` \|$", GUIDE.read_text(), re.M)
    assert [language for language, _ in rows] == ["TypeScript", "Python", "Go", "Java", "Swift", "Dart"]
    assert all(code in programs for language, code in rows if language not in ("Swift", "Dart"))
    statements = {"Swift": "let update = {}", "Dart": "final update = {};"}
    for language, code in rows[-2:]:
        tree = PARSERS[language.lower()].parse(statements[language].format(code).encode())
        assert [*faults(tree.root_node)] == []
