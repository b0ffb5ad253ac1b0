"""The real specs are clean, and each rule of the linter refuses a small spec that breaks it and nothing else."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract import lint

OPENAPI = lint.load("""
openapi: 3.0.3
info: {title: Sample, version: "1"}
tags: [{name: users}]
paths:
  /users:
    post:
      operationId: createUser
      x-openapi-router-controller: handlers.users
      tags: [users]
      security: []
      summary: Create a user
      description: Of the name.
      x-codes: [not_found, rate_limited]
      x-rate-limit: [{limit: 5, window: 15m, per: ip}]
      parameters: [{$ref: "#/components/parameters/limit"}]
      requestBody:
        content:
          application/json:
            schema: {$ref: "#/components/schemas/User"}
            example: {name: Ada}
      responses:
        "201":
          description: The user.
          content:
            application/json:
              schema: {$ref: "#/components/schemas/User"}
        "400": {$ref: "#/components/responses/BadRequest"}
        "404": {$ref: "#/components/responses/NotFound"}
        "429": {$ref: "#/components/responses/TooManyRequests"}
        default: {$ref: "#/components/responses/Problem"}
components:
  parameters:
    limit: {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}, example: 20}
  responses:
    BadRequest:
      description: What is wrong.
      content:
        application/problem+json: {schema: &refusal {$ref: "#/components/schemas/Refusal"}, example: {status: 400}}
    NotFound: {description: No., content: {application/problem+json: {schema: *refusal, example: {status: 404}}}}
    TooManyRequests:
      description: Wait.
      content: {application/problem+json: {schema: *refusal, example: {status: 429}}}
    Problem:
      description: What went wrong.
      content:
        application/problem+json:
          schema: {$ref: "#/components/schemas/Problem"}
  schemas:
    Refusal:
      type: object
      description: A refusal.
      properties: {status: {type: integer, description: The status of HTTP., example: 404}}
    Problem: {type: object, description: What went wrong., properties: {code: {$ref: "#/components/schemas/ErrorCode"}}}
    ErrorCode:
      type: string
      description: For programs.
      enum: [request_invalid, not_found, rate_limited, email_taken, unauthenticated]
    User:
      type: object
      description: A user.
      additionalProperties: false
      properties:
        name: {type: string, nullable: true, maxLength: 9, pattern: "^[A-Z]", description: A name., example: Grace}
        bornAt: {type: string, format: date-time, description: The birthday., example: "1815-12-10T00:00:00Z"}
        example: {$ref: "#/components/schemas/Address"}
        email: {type: string, allOf: [{$ref: "#/components/schemas/Email"}], nullable: true, example: ada@bü.example}
        keys: {type: array, maxItems: 9, description: Keys., items: {$ref: "#/components/schemas/Key"}}
    Email: {type: string, maxLength: 254, format: email, description: Where mail is sent., example: ada@example.com}
    Key: {type: string, format: uuid, description: A key., example: 7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0}
    Address:
      type: object
      description: Where the user lives.
      additionalProperties: false
      properties: {city: {type: string, maxLength: 80, description: The city., example: London}}
""")

ASYNCAPI = lint.load("""
asyncapi: 3.0.0
info:
  title: Sample
  version: "1"
  tags: [{$ref: "#/components/tags/rooms"}]
  x-sequences:
    - title: A visit
      participants: [Ada, Server]
      steps:
        - {from: Ada, to: Server, event: connect}
        - {from: Ada, to: Server, event: join, note: The blue one.}
        - {from: Server, to: Ada, event: joined}
channels:
  root:
    address: /
    messages:
      join: {$ref: "#/components/messages/join"}
      joined: {$ref: "#/components/messages/joined"}
      ack: {$ref: "#/components/messages/ack"}
operations:
  join:
    action: receive
    x-handler: realtime.rooms
    channel: {$ref: "#/channels/root"}
    tags: [{$ref: "#/components/tags/rooms"}]
    summary: Enter a room
    description: Others are informed.
    x-codes: [full]
    messages: [{$ref: "#/channels/root/messages/join"}]
    reply:
      channel: {$ref: "#/channels/root"}
      messages: [{$ref: "#/channels/root/messages/ack"}]
  onJoined:
    action: send
    channel: {$ref: "#/channels/root"}
    tags: [{$ref: "#/components/tags/rooms"}]
    summary: A user entered
    description: Greet them.
    messages: [{$ref: "#/channels/root/messages/joined"}]
