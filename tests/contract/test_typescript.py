"""The TypeScript client: its types and its version are those of the specs, and it compiles strictly.

tests/clients/test_typescript_package.py runs it.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract import lint
from contract.typescript import CLIENT, compile_client, generate

ROOT = Path(__file__).resolve().parents[2]


def test_generated_types_match_the_specs() -> None:
    generate(check=True)


def test_stale_types_are_reported(tmp_path: Path) -> None:
    for name in ("openapi.ts", "asyncapi.ts"):
        shutil.copy(CLIENT / "src" / name, tmp_path)
    document = (ROOT / "asyncapi.yaml").read_text()
    (tmp_path / "asyncapi.yaml").write_text(document.replace("maxLength: 60", "maxLength: 61"))
    (tmp_path / "openapi.yaml").write_text((ROOT / "openapi.yaml").read_text())
    generate(tmp_path, tmp_path, check=True)  # a limit is no type
    (tmp_path / "asyncapi.yaml").write_text(document.replace("estimatedWaitSeconds", "estimatedWait"))
    with pytest.raises(lint.ToolError, match=r"src/asyncapi\.ts is stale; run: make types"):
        generate(tmp_path, tmp_path, check=True)


def test_client_compiles_strictly() -> None:
    assert json.loads((CLIENT / "tsconfig.json").read_text())["compilerOptions"]["strict"] is True
    compile_client()


def test_package_has_the_version_of_both_specs_and_the_licence() -> None:
    version = json.loads((CLIENT / "package.json").read_text())["version"]
    for spec in ("openapi.yaml", "asyncapi.yaml"):
        assert yaml.safe_load((ROOT / spec).read_text())["info"]["version"] == version, spec
    assert json.loads((CLIENT / "package-lock.json").read_text())["version"] == version
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize(
    "project", sorted(path.parent for path in CLIENT.glob("consumers/*/package-lock.json")), ids=lambda path: path.name
)
def test_consumer_lock_names_no_host_and_no_archive(project: Path) -> None:
    packages = json.loads((project / "package-lock.json").read_text())["packages"]
    assert {each.get("resolved") for each in packages.values()} == {None, "file:parlance-client.tgz"}
    # The archive is built from the tree: its hash is not that of the one that the lock was made with.
    assert "integrity" not in packages["node_modules/@parlance/client"]


def test_types_have_exactly_the_events() -> None:
    document = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
    text = (CLIENT / "src" / "asyncapi.ts").read_text()
    for action, interface in (("receive", "ClientEvents"), ("send", "ServerEvents")):
        body = text.partition(f"export interface {interface} {{")[2].partition("\n}")[0]
        assert re.findall(r"^  (\w+): \(", body, re.M) == [
            each["title"] for each in document["operations"].values() if each["action"] == action
        ]


def test_own_ack_type_belongs_to_its_event_alone(tmp_path: Path) -> None:
    """A contract that is not this one: an operation whose ack carries more, and a message with a schema in place."""
    document = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
    components, messages = document["components"], document["channels"]["root"]["messages"]
    ack = {
        "type": "object",
        "required": ["ok", "code"],
        "properties": {"ok": {"const": True}, "code": {"type": "number"}},
    }
    added: dict[str, Any] = {
        "wave": {"name": "wave", "payload": {"$ref": "#/components/schemas/RoomReference"}},
        "wave_ack": {"name": "wave_ack", "payload": {"oneOf": [ack, {"$ref": "#/components/schemas/Ack"}]}},
        "waved": {"name": "waved", "payload": {"type": "object", "properties": {"times": {"type": "integer"}}}},
    }
    components["messages"] |= added
    messages |= {name: {"$ref": f"#/components/messages/{name}"} for name in added}
    channel = {"$ref": "#/channels/root"}
    document["operations"] |= {
        "wave": {
            "action": "receive",
            "channel": channel,
            "summary": "Wave",
            "messages": [{"$ref": "#/channels/root/messages/wave"}],
            "reply": {"channel": channel, "messages": [{"$ref": "#/channels/root/messages/wave_ack"}]},
        },
        "onWaved": {
            "action": "send",
            "channel": channel,
            "summary": "A learner waved",
            "messages": [{"$ref": "#/channels/root/messages/waved"}],
        },
    }
    (tmp_path / "asyncapi.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    shutil.copy(ROOT / "openapi.yaml", tmp_path)
    shutil.copytree(CLIENT / "src", tmp_path / "src")
    (tmp_path / "node_modules").symlink_to(CLIENT / "node_modules")
    shutil.copy(CLIENT / "package.json", tmp_path)
    settings = json.loads((CLIENT / "tsconfig.json").read_text())
    (tmp_path / "tsconfig.json").write_text(json.dumps({**settings, "include": ["src"]}))
    generate(tmp_path, tmp_path / "src")
    use = """
import type { AckData, RealtimeClient } from "./realtime.js";
const one = (answer: AckData<"wave">): boolean => "code" in answer;
export async function use(realtime: RealtimeClient): Promise<void> {
  one(await realtime.send("wave", { roomId: "" }));
  // @ts-expect-error only a wave is answered with a code
  (await realtime.send("end_call", { roomId: "" })).code;
  realtime.socket.on("waved", ({ times }) => times satisfies number | undefined);
}
"""
    (tmp_path / "src" / "use.ts").write_text(use)
    compile_client(tmp_path)
    (tmp_path / "src" / "use.ts").write_text(use.replace("number | undefined", "string"))
    with pytest.raises(lint.ToolError, match="TS1360"):
        compile_client(tmp_path)
