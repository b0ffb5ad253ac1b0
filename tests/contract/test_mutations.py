"""Mutations of both contracts: those that are killed without recorded messages, and those that the record kills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract import mutations

ROOM = "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """What a short run has seen."""
    lines: list[dict[str, Any]] = [
        {"kind": "received", "name": "peer_left", "given": None, "answered": {"reason": "ended"}},
        {"kind": "sent", "name": "end_call", "given": {"roomId": ROOM}, "answered": {"ok": True}},
        {
            "kind": "sent",
            "name": "end_call",
            "given": {},
            "answered": {"ok": False, "error": {"code": "bad_payload", "message": "No."}},
        },
        {"kind": "get", "name": "/health", "given": None, "answered": {"status": "ok", "timestamp": "t"}},
        {"kind": "get", "name": "/users/me", "given": None, "answered": {"code": "unauthenticated"}, "status": 401},
    ]
    text = "\n".join(json.dumps({"status": 200, "query": "", **line}) for line in lines)
    (tmp_path / "1.jsonl").write_text(text)
    return tmp_path


def test_mutants_contradicted_by_messages_are_killed(record: Path) -> None:
    rest, events = mutations.witnesses(record)
    _, found = mutations.survivors(rest, events)
    survivors = set(found)
    for noticed in (
        "asyncapi.schemas.PeerLeft: the field reason renamed",
        "asyncapi.schemas.PeerLeft: reason need not be there",
        "asyncapi.schemas.PeerLeftReason: the value ended renamed",
        "asyncapi.schemas.RoomReference: the field roomId renamed",
        "asyncapi.schemas.RoomReference: roomId need not be there",
        "openapi.schemas.Health: the field status renamed",
        "openapi.paths./health.get: the path renamed",
        "openapi.paths./users/me.get: the code unauthenticated renamed",
    ):
        assert noticed not in survivors
    for unseen in (
        "asyncapi.schemas.PeerLeftReason: the value banned renamed",
        "asyncapi.schemas.JoinRoom: the field roomId renamed",
        "openapi.schemas.Me: the field bio renamed",
        "openapi.paths./users/me.get: the path renamed",
        "openapi.paths./users/me.patch: the code username_taken renamed",
    ):
        assert unseen in survivors


def test_mutants_killed_without_messages_are_known(tmp_path: Path) -> None:
    count, found = mutations.survivors(*mutations.witnesses(tmp_path))
    assert count > 1300
    for what in ("operationId renamed", "the parameter renamed", "the event renamed"):
        assert not [each for each in found if each.endswith(what)]
    held = (
        "ErrorCode",
        "Upload: the field",
        "openapi.schemas.NotificationType",
        "AdminOrder.properties.alerts.items: the value",
    )
    assert not [each for each in found if any(name in each for name in held)]
