"""Fixtures of the tests of generated clients: each client is generated once a process, from the served document."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from container import Container
from contract import generated_clients
from testing.call_history import MakeLearner
from testing.lessons import new_admin, new_course
from testing.servers import Server, address
from testing.time_limits import limit
from tests.clients.grown import NEW_VALUE, grown_answers, grown_server

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
#: Where each client has its models.
MODELS = {
    "dart": "lib/src/model/*.dart",
    "go": "model_*.go",
    "java": "src/main/java/org/parlance/client/model/*.java",
    "python": "parlance_client/models/*.py",
    "swift": "Sources/*/Models/*.swift",
    "typescript": "models/*.ts",
}
#: Files among them that belong to the generator.
_OWN_FILES = {"abstractopenapischema", "date", "index", "init"}


class Generated(NamedTuple):
    """A generated client."""

    language: str
    folder: Path
    warnings: list[str]


class Program:
    """A compiled program of one client, with the modes `job` and `decode`."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self._command, self._options = command, options

    def run(self, *arguments: str) -> Any:
        return json.loads(run([*self._command, *arguments], **self._options))

    def job(self, url: str, course: str) -> dict[str, Any]:
        seen: dict[str, Any] = self.run("job", url, address(), course, f"u{uuid.uuid4().hex[:20]}")
        return seen


Generate = Callable[[str], Generated]


def run(command: list[str], **options: Any) -> str:
    """Run a program and return what it printed; fail with its errors."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(120), check=False, **options)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return str(done.stdout)


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Generate:
    folder = tmp_path_factory.mktemp("clients")

    @cache
    def generate(language: str) -> Generated:
        return Generated(language, folder / language, generated_clients.generate(language, folder / language))

    return generate


@pytest.fixture
async def course(container: Container, make_learner: MakeLearner) -> str:
    """A published course without a price."""
    return await new_course((await new_admin(container, make_learner)).http)


def check_generated(client: Generated, compiled_by: str, job: str, growth: str) -> None:
    """Check the names of a client's models, and its row of the table in docs/clients.md."""
    configuration = (generated_clients.CONFIGURATIONS / f"{client.language}.yaml").read_text()
    (generator,) = re.findall(r"^generatorName: (\S+)$", configuration, re.M)
    library = "".join(f", `{name}`" for name in re.findall(r"^library: (\S+)$", configuration, re.M))
    rows = re.findall(rf"^\| {client.language} \|.*$", GUIDE.read_text(), re.M | re.I)
    cells = [generator + library, str(len(client.warnings)), compiled_by, job, growth]
    assert [cell.strip() for cell in rows[0].split("|")[2:-1]] == cells, client.warnings

    schemas = {name.lower() for name in generated_clients.document()["components"]["schemas"]}
    models = [
        path.stem.removeprefix("model_").replace("_", "").lower()
        for path in client.folder.glob(MODELS[client.language])
    ]
    assert len(models) > 70 and len(models) == len(set(models))
    # No name that the generator made up for a schema without one.
    assert set(models) - _OWN_FILES <= schemas


def check_job(program: Program, server: Server, course: str) -> None:
    """Run the main job against a server: registration, profile, courses, calls, refusals, logout."""
    assert program.job(server.url, course) == {
        "bio": [None, "Hello", None],
        "displayName": ["Ada", "Ada"],
        "course": True,
        "enrolled": True,
        "myCourses": [course],
        "calls": [0, None],
        "refused": [409, "email_taken"],
        "loggedOut": [401, "refresh_token_invalid"],
    }


def check_growth(program: Program, folder: Path) -> None:
    """Run the main job against the later version, and decode and encode each of its responses."""
    with grown_server() as server:
        with httpx.Client(base_url=server.url, trust_env=False, timeout=limit(15)) as http:
            assert http.get("/users/me").json()["newField"]
        seen = program.job(server.url, "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0")
        assert seen["refused"] == [409, NEW_VALUE] and seen["loggedOut"] == [401, NEW_VALUE], seen
        assert seen["calls"][0] == 1, seen
    answers = grown_answers()
    assert len(answers) > 30 and NEW_VALUE in json.dumps(answers["Order"])
    (folder / "answers.json").write_text(json.dumps(answers))
    encoded = program.run("decode", str(folder / "answers.json"))
    assert encoded.keys() == answers.keys()
    for name, answer in answers.items():
        # Each new value is still there once the response is encoded again.
        assert encoded[name].count(NEW_VALUE) == json.dumps(answer).count(NEW_VALUE), (name, encoded[name])
