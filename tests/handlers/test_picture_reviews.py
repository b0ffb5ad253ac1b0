"""Pictures that wait for review: the list of staff, and its decisions."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from container import Container
from models import Role
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner
from testing.databases import query, rows, value
from testing.pictures import keys, picture, run_jobs, upload
from testing.reports import make_reporter, report_after_call
from testing.servers import PASSWORD, Learner

AVATAR = "/users/me/avatar"


@pytest.fixture
async def moderator(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(container, (await make_learner(ready=False)).http, Role.MODERATOR)


@pytest.fixture
async def colleague(container: Container, make_learner: MakeLearner) -> Learner:
    return await make_admin(container, (await make_learner(ready=False)).http, Role.MODERATOR)


async def add_picture(learner: Learner) -> str:
    url: str = (await learner.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    return url


async def hold(container: Container, learner: Learner) -> None:
    """Hold a picture, as one that the screen did not decide."""
    await query(container, "UPDATE profiles SET avatar_held_at = now() WHERE user_id = :u", u=learner.id)


async def hide(container: Container, make_learner: MakeLearner, learner: Learner, count: int = 2) -> list[Any]:
    """Report a learner until the picture is hidden; return the reports."""
    reporters = [await make_reporter(container, make_learner) for _ in range(count)]
    return [await report_after_call(container, each, learner, reason="inappropriate") for each in reporters]


async def list_pictures(staff: Learner, limit: int = 100) -> list[Any]:
    """Return all pictures that wait, page by page."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        after = {"cursor": cursor} if cursor else {}
        answer = await staff.http.get("/admin/pictures", params={"limit": str(limit), **after})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        cursor = answer.json()["nextCursor"]
        if cursor is None:
            return found


async def find(staff: Learner, learner: Learner) -> Any:
    """Return the picture of a learner in the list, or None."""
    return next((each for each in await list_pictures(staff) if each["userId"] == learner.id), None)


async def decide(staff: Learner, learner: Learner, url: str, outcome: str, **more: str) -> httpx.Response:
    body = {"avatarUrl": url, "outcome": outcome, **more}
    return await staff.http.post(f"/admin/pictures/{learner.id}/decision", json=body)


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def see(learner: Learner, other: Learner) -> str | None:
    """Return the picture's address that another learner sees."""
    url: str | None = (await other.http.get(f"/users/{learner.id}/public")).json()["avatarUrl"]
    return url


async def test_held_picture_is_listed_and_kept(
    container: Container, make_learner: MakeLearner, moderator: Learner
) -> None:
    ada, dan = [await make_learner() for _ in range(2)]
    url = await add_picture(ada)
    assert await find(moderator, ada) is None
    await hold(container, ada)
    listed = await find(moderator, ada)
    own = (await ada.http.get("/users/me")).json()
    assert listed == {
        "userId": ada.id,
        "username": own["username"],
        "displayName": own["displayName"],
        "avatarUrl": url,
        "causes": ["screen"],
        "reports": 0,
        "weight": 0,
        "waitingSince": listed["waitingSince"],
        "reviewedAt": None,
        "reviewNote": None,
    }
    assert (await decide(moderator, ada, url, "keep", note="A film star.")).status_code == 204
    assert await see(ada, dan) == url and await find(moderator, ada) is None
    entries = "SELECT actor_id, action, detail FROM audit_log WHERE subject_id = :u"
    [(actor, action, detail)] = await rows(container, entries, u=ada.id)
    # Entries of the audit log have no texts: the note is the account's, and erased with it.
    assert (str(actor), action, detail) == (moderator.id, "picture.keep", {})
    await hold(container, ada)
    again = await find(moderator, ada)
    assert again["reviewNote"] == "A film star." and again["reviewedAt"] is not None


