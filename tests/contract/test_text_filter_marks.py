"""`x-text-filter` in both specs: each text of a learner says whether the word lists apply, and the service agrees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contract import lint_rules, schemas
from services.safety.text_filter import FIELDS

OPENAPI, ASYNCAPI = schemas.load(schemas.OPENAPI), schemas.load(schemas.ASYNCAPI)
#: Texts that learners send and no other learner reads, by their last field, with the reason.
UNREAD = {
    "among": "the name of a pool, or the id of a course",
    "deviceId": "an id, read by its owner and staff",
    "deviceProof": "a signed token",
    "refreshToken": "a signed token",
    "token": "a token of an e-mail",
    "fcmToken": "a token of Firebase",
    "description": "of reports, read by staff",
    "text": "of appeals, read by staff",
    "document": "the name of a document that is accepted",
    "version": "the version of a document that is accepted",
    "code": "digits of an authenticator app, or a recovery code",
    "secondFactorCode": "digits of an authenticator app, or a recovery code",
    "provider": "the id of a provider that is offered",
    "idToken": "a signed token",
    "nonce": "random, compared with that of a token",
    "authorizationCode": "a code of a provider",
    "state": "random, compared with that of a cookie",
    "grant": "a signed token",
    "challengeToken": "a signed token",
    "credentialJson": "the answer of an authenticator",
    "name": "of a passkey, read by its owner",
    "country": "two letters",
    "timezone": "a name of the IANA database",
    "localTime": "digits of a time",
    "utcOffset": "digits of a time",
    "sdp": "read by the partner's WebRTC, not shown",
    "candidate": "read by the partner's WebRTC, not shown",
    "sdpMid": "read by the partner's WebRTC, not shown",
    "usernameFragment": "read by the partner's WebRTC, not shown",
}


def find_texts(schema: Any, document: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each text without a list of values or a format that a schema takes, with its field."""
    schema = schemas.resolve(schema, document)
    for part in (each for key in ("allOf", "oneOf", "anyOf") for each in schema.get(key, ())):
        yield from find_texts(part, document, field)
    for name, each in schema.get("properties", {}).items():
        yield from find_texts(each, document, name)
    if "items" in schema:
        yield from find_texts(schema["items"], document, field)
    types = schema.get("type")
    is_text = types == "string" or (isinstance(types, list) and "string" in types)
    if is_text and not {"enum", "const", "format"} & schema.keys():
        yield field, schema


def find_texts_of_learners() -> Iterator[tuple[str, Any]]:
    for item in OPENAPI["paths"].values():
        for operation in (each for each in item.values() if isinstance(each, dict)):
            if operation.get("security") != [{"admin": []}]:
                body = schemas.resolve(operation.get("requestBody", {}), OPENAPI)
                for content in body.get("content", {}).values():
                    yield from find_texts(content.get("schema", {}), OPENAPI)
    for operation in ASYNCAPI["operations"].values():
        for message in operation["messages"] if operation["action"] == "receive" else ():
            sent = schemas.resolve(schemas.resolve(message, ASYNCAPI), ASYNCAPI)
            yield from find_texts(sent.get("payload", {}), ASYNCAPI)


def test_each_text_of_learners_is_filtered_or_unread() -> None:
    marked = {field: bool(schema.get("x-text-filter")) for field, schema in find_texts_of_learners()}
    assert {field for field, is_filtered in marked.items() if not is_filtered} == UNREAD.keys()


def test_marked_fields_are_those_of_the_service() -> None:
    assert {field for field, schema in find_texts_of_learners() if schema.get("x-text-filter")} == set(FIELDS)


def test_lint_requires_a_mark_beside_each_text() -> None:
    document: dict[str, Any] = {"components": {"schemas": {"Name": {"type": "string", "x-text": "line"}}}}
    [(place, message)] = lint_rules.text_filter_problems(document)
    assert place == ("components", "schemas", "Name") and "x-text-filter" in message
    document["components"]["schemas"]["Name"] |= {"x-text-filter": "yes"}
    assert [message for _, message in lint_rules.text_filter_problems(document)] == ["is true or false"]
    document["components"]["schemas"]["Name"] |= {"x-text-filter": False}
    assert list(lint_rules.text_filter_problems(document)) == []
