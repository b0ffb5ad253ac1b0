"""Reports of tests: reporters who count apart, proven reporters, and what is stored of them."""

from __future__ import annotations

import itertools
from typing import Any

from container import Container
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.databases import query, value
from testing.servers import Learner

_DAYS = itertools.count(40)


async def age_account(container: Container, learner: Learner) -> None:
    """Give an account a day of registration that no other has, long ago."""
    await query(
        container,
        "UPDATE users SET created_at = now() - make_interval(days => :days) WHERE id = :id",
        days=next(_DAYS),
        id=learner.id,
    )


async def make_reporter(container: Container, make_learner: MakeLearner) -> Learner:
    """Make a learner whose reports count apart from those of others."""
    learner = await make_learner()
    await age_account(container, learner)
    return learner


async def make_proven_reporter(container: Container, make_learner: MakeLearner, admin: Learner) -> Learner:
    """Make a reporter with five confirmed reports, whose urgent report may hold pairing."""
    reporter = await make_reporter(container, make_learner)
    for _ in range(5):
        offender = await make_learner(ready=False)
        report = await report_after_call(container, reporter, offender, reason="harassment")
        answer = await admin.http.patch(f"/admin/reports/{report['id']}", json={"status": "actioned"})
        assert answer.status_code == 200, answer.text
    return reporter


async def report_after_call(container: Container, reporter: Learner, reported: Learner, **body: Any) -> Any:
    """Report a learner after a call of five minutes; return the report."""
    call = await add_call(container, reporter, reported)
    sent = {"reportedId": reported.id, "sessionId": call, "reason": "spam", **body}
    answer = await reporter.http.post("/reports", json=sent)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def make_reviewer(container: Container, make_learner: MakeLearner) -> Learner:
    """Make an administrator of the app in this process."""
    return await make_admin(container, (await make_learner(ready=False)).http)


async def is_held(container: Container, learner: Learner) -> bool:
    """Return whether a learner's pairing is held now."""
    return bool(await value(container, "SELECT pairing_held_until > now() FROM users WHERE id = :i", i=learner.id))