async def test_removed_picture_is_deleted_and_its_owner_notified(
    container: Container, settings: Settings, make_learner: MakeLearner, moderator: Learner
) -> None:
    ada, dan = [await make_learner() for _ in range(2)]
    url = await add_picture(ada)
    await hold(container, ada)
    assert (await decide(moderator, ada, url, "remove")).status_code == 204
    assert (await ada.http.get("/users/me")).json()["avatarUrl"] is None and await see(ada, dan) is None
    action = await value(container, "SELECT action FROM audit_log WHERE subject_id = :u", u=ada.id)
    assert action == "picture.remove"
    [notified] = (await ada.http.get("/notifications")).json()["items"]
    assert notified["data"] == {"kind": "picture_removed"} and "rules" in notified["body"]
    await run_jobs(settings)
    assert await keys(settings, f"avatars/{ada.id}/") == []


async def test_reported_picture_waits_since_the_report_that_hid_it(
    container: Container, make_learner: MakeLearner, moderator: Learner
) -> None:
    ada = await make_learner()
    await add_picture(ada)
    first, second, third = await hide(container, make_learner, ada, 3)
    await report_after_call(container, await make_reporter(container, make_learner), ada, reason="spam")
    listed = await find(moderator, ada)
    assert (listed["causes"], listed["reports"], listed["waitingSince"]) == (["reports"], 3, second["createdAt"])
    assert listed["weight"] == pytest.approx(2.4)
    await hold(container, ada)
    assert (await find(moderator, ada))["causes"] == ["screen", "reports"]
    for each in (first, third):
        answer = await moderator.http.patch(f"/admin/reports/{each['id']}", json={"status": "dismissed"})
        assert answer.status_code == 200, answer.text
    listed = await find(moderator, ada)
    assert (listed["causes"], listed["reports"]) == (["screen"], 1)


async def test_kept_picture_is_hidden_by_new_reports_alone(
    container: Container, make_learner: MakeLearner, moderator: Learner
) -> None:
    ada, dan = [await make_learner() for _ in range(2)]
    url = await add_picture(ada)
    made = await hide(container, make_learner, ada)
    assert await see(ada, dan) is None
    assert (await decide(moderator, ada, url, "keep")).status_code == 204
    assert await see(ada, dan) == url and await find(moderator, ada) is None
    # The reports may be about more than the picture: they stay in the review queue.
    open_reports = (await moderator.http.get("/admin/reports", params={"reportedId": ada.id})).json()["items"]
    assert {each["id"] for each in open_reports} == {each["id"] for each in made}
    assert {each["status"] for each in open_reports} == {"pending"}
    # Nor do they hide the next picture.
    url = await add_picture(ada)
    assert await see(ada, dan) == url
    await hide(container, make_learner, ada)
    assert await see(ada, dan) is None
    listed = await find(moderator, ada)
    assert (listed["reports"], listed["avatarUrl"]) == (2, url) and listed["weight"] == pytest.approx(1.6)


async def test_two_decisions_at_once_are_one(
    container: Container, make_learner: MakeLearner, moderator: Learner, colleague: Learner
) -> None:
    for prepare in ("hold", "hide"):
        ada, dan = [await make_learner() for _ in range(2)]
        url = await add_picture(ada)
        await (hold(container, ada) if prepare == "hold" else hide(container, make_learner, ada))
        both = await asyncio.gather(decide(moderator, ada, url, "keep"), decide(colleague, ada, url, "remove"))
        first, second = sorted(both, key=lambda answer: answer.status_code)
        assert first.status_code == 204 and problem(second) == (409, "picture_not_waiting")
        kept = first is both[0]
        assert await see(ada, dan) == (url if kept else None)
        [(actor, action)] = await rows(
            container, "SELECT actor_id, action FROM audit_log WHERE subject_id = :u", u=ada.id
        )
        decided_by, outcome = (moderator, "keep") if kept else (colleague, "remove")
        assert (str(actor), action) == (decided_by.id, f"picture.{outcome}")


