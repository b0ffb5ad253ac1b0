"""Export of a user's data, and deletion of the account."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

import app
from adapters.storage import Storage
from container import Container
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.databases import rows, value
from testing.http_answers import count_statuses
from testing.pictures import keys, picture, run_jobs, upload
from testing.polling import eventually
from testing.servers import PASSWORD, Learner, Phone, address, client, register
from testing.time_limits import limit

MakePhone = Callable[..., Awaitable[Phone]]
GOODBYE = {"password": PASSWORD}


async def erase(learner: Learner, **body: Any) -> httpx.Response:
    return await learner.http.post("/users/me/deletion", json=body or GOODBYE)


async def traces(container: Container, *needles: str) -> list[str]:
    """Look for words in every column of every table that can hold text, also of tables that libraries made."""
    columns = await rows(
        container,
        "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables USING"
        " (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        " AND (data_type IN ('text', 'character varying', 'character', 'json', 'jsonb', 'ARRAY', 'USER-DEFINED'))",
    )
    assert {"users", "profiles", "procrastinate_jobs", "procrastinate_events"} <= {table for table, _ in columns}
    pattern = "|".join(re.escape(needle) for needle in needles)
    return [
        f"{table}.{column}"
        for table, column in columns
        if await value(container, f'SELECT count(*) FROM "{table}" WHERE "{column}"::text ~* :pattern', pattern=pattern)
    ]


async def redis_traces(container: Container, *needles: str) -> list[str]:
    """Look for words in every key and value of Redis; streams between workers live for a minute and are left out."""
    redis, found = container.redis, []
    async for each in redis.scan_iter(count=1000):
        key = str(each)
        match await redis.type(key):
            case "string":
                content: Any = await redis.get(key)
            case "hash":
                content = await redis.hgetall(key)
            case "set":
                content = list(await redis.smembers(key))
            case "zset":
                content = await redis.zrange(key, 0, -1)
            case "list":
                content = await redis.lrange(key, 0, -1)
            case kind:
                assert kind in ("stream", "none"), f"{key!r} is a {kind!r}"
                content = ""
        said = (str(key) + " " + json.dumps(content)).lower()
        found += [key for needle in needles if needle.lower() in said]
    return found


@pytest.fixture
async def lived(container: Container, make_learner: MakeLearner, api: httpx.AsyncClient) -> dict[str, Any]:
    """A learner who has left something everywhere, and the partner of their calls."""
    ada, bob = await make_learner(), await make_learner()
    name = uuid.uuid4().hex[:12]
    mine = {"displayName": f"Ada {name}", "bio": f"I collect bio{name}.", "timezone": "Asia/Tokyo", "country": "JP"}
    assert (await ada.http.patch("/users/me", json=mine)).status_code == 200
    await bob.http.patch("/users/me", json={"displayName": f"Bob {name}", "bio": f"bobtext{name}"})
    for spelling in (ada.email, ada.email.upper()):
        forgot = await api.post("/auth/forgot-password", json={"email": spelling})
        assert forgot.status_code == 202
    login = {"email": ada.email, "password": PASSWORD, "deviceId": f"device{name}", "platform": "android"}
    assert (await api.post("/auth/login", json=login)).status_code == 200
    assert (await ada.http.post("/users/me/avatar", **upload(picture()))).status_code == 200
    assert (await ada.http.post("/auth/resend-verification")).status_code == 202
    call = await add_call(container, ada, bob, topic="travel")
    await ada.http.post(f"/sessions/{call}/rate", json={"stars": 5})
    await bob.http.post(f"/sessions/{call}/rate", json={"stars": 3})
    report = {"reportedId": bob.id, "sessionId": call, "reason": "other", "description": f"I am Ada {name}."}
    assert (await ada.http.post("/reports", json=report)).status_code == 201
    await bob.http.post("/reports", json={"reportedId": ada.id, "reason": "spam", "description": f"private{name}"})
    await ada.http.put(f"/users/{bob.id}/block")
    await bob.http.put(f"/users/{ada.id}/block")
    needles = [ada.email, ada.username, f"Ada {name}", f"bio{name}", f"device{name}"]
    return {"ada": ada, "bob": bob, "call": call, "name": name, "needles": needles}


async def test_export_is_complete_and_names_others_by_id(
    container: Container, lived: dict[str, Any], make_learner: MakeLearner
) -> None:
    ada, bob, name = lived["ada"], lived["bob"], lived["name"]
    await add_call(container, bob, await make_learner())
    answer = await ada.http.get("/users/me/export")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="parlance.json"'
    export = answer.json()
    assert export["me"] == (await ada.http.get("/users/me")).json()
    assert {each["deviceId"] for each in export["logins"]} == {"phone", f"device{name}"}
    assert [(each["id"], each["partnerId"], each["topic"]) for each in export["calls"]] == [
        (lived["call"], bob.id, "travel")
    ]
    assert [(each["sessionId"], each["ratedId"], each["stars"]) for each in export["ratings"]] == [
        (lived["call"], bob.id, 5)
    ]
    assert export["reports"] == (await ada.http.get("/reports/mine")).json()["items"]
    assert [each["userId"] for each in export["blocks"]] == [bob.id]
    for secret in (bob.email, bob.username, f"Bob {name}", f"bobtext{name}", f"private{name}", "$2b$", "tokenHash"):
        assert secret not in answer.text
    assert bob.id in answer.text


async def test_account_deletion_needs_the_password(lived: dict[str, Any]) -> None:
    ada = lived["ada"]
    wrong = await erase(ada, password="not the password")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_credentials")
    assert (await ada.http.post("/users/me/deletion")).status_code == 400
    assert (await erase(ada, password="")).status_code == 400
    assert (await ada.http.get("/users/me")).json()["bio"]


async def test_deleted_account_leaves_no_trace(
    container: Container, settings: Settings, lived: dict[str, Any], api: httpx.AsyncClient
) -> None:
    ada, bob, needles = lived["ada"], lived["bob"], lived["needles"]
    # What is looked for is there before, else its absence would prove nothing.
    before = set(await traces(container, *needles))
    assert {"users.email", "profiles.username", "profiles.bio", "refresh_tokens.device_id"} <= before
    assert {"procrastinate_jobs.args", "reports.description"} <= before
    (avatar,) = await keys(settings, f"avatars/{ada.id}/")
    assert (await erase(ada)).status_code == 204

    assert await traces(container, *needles) == []
    assert await redis_traces(container, *needles) == []
    mails = await run_jobs(settings)
    assert ada.email not in {mail.to for mail in mails}
    assert await keys(settings, f"avatars/{ada.id}/") == [], f"{avatar} is still there"
    assert not [key for key in await keys(settings) if any(needle.lower() in key.lower() for needle in needles)]
    assert await traces(container, *needles) == [], "a job wrote it again"

    assert (await ada.http.get("/users/me")).status_code == 401
    login = {"email": ada.email, "password": PASSWORD, "deviceId": "phone", "platform": "ios"}
    refused = await api.post("/auth/login", json=login)
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_credentials")
    empty = {**login, "email": f"{ada.id}@deleted.invalid"}
    assert (await api.post("/auth/login", json=empty)).status_code == 401
    assert (await api.post("/auth/refresh", json={"refreshToken": ada.refresh_token})).status_code == 401
    assert (await bob.http.get(f"/users/{ada.id}/public")).status_code == 404
    assert (await bob.http.put(f"/users/{ada.id}/block")).status_code == 404
    assert (await bob.http.get("/users/me/blocks")).json()["items"] == []

    # What belongs to the partner too stays.
    (call,) = (await bob.http.get("/sessions")).json()["items"]
    assert call["id"] == lived["call"] and call["myRating"] == 3
    assert call["partner"] == {"userId": ada.id, "displayName": "Former learner", "avatarUrl": None, "level": None}
    ratings = "SELECT count(*) FROM session_ratings WHERE session_id = :s"
    assert await value(container, ratings, s=lived["call"]) == 2
    assert (await bob.http.get("/reports/mine")).json()["items"][0]["reportedId"] == ada.id


async def test_deleted_email_and_username_are_free_again(
    lived: dict[str, Any], api: httpx.AsyncClient, make_learner: MakeLearner
) -> None:
    ada = lived["ada"]
    assert (await erase(ada)).status_code == 204
    body = {"email": ada.email, "password": "another password", "deviceId": "phone", "platform": "ios"}
    again = await api.post("/auth/register", json=body, headers={"X-Forwarded-For": address()})
    assert again.status_code == 201 and again.json()["user"]["id"] != ada.id
    bearer = {"Authorization": f"Bearer {again.json()['accessToken']}"}
    assert (await api.patch("/users/me", json={"username": ada.username}, headers=bearer)).status_code == 200
    assert (await api.get("/sessions", headers=bearer)).json()["items"] == []


async def test_administrator_cannot_delete_their_account(container: Container, make_learner: MakeLearner) -> None:
    admin = await make_admin(container, (await make_learner(ready=False)).http)
    answer = await erase(admin)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await admin.http.get("/admin/reports")).status_code == 200


async def test_writes_during_account_deletion_are_deleted(container: Container, make_learner: MakeLearner) -> None:
    for _ in range(12):
        ada = await make_learner(ready=False)
        word = f"late{uuid.uuid4().hex[:12]}"
        edits = [ada.http.patch("/users/me", json={"bio": f"{word} {number}"}) for number in range(6)]
        answers = await asyncio.gather(*edits[:3], erase(ada), *edits[3:])
        assert answers[3].status_code == 204
        assert {answer.status_code for answer in answers[:3] + answers[4:]} <= {200, 401}
        assert await value(container, "SELECT count(*) FROM profiles WHERE bio LIKE :w", w=f"{word}%") == 0


class HeldStorage(Storage):
    """Storage that stores a picture when the test says so."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        self.reached.set()
        await self.released.wait()
        await super().put(key, data, content_type)


