"""Breaking changes are listed; changes that clients do not notice are not."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract import compare, schemas

REST = schemas.load(schemas.OPENAPI)
EVENTS = schemas.load(schemas.ASYNCAPI)
#: Read from the spec, so that a change of these limits fails no test of the comparison.
BIO_LENGTH: int = REST["components"]["schemas"]["Bio"]["maxLength"]
PAGE_LENGTH: int = REST["components"]["parameters"]["limit"]["schema"]["maximum"]
Change = Callable[[dict[str, Any], dict[str, Any]], object]


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


BREAKS: dict[str, tuple[dict[str, Any], Change]] = {
    "GET /users/me: the operation is gone": (REST, lambda d, s: d["paths"]["/users/me"].pop("get")),
    "GET /users/me: who may call it is another": (
        REST,
        lambda d, s: operation(d, "get", "/users/me").update(security=[{"admin": []}]),
    ),
    "GET /courses: who may call it is another": (
        REST,
        lambda d, s: operation(d, "get", "/courses").update(security=[{"bearer": []}]),
    ),
    "GET /health: who may call it is another": (
        REST,
        lambda d, s: operation(d, "get", "/health").update(security=[{"bearer": []}]),
    ),
    "GET /health operationId: is another": (
        REST,
        lambda d, s: operation(d, "get", "/health").update(operationId="readPulse"),
    ),
    "POST /auth/register 409: the status is gone": (
        REST,
        lambda d, s: operation(d, "post", "/auth/register")["responses"].pop("409"),
    ),
    "POST /auth/logout 200: the status of success is another": (
        REST,
        lambda d, s: operation(d, "post", "/auth/logout")["responses"].update({"200": {"description": "Done."}}),
    ),
    "GET /sessions query cursor: the parameter is gone": (
        REST,
        lambda d, s: operation(d, "get", "/sessions")["parameters"].remove({"$ref": "#/components/parameters/cursor"}),
    ),
    "GET /sessions query limit: has to be given": (
        REST,
        lambda d, s: d["components"]["parameters"]["limit"].update(required=True),
    ),
    f"GET /sessions query limit: maximum is {PAGE_LENGTH - 1}, and was {PAGE_LENGTH}": (
        REST,
        lambda d, s: d["components"]["parameters"]["limit"]["schema"].update(maximum=PAGE_LENGTH - 1),
    ),
    "POST /auth/refresh body: has to be given": (
        REST,
        lambda d, s: operation(d, "post", "/auth/refresh")["requestBody"].update(required=True),
    ),
    "POST /users/me/avatar body: may be less large": (
        REST,
        lambda d, s: operation(d, "post", "/users/me/avatar")["requestBody"].update({"x-max-bytes": 1}),
    ),
    "GET /.well-known/jwks.json 200 Cache-Control: the header is gone": (
        REST,
        lambda d, s: operation(d, "get", "/.well-known/jwks.json")["responses"]["200"].pop("headers"),
    ),
    "Me (read) bio: the field is gone": (REST, lambda d, s: s["Me"]["properties"].pop("bio")),
    "Me (read) bio: may be absent": (REST, lambda d, s: s["Me"]["required"].remove("bio")),
    "Me (read) email: the type is string or null, and was string": (
        REST,
        lambda d, s: s["Me"]["properties"].update(email={**s["AccountEmail"], "nullable": True}),
    ),
    "Me (read) totalCalls: the type is string, and was integer": (
        REST,
        lambda d, s: s["Me"]["properties"].update(totalCalls={"type": "string"}),
    ),
    "AuthTokens (read) tokenType DPoP: the value is new to who reads it": (
        REST,
        lambda d, s: s["AuthTokens"]["properties"]["tokenType"]["enum"].append("DPoP"),
    ),
    "ErrorCode (read) email_taken: the value is gone": (
        REST,
        lambda d, s: s["ErrorCode"]["enum"].remove("email_taken"),
    ),
    "Platform (sent) web: the value is gone": (REST, lambda d, s: s["Platform"]["enum"].remove("web")),
    "Rating (sent) note: has to be given": (
        REST,
        lambda d, s: s["Rating"].update(
            required=["stars", "note"], properties={**s["Rating"]["properties"], "note": {"type": "string"}}
        ),
    ),
    f"Bio (sent): maxLength is {BIO_LENGTH - 1}, and was {BIO_LENGTH}": (
        REST,
        lambda d, s: s["Bio"].update(maxLength=BIO_LENGTH - 1),
    ),
    "MeUpdate (sent) englishLevel: the type is string, and was string or null": (
        REST,
        lambda d, s: s["MeUpdate"]["properties"]["englishLevel"].pop("nullable"),
    ),
    "MeUpdate (sent) englishLevel beginner: the value is gone": (
        REST,
        lambda d, s: s["MeUpdate"]["properties"].update(
            englishLevel={"type": "string", "nullable": True, "enum": ["intermediate", "advanced", None]}
        ),
    ),
    "Bio (sent): the type is string, and was string or null": (
        REST,
        lambda d, s: s["Bio"].pop("nullable"),
    ),
    "Country (sent): the pattern is another": (
        REST,
        lambda d, s: s["Country"].update(pattern="^[A-Z]{3}$"),
    ),
    "end_call (sent): the event is gone": (
        EVENTS,
        lambda d, s: d["operations"].pop("endCall"),
    ),
    "resync (read): the event is gone": (EVENTS, lambda d, s: d["operations"].pop("onResync")),
    "end_call (sent) room_closed: the code is gone": (
        EVENTS,
        lambda d, s: d["operations"]["endCall"]["x-codes"].remove("room_closed"),
    ),
    "end_call (sent) operation: is another": (
        EVENTS,
        lambda d, s: d["operations"].update(hangUp=d["operations"].pop("endCall")),
    ),
    "PeerRole (read) watcher: the value is new to who reads it": (
        EVENTS,
        lambda d, s: s["PeerRole"]["enum"].append("watcher"),
    ),
    "Level (read): is no longer one of a list": (EVENTS, lambda d, s: s["Level"].pop("enum")),
    "LocalCandidate (sent) candidate oneOf 1: is not as it was": (
        EVENTS,
        lambda d, s: s["IceCandidate"]["properties"].pop("usernameFragment"),
    ),
    "IceAck (read) oneOf 1: is not as it was": (
        EVENTS,
        lambda d, s: s["IceAckSuccess"]["required"].remove("iceServers"),
    ),
}
HARMLESS: dict[str, tuple[dict[str, Any], Change]] = {
    "an operation more": (REST, lambda d, s: d["paths"].update({"/pulse": d["paths"]["/health"]})),
    "a token that may be left out": (
        REST,
        lambda d, s: operation(d, "get", "/users/me").update(security=[{}, {"bearer": []}]),
    ),
    "a token that may be given": (
        REST,
        lambda d, s: operation(d, "get", "/health").update(security=[{}, {"bearer": []}]),
    ),
    "a parameter that may be given": (
        REST,
        lambda d, s: operation(d, "get", "/users/me").update(parameters=[{"$ref": "#/components/parameters/limit"}]),
    ),
    "a field more in an answer": (REST, lambda d, s: s["Me"]["properties"].update(pronouns={"type": "string"})),
    "a field that may be sent": (REST, lambda d, s: s["MeUpdate"]["properties"].update(pronouns={"type": "string"})),
    "a field that need not be sent": (REST, lambda d, s: s["Rating"].pop("required")),
    "a field that is always there": (REST, lambda d, s: s["AuthTokens"]["required"].append("refreshToken")),
    "a value more to send": (REST, lambda d, s: s["ReportReason"]["enum"].append("noise")),
    "a code more": (REST, lambda d, s: s["ErrorCode"]["enum"].append("tea_pot")),
    "a longer text": (REST, lambda d, s: s["Bio"].update(maxLength=BIO_LENGTH + 1)),
    "another module of a function": (
        REST,
        lambda d, s: operation(d, "get", "/health").update({"x-openapi-router-controller": "handlers.pulse"}),
    ),
    "a reference with a description": (
        REST,
        lambda d, s: s["Device"]["properties"].update(
            platform={"allOf": [{"$ref": "#/components/schemas/Platform"}], "description": "What it runs on."}
        ),
    ),
    "a nullable reference that is written out": (
        REST,
        lambda d, s: s["Me"]["properties"].update(
            englishLevel={**s["Level"], "nullable": True, "enum": [*s["Level"]["enum"], None]}
        ),
    ),
    "a field more of an event": (EVENTS, lambda d, s: s["PeerLeft"]["properties"].update(after={"type": "integer"})),
    "a type of notification more": (EVENTS, lambda d, s: s["NotificationType"]["enum"].append("gift")),
    "no type beside a constant": (EVENTS, lambda d, s: s["AckFailure"]["properties"]["ok"].pop("type")),
}
#: Values of these are sent as well as read, so a value more does break who reads it.
BOTH_WAYS: dict[str, str] = {}


def found(document: dict[str, Any], change: Change) -> list[str]:
    changed = copy.deepcopy(document)
    change(changed, changed["components"]["schemas"])
    return [f"{each.place}: {each.what}" for each in compare.Comparison(document, changed).breaks()]


@pytest.mark.parametrize("line", BREAKS)
def test_breaking_change_is_named(line: str) -> None:
    assert line in found(*BREAKS[line])


@pytest.mark.parametrize("change", HARMLESS)
def test_compatible_change_is_no_break(change: str) -> None:
    expected = [BOTH_WAYS[change]] if change in BOTH_WAYS else []
    assert found(*HARMLESS[change]) == expected


@pytest.mark.parametrize("document", [REST, EVENTS], ids=["rest", "events"])
def test_unchanged_specs_have_no_break(document: dict[str, Any]) -> None:
    assert found(document, lambda d, s: None) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the specs, released as they are."""
    for name in compare.SPECS:
        shutil.copyfile(schemas.ROOT / name, tmp_path / name)
    (tmp_path / "contract").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n### Added\n")
    assert compare.main(["--release"], tmp_path) == 0
    assert compare.main([], tmp_path) == 0
    return tmp_path


def test_announced_break_of_a_new_version_is_accepted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, changelog = project / "asyncapi.yaml", project / "CHANGELOG.md"
    spec.write_text(spec.read_text().replace("graceSeconds", "grace"))
    assert compare.main([], project) == 1
    said = capsys.readouterr().out
    assert "asyncapi.yaml: PeerReconnecting (read) graceSeconds: the field is gone" in said
    assert "asyncapi.yaml: info.version: does not say that something breaks" in said

    note = "\n### Breaking\n\n- The partner's time is called `grace`: `PeerReconnecting (read) graceSeconds`.\n"
    changelog.write_text(changelog.read_text().replace("\n### Added\n", note + "\n### Added\n"))
    assert compare.main([], project) == 1, "the version is the same"
    major, minor, _ = schemas.load(spec)["info"]["version"].split(".")
    spec.write_text(re.sub(r"(?m)^  version: .*$", f"  version: {major}.{int(minor) + 1}.0", spec.read_text(), count=1))
    assert compare.main([], project) == 0
    # The next release begins with nothing declared.
    changelog.write_text(changelog.read_text().replace("## Unreleased\n", "## Unreleased\n\n## 0.9.0\n"))
    assert compare.main([], project) == 1
