"""Both specs as the viewer shows them: one token, facts in the descriptions, a client's view of the events."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

from contract import lint, reference, schemas, sequences, served

REST = served.openapi(schemas.load(schemas.OPENAPI))
EVENTS = served.asyncapi(schemas.load(schemas.ASYNCAPI))


def test_one_token_serves_all_operations() -> None:
    shown = reference.openapi(REST)
    assert list(shown["components"]["securitySchemes"]) == ["bearer"]
    requirements = [each for item in shown["paths"].values() for key, each in item.items() if key in lint.METHODS]
    assert {json.dumps(each["security"]) for each in requirements} == {'[{"bearer": []}]', "[]", '[{}, {"bearer": []}]'}
    assert "administrators" in shown["paths"]["/admin/users"]["get"]["description"]
    assert "administrators" not in shown["paths"]["/users/me"]["get"]["description"]


def test_description_has_limits_codes_and_repeats() -> None:
    document = deepcopy(REST)
    operation = document["paths"]["/auth/login"]["post"]
    operation |= {"x-codes": ["account_banned", "unavailable"], "x-idempotent": True, "description": "Logs in."}
    shown = reference.openapi(document)["paths"]["/auth/login"]["post"]["description"].split("\n\n")
    assert shown[0] == "Logs in." and "`Idempotency-Key`" in shown[1]
    assert shown[2:] == [
        "**Rate limit**: 5 requests in 15 minutes per IP address; 20 failures in 15 minutes per account.",
        "**Error codes**: [`account_banned`](/problems/account_banned), [`unavailable`](/problems/unavailable)",
    ]


def test_documents_for_the_viewer_change_nothing_else() -> None:
    before = deepcopy((REST, EVENTS))
    reference.openapi(REST)
    reference.asyncapi(EVENTS)
    assert before == (REST, EVENTS)


def test_events_are_shown_as_a_client_sees_them() -> None:
    shown = reference.asyncapi(EVENTS)
    assert list(shown["channels"]) == ["send", "receive"] and shown["operations"].keys() == EVENTS["operations"].keys()
    for key, operation in shown["operations"].items():
        assert operation["action"] != EVENTS["operations"][key]["action"]
        assert operation["channel"]["$ref"] == f"#/channels/{operation['action']}"
        for reference_ in [*operation["messages"], *operation.get("reply", {}).get("messages", [])]:
            assert schemas.follow(reference_, shown)["name"]
    assert "#/channels/root" not in json.dumps(shown)


def test_sequences_have_each_step_in_its_column() -> None:
    document: dict[str, Any] = {
        "operations": {"joinRoom": {"action": "send", "title": "join_room"}},
        "info": {
            "x-sequences": [
                {
                    "title": "A <call>",
                    "participants": ["Ada", "Server", "Ben"],
                    "steps": [
                        {"from": "Ben", "to": "Server", "event": "join_room", "note": "With `after` & <b>."},
                        {"from": "Server", "to": "Ada", "event": "peer_left"},
                    ],
                }
            ]
        },
    }
    html = sequences.render(document)
    assert re.findall(r'class="step ([^"]*)"', html) == ["at-1 over-1 left", "at-0 over-1 left"]
    assert re.findall(r'href="([^"]*)"', html) == ["#channel/send/operation/joinroom"]
    assert "A &lt;call&gt;" in html and "With <code>after</code> &amp; &lt;b&gt;." in html
    assert "Ben to Server: " in html


def test_sequences_of_the_contract_are_drawn_whole() -> None:
    html = sequences.render(reference.asyncapi(EVENTS))
    steps = [step for sequence in EVENTS["info"]["x-sequences"] for step in sequence["steps"]]
    assert len(steps) > 20 and html.count('class="step ') == len(steps)
    style = (schemas.ROOT / "web" / "pages" / "reference.css").read_text()
    assert all(f".{each} " in style for each in set(re.findall(r"\b(?:lanes|at|over)-\d", html)))
