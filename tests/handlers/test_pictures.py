"""Screened pictures, over a real HTTP service, and pictures that others do not see."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiohttp import web
from PIL import Image
from pydantic import SecretStr

import app
from container import Container
from services.calls.outcomes import Match
from settings import Settings
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.containers import running_container
from testing.databases import query, rows
from testing.pictures import keys, picture, upload
from testing.ports import free_port
from testing.reports import make_reporter
from testing.servers import Learner, client, http_client, register

AVATAR = "/users/me/avatar"


@dataclass
class Screen:
    """A service that screens pictures: what it answers, and what it was sent."""

    url: str
    status: int = 200
    body: str = '{"verdict": "allow"}'
    #: Whether it never answers.
    hangs: bool = False
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.received.append((dict(request.headers), await request.read()))
        if self.hangs:
            await self.ended.wait()
        headers = {"Location": f"{self.url}/elsewhere"} if self.status == 302 else {}
        return web.Response(status=self.status, text=self.body, content_type="application/json", headers=headers)


@pytest.fixture(scope="module")
async def running_screen() -> AsyncIterator[Screen]:
    made = Screen(f"http://127.0.0.1:{free_port()}")
    application = web.Application()
    application.router.add_post("/screen", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(made.url.rpartition(":")[2])).start()
    yield made
    made.ended.set()
    await runner.cleanup()


@pytest.fixture
def screen(running_screen: Screen) -> Screen:
    running_screen.status, running_screen.body, running_screen.hangs = 200, '{"verdict": "allow"}', False
    running_screen.received.clear()
    return running_screen


@pytest.fixture(scope="module")
async def screened(settings: Settings, running_screen: Screen) -> AsyncIterator[Container]:
    changes = {
        "image_screen_url": f"{running_screen.url}/screen",
        "image_screen_token": SecretStr("token-of-the-screen"),
    }
    async with running_container(settings.model_copy(update=changes)) as services:
        yield services


@pytest.fixture(scope="module")
async def screened_app(screened: Container) -> Any:
    return app.create(screened)


@pytest.fixture
async def http(screened_app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client(screened_app) as each:
        yield each


@pytest.fixture
async def ada(http: httpx.AsyncClient) -> Learner:
    return await register(http)


async def see(learner: Learner, other: Learner) -> str | None:
    """Return the picture's address that another learner sees."""
    url: str | None = (await other.http.get(f"/users/{learner.id}/public")).json()["avatarUrl"]
    return url


async def test_allowed_picture_is_shown(screen: Screen, ada: Learner, make_learner: MakeLearner) -> None:
    answer = await ada.http.post(AVATAR, **upload(picture("JPEG")))
    assert answer.status_code == 200 and answer.json()["isUnderReview"] is False
    assert await see(ada, await make_learner()) == answer.json()["avatarUrl"]
    [(headers, sent)] = screen.received
    assert headers["Content-Type"] == "image/webp" and headers["Authorization"] == "Bearer token-of-the-screen"
    assert Image.open(io.BytesIO(sent)).size == (400, 400)


async def test_refused_picture_leaves_the_earlier_one(settings: Settings, screen: Screen, ada: Learner) -> None:
    old = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    screen.body = '{"verdict": "refuse", "labels": ["nudity"]}'
    answer = await ada.http.post(AVATAR, **upload(picture()))
    assert (answer.status_code, answer.json()["code"]) == (400, "picture_refused")
    assert "nudity" not in answer.text
    assert (await ada.http.get("/users/me")).json()["avatarUrl"] == old
    assert len(await keys(settings, f"avatars/{ada.id}/")) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"verdict": "review"}'),
        (500, '{"verdict": "allow"}'),
        (401, "{}"),
        (302, '{"verdict": "allow"}'),
        (200, "not JSON"),
        (200, '["allow"]'),
        (200, '{"verdict": "maybe"}'),
        (200, '{"verdict": ["allow"]}'),
    ],
)
async def test_undecided_picture_waits_for_review(
    screened: Container, screen: Screen, ada: Learner, make_learner: MakeLearner, status: int, body: str
) -> None:
    screen.status, screen.body = status, body
    answer = await ada.http.post(AVATAR, **upload(picture()))
    assert answer.status_code == 200 and answer.json()["isUnderReview"] is True
    url = answer.json()["avatarUrl"]
    assert (await ada.http.get("/users/me")).json()["avatarUrl"] == url
    assert await see(ada, await make_learner()) is None
    assert await screened.pictures.find_owner(url) == uuid.UUID(ada.id)


async def test_silent_screen_holds_no_connection(screen: Screen, ada: Learner) -> None:
    """The profile's row is not locked while the screen is asked: other changes of the same account go on."""
    screen.hangs = True
    uploading = asyncio.create_task(ada.http.post(AVATAR, **upload(picture())))
    while not screen.received:
        await asyncio.sleep(0)
    assert (await ada.http.patch("/users/me", json={"bio": "Meanwhile."})).status_code == 200
    assert not uploading.done()
    answer = await uploading
    assert answer.status_code == 200 and answer.json()["isUnderReview"] is True


async def test_absent_screen_holds_the_picture(settings: Settings) -> None:
    gone = settings.model_copy(update={"image_screen_url": f"http://127.0.0.1:{free_port()}/screen"})
    async with running_container(gone) as services, client(app.create(services)) as http:
        ada = await register(http)
        answer = await ada.http.post(AVATAR, **upload(picture()))
        assert answer.status_code == 200 and answer.json()["isUnderReview"] is True


