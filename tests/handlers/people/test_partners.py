"""Partners: both ask, both are notified once, and nobody meets whom they may not meet."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial

import pytest
from sqlalchemy.exc import OperationalError

from container import Container
from services.people import partner_rows
from services.people.partners import MAX_PARTNERS, MAX_WISHES
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.databases import execute, query, value
from testing.http_answers import count_statuses, read_all_pages, read_code
from testing.lessons import MISSING_ID
from testing.people import list_notices, list_partners, make_pair, make_partners
from testing.servers import PASSWORD, Learner, send_at_once


@pytest.mark.rest_paths
async def test_two_who_ask_are_partners(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner(level="advanced")
    await add_call(container, ada, bob)
    first = await ada.http.put(f"/partners/{bob.id}")
    assert await list_partners(ada) == await list_partners(bob) == []
    second = await bob.http.put(f"/partners/{ada.id}")
    assert first.status_code == second.status_code == 204
    (partner,) = (await ada.http.get("/partners")).json()["items"]
    assert partner | {"since": ""} == {
        "userId": bob.id,
        "displayName": bob.username.title(),
        "avatarUrl": None,
        "level": "advanced",
        "since": "",
        "presence": None,
    }
    for learner, other in ((ada, bob), (bob, ada)):
        (notice,) = await list_notices(container, learner, "partner")
        assert notice.data == {"kind": "partner", "userId": other.id}
        assert other.username.title() in notice.body


async def test_asking_again_changes_nothing(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    since = (await ada.http.get("/partners")).json()["items"][0]["since"]
    for learner, other in ((ada, bob), (bob, ada)) * 2:
        assert (await learner.http.put(f"/partners/{other.id}")).status_code == 204
        assert len(await list_notices(container, learner, "partner")) == 1
    assert (await ada.http.get("/partners")).json()["items"][0]["since"] == since


async def test_two_who_ask_at_once_are_notified_once(container: Container, make_learner: MakeLearner) -> None:
    for _ in range(5):
        ada, bob = await make_learner(), await make_learner()
        await add_call(container, ada, bob)
        answers = await send_at_once(
            [partial(one.http.put, f"/partners/{other.id}") for one, other in [(ada, bob), (bob, ada)] * 4]
        )
        assert count_statuses(answers) == {204: 8}
        for learner, other in ((ada, bob), (bob, ada)):
            assert await list_partners(learner) == [other.id]
            assert len(await list_notices(container, learner, "partner")) == 1


async def test_only_someone_talked_to_can_be_asked(container: Container, make_learner: MakeLearner) -> None:
    ada, bob, cyd = [await make_learner() for _ in range(3)]
    await add_call(container, ada, bob, connected=False)
    for asked in (bob.id, cyd.id, ada.id, ada.id.upper(), MISSING_ID):
        assert read_code(await ada.http.put(f"/partners/{asked}")) == (404, "not_found"), asked


async def test_deleted_learner_cannot_be_asked(
    container: Container, settings: Settings, make_learner: MakeLearner
) -> None:
    ada, bob, cyd = [await make_learner() for _ in range(3)]
    for other in (bob, cyd):
        await add_call(container, ada, other)
    await bob.http.post("/users/me/deletion", json={"password": PASSWORD})
    assert read_code(await ada.http.put(f"/partners/{bob.id}")) == (404, "not_found")
    # The others are asked as anybody is: the answer shows no sanction.
    admin = await make_admin(container, (await make_learner()).http)
    await container.sanctions.ban(admin.id, cyd.id, "Spam.")
    assert (await ada.http.put(f"/partners/{cyd.id}")).status_code == 204
    assert await value(container, "SELECT count(*) FROM partner_wishes WHERE user_id = :u", u=ada.id) == 1


async def test_banned_partner_is_hidden_until_the_ban_ends(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    admin = await make_admin(container, (await make_learner()).http)
    await container.sanctions.ban(admin.id, bob.id, "Spam.")
    assert await list_partners(ada) == []
    await container.sanctions.unban(admin.id, bob.id)
    assert await list_partners(ada) == [bob.id]


async def test_wish_of_a_banned_learner_is_answered_in_silence(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    await bob.http.put(f"/partners/{ada.id}")
    admin = await make_admin(container, (await make_learner()).http)
    await container.sanctions.ban(admin.id, bob.id, "Spam.")
    assert (await ada.http.put(f"/partners/{bob.id}")).status_code == 204
    assert await list_partners(ada) == []
    assert await list_notices(container, ada, "partner") == await list_notices(container, bob, "partner") == []


async def test_block_ends_the_partnership_for_good(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    await ada.http.put(f"/users/{bob.id}/block")
    assert await list_partners(ada) == await list_partners(bob) == []
    assert read_code(await ada.http.put(f"/partners/{bob.id}")) == (404, "not_found")
    await ada.http.delete(f"/users/{bob.id}/block")
    assert await list_partners(ada) == await list_partners(bob) == []
    assert (
        await value(container, "SELECT count(*) FROM partner_wishes WHERE user_id IN (:a, :b)", a=ada.id, b=bob.id) == 0
    )


@pytest.mark.parametrize("act", ["block", "report"])
async def test_wish_for_someone_who_blocked_or_reported_waits(
    container: Container, make_learner: MakeLearner, act: str
) -> None:
    """The answer is that to any wish, so that it shows neither; and nobody is notified."""
    ada, bob, cyd = [await make_learner() for _ in range(3)]
    for other in (ada, cyd):
        await add_call(container, bob, other)
    if act == "block":
        await ada.http.put(f"/users/{bob.id}/block")
    else:
        body = {"reportedId": bob.id, "reason": "spam"}
        assert (await ada.http.post("/reports", json=body)).status_code == 201
    answers = [await bob.http.put(f"/partners/{other.id}") for other in (ada, cyd)]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert answers[0].headers.keys() == answers[1].headers.keys()
    await query(
        container,
        "INSERT INTO partner_wishes (user_id, wished_id) VALUES (:a, :b) ON CONFLICT DO NOTHING",
        a=ada.id,
        b=bob.id,
    )
    assert await list_partners(ada) == await list_partners(bob) == []
    await bob.http.delete(f"/partners/{ada.id}")
    await bob.http.put(f"/partners/{ada.id}")
    assert await list_notices(container, ada, "partner") == await list_notices(container, bob, "partner") == []


async def test_report_ends_the_partnership(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    assert (await ada.http.post("/reports", json={"reportedId": bob.id, "reason": "spam"})).status_code == 201
    assert await list_partners(ada) == await list_partners(bob) == []


async def test_wish_and_block_at_once_make_no_partners(container: Container, make_learner: MakeLearner) -> None:
    for _ in range(10):
        ada, bob = await make_learner(), await make_learner()
        await add_call(container, ada, bob)
        await bob.http.put(f"/partners/{ada.id}")
        await asyncio.gather(ada.http.put(f"/partners/{bob.id}"), ada.http.put(f"/users/{bob.id}/block"))
        assert await list_partners(ada) == await list_partners(bob) == []
        await ada.http.delete(f"/users/{bob.id}/block")
        assert await list_partners(ada) == [], "a wish outlived the block"


async def test_wish_withdrawn_and_made_again_rings_no_bell(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    for _ in range(5):
        assert (await ada.http.delete(f"/partners/{bob.id}")).status_code == 204
        assert await list_partners(bob) == []
        await make_partners(ada, bob)
    for learner in (ada, bob):
        assert len(await list_notices(container, learner, "partner")) == 1
    await query(
        container,
        "UPDATE notifications SET created_at = created_at - interval '25 hours' WHERE user_id IN (:a, :b)",
        a=ada.id,
        b=bob.id,
    )
    await ada.http.delete(f"/partners/{bob.id}")
    await make_partners(ada, bob)
    assert len(await list_notices(container, bob, "partner")) == 2


async def test_partnership_needs_both_again_after_its_end(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    await ada.http.delete(f"/partners/{bob.id}")
    await ada.http.put(f"/partners/{bob.id}")
    assert await list_partners(ada) == []
    await bob.http.put(f"/partners/{ada.id}")
    assert await list_partners(ada) == [bob.id]


async def test_removing_someone_who_asked_leaves_their_wish(container: Container, make_learner: MakeLearner) -> None:
    """Its end would show, in the asker's data, that the other has acted on it."""
    ada, bob = await make_learner(), await make_learner()
    await add_call(container, ada, bob)
    await bob.http.put(f"/partners/{ada.id}")
    await ada.http.delete(f"/partners/{bob.id}")
    (wish,) = (await bob.http.get("/users/me/export")).json()["partnerWishes"]
    assert wish["userId"] == ada.id


