"""Who may do what: every operation of openapi.yaml, walked as everybody who could try.

The table below says what each operation answers its owner, and a stranger who names somebody else's row. An operation
that is not in it fails the test: whoever adds one decides here who may.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest

from container import Container
from contract import operations, schemas
from testing.accounts import make_admin
from testing.call_history import MakeLearner, add_call
from testing.payments import add_course, completed, deliver
from testing.pictures import picture, upload
from testing.polling import eventually
from testing.raw_websockets import dial_bare
from testing.servers import PASSWORD, Learner, Server, address, client

OPERATIONS = operations.definitions(schemas.load(schemas.OPENAPI))
NOBODY = "7f8de2c4-6c0b-4b58-9a83-0a1c4c6ad1f0"


class Case(NamedTuple):
    """`owner` is the status for who may. `stranger` is that for another learner; None where no row is somebody's."""

    owner: int
    stranger: int | None = None
    body: dict[str, Any] | None = None
    #: Arguments of the request beside the body.
    more: dict[str, Any] | None = None


TUS = {"Tus-Resumable": "1.0.0"}


def bytes_of(content_type: str, **headers: str) -> dict[str, Any]:
    """The arguments of a request that sends what begins as a video does."""
    return {"content": b"\0\0\0\x14ftypisom\0\0\0\0isom", "headers": {"Content-Type": content_type, **headers}}


#: Operations that anybody may call, with a token or without one.
OPEN = {
    "handlers.health.health",
    "handlers.health.ready",
    "handlers.metrics.read",
    "handlers.auth.jwks",
    "handlers.auth.register",
    "handlers.auth.login",
    "handlers.auth.refresh",
    "handlers.auth.forgot_password",
    "handlers.auth.reset_password",
    "handlers.auth.verify_email",
    # Providers have no account here; their signature is checked instead.
    "handlers.payments.webhook",
    # Players send no headers; the token in the address is for this lesson alone.
    "handlers.lessons.playlist",
    # What the server offers is no secret, and clients ask before they sign in.
    "handlers.lessons.describe_uploads",
    "handlers.lessons.describe_upload",
}
#: Operations on oneself or on one's own rows. {placeholders} are filled in from the world below.
LEARNERS: dict[str, Case] = {
    "handlers.auth.logout": Case(204),
    "handlers.auth.logout_all": Case(204),
    "handlers.auth.resend_verification": Case(202),
    "handlers.auth.list_devices": Case(200),
    "handlers.auth.end_device": Case(204, 404),
    "handlers.users.me": Case(200),
    "handlers.users.update_me": Case(200, body={"bio": "Hello."}),
    "handlers.users.delete_me": Case(401, body={"password": "not the password"}),
    "handlers.users.export_me": Case(200),
    "handlers.users.set_avatar": Case(200, more=upload(picture())),
    "handlers.users.remove_avatar": Case(204),
    "handlers.users.list_blocks": Case(200),
    "handlers.users.public": Case(200),
    "handlers.users.block": Case(204),
    "handlers.users.unblock": Case(204, 404),
    "handlers.sessions.list_mine": Case(200),
    "handlers.sessions.read": Case(200, 404),
    "handlers.sessions.rate": Case(201, 404, body={"stars": 4}),
    "handlers.reports.create": Case(201, 404, body={"reportedId": "{userId}", "reason": "spam"}),
    "handlers.reports.list_mine": Case(200),
    "handlers.payments.create_checkout_session": Case(201, body={"courseId": "{courseId}"}),
    "handlers.payments.list_orders": Case(200),
    "handlers.payments.read_order": Case(200, 404),
    "handlers.notifications.list_mine": Case(200),
    "handlers.notifications.register_device": Case(
        204, body={"fcmToken": "a-token", "deviceId": "phone", "platform": "ios"}
    ),
    "handlers.notifications.forget_device": Case(204, body={"deviceId": "phone"}),
    "handlers.notifications.mark_all_read": Case(200),
    "handlers.notifications.mark_read": Case(200, 404),
    "handlers.courses.list_all": Case(200),
    "handlers.courses.read": Case(200),
    "handlers.courses.enroll": Case(201),
    "handlers.courses.list_lessons": Case(200),
    "handlers.lessons.read": Case(200),
    "handlers.lessons.set_progress": Case(200, 403, body={"watchSeconds": 5}),
    "handlers.lessons.complete": Case(200, 403),
    "handlers.lessons.list_attachments": Case(200, 403),
    "handlers.lessons.video_url": Case(409, 403),
    "handlers.my.courses": Case(200),
    "handlers.my.progress": Case(200),
}
#: Operations for administrators; every learner is a stranger to them.
ADMINS: dict[str, Case] = {
    "handlers.admin.stats": Case(200, 403),
    "handlers.admin.list_users": Case(200, 403),
    "handlers.admin.read_user": Case(200, 403),
    "handlers.admin.list_reports": Case(200, 403),
    "handlers.admin.review_report": Case(200, 403, body={"status": "reviewed"}),
    "handlers.admin.ban_user": Case(204, 403, body={"reason": "Spam."}),
    "handlers.admin.unban_user": Case(204, 403),
    "handlers.admin.list_orders": Case(200, 403),
    "handlers.admin.refund_order": Case(201, 403, body={"amount": 100}),
    "handlers.admin.list_audit": Case(200, 403),
    "handlers.courses.create": Case(201, 403, body={"title": "Idioms", "price": 0, "level": "beginner"}),
    "handlers.courses.update": Case(200, 403, body={"title": "Idioms"}),
    "handlers.courses.remove": Case(204, 403),
    "handlers.courses.set_thumbnail": Case(200, 403, more=upload(picture())),
    "handlers.courses.add_lesson": Case(201, 403, body={"title": "Idioms"}),
    "handlers.courses.reorder_lessons": Case(200, 403, body={"lessonIds": []}),
    "handlers.lessons.update": Case(200, 403, body={"title": "Idioms"}),
    "handlers.lessons.remove": Case(204, 403),
    "handlers.lessons.add_attachment": Case(201, 403, more=upload(b"words", "words.txt")),
    "handlers.lessons.remove_attachment": Case(204, 403),
    "handlers.lessons.set_video": Case(202, 403, more=bytes_of("video/mp4")),
    "handlers.lessons.begin_upload": Case(201, 403, more={"headers": {**TUS, "Upload-Length": "20"}}),
    "handlers.lessons.read_upload": Case(200, 403, more={"headers": TUS}),
    "handlers.lessons.continue_upload": Case(
        204, 403, more=bytes_of("application/offset+octet-stream", **TUS, **{"Upload-Offset": "0"})
    ),
    "handlers.lessons.end_upload": Case(204, 403, more={"headers": TUS}),
}
#: Of the learners' operations, those whose token may be left out, and what they answer then. A bad one is refused.
PUBLIC = {"handlers.courses.list_all": 200, "handlers.courses.read": 200, "handlers.courses.list_lessons": 200}
#: Paths whose row belongs to nobody, so that only a missing one is a 404.
SHARED = {
    "handlers.users.public",
    "handlers.users.block",
    "handlers.courses.read",
    "handlers.courses.enroll",
    "handlers.courses.list_lessons",
    "handlers.lessons.read",
    "handlers.my.progress",
}
#: Nobody's rows, but closed to who is not enrolled: there is a difference to be seen, and an administrator sees all.
ENROLLED = {
    "handlers.lessons.set_progress",
    "handlers.lessons.complete",
    "handlers.lessons.list_attachments",
    "handlers.lessons.video_url",
}
SECURED = {**LEARNERS, **ADMINS}


