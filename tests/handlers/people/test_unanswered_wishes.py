"""An unanswered wish is invisible: each answer to the other learner is the same with it and without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from container import Container
from contract import operations, schemas
from testing.call_history import MakeLearner, add_call
from testing.databases import query
from testing.http_answers import read_all_pages
from testing.lessons import MISSING_ID
from testing.people import list_notices, list_partners, make_partners
from testing.servers import Learner

#: What a learner reads, on the own account or with an id.
READS = {
    operation_id: operation
    for operation_id, operation in operations.definitions(schemas.load(schemas.OPENAPI)).items()
    if operation["method"] == "get" and operation.get("security", []) in ([{"bearer": []}], [{}, {"bearer": []}])
}
#: Headers and members that differ between two equal requests.
CHANGING_HEADERS = {"x-request-id", "date", "ratelimit", "ratelimit-policy"}


@contextmanager
def record_statements() -> Iterator[list[str]]:
    """Record the SQL of this process: an answer that takes other statements takes another time."""
    statements: list[str] = []

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # Not those of background loops and of the pool, which come at any time.
        if any(table in statement for table in ("partner_wishes", "appointments", "notifications", "profiles")):
            statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", record)


async def read_everything(learner: Learner, ids: dict[str, str]) -> dict[str, tuple[Any, ...]]:
    """Read all that a learner can: of each operation the status, the body, the headers and the statements."""
    found = {}
    for operation_id, operation in READS.items():
        with record_statements() as statements:
            answer = await learner.http.request("GET", operation["path"].format_map(ids))
        body: Any = answer.json() if "json" in answer.headers.get("content-type", "") else answer.content
        if operation_id == "exportMe":
            assert body.pop("exportedAt")
        headers = {name: value for name, value in answer.headers.items() if name not in CHANGING_HEADERS}
        if operation_id == "exportMe":
            del headers["content-length"]
        found[operation_id] = answer.status_code, body, sorted(headers.items()), statements
    return found


class Ids(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return MISSING_ID


def test_sweep_reads_what_a_wish_could_show_in() -> None:
    assert {"listPartners", "listAppointments", "listNotifications", "exportMe", "getMe", "getUser", "listCalls"} <= (
        READS.keys()
    )


@pytest.mark.parametrize("answered_by_others", [False, True])
async def test_no_answer_shows_an_unanswered_wish(
    container: Container, make_learner: MakeLearner, answered_by_others: bool
) -> None:
    ada, bob, cyd = [await make_learner() for _ in range(3)]
    session = await add_call(container, ada, bob)
    await add_call(container, bob, cyd)
    if answered_by_others:
        await make_partners(bob, cyd)
    ids = Ids(userId=ada.id, sessionId=session)
    await read_everything(bob, ids)  # what is cached is read
    before = await read_everything(bob, ids)
    assert await read_everything(bob, ids) == before, "the sweep is not stable by itself"
    assert (await ada.http.put(f"/partners/{bob.id}")).status_code == 204
    asked = await read_everything(bob, ids)
    assert asked == before
    assert await list_notices(container, bob, "partner") == [
        notice for notice in await list_notices(container, bob, "partner") if notice.data["userId"] == cyd.id
    ]
    await ada.http.delete(f"/partners/{bob.id}")
    assert await read_everything(bob, ids) == before
    # The other way round it shows: this test can see a partnership.
    await make_partners(ada, bob)
    shown = await read_everything(bob, ids)
    assert {name for name in before if shown[name] != before[name]} >= {"listPartners", "listNotifications", "exportMe"}


async def test_no_write_of_the_other_shows_an_unanswered_wish(container: Container, make_learner: MakeLearner) -> None:
    """Of two learners one has asked: what the reader does to either is answered in the same way."""
    ada, eve, bob = [await make_learner() for _ in range(3)]
    for other in (ada, eve):
        await add_call(container, other, bob)
    await ada.http.put(f"/partners/{bob.id}")
    body = {"localTime": "2026-12-01T18:00", "timezone": "UTC", "durationMinutes": 30}
    for method, path, json in (
        ("DELETE", "/partners/{}", None),
        ("POST", "/appointments", {**body}),
        ("PUT", "/partners/{}", None),
    ):
        answers = []
        for other in (ada, eve):
            sent = {**json, "partnerId": other.id} if json else None
            answer = await bob.http.request(method, path.format(other.id), json=sent)
            headers = {name: value for name, value in answer.headers.items() if name not in CHANGING_HEADERS}
            answers.append((answer.status_code, answer.content, headers))
        assert answers[0] == answers[1], (method, path)
    assert await list_partners(bob) == [ada.id], "asking is what shows it"


async def test_order_and_times_show_no_earlier_wish(container: Container, make_learner: MakeLearner) -> None:
    """Partners are in the order in which they became so, no matter who asked first and when."""
    ada, bob, cyd = [await make_learner() for _ in range(3)]
    for other in (bob, cyd):
        await add_call(container, ada, other)
    await bob.http.put(f"/partners/{ada.id}")
    await query(
        container,
        "UPDATE partner_wishes SET created_at = created_at - interval '9 days' WHERE user_id = :b",
        b=bob.id,
    )
    await make_partners(cyd, ada)
    await ada.http.put(f"/partners/{bob.id}")
    listed = await read_all_pages(ada.http, "/partners", limit=1)
    assert [each["userId"] for each in listed] == [bob.id, cyd.id]
    assert listed[0]["since"] > listed[1]["since"]
    wishes = (await ada.http.get("/users/me/export")).json()["partnerWishes"]
    assert {each["userId"] for each in wishes} == {bob.id, cyd.id}
    assert {each["askedAt"][:10] for each in wishes} == {listed[0]["since"][:10]}