components:
  tags: {rooms: {name: rooms, description: Rooms.}}
  messages:
    join:
      name: join
      description: The room.
      payload: {$ref: "#/components/schemas/Join"}
      examples: [{payload: {room: blue}}]
    joined:
      name: joined
      description: The room.
      payload: {$ref: "#/components/schemas/Joined"}
      examples: [{payload: {room: blue}}]
    ack:
      name: ack
      description: The answer.
      payload: {$ref: "#/components/schemas/Ack"}
      examples: [{payload: {ok: true}}]
  schemas:
    Join:
      type: object
      additionalProperties: false
      properties:
        room: {type: string, maxLength: 20, description: The room's name., examples: [red]}
        desk:
          description: Where.
          oneOf:
            - type: "null"
            - $ref: "#/components/schemas/Place"
    Place:
      type: object
      additionalProperties: false
      properties: {row: {type: integer, minimum: 0, maximum: 9, description: From the front.}}
    Joined: {type: object, properties: {room: {type: string, description: The room's name.}}}
    Ack:
      type: object
      properties:
        ok: {type: boolean, description: Whether it worked.}
        code: {$ref: "#/components/schemas/ErrorCode"}
    ErrorCode: {type: string, enum: [full], description: Why not.}
""")

ABSENT = object()
SAME = ""
POST = "paths | /users | post"
JOIN = "operations | join"
USER = "components | schemas | User"
NAME = f"{USER} | properties | name"
ROOM = "components | schemas | Join | properties | room"
ACK = "components | schemas | Ack | properties"
VISIT = "info | x-sequences | 0"
STEP = f"{VISIT} | steps | 1"


def changed(document: lint.Document, place: str, value: Any) -> lint.Document:
    """Copy a document with one part set, or taken out."""
    copy = deepcopy(document)
    *holders, last = [int(key) if key in ("0", "1") else key for key in place.split(" | ")]
    node: Any = copy
    for key in holders:
        node = node[key]
    if value is ABSENT:
        del node[last]
    else:
        node[last] = value
    return copy


def assert_refused(problems: list[lint.Problem], where: str, what: str) -> None:
    """Find `what` said of `where`, and nothing of any other place but that it fell out of use."""
    said = {" | ".join(map(str, place)): message for place, message in problems}
    assert what in said.pop(where, "")
    assert set(said.values()) <= {"nothing uses it"}


def test_real_specs_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint.main()
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert printed.count("\n") == 1
    assert "openapi.yaml: " in printed
    assert "asyncapi.yaml: " in printed


def test_samples_are_clean() -> None:
    assert lint.openapi_problems(OPENAPI) == []
    assert lint.asyncapi_problems(ASYNCAPI) == []


@pytest.mark.parametrize(
    ("place", "value", "where", "what"),
    [
        (f"{POST} | responses | 201 | description", ABSENT, f"{POST} | responses | 201", "'description' is a required"),
        ("components | schemas | User | required", "name", SAME, "not of type 'array'"),
        (f"{POST} | operationId", ABSENT, SAME, "in camelCase"),
        (f"{POST} | operationId", "users.create", SAME, "in camelCase"),
        (f"{POST} | operationId", "create_user", SAME, "in camelCase"),
        (f"{POST} | x-openapi-router-controller", ABSENT, SAME, "should be handlers.users"),
        (f"{POST} | x-openapi-router-controller", "handlers.admin", SAME, "should be handlers.users"),
        (f"{POST} | tags", ABSENT, SAME, "one tag"),
        (f"{POST} | security", ABSENT, SAME, "should be declared"),
        (f"{POST} | summary", ABSENT, SAME, "in one line"),
        (f"{POST} | x-rate-limit", {"limit": 5}, SAME, "is a list of"),
        (f"{POST} | x-rate-limit | 0 | window", "15 min", f"{POST} | x-rate-limit | 0", "is a list of"),
        (f"{POST} | x-rate-limit | 0 | limit", 0, f"{POST} | x-rate-limit | 0", "is a list of"),
        (f"{POST} | x-rate-limit | 0 | per", "planet", f"{POST} | x-rate-limit | 0", "is a list of"),
        (f"{POST} | x-idempotent", True, SAME, "#/components/parameters/idempotencyKey"),
        (f"{POST} | x-idempotent", False, SAME, "#/components/parameters/idempotencyKey"),
        (f"{POST} | description", ABSENT, SAME, "has a description"),
        (f"{POST} | x-codes", ABSENT, SAME, "lists the codes"),
        (f"{POST} | x-codes", ["not_found", "rate_limited", "lost"], f"{POST} | x-codes | 2", "one of ErrorCode"),
        (f"{POST} | x-codes", ["not_found", "rate_limited", "not_found"], f"{POST} | x-codes | 2", "listed once"),
        (f"{POST} | x-rate-limit", ABSENT, f"{POST} | x-codes", "should not have rate_limited"),
        (f"{POST} | x-codes", ["not_found", "rate_limited", "email_taken"], f"{POST} | responses", "lacks 409"),
        (f"{POST} | x-codes", ["rate_limited"], f"{POST} | responses | 404", "no code of `x-codes`"),
        (f"{POST} | security", [{"bearer": []}], f"{POST} | x-codes", "should have unauthenticated"),
        (f"{POST} | responses | 400", ABSENT, f"{POST} | responses", "has 400"),
        (f"{POST} | responses | 404", {"description": "No."}, SAME, "component of this status"),
        (f"{POST} | responses | 404", {"$ref": "#/components/responses/BadRequest"}, SAME, "component of this status"),
        (f"{POST} | responses | 5XX", {"description": "No."}, SAME, "component of this status"),
        (f"{POST} | responses | default", {"description": "No."}, SAME, "responses/Problem"),
        (f"{POST} | deprecated", True, f"{POST} | x-sunset", "in quotes"),
        (f"{POST} | x-sunset", "2027-06-01", f"{POST} | deprecated", "goes with"),
        (f"{POST} | responses | default", {"$ref": "#/components/responses/Lost"}, SAME, "leads nowhere"),
        (f"{POST} | responses | 404", {"$ref": "other.yaml#/Problem"}, SAME, "leads nowhere"),
        ("components | schemas | User | additionalProperties", ABSENT, "components | schemas | User", "input object"),
        (
            "components | schemas | Address | additionalProperties",
            True,
            "components | schemas | Address",
            "input object",
        ),
        ("components | schemas | Spare", {"type": "string", "description": "A spare."}, SAME, "nothing uses it"),
        (
            "components | parameters | spare",
            {"name": "spare", "in": "query", "schema": {"type": "string"}},
            SAME,
            "nothing uses it",
        ),
        (
            f"{POST} | responses | 201 | content | application/json | schema",
            {"type": "object", "properties": {}},
            SAME,
            "belongs in components.schemas",
        ),
        (f"{NAME} | example", "grace", SAME, "does not fit"),
        ("components | schemas | User | properties | bornAt | example", "10 December 1815", SAME, "does not fit"),
        (f"{POST} | requestBody | content | application/json | example", {"nmae": "Ada"}, SAME, "does not fit"),
        ("components | parameters | limit | example", 200, SAME, "does not fit"),
        (f"{USER} | properties | email | example", "ada", SAME, "should be an e-mail address"),
        ("components | schemas | Key | example", "1", SAME, "should be a UUID"),
        (f"{NAME} | description", ABSENT, NAME, "is described"),
        (f"{USER} | description", ABSENT, USER, "is described"),
        (
            "components | schemas | NewKey",
            {"type": "string", "description": "A key.", "maxLength": 9, "example": "k"},
            SAME,
            "the constructor that Go has",
        ),
        (f"{USER} | properties | keys | maxItems", ABSENT, f"{USER} | properties | keys", "needs `maxItems`"),
        (
            "components | schemas | Problem | properties | code",
            {"type": "string", "description": "For programs."},
            "components | responses | Problem | content | application/problem+json",
            "needs an example: code",
        ),
        (
            "components | schemas | Problem | required",
            ["code", "title"],
            "components | responses | Problem | content | application/problem+json",
            "do not fit together: the body lacks 'title'",
        ),
        (
            "components | parameters | limit | schema",
            {"type": "integer", "minimum": 1},
            SAME,
            "`minimum` and `maximum`",
        ),
    ],
)
def test_openapi_rule(place: str, value: Any, where: str, what: str) -> None:
    assert_refused(lint.openapi_problems(changed(OPENAPI, place, value)), where or place, what)


def test_lists_and_nullable_references_may_stand_out() -> None:
    """A list without a limit has a reason, and null is an example of a nullable reference."""
    unlimited = changed(OPENAPI, f"{USER} | properties | keys | maxItems", ABSENT)
    assert not lint.openapi_problems(changed(unlimited, f"{USER} | properties | keys | x-unbounded", "All are read."))
    assert not lint.openapi_problems(changed(OPENAPI, f"{USER} | properties | email | example", None))


def test_what_an_address_names_may_not_exist() -> None:
    item = deepcopy(OPENAPI["paths"]["/users"])
    del item["post"]["responses"]["404"]
    schema = {"$ref": "#/components/schemas/Key"}
    item["post"]["parameters"].append({"name": "userId", "in": "path", "required": True, "schema": schema})
    problems = lint.openapi_problems(changed(OPENAPI, "paths", {"/users/{userId}": item}))
    assert "lacks 404: its address names" in " ".join(message for _, message in problems)


def test_operation_of_administrators_refuses_others() -> None:
    document = changed(OPENAPI, f"{POST} | security", [{"admin": []}])
    document["components"]["securitySchemes"] = {"admin": {"type": "http", "scheme": "bearer"}}
    found = " ".join(message for _, message in lint.openapi_problems(document))
    assert "lists the roles that may call it" in found and "lacks second_factor_required" in found
    wrong = changed(changed(document, f"{POST} | x-role", ["student"]), f"{POST} | x-second-factor", "soon")
    found = " ".join(message for _, message in lint.openapi_problems(wrong))
    assert "[admin] or [moderator, admin]" in found and "such as 10m" in found and "lacks forbidden" in found


def test_delete_has_no_body() -> None:
    item = {"delete": deepcopy(OPENAPI["paths"]["/users"]["post"])}
    document = changed(OPENAPI, "paths", {"/users": item})
    place = ("paths", "/users", "delete", "requestBody")
    assert (place, "a DELETE has no body, which clients and proxies drop") in lint.openapi_problems(document)
    item["delete"] |= {"deprecated": True, "x-deprecated-since": "2026-01-01", "x-sunset": "2026-07-01"}
    assert lint.openapi_problems(changed(OPENAPI, "paths", {"/users": item})) == []


def test_operation_id_names_one_operation() -> None:
    problems = lint.openapi_problems(changed(OPENAPI, "paths | /people", OPENAPI["paths"]["/users"]))
    assert "createUser" in problems[0][1]


def test_schema_that_only_unused_schemas_use_is_unused() -> None:
    leaf = {"type": "string", "description": "A leaf."}
    spare = changed(OPENAPI, "components | schemas | Spare", {"$ref": "#/components/schemas/Leaf"})
    problems = lint.openapi_problems(changed(spare, "components | schemas | Leaf", leaf))
    assert [place[-1] for place, _ in problems] == ["Spare", "Leaf"]


def test_reference_to_itself_is_a_problem() -> None:
    loop = {"$ref": "#/components/schemas/Address"}
    assert "leads nowhere" in lint.openapi_problems(changed(OPENAPI, "components | schemas | Address", loop))[0][1]


@pytest.mark.parametrize(
    ("place", "value", "where", "what"),
    [
        ("channels | root | address", "/calls", "channels", "one channel"),
        (f"{JOIN} | summary", ABSENT, SAME, "has a summary"),
        (f"{JOIN} | description", ABSENT, SAME, "has a description"),
        (f"{JOIN} | tags", ABSENT, SAME, "one tag"),
        (f"{JOIN} | tags", [{"name": "rooms"}], SAME, "one tag"),
        (f"{JOIN} | x-handler", ABSENT, SAME, "names its module"),
        (f"{JOIN} | x-handler", "realtime.rooms.join", SAME, "names its module"),
        (f"{JOIN} | x-handler", "services.rooms", SAME, "names its module"),
        ("operations | onJoined | x-handler", "realtime.rooms", SAME, "nothing else"),
        (f"{JOIN} | reply", ABSENT, SAME, "acknowledged"),
        (f"{JOIN} | reply | messages", [], f"{JOIN} | reply", "acknowledged"),
        (f"{JOIN} | messages | 0 | $ref", "#/channels/root/messages/lost", f"{JOIN} | messages | 0", "leads nowhere"),
        (f"{JOIN} | x-rate-limit", [{"limit": 30}], f"{JOIN} | x-rate-limit | 0", "is a list of"),
        (f"{JOIN} | x-codes", ABSENT, SAME, "lists the codes"),
        (f"{JOIN} | x-codes | 0", "closed", SAME, "one of ErrorCode"),
        ("operations | onJoined | x-codes", [], SAME, "and nothing else"),
        ("operations | onJoined | reply", {}, SAME, "do not acknowledge"),
        (f"{JOIN} | messages", [{"$ref": "#/channels/root/messages/join"}] * 2, SAME, "has one message"),
        ("components | messages | joined | payload", {"type": "object"}, SAME, "into components.schemas"),
        ("components | schemas | Join | additionalProperties", ABSENT, "components | schemas | Join", "input object"),
        (
            "components | schemas | Place | additionalProperties",
            {"type": "integer", "minimum": 0, "maximum": 9},
            "components | schemas | Place",
            "input object",
        ),
        ("components | messages | joined | description", ABSENT, SAME, "has a description"),
        ("components | messages | joined | examples", ABSENT, SAME, "has an example"),
        ("components | messages | joined | examples", [{"name": "empty"}], SAME, "has an example"),
        (
            "components | schemas | Join | properties | desk | oneOf | 0",
            {"type": "object", "additionalProperties": False, "properties": {}},
            SAME,
            "belongs in components.schemas",
        ),
        (ROOM, {"description": "Its colour.", "enum": ["red", "blue"]}, SAME, "belongs in components.schemas"),
        (f"{ROOM} | description", ABSENT, ROOM, "is described"),
        ("components | schemas | ErrorCode | description", ABSENT, f"{ACK} | code", "is described"),
        (f"{ACK} | open", {"type": "boolean", "description": "Whether it is open."}, SAME, "`is` and an adjective"),
        (f"{ACK} | waitSecs", {"type": "integer", "description": "How long."}, SAME, "in full"),
        (f"{ACK} | wait_time", {"type": "integer", "description": "How long."}, SAME, "in camelCase"),
        (f"{ACK} | wait", {"type": "integer", "description": "Seconds until then."}, SAME, "in full"),
        (f"{VISIT} | title", ABSENT, VISIT, "a sequence has a title"),
        (f"{VISIT} | participants", ["Ada"], VISIT, "with Server among them"),
        (f"{VISIT} | steps", [], VISIT, "and steps"),
        (f"{STEP} | event", "joined", STEP, "joined is no event that Ada sends"),
        (f"{STEP} | event", ABSENT, STEP, "None is no event that Ada sends"),
        (f"{STEP} | to", "Ben", STEP, "are participants"),
        (f"{STEP} | to", "Ada", STEP, "between a client and Server"),
        (f"{STEP} | by", "Ada", STEP, "from, to, event and note"),
        ("components | schemas | Spare", {"type": "string", "description": "No."}, SAME, "nothing uses it"),
        (
            "components | messages | join | examples | 0 | payload",
            {"room": 7},
            "components | messages | join | examples | 0",
            "does not fit",
        ),
        (f"{ROOM} | examples | 0", 7, SAME, "does not fit"),
        (f"{ROOM} | maxLength", ABSENT, ROOM, "needs `maxLength`"),
    ],
)
def test_asyncapi_rule(place: str, value: Any, where: str, what: str) -> None:
    assert_refused(lint.asyncapi_problems(changed(ASYNCAPI, place, value)), where or place, what)


@pytest.mark.parametrize("key", ["Join", "onJoin", "realtime.rooms.join"])
def test_operation_of_a_client_event_is_named_by_it(key: str) -> None:
    document = deepcopy(ASYNCAPI)
    document["operations"][key] = document["operations"].pop("join")
    assert_refused(lint.asyncapi_problems(document), f"operations | {key}", "the key of join should be join")


@pytest.mark.parametrize("key", ["joined", "OnJoined", "emit.joined"])
def test_operation_of_a_server_event_is_named_by_it(key: str) -> None:
    document = deepcopy(ASYNCAPI)
    document["operations"][key] = document["operations"].pop("onJoined")
    assert_refused(lint.asyncapi_problems(document), f"operations | {key}", "the key of joined should be onJoined")


def test_command_prints_one_line_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(changed(OPENAPI, f"{POST} | summary", ABSENT)))
    (tmp_path / "asyncapi.yaml").write_text(yaml.safe_dump(changed(ASYNCAPI, f"{JOIN} | action", "listen")))
    assert lint.main(tmp_path) == 1
    openapi, asyncapi = capsys.readouterr().out.splitlines()
    assert openapi == "openapi.yaml: paths./users.post.summary: an operation has a summary in one line"
    assert asyncapi.startswith("asyncapi.yaml: operations.join.action: ")


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "a: [1", "- a\n", ""])
def test_file_that_is_not_one_mapping_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "openapi.yaml").write_text(text)
    (tmp_path / "asyncapi.yaml").write_text(yaml.safe_dump(ASYNCAPI))
    assert lint.main(tmp_path) == 1
    assert capsys.readouterr().out.count("\n") == 1
