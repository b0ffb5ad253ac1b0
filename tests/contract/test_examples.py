"""Examples of the served openapi.json: whole bodies and answers, composed from those of their fields."""

from __future__ import annotations

from typing import Any

import pytest

from contract import examples, schemas, served

Document = dict[str, Any]

TREE = schemas.load(schemas.OPENAPI)
SERVED = served.openapi(TREE)
PARTS: Document = {
    "components": {
        "schemas": {
            "Name": {"type": "string", "example": "Ada"},
            "Level": {"type": "string", "enum": ["low", "high"]},
            "Pair": {"properties": {"name": {"$ref": "#/components/schemas/Name"}, "age": {"type": "integer"}}},
        }
    }
}


def named(name: str, **siblings: Any) -> Document:
    reference = {"$ref": f"#/components/schemas/{name}"}
    return {"allOf": [reference], **siblings} if siblings else reference


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        (named("Name"), "Ada"),
        (named("Name", example="Ben"), "Ben"),
        (named("Level"), "low"),
        (named("Level", nullable=True, description="None yet."), "low"),
        (named("Level", nullable=True, example=None), None),
        ({"properties": {"a": named("Name"), "b": {"type": "boolean", "example": False}}}, {"a": "Ada", "b": False}),
        ({"type": "array", "items": named("Name")}, ["Ada"]),
        ({"type": "array", "items": named("Pair"), "example": []}, []),
    ],
)
def test_example_is_composed(schema: Document, example: Any) -> None:
    assert examples.compose(schema, PARTS) == example


def test_part_without_an_example_is_named() -> None:
    with pytest.raises(examples.NoExample, match=r"^pairs\[\]\.age$"):
        examples.compose({"properties": {"pairs": {"type": "array", "items": named("Pair")}}}, PARTS)


#: Fields of a problem that few codes have.
OF_SOME_PROBLEMS = {"sanction"}
#: Fields of a body that are sent in place of another one.
ALTERNATIVES = {"passkey", "proof"}


def test_each_json_body_and_answer_has_an_example() -> None:
    """It fits the tree's schema, which is stricter than the served one, with every field that there is."""
    found = dict(examples.json_contents(SERVED))
    assert len(found) > 60
    for place, content in found.items():
        name = content["schema"]["$ref"].rpartition("/")[2]
        strict = named(name if name in TREE["components"]["schemas"] else name.removesuffix("Input"))
        several = [each["value"] for each in content.get("examples", {}).values()]
        for each in several or [content["example"]]:
            assert schemas.compiled(strict, TREE)(each) is None, place
            fields = schemas.resolve(strict, TREE).get("properties", {})
            assert several or each.keys() >= fields.keys() - OF_SOME_PROBLEMS - ALTERNATIVES, place


def test_examples_are_about_the_same_things() -> None:
    """Ada's call in a list is the one that she reads, and her id is that of her account."""
    schema = TREE["components"]["schemas"]
    me, page, call = (examples.compose(schema[name], TREE) for name in ("Me", "CallPage", "Call"))
    report, tokens = (examples.compose(schema[name], TREE) for name in ("AdminReport", "AuthTokens"))
    assert page["items"] == [call]
    assert me["id"] == tokens["user"]["id"] == report["reporterId"] != report["reportedId"]
    assert report["sessionId"] == call["id"] and call["partner"]["userId"] not in (me["id"], report["reportedId"])
    assert call["startedAt"] < call["connectedAt"] < call["endedAt"] == me["lastCallAt"]