@pytest.mark.parametrize("outcome", ["keep", "remove"])
async def test_decision_is_about_the_seen_picture_alone(
    container: Container, make_learner: MakeLearner, moderator: Learner, outcome: str
) -> None:
    ada, dan = [await make_learner() for _ in range(2)]
    seen = await add_picture(ada)
    await hide(container, make_learner, ada)
    replaced = await add_picture(ada)
    assert problem(await decide(moderator, ada, seen, outcome)) == (409, "picture_not_waiting")
    assert (await ada.http.get("/users/me")).json()["avatarUrl"] == replaced and await see(ada, dan) is None
    assert (await find(moderator, ada))["avatarUrl"] == replaced
    assert (await ada.http.delete(AVATAR)).status_code == 204
    assert problem(await decide(moderator, ada, replaced, outcome)) == (409, "picture_not_waiting")
    assert await find(moderator, ada) is None
    assert await rows(container, "SELECT action FROM audit_log WHERE subject_id = :u", u=ada.id) == []


async def test_upload_during_a_decision_is_not_decided(
    container: Container, make_learner: MakeLearner, moderator: Learner
) -> None:
    """In either order: a new picture is the profile's, and only its own review may remove it."""
    ada = await make_learner()
    url = await add_picture(ada)
    await hold(container, ada)
    uploaded, decided = await asyncio.gather(add_picture(ada), decide(moderator, ada, url, "remove"))
    assert decided.status_code in (204, 409)
    assert (await ada.http.get("/users/me")).json()["avatarUrl"] == uploaded


async def test_staff_do_not_decide_about_their_own_picture(
    container: Container, moderator: Learner, colleague: Learner
) -> None:
    url = f"https://files.example.com/avatars/{moderator.id}/1.webp"
    held = "UPDATE profiles SET avatar_url = :url, avatar_held_at = now() WHERE user_id = :u"
    await query(container, held, url=url, u=moderator.id)
    assert problem(await decide(moderator, moderator, url, "keep")) == (403, "forbidden")
    assert (await decide(colleague, moderator, url, "keep")).status_code == 204


async def test_picture_of_a_deleted_account_is_gone(
    container: Container, make_learner: MakeLearner, moderator: Learner
) -> None:
    ada = await make_learner()
    url = await add_picture(ada)
    await hold(container, ada)
    assert (await decide(moderator, ada, url, "keep", note="A film star.")).status_code == 204
    await hold(container, ada)
    assert (await ada.http.request("DELETE", "/users/me", json={"password": PASSWORD})).status_code == 204
    assert await find(moderator, ada) is None
    assert problem(await decide(moderator, ada, url, "keep")) == (404, "not_found")
    erased = "SELECT avatar_reviewed_at, avatar_review_note FROM profiles WHERE user_id = :u"
    assert [tuple(row) for row in await rows(container, erased, u=ada.id)] == [(None, None)]


async def test_pictures_are_paged_oldest_first(
    container: Container, make_learner: MakeLearner, moderator: Learner
) -> None:
    learners = [await make_learner(ready=False) for _ in range(5)]
    # Two of one moment, and one that reports hide among those that are held.
    times = ["2026-11-01", "2026-11-03", "2026-11-03", "2026-11-04"]
    for learner, time in zip(learners, times, strict=False):
        await query(
            container,
            "UPDATE profiles SET avatar_url = :url, avatar_held_at = CAST(CAST(:time AS text) AS timestamptz)"
            " WHERE user_id = :u",
            url=f"https://files.example.com/avatars/{learner.id}/1.webp",
            time=time,
            u=learner.id,
        )
    await add_url(container, learners[4])
    for report in await hide(container, make_learner, learners[4]):
        await query(container, "UPDATE reports SET created_at = '2026-11-02' WHERE id = :i", i=report["id"])
    ids = [each.id for each in learners]
    tied = sorted(ids[1:3])
    expected = [ids[0], ids[4], *tied, ids[3]]
    for limit in (1, 2, 100):
        assert [each["userId"] for each in await list_pictures(moderator, limit) if each["userId"] in ids] == expected
    bad = await moderator.http.get("/admin/pictures", params={"cursor": "bm90IG91cnM"})
    assert problem(bad) == (400, "request_invalid")


async def add_url(container: Container, learner: Learner) -> None:
    url = f"https://files.example.com/avatars/{learner.id}/1.webp"
    await query(container, "UPDATE profiles SET avatar_url = :url WHERE user_id = :u", url=url, u=learner.id)