async def set_age(settings: Settings, learner: Learner, band: str) -> None:
    execute(
        settings,
        "UPDATE users SET age_band = %s, age_source = 'operator', age_declared_at = now() WHERE id = %s",
        band,
        learner.id,
    )


async def test_partners_of_two_age_bands_do_not_see_each_other(
    container: Container, settings: Settings, make_learner: MakeLearner
) -> None:
    ada, bob = await make_pair(container, make_learner)
    for band, other in (("16_17", "18_plus"), ("18_plus", "16_17"), ("under_13", "18_plus")):
        await set_age(settings, ada, band)
        await set_age(settings, bob, other)
        for learner, hidden in ((ada, bob), (bob, ada)):
            answer = await learner.http.get("/partners")
            assert answer.json() == {"items": [], "nextCursor": None}
            assert hidden.id not in answer.text and hidden.username not in answer.text.lower()
    await set_age(settings, ada, "18_plus")
    await set_age(settings, bob, "18_plus")
    assert await list_partners(ada) == [bob.id]


async def test_deletion_of_an_account_ends_its_partnerships(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    answer = await bob.http.post("/users/me/deletion", json={"password": PASSWORD})
    assert answer.status_code == 204, answer.text
    assert await list_partners(ada) == []
    wishes = "SELECT count(*) FROM partner_wishes WHERE user_id = :b OR wished_id = :b"
    assert await value(container, wishes, b=bob.id) == 0


async def test_partners_are_listed_by_pages_newest_first(container: Container, make_learner: MakeLearner) -> None:
    ada = await make_learner()
    others = [await make_learner() for _ in range(5)]
    for other in others:
        await add_call(container, ada, other)
        await make_partners(ada, other)
    listed = await read_all_pages(ada.http, "/partners", limit=2)
    assert [each["userId"] for each in listed] == [other.id for other in reversed(others)]
    assert read_code(await ada.http.get("/partners", params={"cursor": "a"})) == (400, "request_invalid")


@pytest.mark.parametrize("kind", ["partners", "wishes"])
async def test_limits_count_the_own_wishes_alone(container: Container, make_learner: MakeLearner, kind: str) -> None:
    ada, bob, cyd = [await make_learner() for _ in range(3)]
    for other in (bob, cyd):
        await add_call(container, ada, other)
    # Wishes for her count for nobody.
    await bob.http.put(f"/partners/{ada.id}")
    count = MAX_PARTNERS if kind == "partners" else MAX_WISHES
    await query(
        container,
        "WITH made AS (INSERT INTO users (id, email, email_canonical, password_hash)"
        " SELECT gen_random_uuid(), :p || n || '@example.com', :p || n || '@example.com', ''"
        " FROM generate_series(1, :n) AS n RETURNING id), asked AS ("
        " INSERT INTO partner_wishes (user_id, wished_id) SELECT CAST(:a AS uuid), id FROM made)"
        " INSERT INTO partner_wishes (user_id, wished_id) SELECT id, CAST(:a AS uuid) FROM made WHERE :both",
        p=uuid.uuid4().hex,
        n=count - 1,
        a=ada.id,
        both=kind == "partners",
    )
    assert (await ada.http.put(f"/partners/{bob.id}")).status_code == 204
    assert read_code(await ada.http.put(f"/partners/{cyd.id}")) == (409, "too_many_partners")
    # Repeated, and not one more.
    assert (await ada.http.put(f"/partners/{bob.id}")).status_code == 204


async def test_presence_is_chosen(make_learner: MakeLearner) -> None:
    ada = await make_learner()
    assert (await ada.http.get("/users/me")).json()["sharesPresence"] is False
    answer = await ada.http.patch("/users/me", json={"sharesPresence": True})
    assert answer.status_code == 200 and answer.json()["sharesPresence"] is True
    for wrong in (None, "yes", 1):
        answer = await ada.http.patch("/users/me", json={"sharesPresence": wrong})
        assert answer.status_code == 400, wrong


async def test_removals_are_limited(container: Container, make_learner: MakeLearner) -> None:
    ada, bob = await make_pair(container, make_learner)
    answers = [await ada.http.delete(f"/partners/{bob.id}") for _ in range(61)]
    assert count_statuses(answers) == {204: 60, 429: 1} and read_code(answers[-1])[1] == "rate_limited"
    assert (await bob.http.delete(f"/partners/{ada.id}")).status_code == 204


async def test_wait_for_a_pair_ends_before_the_connection_is_missed(
    container: Container, make_learner: MakeLearner
) -> None:
    """Those who queue for one pair give their connections back, and the client tries again later."""
    ada, bob = await make_pair(container, make_learner)
    async with container.database.transaction() as db:
        await partner_rows.lock_pair(db, uuid.UUID(ada.id), uuid.UUID(bob.id))
        for act in (container.partners.remove, container.partners.ask, container.blocks.block):
            with pytest.raises(OperationalError, match="lock timeout"):
                await act(bob.id, ada.id)
    assert await list_partners(ada) == [bob.id]
    assert (await ada.http.delete(f"/partners/{bob.id}")).status_code == 204
