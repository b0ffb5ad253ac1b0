"""Gates and age bands on a running server of two processes: what `find_partner` needs, and what its loss ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import sqlalchemy.exc

from cli.worker import bind
from container import Container
from models import AgeBand
from settings import Settings
from testing.calls import ack_code, call, call_row, ended_call_row, event_names, match
from testing.containers import load_settings, run_jobs, running_container
from testing.databases import execute, query
from testing.gates import GATES_ON, birth_date, consent_to_all, pass_gates, verify_address
from testing.polling import eventually
from testing.ports import free_port
from testing.servers import Phone, Server, dial, http_client, register, start_server, stop_server

MakeLearnerPhone = Callable[..., Awaitable[Phone]]


@pytest.fixture(scope="module")
def gated(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server({**environment, **GATES_ON}, tmp_path_factory.mktemp("gated") / "server.log", workers=2)
    yield running
    stop_server(running)


@pytest.fixture
async def worker(environment: dict[str, str]) -> AsyncIterator[Container]:
    """The job worker of that server."""
    async with running_container(load_settings({**environment, **GATES_ON})) as services:
        yield services


@pytest.fixture
async def make_gated(gated: Server, settings: Settings) -> AsyncIterator[MakeLearnerPhone]:
    """Make learners with all that the gates ask for, connected; `apart_from` is on the other process."""
    phones: list[Phone] = []

    async def make(*, age: int | None = 30, apart_from: Phone | None = None) -> Phone:
        learner = await register(http_client(gated.url), ready=False)
        # A device of its own: refusals count by device.
        execute(settings, "UPDATE refresh_tokens SET device_id = %s WHERE user_id = %s", uuid.uuid4().hex, learner.id)
        if age is not None:
            await pass_gates(settings, learner, age=age)
        for _ in range(200):
            phone = await dial(gated.url, learner)
            phones.append(phone)
            if apart_from is None or phone.worker != apart_from.worker:
                return phone
            await phone.client.disconnect()
        raise AssertionError("every socket landed on the same process")

    yield make
    for phone in phones:
        if phone.client.connected:
            await phone.client.disconnect()
        await phone.learner.http.aclose()


async def find(phone: Phone, topic: str = "") -> str:
    return ack_code(await phone.send("find_partner", {"topic": topic} if topic else {}))


async def test_find_asks_for_one_thing_after_another(make_gated: MakeLearnerPhone, settings: Settings) -> None:
    """In the order of `missing`, with a code for each."""
    phone = await make_gated(age=None)
    learner, asked = phone.learner, []

    async def note() -> None:
        code = await find(phone)
        missing = (await learner.http.get("/users/me")).json()["missing"]
        assert [code] == missing[:1]
        asked.append(code)

    await note()
    verify_address(settings, learner)
    await note()
    assert (await learner.http.put("/users/me/age", json={"birthDate": birth_date(20)})).status_code == 200
    await note()
    await consent_to_all(learner)
    await note()
    assert asked == ["email_unverified", "age_required", "terms_required", "profile_incomplete"]
    await learner.http.patch("/users/me", json={"username": learner.username, "englishLevel": "beginner"})
    assert await find(phone) == "ok"


async def test_bands_do_not_meet(make_gated: MakeLearnerPhone) -> None:
    """With one topic: each waits for a learner of the same band."""
    topic = f"bands {uuid.uuid4()}"
    boy, girl, adult = await make_gated(age=16), await make_gated(age=17), await make_gated(age=40)
    for phone in (boy, adult):
        assert await find(phone, topic) == "ok"
        await phone.wait_for("searching")
    assert await find(girl, topic) == "ok"
    found = await girl.wait_for("match_found")
    assert found["partner"]["userId"] == boy.learner.id
    assert "match_found" not in event_names(adult)


@pytest.mark.parametrize("loss", ["age", "consent"])
async def test_loss_of_a_right_ends_the_search(make_gated: MakeLearnerPhone, worker: Container, loss: str) -> None:
    """The job of the change runs in a job worker; the web process of the socket emits the end."""
    phone = await make_gated()
    assert await find(phone, f"loss {uuid.uuid4()}") == "ok"
    await phone.wait_for("searching")
    if loss == "age":
        refused = await phone.learner.http.put("/users/me/age", json={"birthDate": birth_date(12)})
        assert refused.json()["code"] == "too_young"
    else:
        assert (await phone.learner.http.delete("/users/me/consents/terms")).status_code == 204
    await run_jobs(worker)
    expected = {"age": "too_young", "consent": "terms_required"}[loss]
    assert (await phone.wait_for("error"))["code"] == expected
    await phone.wait_for("search_expired")
    assert not await worker.redis.exists(f"{{match}}:searching:{phone.learner.id}")
    assert ack_code(await phone.send("cancel_search", {})) == "not_searching"
    assert await find(phone) == expected


async def test_search_moves_with_its_band(make_gated: MakeLearnerPhone, worker: Container) -> None:
    """A learner of 17 becomes an adult while searching: the search goes on among adults."""
    topic = f"moves {uuid.uuid4()}"
    learner, adult = await make_gated(age=17), await make_gated(age=30)
    for phone in (learner, adult):
        assert await find(phone, topic) == "ok"
        await phone.wait_for("searching")
    await worker.ages.set_for_user(learner.learner.email, AgeBand.ADULT)
    await run_jobs(worker)
    assert (await learner.wait_for("match_found"))["partner"]["userId"] == adult.learner.id
    await adult.wait_for("match_found")
    assert "error" not in event_names(learner)


async def test_call_of_two_bands_ends(make_gated: MakeLearnerPhone, worker: Container) -> None:
    """On both processes, and its row."""
    one = await make_gated()
    other = await make_gated(apart_from=one)
    room = await call(one, other)
    await worker.ages.set_for_user(other.learner.email, AgeBand.FROM_16)
    await run_jobs(worker)
    for phone in (one, other):
        assert await phone.wait_for("peer_left") == {"reason": "ended"}
    assert (await ended_call_row(worker, room["roomId"])).ended_by == "error"
    assert ack_code(await one.send("webrtc_ice", {**room, "candidate": None})) == "room_closed"
    assert await find(one) == "ok"


async def test_match_of_two_bands_is_cancelled(make_gated: MakeLearnerPhone, worker: Container) -> None:
    """Before either has joined: both search on, each in the pool of their band, with their topic."""
    one = await make_gated()
    other = await make_gated(apart_from=one)
    match_found = await match(one, other)
    await worker.ages.set_for_user(other.learner.email, AgeBand.FROM_16)
    await run_jobs(worker)
    for phone, searches in ((one, 2), (other, 1)):
        await phone.wait_for("partner_cancelled")
        await phone.wait_for("searching", count=searches)
    for phone, age in ((one, 30), (other, 16)):
        third = await make_gated(age=age)
        assert await find(third, match_found["topic"]) == "ok"
        assert (await third.wait_for("match_found"))["partner"]["userId"] == phone.learner.id


async def test_cancelled_match_ends_the_search_of_a_child(make_gated: MakeLearnerPhone, worker: Container) -> None:
    """The learner who may meet nobody gets the reason, the other one searches on."""
    one, other = await make_gated(), await make_gated()
    match_found = await match(one, other)
    await worker.ages.set_for_user(other.learner.email, AgeBand.UNDER_13)
    await run_jobs(worker)
    for phone in (one, other):
        await phone.wait_for("partner_cancelled")
    assert (await other.wait_for("error"))["code"] == "too_young"
    await other.wait_for("search_expired")
    third = await make_gated()
    assert await find(third, match_found["topic"]) == "ok"
    assert (await third.wait_for("match_found"))["partner"]["userId"] == one.learner.id


async def test_call_goes_on_without_consent(make_gated: MakeLearnerPhone, worker: Container) -> None:
    one, other = await make_gated(), await make_gated()
    room = await call(one, other)
    assert (await other.learner.http.delete("/users/me/consents/rules")).status_code == 204
    await run_jobs(worker)
    assert ack_code(await one.send("webrtc_ice", {**room, "candidate": None})) == "ok"
    assert ack_code(await one.send("end_call", room)) == "ok"


async def test_change_between_queue_and_match_pairs_nobody(
    make_gated: MakeLearnerPhone, worker: Container, settings: Settings
) -> None:
    """No job has run yet: the row of the call is refused, one leaves with the error, the other waits on."""
    topic = f"between {uuid.uuid4()}"
    changed, seeker, third = await make_gated(), await make_gated(), await make_gated()
    assert await find(changed, topic) == "ok"
    await changed.wait_for("searching")
    verify_address(settings, changed.learner, is_verified=False)
    assert await find(seeker, topic) == "ok"
    await seeker.wait_for("searching")
    assert (await changed.wait_for("error"))["code"] == "email_unverified"
    await changed.wait_for("search_expired")
    assert await find(third, topic) == "ok"
    assert (await seeker.wait_for("match_found"))["partner"]["userId"] == third.learner.id


async def test_change_of_the_waiting_band_moves_their_search(make_gated: MakeLearnerPhone, worker: Container) -> None:
    """Found in the pool of the old band: not paired; the search goes on in that of the new one."""
    topic = f"old pool {uuid.uuid4()}"
    changed, seeker, adult = await make_gated(age=17), await make_gated(age=16), await make_gated(age=30)
    assert await find(changed, topic) == "ok"
    await changed.wait_for("searching")
    band = "UPDATE users SET age_band = '18_plus' WHERE id = :id"
    await query(worker, band, id=changed.learner.id)
    assert await find(seeker, topic) == "ok"
    await seeker.wait_for("searching")
    await changed.wait_for("searching", count=2)
    assert await find(adult, topic) == "ok"
    assert (await adult.wait_for("match_found"))["partner"]["userId"] == changed.learner.id
    assert "match_found" not in event_names(seeker)


async def test_database_refuses_a_call_of_two_bands(make_gated: MakeLearnerPhone, worker: Container) -> None:
    """Also where a process of the release before writes it, which knows no bands."""
    minor, adult = await make_gated(age=16), await make_gated(age=30)
    statement = """
        INSERT INTO call_sessions (id, room_id, user_a_id, user_b_id, level)
        VALUES (gen_random_uuid(), :room, :one, :other, 'all')"""
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="one age band"):
        await query(worker, statement, room=str(uuid.uuid4()), one=minor.learner.id, other=adult.learner.id)


async def test_row_waits_for_a_change_of_band(make_gated: MakeLearnerPhone, worker: Container) -> None:
    """A change that is not committed when the row is written is seen by it all the same."""
    topic = f"waits {uuid.uuid4()}"
    changed, seeker = await make_gated(), await make_gated()
    assert await find(changed, topic) == "ok"
    await changed.wait_for("searching")
    async with worker.database.transaction() as db:
        connection = await db.connection()
        await connection.exec_driver_sql(f"UPDATE users SET age_band = '16_17' WHERE id = '{changed.learner.id}'")
        searching = asyncio.create_task(find(seeker, topic))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%both_users%'"

        async def is_waiting() -> bool:
            return bool((await query(worker, waiting))[0][0])

        await eventually(is_waiting, "the row of the match waits for the lock")
    assert await searching == "ok"
    await seeker.wait_for("searching")
    assert "match_found" not in event_names(changed)


async def test_change_without_redis_is_carried_out_later(
    make_gated: MakeLearnerPhone, worker: Container, environment: dict[str, str]
) -> None:
    """Redis is unavailable when the job runs: the call ends when the job is tried again."""
    one, other = await make_gated(), await make_gated()
    room = await call(one, other)
    await worker.ages.set_for_user(other.learner.email, AgeBand.FROM_16)
    # A job worker that reaches PostgreSQL alone.
    services = Container(load_settings({**environment, **GATES_ON, "REDIS_PORT": str(free_port())}))
    bind(services.jobs.app, services)
    async with services.jobs.app.open_async():
        await run_jobs(services)
    await services.close()
    row = await call_row(worker, room["roomId"])
    assert row is not None and row.ended_at is None
    due = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = 'calls.check_pairing'"
    await query(worker, due)
    await run_jobs(worker)
    for phone in (one, other):
        assert await phone.wait_for("peer_left") == {"reason": "ended"}