@dataclasses.dataclass
class World:
    """Ada, who owns the rows, and bob, whom they are about; a stranger, an administrator, and one who was banned."""

    ada: Learner
    bob: Learner
    stranger: Learner
    admin: Learner
    banned: Learner
    ids: dict[str, str]

    async def ask(
        self, http: httpx.AsyncClient, operation_id: str, ids: dict[str, str], *, as_is: bool = False
    ) -> httpx.Response:
        """Call an operation with the ids filled in; `as_is` without its body."""
        operation, case = OPERATIONS[operation_id], SECURED[operation_id]
        body = {
            name: value.format(**ids) if isinstance(value, str) else value for name, value in (case.body or {}).items()
        }
        more: dict[str, Any] = {} if as_is else dict(case.more or {})
        if body and not as_is:
            more["json"] = body
        return await http.request(operation["method"], operation["path"].format(**ids), **more)


def told(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a problem; to HEAD nothing else than the status is said."""
    codes = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}
    asked = answer.request.method
    return answer.status_code, codes[answer.status_code] if asked == "HEAD" else answer.json()["code"]


@pytest.fixture
async def world(container: Container, make_learner: MakeLearner) -> World:
    ada, bob, stranger, banned = [await make_learner() for _ in range(4)]
    admin = await make_admin(container, (await make_learner(ready=False)).http)
    session = await add_call(container, ada, bob)
    await ada.http.put(f"/users/{bob.id}/block")
    other = await add_call(container, ada, bob)
    made = await ada.http.post("/reports", json={"reportedId": bob.id, "sessionId": other, "reason": "spam"})
    device = f"tablet-{uuid.uuid4().hex[:12]}"
    login = {"email": ada.email, "password": "correct horse battery", "deviceId": device, "platform": "ios"}
    assert (await ada.http.post("/auth/login", json=login)).status_code == 200
    await container.bans.ban(admin.id, banned.id, "Spam.")
    course = await add_course(container)
    order = await container.checkout.start(ada.id, await add_course(container))
    await deliver(container, completed(order))
    (notification,) = (await ada.http.get("/notifications")).json()["items"]
    taken = await container.lessons.add(admin.id, str(order.course_id), {"title": "Where we begin"})
    file = await container.lessons.attach(admin.id, str(taken.id), "words.txt", b"words")
    ids = {
        "userId": bob.id,
        "notificationId": notification["id"],
        "courseId": course,
        "orderId": str(order.id),
        "sessionId": session,
        "lessonId": str(taken.id),
        "uploadId": str((await container.uploads.create(admin.id, str(taken.id), 20)).id),
        "attachmentId": str(file.attachment.id),
        "reportId": made.json()["id"],
        "deviceId": device,
    }
    return World(ada, bob, stranger, admin, banned, ids)


@pytest.fixture
async def anonymous(asgi: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client(asgi) as http:
        yield http


def test_every_operation_is_in_the_table() -> None:
    assert OPEN | LEARNERS.keys() | ADMINS.keys() == OPERATIONS.keys(), "decide who may call it"
    for operation_id, operation in OPERATIONS.items():
        needed: list[dict[str, list[str]]] = (
            [] if operation_id in OPEN else [{"bearer" if operation_id in LEARNERS else "admin": []}]
        )
        if operation_id in PUBLIC:
            needed = [{}, *needed]
        assert operation.get("security", []) == needed, operation_id
        if "{" in operation["path"] and operation_id not in SHARED | OPEN:
            assert SECURED[operation_id].stranger is not None, f"{operation_id}: what does a stranger get?"


@pytest.mark.parametrize("operation_id", SECURED)
async def test_without_a_token_nothing_is_told(anonymous: httpx.AsyncClient, world: World, operation_id: str) -> None:
    tokens = (None, "Bearer", "Bearer nonsense", f"Basic {world.ada.access_token}", f"Bearer {world.ada.refresh_token}")
    for token in tokens:
        anonymous.headers = httpx.Headers({"Authorization": token} if token else {})
        for ids in (world.ids, dict.fromkeys(world.ids, NOBODY)):
            for as_is in (False, True):  # who may not ask does not learn how to ask
                answer = await world.ask(anonymous, operation_id, ids, as_is=as_is)
                if token is None and operation_id in PUBLIC:
                    there = ids is world.ids or "{" not in OPERATIONS[operation_id]["path"]
                    assert answer.status_code == (PUBLIC[operation_id] if there else 404), answer.text
                else:
                    assert told(answer) == (401, "unauthenticated"), token
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("operation_id", SECURED)
async def test_the_banned_are_out_whatever_they_ask(world: World, operation_id: str) -> None:
    answer = await world.ask(world.banned.http, operation_id, world.ids)
    assert told(answer) == (401, "unauthenticated")


@pytest.mark.parametrize("operation_id", SECURED)
async def test_who_may_may_and_nobody_else(world: World, operation_id: str) -> None:
    case = SECURED[operation_id]
    owner = world.admin if operation_id in ADMINS else world.ada
    missing = dict.fromkeys(world.ids, NOBODY)
    if case.stranger is not None:
        theirs = await world.ask(world.stranger.http, operation_id, world.ids)
        assert theirs.status_code == case.stranger, theirs.text
        if operation_id not in ENROLLED:
            nowhere = await world.ask(world.stranger.http, operation_id, missing)
            # Somebody else's row answers to the letter like one that is not there.
            assert (nowhere.status_code, nowhere.content) == (theirs.status_code, theirs.content)
    takes_ids = "{" in OPERATIONS[operation_id]["path"]
    if takes_ids:
        answer = await world.ask(owner.http, operation_id, missing)
        assert told(answer) == (404, "not_found")
    if operation_id in ADMINS:
        refused = await world.ask(world.ada.http, operation_id, world.ids)
        assert told(refused) == (403, "forbidden")
    answer = await world.ask(owner.http, operation_id, world.ids)
    assert answer.status_code == case.owner, answer.text
    # Being an administrator opens nobody's rows to them.
    if operation_id in LEARNERS and case.stranger is not None and operation_id not in ENROLLED:
        again = await world.ask(world.admin.http, operation_id, world.ids)
        assert again.status_code == case.stranger


@pytest.mark.parametrize("operation_id", [each for each in SECURED if SECURED[each].body])
async def test_a_body_without_one_of_its_fields_is_refused(world: World, operation_id: str) -> None:
    """The bodies of the tables hold no more than they have to, but for a refund: without an amount it is in full."""
    body: dict[str, Any] = SECURED[operation_id].body or {}
    http = (world.admin if operation_id in ADMINS else world.ada).http
    operation = OPERATIONS[operation_id]
    for missing in body.keys() if operation_id != "handlers.admin.refund_order" else ():
        rest = {
            name: value.format(**world.ids) if isinstance(value, str) else value
            for name, value in body.items()
            if name != missing
        }
        answer = await http.request(operation["method"], operation["path"].format(**world.ids), json=rest)
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid"), missing


async def demote(container: Container, admin: Learner) -> None:
    """Demote an administrator, who is not the last one."""
    await container.administrators.create(f"{uuid.uuid4().hex}@example.com", PASSWORD)
    await container.administrators.demote(admin.email)


async def test_a_demoted_administrator_opens_nothing_with_the_token_of_before(
    container: Container, world: World
) -> None:
    other = world.admin.http
    await demote(container, world.admin)

    async def refused() -> bool:
        return (await other.get("/admin/stats")).status_code == 401

    await eventually(refused, "the token is refused", within=1)
    for operation_id in SECURED:
        answer = await world.ask(other, operation_id, world.ids)
        assert told(answer) == (401, "unauthenticated"), operation_id


async def test_a_demoted_administrator_who_signs_in_again_is_a_learner(container: Container, world: World) -> None:
    await demote(container, world.admin)
    login = {"email": world.admin.email, "password": PASSWORD, "deviceId": "desk", "platform": "ios"}
    answer = await world.admin.http.post("/auth/login", json=login)
    world.admin.http.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
    for operation_id in ADMINS:
        answer = await world.ask(world.admin.http, operation_id, world.ids)
        assert told(answer) == (403, "forbidden"), operation_id


@pytest.mark.parametrize("operation_id", sorted(OPEN))
async def test_what_is_open_asks_for_no_token(anonymous: httpx.AsyncClient, world: World, operation_id: str) -> None:
    operation = OPERATIONS[operation_id]
    anonymous.headers["X-Forwarded-For"] = address()
    for token in ("", f"Bearer {world.banned.access_token}"):
        if token:
            anonymous.headers["Authorization"] = token
        answer = await anonymous.request(
            operation["method"], operation["path"], json={} if "requestBody" in operation else None
        )
        # Whoever walks comes through a proxy, to whom metrics are not there.
        assert answer.status_code in ((404,) if operation_id == "handlers.metrics.read" else (200, 400, 401))
        if answer.status_code == 401:
            assert answer.json()["code"] == "refresh_token_invalid"


async def test_sockets_are_for_whoever_is_signed_in(server: Server, container: Container, world: World) -> None:
    """The handshake at the running product, as everybody who could try."""
    for learner in (world.ada, world.stranger, world.admin):
        await (await dial_bare(server, learner)).close()
    await demote(container, world.admin)
    refused = {
        "{}": "unauthenticated",
        json.dumps({"token": "nonsense"}): "unauthenticated",
        json.dumps({"token": world.ada.refresh_token}): "unauthenticated",
        json.dumps({"token": world.banned.access_token}): "banned",
        json.dumps({"token": world.admin.access_token}): "unauthenticated",
    }

    async def answer(auth: str) -> str:
        socket = await dial_bare(server)
        await socket.send(f"40{auth}")
        heard = await socket.wait_for("4")
        await socket.close()
        return heard

    for auth, code in refused.items():

        async def is_refused(auth: str = auth, code: str = code) -> bool:
            return await answer(auth) == f'44{{"message":"{code}"}}'

        await eventually(is_refused, f"{auth} is {code}", within=1)


async def test_a_token_of_a_deleted_account_opens_nothing(world: World) -> None:
    learner = world.stranger
    gone = await learner.http.request("DELETE", "/users/me", json={"password": "correct horse battery"})
    assert gone.status_code == 204

    async def refused() -> bool:
        return (await learner.http.get("/users/me")).status_code == 401

    await eventually(refused, "the token is refused", within=1)
    for operation_id in LEARNERS:
        assert (await world.ask(learner.http, operation_id, world.ids)).status_code == 401, operation_id
