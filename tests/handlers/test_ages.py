"""Ages: which band is kept, what is refused, and for how long."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

import app
from container import Container
from models import AgeBand
from services.safety.ages import hash_device
from settings import Settings
from testing.accounts import bearer, credentials, new_email
from testing.containers import run_jobs, running_container
from testing.databases import execute, value
from testing.gates import birth_date, verify_address
from testing.servers import Learner, address, client, register

MakeLearner = Callable[..., Awaitable[Learner]]
MakeAdult = Callable[[], Awaitable[Learner]]


async def set_age(learner: Learner, age: int) -> httpx.Response:
    return await learner.http.put("/users/me/age", json={"birthDate": birth_date(age)})


async def new_device(api: httpx.AsyncClient, learner: Learner) -> Learner:
    """Log in to a learner's account on another device."""
    body = credentials(learner.email, device=uuid.uuid4().hex)
    answer = await api.post("/auth/login", json=body, headers={"X-Forwarded-For": address()})
    learner.http.headers.update(bearer(answer.json()["accessToken"]))
    return learner


@pytest.fixture
async def make_on_own_device(api: httpx.AsyncClient, make_learner: MakeLearner) -> MakeAdult:
    """Make learners each with a device of their own: refusals count by device."""

    async def make() -> Learner:
        return await new_device(api, await make_learner(ready=False))

    return make


@pytest.fixture
async def minors_allowed(settings: Settings) -> AsyncIterator[Container]:
    """The services of a deployment for learners from 14, which pairs minors apart."""
    own = settings.model_copy(update={"minimum_age": 14, "minor_pools": "on", "age_gate": "on"})
    async with running_container(own) as services:
        yield services


async def make_in(services: Container, age: int | None = None) -> Learner:
    """Make a learner of a container's deployment, on a device of their own."""
    learner = await new_device(client(app.create(services)), await register(client(app.create(services)), ready=False))
    if age is not None:
        assert (await set_age(learner, age)).status_code == 200
    return learner


async def test_birth_date_becomes_a_band(make_on_own_device: MakeAdult, container: Container) -> None:
    learner = await make_on_own_device()
    assert (await learner.http.get("/users/me")).json()["ageBand"] is None
    answer = await set_age(learner, 30)
    assert (answer.status_code, answer.json()["ageBand"]) == (200, "18_plus")
    assert await value(container, "SELECT age_source FROM users WHERE id = :key", key=learner.id) == "declared"
    export = (await learner.http.get("/users/me/export")).json()
    assert (export["age"]["ageBand"], export["age"]["source"]) == ("18_plus", "declared")


async def test_age_below_minimum_stays_refused_on_device(
    api: httpx.AsyncClient, make_on_own_device: MakeAdult, container: Container
) -> None:
    """Another date is refused too, for the account on any device, and for any account on the device."""
    learner = await make_on_own_device()
    refused = await set_age(learner, 15)
    assert (refused.status_code, refused.json()["code"]) == (403, "too_young")
    assert "18" not in refused.json()["detail"], "a hint at the age that passes"
    assert (await set_age(learner, 30)).json()["code"] == "too_young"
    device = await value(
        container,
        "SELECT device_id FROM refresh_tokens WHERE user_id = :key ORDER BY created_at DESC LIMIT 1",
        key=learner.id,
    )
    body = {**credentials(new_email(), device=device), "birthDate": birth_date(30)}
    registered = await api.post("/auth/register", json=body, headers={"X-Forwarded-For": address()})
    assert registered.json()["code"] == "too_young"
    await new_device(api, learner)
    assert (await set_age(learner, 30)).json()["code"] == "too_young"


