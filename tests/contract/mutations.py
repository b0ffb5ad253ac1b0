"""Mutations of both specs: each name changed, one at a time, and validated against recorded messages.

What tests sent and received (`testing/wire_recording.py`) is judged by each changed contract. One that nothing
contradicts would have been served, and no test would have noticed: a survivor. `make mutants` records and judges; run
as `python -m tests.contract.mutations FOLDER` to judge what was recorded.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import errors
from contract import operations, schemas
from contract.event_bindings import EventBindings
from contract.operations import ContractError
from tests.contract.test_rest_contract import VALUES

Document = dict[str, Any]
Place = tuple[str | int, ...]

RENAMED = "_renamed"
#: What survives, and why that is right: the place's beginning, and the reason.
EXCUSED = {
    "openapi.schemas.Level: the value": "held to that of asyncapi.yaml",
    "openapi.schemas.Session.properties.endedBy: the value": "held to the model",
    "asyncapi.schemas.NotificationType: the value": "held to that of openapi.yaml",
    "asyncapi.schemas.IceCandidate: candidate need not": "refused in tests, but a refusal names no branch",
    "openapi.schemas.AvatarUpload: file need not": "forms are not recorded",
    "openapi.schemas.ThumbnailUpload: file need not": "forms are not recorded",
    "openapi.schemas.AttachmentUpload: file need not": "forms are not recorded",
    "openapi.paths./courses/{courseId}/enroll.post: the code course_is_free": (
        "a course is enrolled in directly if it is free, so that only a change of its price meanwhile is refused"
    ),
    "asyncapi.operations.webrtcAnswer: the code peer_not_ready": (
        "a receiver comes second, so that only a race finds the caller not ready"
    ),
}


@dataclass(frozen=True)
class Mutant:
    """One change: what it is, of which spec, and the component whose messages show it."""

    spec: str
    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.spec}.{'.'.join(map(str, self.place))}: {self.what}"


@dataclass
class Instances:
    """The JSON values that were seen where a component stands, each once, and those that were refused there."""

    sent: dict[str, Any] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, Any] = field(default_factory=dict)

    def all(self) -> list[Any]:
        return [*self.sent.values(), *self.read.values()]


class Witness:
    """What was seen of one contract."""

    def __init__(self, name: str, document: Document) -> None:
        self.name, self.document = name, document
        self.components: dict[str, Instances] = defaultdict(Instances)
        self.paths: set[tuple[str, str]] = set()
        #: Query parameters of an operation: in requests that were let in, those given, and those absent.
        self.given: set[tuple[str, str]] = set()
        self.absent: set[tuple[str, str]] = set()
        #: Codes with which an event or an operation was refused, by its name.
        self.codes: set[tuple[str, str]] = set()
        self._validators: dict[str, schemas.Validator] = {}

    def see(self, schema: Document, value: Any, kind: str) -> None:
        """Note a value, and what is in it, at each component on the way."""
        if reference := schema.get("$ref"):
            name = reference.rpartition("/")[2]
            getattr(self.components[name], kind)[json.dumps(value, sort_keys=True)] = value
            schema = schemas.follow(schema, self.document)
        if kind == "refused":
            return
        for key in ("oneOf", "anyOf", "allOf"):
            for branch in schema.get(key, []):
                if self._fits(branch, value):
                    self.see(branch, value, kind)
        if isinstance(value, dict):
            known = schema.get("properties", {})
            for name, item in value.items():
                if isinstance(inner := known.get(name, schema.get("additionalProperties")), dict):
                    self.see(inner, item, kind)
        elif isinstance(value, list) and "items" in schema:
            for item in value:
                self.see(schema["items"], item, kind)

    def _fits(self, schema: Document, value: Any) -> bool:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = schemas.compiled(schema, self.document)
        return self._validators[key](value) is None


def witnesses(folder: Path) -> tuple[Witness, Witness]:
    """Read the record of a test run, one file for each process."""
    rest = Witness("openapi", schemas.load(schemas.OPENAPI))
    events = Witness("asyncapi", schemas.load(schemas.ASYNCAPI))
    routes = _routes(rest.document)
    for file in sorted(folder.glob("*.jsonl")):
        for text in file.read_text().splitlines():
            line = json.loads(text)
            if line["kind"] in ("sent", "received"):
                _event(events, line)
            else:
                _request(rest, routes, line)
    return rest, events


Route = tuple[re.Pattern[str], str, str, Document]


def _routes(document: Document) -> list[Route]:
    """What answers, the address with the fewest parameters first."""
    found = []
    for path in sorted(document["paths"], key=lambda path: (path.count("{"), path)):
        pattern = re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)))
        found += [
            (pattern, path, method, operation)
            for method, operation in document["paths"][path].items()
            if method in operations.METHODS
        ]
    return found


def _request(witness: Witness, routes: list[Route], line: Document) -> None:
    found = next(
        (each for each in routes if each[2] == line["kind"] and each[0].fullmatch(line["name"])),
        None,
    )
    if found is None:
        return
    _, path, method, operation = found
    document, status = witness.document, str(line["status"])
    code = line["answered"].get("code") if isinstance(line["answered"], dict) and line["status"] >= 400 else None
    if line["status"] < 400:
        witness.paths.add((path, method))
    elif code:
        witness.codes.add((operation["operationId"], code))
    elif method == "head":  # its refusals have no body
        known = {each.code for each in errors.list_error_classes() if each.status == line["status"]}
        witness.codes |= {(operation["operationId"], each) for each in known}
    # An unauthorized request is refused before its content is checked.
    if code not in ("unauthenticated", "forbidden", "rate_limited", "internal"):
        body = schemas.follow(operation.get("requestBody", {}), document)
        schema = body.get("content", {}).get("application/json", {}).get("schema")
        if schema and line["given"] is not None:
            witness.see(schema, line["given"], "refused" if code == "request_invalid" else "sent")
        if code != "request_invalid":
            names = {name for name, _ in parse_qsl(line["query"], keep_blank_values=True)}
            for parameter in _parameters(document, operation, "query"):
                seen = witness.given if parameter["name"] in names else witness.absent
                seen.add((operation["operationId"], parameter["name"]))
    answer = schemas.follow(operation["responses"].get(status, operation["responses"]["default"]), document)
    for content in answer.get("content", {}).values():
        if line["answered"] is not None and "schema" in content:
            witness.see(content["schema"], line["answered"], "read")


def _parameters(document: Document, operation: Document, where: str) -> list[Document]:
    found = [schemas.follow(each, document) for each in operation.get("parameters", [])]
    return [each for each in found if each["in"] == where]


def _event(witness: Witness, line: Document) -> None:
    action = "receive" if line["kind"] == "sent" else "send"
    for operation in witness.document["operations"].values():
        message = schemas.follow(operation["messages"][0], witness.document)
        if operation["action"] != action or message["name"] != line["name"]:
            continue
        if action == "send":
            witness.see(message["payload"], line["answered"], "read")
            return
        code = line["answered"].get("error", {}).get("code")
        witness.see(message["payload"], line["given"], "refused" if code == "bad_payload" else "sent")
        ack = schemas.follow(operation["reply"]["messages"][0], witness.document)
        witness.see(ack["payload"], line["answered"], "read")
        witness.codes.add((line["name"], code))


# --- Changes ------------------------------------------------------------------------------------


def component_mutants(witness: Witness) -> Iterator[tuple[Mutant, Document]]:
    """Yield each change of a component schema, and that schema as it would be."""
    for name, schema in witness.document["components"]["schemas"].items():
        for place, node in _nodes(schema):

            def changed(what: str, key: str, value: Any, place: Place = place, name: str = name) -> Any:
                whole = copy.deepcopy(witness.document["components"]["schemas"][name])
                inner = whole
                for part in place:
                    inner = inner[part]
                inner[key] = value
                return Mutant(witness.name, ("schemas", name, *place), what), whole

            properties, required = node.get("properties", {}), node.get("required", [])
            for each in properties:
                mutant, whole = changed(
                    f"the field {each} renamed",
                    "properties",
                    {(key + RENAMED if key == each else key): value for key, value in properties.items()},
                )
                inner = whole
                for part in place:
                    inner = inner[part]
                if each in required:
                    inner["required"] = [key + RENAMED if key == each else key for key in required]
                yield mutant, whole
                if each in required:
                    yield changed(f"{each} need not be there", "required", [key for key in required if key != each])
                else:
                    yield changed(f"{each} has to be there", "required", [*required, each])
            for value in node.get("enum", []):
                if value is not None:
                    renamed = [f"{each}{RENAMED}" if each == value else each for each in node["enum"]]
                    yield changed(f"the value {value} renamed", "enum", renamed)
            if "const" in node:
                yield changed(f"the value {node['const']} renamed", "const", RENAMED)


def _nodes(schema: Document, place: Place = ()) -> Iterator[tuple[Place, Document]]:
    """Yield a schema and those that stand in it, without what they refer to."""
    yield place, schema
    for name, inner in schema.get("properties", {}).items():
        yield from _nodes(inner, (*place, "properties", name))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _nodes(schema[key], (*place, key))
    for key in ("oneOf", "anyOf", "allOf"):
        for index, branch in enumerate(schema.get(key, [])):
            yield from _nodes(branch, (*place, key, index))


def survives(witness: Witness, mutant: Mutant, whole: Document) -> bool:
    """Say whether nothing contradicts a component schema as it would be."""
    name = str(mutant.place[1])
    if name.endswith("Upload"):  # forms: held to the function that takes their parts
        return not mutant.what.endswith("renamed")
    if name == "ErrorCode":
        codes = errors.REST_CODES if witness.name == "openapi" else errors.SOCKET_CODES
        return set(whole["enum"]) == codes
    schemas_of = {**witness.document["components"]["schemas"], name: whole}
    validate = schemas.compiled(
        {"$ref": f"#/components/schemas/{name}"}, {"components": {"schemas": _reachable(schemas_of, name)}}
    )
    place = tuple(str(key) for key in mutant.place[1:])
    if witness.name == "openapi" and place in VALUES and "the value" in mutant.what:
        return False  # held to the models
    seen = witness.components[name]
    if any(validate(value) is not None for value in seen.all()):
        return False
    if mutant.what.endswith("need not be there"):
        if any(validate(value) is None for value in seen.refused.values()):
            return False
        return bool(seen.sent) or not seen.read  # else `lax` would be killed
    return True


def _reachable(all_schemas: Document, name: str) -> Document:
    found: Document = {}
    unread = [name]
    while unread:
        if (each := unread.pop()) not in found:
            found[each] = all_schemas[each]
            unread += re.findall(r'"#/components/schemas/(\w+)"', json.dumps(all_schemas[each]))
    return found


def lax(witness: Witness) -> list[str]:
    """List the fields of answers that every answer has, though the contract does not say so."""
    found = []
    for name, schema in witness.document["components"]["schemas"].items():
        seen = witness.components[name]
        if seen.sent or not seen.read:
            continue
        for optional in schema.get("properties", {}).keys() - set(schema.get("required", [])):
            if all(optional in value for value in seen.read.values()):
                found.append(f"{witness.name}.schemas.{name}: {optional} is in all answers, and not required")
    return sorted(found)


def survivors(rest: Witness, events: Witness) -> tuple[int, list[str]]:
    """Make every change; answer how many there were, and those that nothing contradicts."""
    count, found = 0, [*lax(rest), *lax(events)]
    for witness in (rest, events):
        for mutant, whole in component_mutants(witness):
            count += 1
            if survives(witness, mutant, whole):
                found.append(str(mutant))
    for mutant, is_noticed in (*_rest_names(rest), *_event_names(events)):
        count += 1
        if not is_noticed:
            found.append(str(mutant))
    return count, found


def _rest_names(witness: Witness) -> Iterator[tuple[Mutant, bool]]:
    document = witness.document
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method not in operations.METHODS:
                continue
            place = ("paths", path, method)
            yield Mutant("openapi", place, "the path renamed"), (path, method) in witness.paths
            operation_id = operation["operationId"]
            yield (
                Mutant("openapi", place, "operationId renamed"),
                _stops({**operation, "operationId": operation_id + RENAMED}),
            )
            # An internal form has the function of the operation that replaces it.
            for code in operation.get("x-codes", []) if not operation.get("x-internal") else ():
                yield Mutant("openapi", place, f"the code {code} renamed"), (operation_id, code) in witness.codes
            function = operations.function_for(operation)
            for parameter in _parameters(document, operation, "path") + _parameters(document, operation, "query"):
                name = parameter["name"]
                renamed = {**parameter, "name": name + "Renamed"}
                others = [each for each in operation["parameters"] if schemas.follow(each, document)["name"] != name]
                yield (
                    Mutant("openapi", (*place, name), "the parameter renamed"),
                    _refused(function, {**operation, "path": path, "parameters": [*others, renamed]}, document),
                )
                if parameter["in"] == "query":
                    seen = witness.given | witness.absent if parameter.get("required") else witness.absent
                    yield Mutant("openapi", (*place, name), "required flipped"), (operation_id, name) in seen


def _stops(operation: Document) -> bool:
    try:
        operations.function_for(operation)
    except ContractError:
        return True
    return False


def _refused(function: Any, definition: Document, document: Document) -> bool:
    try:
        operations.check_parameters(function, definition, document)
    except ContractError:
        return True
    return False


def _event_names(witness: Witness) -> Iterator[tuple[Mutant, bool]]:
    for key, operation in witness.document["operations"].items():
        place = ("operations", key)
        changed = copy.deepcopy(witness.document)
        changed["operations"][key + RENAMED] = renamed = changed["operations"].pop(key)
        message = schemas.follow(renamed["messages"][0], changed)
        name, message["name"] = message["name"], message["name"] + RENAMED
        try:
            EventBindings(changed)
            is_noticed = False
        except ContractError:
            is_noticed = True
        yield Mutant("asyncapi", place, "the event renamed"), is_noticed
        for code in operation.get("x-codes", []):
            yield Mutant("asyncapi", place, f"the code {code} renamed"), (name, code) in witness.codes


def main(arguments: list[str]) -> int:
    """Print what survives and return 1, or one line and return 0."""
    count, found = survivors(*witnesses(Path(arguments[0])))
    left = [each for each in found if not any(each.startswith(place) for place in EXCUSED)]
    print("\n".join([*left, f"{count} changes, {len(left)} that no test notices, {len(found) - len(left)} excused"]))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