async def test_avatar_stored_during_account_deletion_is_deleted(settings: Settings) -> None:
    storage = HeldStorage(settings)
    services = Container(settings, storage=storage)
    async with services.lifespan(None), client(app.create(services)) as http:
        ada = await register(http, ready=False)
        uploading = asyncio.create_task(http.post("/users/me/avatar", **upload(picture())))
        await asyncio.wait_for(storage.reached.wait(), limit(10))
        assert (await erase(ada)).status_code == 204
        storage.released.set()
        assert (await uploading).status_code == 401
        await run_jobs(settings)
        assert await value(services, "SELECT avatar_url FROM profiles WHERE user_id = :i", i=ada.id) is None
        assert await keys(settings, f"avatars/{ada.id}/") == []


async def test_concurrent_account_deletions_are_one(make_learner: MakeLearner) -> None:
    ada = await make_learner()
    answers = await asyncio.gather(*(erase(ada) for _ in range(4)))
    assert count_statuses(answers) == {204: 1, 401: 3}


async def test_deleted_account_leaves_the_queue(make_phone: MakePhone, container: Container) -> None:
    ada = await make_phone()
    await ada.send("find_partner", {"topic": f"goodbye {ada.learner.username}"})
    await ada.wait_for("searching")
    assert (await erase(ada.learner)).status_code == 204

    async def gone() -> bool:
        return not ada.client.connected and not await container.redis.exists(f"{{match}}:searching:{ada.learner.id}")

    await eventually(gone, "socket and search are gone", within=2)
    assert await redis_traces(container, ada.learner.username, ada.learner.email) == []


async def test_deleted_account_leaves_its_call(make_phone: MakePhone, container: Container) -> None:
    ada = await make_phone()
    bob = await make_phone(apart_from=ada)
    topic = f"goodbye {ada.learner.email[:8]}"
    for phone in (ada, bob):
        await phone.send("find_partner", {"topic": topic})
    room = {"roomId": (await ada.wait_for("match_found"))["roomId"]}
    await bob.wait_for("match_found")
    for phone in (ada, bob):
        await phone.send("join_room", room)
    await bob.wait_for("peer_joined")
    assert (await erase(ada.learner)).status_code == 204
    assert await bob.wait_for("peer_left", within=2) == {"reason": "disconnected"}
    assert bob.client.connected
    (call,) = (await bob.learner.http.get("/sessions")).json()["items"]
    assert call["endedBy"] == "partner" and call["partner"]["displayName"] == "Former learner"
    counted = "SELECT total_sessions FROM profiles WHERE user_id = :i"
    assert await value(container, counted, i=bob.learner.id) == 1
    assert await value(container, counted, i=ada.learner.id) == 0
    assert await redis_traces(container, ada.learner.username, ada.learner.email) == []
