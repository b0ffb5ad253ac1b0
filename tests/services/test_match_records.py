"""Outcomes of matches in the records of learners: counted once, taken back, and seen by operators."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import errors
from container import Container
from models import CallOrigin, CallSession
from services.calls.seekers import read_seeker
from testing.call_history import MakeLearner, add_users
from testing.commands import run_parlance
from testing.databases import query, rows, value
from testing.polling import eventually
from testing.servers import Learner


async def open_match(
    container: Container, one: str, other: str, *, origin: CallOrigin = CallOrigin.SEARCH, age: timedelta = timedelta()
) -> str:
    """Write the row of a match that began some time ago; answer its room."""
    room = str(uuid.uuid4())
    row = CallSession(room_id=room, user_a_id=uuid.UUID(one), user_b_id=uuid.UUID(other), level="all", origin=origin)
    row.started_at = datetime.now(UTC) - age
    async with container.database.transaction() as db:
        db.add(row)
    return room


async def play(container: Container, one: str, other: str, letters: str, **match: Any) -> str:
    """Begin and end a match with outcomes; answer its room."""
    room = await open_match(container, one, other, **match)
    assert await container.call_history.end(room, ended_by=one, outcomes=letters)
    return room


async def read_record(container: Container, user_id: str) -> Any:
    found = await rows(
        container, "SELECT points, warned_at, resting_until, rests FROM pairing_records WHERE user_id = :u", u=user_id
    )
    return found[0] if found else None


async def age_record(container: Container, user_id: str, interval: str) -> None:
    """Let time pass for a record."""
    past = ", ".join(f"{name} = {name} - CAST(:i AS interval)" for name in ("points_at", "warned_at", "resting_until"))
    await query(container, f"UPDATE pairing_records SET {past} WHERE user_id = :u", i=interval, u=user_id)


async def count_notifications(container: Container, user_id: str, kind: str) -> int:
    counted = "SELECT count(*) FROM notifications WHERE user_id = :u AND data->>'kind' = :k"
    return int(await value(container, counted, u=user_id, k=kind))


async def test_end_is_counted_once(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    room = await open_match(container, ada, bob)
    ends = [container.call_history.end(room, ended_by=ada, outcomes="d-") for _ in range(20)]
    assert (await asyncio.gather(*ends)).count(True) == 1
    assert (await read_record(container, ada)).points == 1
    assert await read_record(container, bob) is None


async def test_good_calls_take_points_away(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    await play(container, ada, bob, "l-")
    await play(container, ada, bob, "gg")
    assert (await read_record(container, ada)).points == pytest.approx(0.5, abs=0.01)
    for _ in range(3):
        await play(container, ada, bob, "gg")
    assert (await read_record(container, ada)).points == 0
    assert await read_record(container, bob) is None, "a learner without a bad match needs no row"


async def test_warning_is_durable_and_comes_once(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    for _ in range(2):
        await play(container, ada, bob, "d-")
    assert await count_notifications(container, ada, "pairing_warning") == 1
    await play(container, ada, bob, "d-")
    assert await count_notifications(container, ada, "pairing_warning") == 1
    assert await count_notifications(container, ada, "pairing_rest") == 1
    assert await count_notifications(container, bob, "pairing_warning") == 0
    # A warning is remembered for a week: after it another one comes first.
    await age_record(container, ada, "8 days")
    for _ in range(2):
        await play(container, ada, bob, "d-")
    assert await count_notifications(container, ada, "pairing_warning") == 2
    assert await count_notifications(container, ada, "pairing_rest") == 1


async def test_rests_are_of_5_15_and_60_minutes(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    lengths = []
    for _ in range(2):
        await play(container, ada, bob, "n-")
    for _ in range(4):
        await play(container, ada, bob, "n-")
        left = "SELECT extract(epoch FROM resting_until - now()) FROM pairing_records WHERE user_id = :u"
        lengths.append(round(float(await value(container, left, u=ada)) / 60))
        await query(
            container,
            "UPDATE pairing_records SET resting_until = started.at FROM"
            " (SELECT max(started_at) AS at FROM call_sessions WHERE user_a_id = :u) AS started WHERE user_id = :u",
            u=ada,
        )
    assert lengths == [5, 15, 60, 60]


async def test_resting_seeker_is_refused_until_its_time(container: Container, make_learner: MakeLearner) -> None:
    ada, (bob,) = await make_learner(), await add_users(container, 1)
    for _ in range(3):
        await play(container, ada.id, bob, "d-")
    with pytest.raises(errors.Resting) as refused:
        await read_seeker(container.database, container.gates, ada.id, "w.1")
    assert refused.value.until.endswith("Z")
    partners = await read_seeker(container.database, container.gates, ada.id, "w.1", may_rest=True)
    assert partners.points == pytest.approx(3, abs=0.05)
    await age_record(container, ada.id, "2 days")
    rested = await read_seeker(container.database, container.gates, ada.id, "w.1")
    assert rested.points == pytest.approx(partners.points / 2, abs=0.05)


async def test_concurrent_ends_count_every_outcome(container: Container) -> None:
    """Matches of a small group end at once, with two bad outcomes each: no deadlock, no lost point."""
    users = await add_users(container, 5)
    chance = random.Random(11)
    pairs = [chance.sample(users, 2) for _ in range(60)]
    rooms = [await open_match(container, *each) for each in pairs]
    await asyncio.gather(*(container.call_history.end(room, ended_by="timeout", outcomes="nn") for room in rooms))
    points = [(await read_record(container, each)).points for each in users]
    assert sum(points) == pytest.approx(120, abs=0.5)
    for each in users:
        assert await count_notifications(container, each, "pairing_warning") == 1
        assert await count_notifications(container, each, "pairing_rest") == 0, "no warning could be heeded"


async def test_invitation_counts_for_nobody(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    room = await play(container, ada, bob, "dn", origin=CallOrigin.INVITATION)
    assert await read_record(container, ada) is None and await read_record(container, bob) is None
    outcomes = "SELECT user_a_outcome, user_b_outcome FROM call_sessions WHERE room_id = :r"
    assert list((await rows(container, outcomes, r=room))[0]) == [None, None]


async def turn_away(learner: Learner, partner_id: str, by: str) -> None:
    """Block or report a partner."""
    if by == "block":
        assert (await learner.http.put(f"/users/{partner_id}/block")).status_code == 204
    else:
        body = {"reportedId": partner_id, "reason": "harassment"}
        assert (await learner.http.post("/reports", json=body)).status_code == 201


async def read_outcome(container: Container, room: str) -> str | None:
    found = await value(container, "SELECT user_a_outcome FROM call_sessions WHERE room_id = :r", r=room)
    return None if found is None else str(found)


@pytest.mark.parametrize("by", ["block", "report"])
@pytest.mark.parametrize("when", ["before the end", "after the end"])
async def test_turning_away_forgives_a_call_that_was_left(
    container: Container, make_learner: MakeLearner, by: str, when: str
) -> None:
    """Who leaves because of the partner, and says so, has no bad match."""
    ada, bob, (eve,) = await make_learner(), await make_learner(), await add_users(container, 1)
    await play(container, ada.id, eve, "d-")
    room = await open_match(container, ada.id, bob.id)
    await container.call_history.connect(room)
    if when == "before the end":
        await turn_away(ada, bob.id, by)
    await container.call_history.end(room, ended_by=ada.id, outcomes="l-")
    if when == "after the end":
        assert (await read_record(container, ada.id)).points == pytest.approx(2, abs=0.05)
        await turn_away(ada, bob.id, by)
    assert (await read_record(container, ada.id)).points == pytest.approx(1, abs=0.05)
    assert await read_outcome(container, room) == "forgiven"
    # Again, and by the other side, it takes nothing more.
    await turn_away(ada, bob.id, "block")
    await turn_away(bob, ada.id, "block")
    assert (await read_record(container, ada.id)).points == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("letters", ["d-", "n-"])
@pytest.mark.parametrize("when", ["before the end", "after the end"])
async def test_blocks_wipe_no_declined_match(
    container: Container, make_learner: MakeLearner, letters: str, when: str
) -> None:
    """Blocks of all partners, each undone at once, change nothing: a warning comes, then a rest, and it stays."""
    ada = await make_learner()
    for _ in range(3):
        (partner,) = await add_users(container, 1)
        room = await open_match(container, ada.id, partner)
        if when == "before the end":
            await turn_away(ada, partner, "block")
        await container.call_history.end(room, ended_by=ada.id, outcomes=letters)
        await turn_away(ada, partner, "block")
        assert (await ada.http.delete(f"/users/{partner}/block")).status_code == 204
        assert await read_outcome(container, room) in ("declined", "not_joined")
    record = await read_record(container, ada.id)
    assert record.points == pytest.approx(3, abs=0.05) and record.rests == 1
    assert await count_notifications(container, ada.id, "pairing_warning") == 1
    with pytest.raises(errors.Resting):
        await read_seeker(container.database, container.gates, ada.id, "w.1")


@pytest.mark.parametrize("when", ["before the end", "after the end"])
async def test_two_calls_are_forgiven_in_seven_days(container: Container, make_learner: MakeLearner, when: str) -> None:
    """Who blocks and unblocks each partner is forgiven two; a rest that has begun stays."""
    ada = await make_learner()
    outcomes = []
    for _ in range(6):
        (partner,) = await add_users(container, 1)
        room = await open_match(container, ada.id, partner)
        if when == "before the end":
            await turn_away(ada, partner, "block")
        await container.call_history.end(room, ended_by=ada.id, outcomes="l-")
        await turn_away(ada, partner, "block")
        assert (await ada.http.delete(f"/users/{partner}/block")).status_code == 204
        outcomes.append(await read_outcome(container, room))
    assert outcomes == ["forgiven"] * 2 + ["left_early"] * 4
    assert (await read_record(container, ada.id)).rests == 1
    await query(
        container, "UPDATE call_sessions SET started_at = started_at - interval '8 days' WHERE user_a_id = :u", u=ada.id
    )
    room = await play(container, ada.id, partner, "l-")
    await turn_away(ada, partner, "block")
    assert await read_outcome(container, room) == "forgiven"
    assert await value(container, "SELECT resting_until > now() FROM pairing_records WHERE user_id = :u", u=ada.id), (
        "a rest does not end by a block"
    )


async def test_call_with_who_has_blocked_one_is_not_left_early(container: Container) -> None:
    """Whose partner blocks them during the call may leave it; a block after its end changes nothing."""
    ada, bob = await add_users(container, 2)
    room = await open_match(container, ada, bob)
    await container.blocks.block(bob, ada)
    await container.call_history.end(room, ended_by=ada, outcomes="l-")
    assert await read_outcome(container, room) is None and await read_record(container, ada) is None
    (eve,) = await add_users(container, 1)
    room = await play(container, ada, eve, "l-")
    await container.blocks.block(eve, ada)
    assert await read_outcome(container, room) == "left_early"


async def test_block_during_the_end_forgives(container: Container) -> None:
    """Either order of the two transactions leads to the same."""
    for _ in range(10):
        ada, bob = await add_users(container, 2)
        room = await open_match(container, ada, bob)
        await asyncio.gather(
            container.call_history.end(room, ended_by=ada, outcomes="l-"), container.blocks.block(ada, bob)
        )
        assert await read_outcome(container, room) == "forgiven"
        record = await read_record(container, ada)
        assert record is None or record.points == pytest.approx(0, abs=0.001)


async def test_block_waits_for_an_end_that_is_written(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    room = await open_match(container, ada, bob)
    async with container.database.transaction() as held:
        await held.execute(sa.text("SELECT 1 FROM call_sessions WHERE room_id = :r FOR UPDATE"), {"r": room})
        end = asyncio.create_task(container.call_history.end(room, ended_by=ada, outcomes="l-"))

        async def waits() -> bool:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE call%'"
            )
            return bool(await value(container, waiting))

        await eventually(waits)
        await container.blocks.block(ada, bob)
    assert await end
    assert await read_outcome(container, room) == "forgiven"
    assert await read_record(container, ada) is None


async def test_deleted_account_has_no_record(container: Container) -> None:
    ada, bob = await add_users(container, 2)
    await play(container, ada, bob, "d-")
    await query(container, "DELETE FROM pairing_records WHERE user_id = :u", u=ada)
    await query(container, "UPDATE users SET deleted_at = now() WHERE id = :u", u=ada)
    await play(container, ada, bob, "dn")
    assert await read_record(container, ada) is None
    assert (await read_record(container, bob)).points == 1


async def test_late_end_rests_no_longer_than_it_would_have(container: Container) -> None:
    """After an outage the rest of a match that ended an hour ago is over already."""
    ada, bob = await add_users(container, 2)
    for _ in range(2):
        await play(container, ada, bob, "d-")
    await age_record(container, ada, "3 hours")
    room = await open_match(container, ada, bob, age=timedelta(hours=1, minutes=1))
    await container.call_history.end(room, ended_by=ada, outcomes="d-", elapsed=timedelta(hours=1))
    record = await read_record(container, ada)
    assert record.rests == 1
    assert await value(container, "SELECT resting_until < now() FROM pairing_records WHERE user_id = :u", u=ada)


async def test_operator_sees_and_ends_a_rest(container: Container, environment: dict[str, str]) -> None:
    ada, bob = await add_users(container, 2)
    for _ in range(3):
        await play(container, ada, bob, "d-")
    email = f"{ada}@example.com"
    shown = json.loads((await run_parlance(environment, "users", "record", email, "--json")).out)
    assert [each["outcome"] for each in shown["matches"]] == ["declined"] * 3 and shown["restingUntil"]
    assert "rests until" in (await run_parlance(environment, "users", "record", email)).out
    assert "may search again" in (await run_parlance(environment, "users", "end-rest", email)).out
    assert "does not rest" in (await run_parlance(environment, "users", "end-rest", email)).out
    record = await read_record(container, ada)
    assert record.points == 0 and record.rests == 0
    audited = "SELECT count(*) FROM audit_log WHERE action = 'user.end_rest' AND subject_id = :u"
    assert await value(container, audited, u=ada) == 1
