"""Samples of requests: each is valid in its language, and those of curl and Python run as they are."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract import code_samples, schemas, served
from contract.lint import install_node_packages
from contract.operations import METHODS
from contract.typescript import CLIENT, compile_client
from testing.debian_programs import find_program
from testing.servers import Learner, Server, http_client, register
from testing.time_limits import limit

DOCUMENT = served.openapi(schemas.load(schemas.OPENAPI))
OPERATIONS = [
    (path, method, code_samples.samples(path, method, item, DOCUMENT))
    for path, item in DOCUMENT["paths"].items()
    for method in METHODS
    if method in item
]
BY_ID = {DOCUMENT["paths"][path][method]["operationId"]: samples for path, method, samples in OPERATIONS}


def source(samples: list[dict[str, str]], language: str) -> str:
    return next(each["source"] for each in samples if each["lang"] == language)


def test_every_operation_has_four_samples() -> None:
    assert len(OPERATIONS) > 70
    for path, method, samples in OPERATIONS:
        assert [each["label"] for each in samples] == ["curl", "TypeScript", "Python", "Dart"], (path, method)


@pytest.mark.parametrize(("path", "method", "samples"), OPERATIONS, ids=[f"{each[1]} {each[0]}" for each in OPERATIONS])
def test_sample_parses_and_names_its_operation(path: str, method: str, samples: list[dict[str, str]]) -> None:
    operation = DOCUMENT["paths"][path][method]
    body = operation.get("requestBody")
    content = schemas.follow(body, DOCUMENT)["content"] if body else {}
    words = shlex.split(source(samples, "curl").replace("\\\n", " "))
    assert words[0] == "curl" and (method.upper() in words or "--head" in words)
    assert any(word.startswith(code_samples.ORIGIN) for word in words) and "{" not in "".join(words[2:4])
    if "application/json" in content:
        sent = json.loads(words[words.index("--data") + 1])
        assert schemas.compiled(content["application/json"]["schema"], DOCUMENT)(sent) is None

    tree = ast.parse(source(samples, "python"))
    call = next(each for each in ast.walk(tree) if isinstance(each, ast.Call) and "request" in ast.unparse(each.func))
    assert ast.literal_eval(call.args[0]) == method.upper()

    is_secured = bool(operation["security"]) and {} not in operation["security"]
    for language in ("curl", "python", "dart"):
        assert ("Bearer" in source(samples, language)) is is_secured, language


def test_forms_have_one_file_and_no_other_field() -> None:
    """As the samples suppose."""
    for path, method, _ in OPERATIONS:
        body = schemas.follow(DOCUMENT["paths"][path][method].get("requestBody", {}), DOCUMENT)
        if form := body.get("content", {}).get("multipart/form-data"):
            assert list(schemas.follow(form["schema"], DOCUMENT)["properties"]) == ["file"], path


def test_typescript_samples_compile_with_the_client(tmp_path: Path) -> None:
    install_node_packages(CLIENT)
    folder = tmp_path / "samples"
    folder.mkdir()
    for number, (_, _, samples) in enumerate(OPERATIONS):
        lines = source(samples, "typescript")
        (folder / f"sample{number}.ts").write_text(
            f"declare const deviceId: string, file: File;\n{lines}\nexport {{}};\n"
        )
    options: dict[str, Any] = {
        "noUnusedLocals": False,
        "types": [],
        "module": "Preserve",
        "moduleResolution": "Bundler",
        "paths": {"@parlance/client/rest": [str(CLIENT / "src" / "rest.ts")]},
    }
    project = folder / "tsconfig.json"
    extends = str(CLIENT / "tsconfig.json")
    project.write_text(json.dumps({"extends": extends, "compilerOptions": options, "include": ["*.ts"]}))
    compile_client(project)
    broken = folder / "sample0.ts"
    broken.write_text(broken.read_text().replace('"/', '"/no/such'))
    with pytest.raises(Exception, match=r"sample0\.ts"):
        compile_client(project)


@pytest.mark.parametrize("operation", ["getMe", "updateMe", "checkHealth", "listNotifications"])
async def test_python_sample_runs_against_a_server(server: Server, operation: str) -> None:
    async with http_client(server.url) as http:
        learner = await register(http)
    text = source(BY_ID[operation], "python").replace(code_samples.ORIGIN, server.url)
    printed = await run([sys.executable, "-c", text], learner)
    assert isinstance(ast.literal_eval(printed), dict)


@pytest.mark.system
@pytest.mark.parametrize("operation", ["getMe", "updateMe", "checkHealth"])
async def test_curl_sample_runs_against_a_server(server: Server, operation: str) -> None:
    find_program("curl", "curl")
    async with http_client(server.url) as http:
        learner = await register(http)
    text = source(BY_ID[operation], "curl").replace(code_samples.ORIGIN, server.url)
    answer = json.loads(await run(["sh", "-c", text.replace("curl ", "curl --silent --fail ", 1)], learner))
    assert answer


async def run(command: list[str], learner: Learner) -> str:
    environment = {**os.environ, "TOKEN": learner.access_token}
    done = await asyncio.to_thread(
        lambda: subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit(20), check=False)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