async def test_refused_device_is_refused_to_each_account(
    api: httpx.AsyncClient, make_learner: MakeLearner, container: Container
) -> None:
    """Also to one that logs in there later, to one without a date at first, and with the id in other letters."""
    device, headers = f"{uuid.uuid4()}-a".upper(), {"X-Forwarded-For": address()}

    async def log_in(learner: Learner, device_id: str) -> None:
        body = credentials(learner.email, device=device_id)
        answer = await api.post("/auth/login", json=body, headers={"X-Forwarded-For": address()})
        learner.http.headers.update(bearer(answer.json()["accessToken"]))

    child, other = await make_learner(ready=False), await make_learner(ready=False)
    await log_in(child, device)
    assert (await set_age(child, 12)).json()["code"] == "too_young"
    for each in (device, device.lower()):
        await log_in(other, each)
        assert (await set_age(other, 30)).json()["code"] == "too_young"
        by_platform = await other.http.put("/users/me/age", json={"ageBand": "18_plus", "source": "google"})
        assert by_platform.json()["code"] == "too_young"
        body = credentials(new_email(), device=each)
        dated = await api.post("/auth/register", json={**body, "birthDate": birth_date(30)}, headers=headers)
        assert dated.json()["code"] == "too_young"
        undated = await api.post("/auth/register", json=body, headers=headers)
        mine = bearer(undated.json()["accessToken"])
        late = await api.put("/users/me/age", json={"birthDate": birth_date(30)}, headers=mine)
        assert late.json()["code"] == "too_young"
    nameless = {key: value for key, value in credentials(new_email()).items() if key != "deviceId"}
    for path in ("/auth/register", "/auth/login"):
        answer = await api.post(path, json=nameless, headers={"X-Forwarded-For": address()})
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid"), path
    # The device is what is refused here: elsewhere the account has an age, and there after a day.
    await log_in(other, uuid.uuid4().hex)
    assert (await set_age(other, 30)).json()["ageBand"] == "18_plus"
    over = "UPDATE age_refusals SET expires_at = now() WHERE id = :id RETURNING id"
    assert await value(container, over, id=hash_device(device.lower()))
    assert (await api.put("/users/me/age", json={"birthDate": birth_date(30)}, headers=mine)).status_code == 200


async def test_register_below_minimum_makes_no_account(api: httpx.AsyncClient, container: Container) -> None:
    email, device = new_email(), uuid.uuid4().hex
    body = {**credentials(email, device=device), "birthDate": birth_date(11)}
    refused = await api.post("/auth/register", json=body, headers={"X-Forwarded-For": address()})
    assert (refused.status_code, refused.json()["code"]) == (403, "too_young")
    assert await value(container, "SELECT count(*) FROM users WHERE email_canonical = :key", key=email) == 0
    again = await api.post("/auth/register", json={**body, "birthDate": birth_date(40)})
    assert again.json()["code"] == "too_young"


async def test_register_takes_age_and_consents(api: httpx.AsyncClient, container: Container) -> None:
    consents = [{"document": each.name, "version": each.version} for each in container.policies.values()]
    body = {**credentials(new_email(), device=uuid.uuid4().hex), "birthDate": birth_date(20), "consents": consents}
    made = await api.post("/auth/register", json=body, headers={"X-Forwarded-For": address()})
    assert made.status_code == 201, made.text
    me = await api.get("/users/me", headers=bearer(made.json()["accessToken"]))
    assert me.json()["ageBand"] == "18_plus"
    found = (await api.get("/users/me/consents", headers=bearer(made.json()["accessToken"]))).json()["items"]
    assert [each["acceptedVersion"] for each in found] == [each["version"] for each in found]
    old = {**body, "email": new_email(), "consents": [{"document": "terms", "version": "old"}]}
    assert (await api.post("/auth/register", json=old)).json()["code"] == "request_invalid"


