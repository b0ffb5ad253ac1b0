"""Formats and nullable references: enforced on what clients send, by both paths, and on answers in tests."""

from __future__ import annotations

from typing import Any

import pytest

from container import Container
from contract import schemas
from testing.call_history import MakeLearner
from testing.databases import query

DOCUMENT = schemas.load(schemas.OPENAPI)
CHOSEN = {"type": "string", "allOf": [{"$ref": "#/components/schemas/Choice"}], "nullable": True}
CHOICE = {"components": {"schemas": {"Choice": {"type": "string", "enum": ["tea", "coffee"]}}}}


@pytest.mark.parametrize(
    ("format_", "right", "wrong"),
    [
        (
            "uuid",
            ["7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0", "7F8DE2C4-6C0B-4B58-9A83-0A1C4C6AD1F0"],
            ["", "7f8de2c46c0b4b589a830a1c4c6ad1f0", "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1fg"],
        ),
        ("date", ["2024-02-29"], ["2026-02-29", "2026-2-1", "14.03.2026"]),
        (
            "date-time",
            ["2026-03-14T09:26:53.589Z"],
            ["2026-02-30T00:00:00Z", "2026-03-14 09:26"],
        ),
        (
            "uri",
            ["https://files.example.com/a?b=%20", "http://[::1]:9000/a"],
            ["/a", "http://a b", "//files.example.com"],
        ),
        ("uri-reference", ["/problems/not_found", "urn:parlance:problem:internal"], ["/a b", "/%zz"]),
        (
            "email",
            ["ada@example.com", "josé@bücher.example", "ada@example.com.", "ada@example.com。"],
            ["ada", "a..b@example.com", "a@b@example.com"],
        ),
    ],
)
def test_format_is_enforced(format_: str, right: list[str], wrong: list[str]) -> None:
    validate = schemas.compiled({"type": "string", "format": format_}, {})
    assert [validate(each) for each in right] == [None] * len(right)
    said = f"the body should be {schemas.FORMATS[format_]}"
    assert [validate(each) for each in wrong] == [said] * len(wrong)


def test_ids_and_addresses_have_a_format() -> None:
    """No schema's name or pattern promises what its format does not."""
    named = DOCUMENT["components"]["schemas"]
    ids = {name for name, each in named.items() if "{8}-" in each.get("pattern", "")}
    assert len(ids) > 10 and {named[name]["format"] for name in ids} == {"uuid"}
    fields = [(name, each) for schema in named.values() for name, each in schema.get("properties", {}).items()]
    addresses = [schemas.resolve(each, DOCUMENT) for name, each in fields if name == "url" or name.endswith("Url")]
    assert len(addresses) > 10 and {each["format"] for each in addresses} == {"uri"}
    times = [schemas.resolve(each, DOCUMENT) for name, each in fields if name.endswith("At")]
    assert len(times) > 40 and {each["format"] for each in times} == {"date-time"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, None),
        ("tea", None),
        ("beer", "'drink' should be one of tea, coffee"),
        (7, "'drink' has the wrong type; it should be string"),
    ],
)
def test_nullable_reference_takes_null(value: Any, problem: str | None) -> None:
    """What is wrong with another value is said as it is without `nullable`."""
    assert schemas.compiled({"properties": {"drink": CHOSEN}}, CHOICE)({"drink": value}) == problem


@pytest.mark.rest_paths
async def test_formats_of_bodies_are_enforced(make_learner: MakeLearner) -> None:
    learner = await make_learner()
    account = {"email": "a..b@example.com", "password": "correct horse", "deviceId": "phone", "platform": "ios"}
    for path, body, detail in (
        ("/auth/register", account, "'email' should be an e-mail address"),
        ("/reports", {"reportedId": "ada", "reason": "spam"}, "'reportedId' does not have the right form"),
    ):
        answer = await learner.http.post(path, json=body)
        assert (answer.status_code, answer.json()["detail"]) == (400, detail)


@pytest.mark.rest_paths
async def test_nullable_choice_is_set_and_cleared(make_learner: MakeLearner) -> None:
    learner = await make_learner()
    for value, status in (("advanced", 200), (None, 200), ("native", 400)):
        answer = await learner.http.patch("/users/me", json={"englishLevel": value})
        assert answer.status_code == status, answer.text
    assert answer.json()["detail"] == "'englishLevel' should be one of beginner, intermediate, advanced"
    assert (await learner.http.get("/users/me")).json()["englishLevel"] is None


@pytest.mark.rest_paths
async def test_format_of_an_answer_is_enforced(container: Container, make_learner: MakeLearner) -> None:
    """An address that is none stands in the table: in tests the answer is refused, as one against the contract."""
    learner = await make_learner()
    for address, status in (("https://files.example.com/a.webp", 200), ("https://files.example.com/a b", 500)):
        statement = "UPDATE profiles SET avatar_url = :address WHERE user_id = CAST(:id AS uuid)"
        await query(container, statement, address=address, id=learner.id)
        assert (await learner.http.get("/users/me")).status_code == status