async def test_each_held_picture_alerts_staff(
    screened: Container, screened_app: Any, screen: Screen, ada: Learner
) -> None:
    screen.body = '{"verdict": "review"}'
    async with client(screened_app) as desk:
        admin = await make_admin(screened, desk)
        for _ in range(2):
            assert (await ada.http.post(AVATAR, **upload(picture()))).json()["isUnderReview"] is True
        alerts = await rows(
            screened, "SELECT data FROM notifications WHERE user_id = :u AND data->>'userId' = :a", u=admin.id, a=ada.id
        )
        assert len(alerts) == 2


async def test_held_picture_needs_an_address(container: Container, make_learner: MakeLearner) -> None:
    ada = await make_learner()
    with pytest.raises(Exception, match="profiles_held_avatar_check"):
        await query(container, "UPDATE profiles SET avatar_held_at = now() WHERE user_id = :u", u=ada.id)


# --- Pictures of learners with open reports ------------------------------------------------------------


async def report(container: Container, reported: Learner, by: Learner, reason: str = "inappropriate") -> str:
    session = await add_call(container, reported, by)
    body = {"reportedId": reported.id, "sessionId": session, "reason": reason}
    return str((await by.http.post("/reports", json=body)).json()["id"])


async def find_card(container: Container, learner: Learner, other: Learner) -> str | None:
    """Return the picture of `learner` in the match that `other` makes with them."""
    sockets = [f"{container.bus.process_id}.{uuid.uuid4().hex}" for _ in range(2)]
    topic = uuid.uuid4().hex
    for socket in sockets:
        container.matchmaking.connect(socket)
    await container.matchmaking.find_partner(learner.id, sockets[0], level="all", topic=topic)
    match: Any = await container.matchmaking.find_partner(other.id, sockets[1], level="all", topic=topic)
    assert isinstance(match, Match)
    card = next(each for each in (match.waiting, match.seeker) if each.user_id == learner.id)
    await container.matchmaking.cancel_search(other.id, sockets[1])
    # The other waits again.
    await container.matchmaking.cancel_search(learner.id, sockets[0])
    return card.avatar_url


async def test_reports_hide_the_picture_from_others(container: Container, make_learner: MakeLearner) -> None:
    ada, dan = [await make_learner() for _ in range(2)]
    bob, cyd = [await make_reporter(container, make_learner) for _ in range(2)]
    url = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    session = await add_call(container, ada, dan)

    async def views() -> list[str | None]:
        called = (await dan.http.get(f"/sessions/{session}")).json()["partner"]["avatarUrl"]
        listed = (await dan.http.get("/sessions")).json()["items"][0]["partner"]["avatarUrl"]
        return [await see(ada, dan), called, listed]

    assert await views() == [url] * 3
    first = await report(container, ada, bob)
    # One report, or others of another kind, hide nothing.
    await report(container, ada, await make_learner(), "spam")
    assert await views() == [url] * 3
    await report(container, ada, cyd)
    assert await views() == [None] * 3
    assert (await ada.http.get("/users/me")).json()["avatarUrl"] == url
    await query(container, "UPDATE reports SET status = 'dismissed' WHERE id = :i", i=first)
    assert await views() == [url] * 3


async def test_reporters_who_count_once_hide_no_picture(container: Container, make_learner: MakeLearner) -> None:
    """Two new accounts of one day are one, as for flags; the heavier of their reports counts."""
    ada, dan, *colluders = [await make_learner() for _ in range(4)]
    url = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    made = [await report(container, ada, each) for each in colluders]
    assert await see(ada, dan) == url
    weights = "SELECT sum(weight), sum(picture_weight) FROM reports WHERE id = ANY(:i)"
    assert tuple((await rows(container, weights, i=made))[0]) == pytest.approx((1.6, 0.8))
    other = await report(container, ada, await make_reporter(container, make_learner), "minor_safety")
    assert await see(ada, dan) is None
    # Rows of the release before, which counted each.
    await query(container, "UPDATE reports SET status = 'dismissed' WHERE id = :i", i=other)
    await query(container, "UPDATE reports SET picture_weight = NULL WHERE reported_id = :u", u=ada.id)
    assert await see(ada, dan) is None
    await container.reports.weigh_again(ada.id)
    assert await see(ada, dan) == url


async def test_reports_hide_the_picture_from_partners(container: Container, make_learner: MakeLearner) -> None:
    ada = await make_learner()
    bob, cyd = [await make_reporter(container, make_learner) for _ in range(2)]
    url = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    assert await find_card(container, ada, await make_learner()) == url
    for each in (bob, cyd):
        await report(container, ada, each)
    assert await find_card(container, ada, await make_learner()) is None


async def test_hidden_picture_is_hidden_in_lists_of_blocks(container: Container, make_learner: MakeLearner) -> None:
    ada, dan = [await make_learner() for _ in range(2)]
    bob, cyd = [await make_reporter(container, make_learner) for _ in range(2)]
    url = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
    await container.blocks.block(dan.id, ada.id)
    assert [each["avatarUrl"] for each in (await dan.http.get("/users/me/blocks")).json()["items"]] == [url]
    for each in (bob, cyd):
        await report(container, ada, each)
    assert [each["avatarUrl"] for each in (await dan.http.get("/users/me/blocks")).json()["items"]] == [None]


async def test_weight_of_hidden_pictures_is_a_setting(settings: Settings, make_learner: MakeLearner) -> None:
    async with running_container(settings.model_copy(update={"picture_hide_weight": 0.5})) as strict:
        ada, bob = await make_learner(), await make_learner()
        url = (await ada.http.post(AVATAR, **upload(picture()))).json()["avatarUrl"]
        assert (await strict.profiles.read_public(ada.id)).avatar_url == url
        await report(strict, ada, bob)
        assert (await strict.profiles.read_public(ada.id)).avatar_url is None
        assert await see(ada, bob) == url  # by the other container, whose weight is 1.5
    async with http_client() as anybody:
        assert (await anybody.get(url)).status_code == 200