@pytest.mark.parametrize(
    "body",
    [
        {"birthDate": "2001-02-30"},
        {"birthDate": "1850-01-01"},
        {"birthDate": "2999-01-01"},
        {"ageBand": "18_plus"},
        {"source": "apple"},
        {"birthDate": "2001-02-03", "ageBand": "18_plus", "source": "apple"},
    ],
)
async def test_impossible_age_is_invalid(make_on_own_device: MakeAdult, body: dict[str, str]) -> None:
    answer = await (await make_on_own_device()).http.put("/users/me/age", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert not any(sent in answer.text for sent in body.values() if sent.startswith(("1", "2"))), "repeats the date"


async def test_older_band_needs_time_or_a_platform(minors_allowed: Container, settings: Settings) -> None:
    """A younger band counts at once; an older one after a day at least, two years from 13_15 to adults."""
    learner = await make_in(minors_allowed, 16)
    assert (await set_age(learner, 18)).json()["code"] == "too_young"
    assert (await set_age(learner, 15)).json()["ageBand"] == "13_15"
    _declared_days_ago(settings, learner, 2)
    assert (await set_age(learner, 19)).json()["code"] == "too_young"
    assert (await set_age(learner, 16)).json()["ageBand"] == "16_17"
    by_platform = {"ageBand": "18_plus", "source": "google"}
    assert (await learner.http.put("/users/me/age", json=by_platform)).json()["ageBand"] == "18_plus"
    assert (await set_age(learner, 17)).json()["ageBand"] == "16_17"


async def test_platform_age_is_not_raised_by_a_date(minors_allowed: Container, settings: Settings) -> None:
    learner = await make_in(minors_allowed)
    body = {"ageBand": "16_17", "source": "apple"}
    assert (await learner.http.put("/users/me/age", json=body)).json()["ageBand"] == "16_17"
    _declared_days_ago(settings, learner, 700)
    assert (await set_age(learner, 20)).json()["code"] == "too_young"


async def test_band_around_the_minimum_needs_a_date(minors_allowed: Container) -> None:
    learner = await make_in(minors_allowed)
    answer = await learner.http.put("/users/me/age", json={"ageBand": "13_15", "source": "google"})
    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert (await set_age(learner, 13)).json()["code"] == "too_young"
    me = (await learner.http.get("/users/me")).json()
    assert (me["ageBand"], me["missing"][0]) == (None, "age_required")


def _declared_days_ago(settings: Settings, learner: Learner, days: int) -> None:
    statement = "UPDATE users SET age_declared_at = now() - make_interval(days => %s) WHERE id = %s"
    execute(settings, statement, days, learner.id)


async def test_operator_ends_a_refusal(make_on_own_device: MakeAdult, container: Container) -> None:
    learner = await make_on_own_device()
    await set_age(learner, 12)
    await container.ages.set_for_user(learner.email, AgeBand.ADULT)
    assert (await learner.http.get("/users/me")).json()["ageBand"] == "18_plus"
    assert (await set_age(learner, 30)).status_code == 200
    entry = "SELECT detail->>'after' FROM audit_log WHERE action = 'user.age' AND subject_id = :key"
    assert await value(container, entry, key=learner.id) == "18_plus"


async def test_account_of_a_child_is_erased_and_deleted(
    minors_allowed: Container, container: Container, settings: Settings
) -> None:
    """At once what others see, the account after a day; an age corrected by then keeps it."""
    child, corrected = await make_in(minors_allowed, 20), await make_in(minors_allowed, 20)
    for learner in (child, corrected):
        profile = {"username": learner.username, "bio": "I like boats.", "englishLevel": "beginner"}
        assert (await learner.http.patch("/users/me", json=profile)).status_code == 200
        assert (await set_age(learner, 12)).json()["code"] == "too_young"
        me = (await learner.http.get("/users/me")).json()
        assert (me["ageBand"], me["username"], me["bio"]) == ("under_13", None, None)
    await minors_allowed.ages.set_for_user(corrected.email, AgeBand.ADULT)
    due = "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE task_name = 'ages.delete_account'"
    execute(settings, due)
    await run_jobs(minors_allowed)
    assert await value(container, "SELECT deleted_at IS NOT NULL FROM users WHERE id = :key", key=child.id)
    assert await value(container, "SELECT age_band IS NULL FROM users WHERE id = :key", key=child.id)
    assert not await value(container, "SELECT deleted_at IS NOT NULL FROM users WHERE id = :key", key=corrected.id)


async def test_minors_without_pools_keep_their_account(settings: Settings) -> None:
    own = settings.model_copy(update={"minimum_age": 13, "age_gate": "on"})
    async with running_container(own) as services:
        learner = await make_in(services, 15)
        verify_address(settings, learner)
        me = (await learner.http.get("/users/me")).json()
        assert (me["ageBand"], me["missing"]) == ("13_15", ["too_young", "profile_incomplete"])
        refused = await learner.http.patch("/users/me", json={"username": learner.username})
        assert (refused.status_code, refused.json()["code"]) == (403, "too_young")
        assert (await learner.http.get("/courses")).status_code == 200
        assert (await learner.http.patch("/users/me", json={"timezone": "Europe/Berlin"})).status_code == 200
