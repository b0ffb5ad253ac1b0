"""Authorization matrix: every operation of openapi.yaml, called in every role.

The tables below say what each operation answers its owner, and another learner who names the owner's row. An operation
that is in no table fails a test, so that a new one is decided on here.

The matrix runs once with the fast path and once with Connexion alone (`make test-connexion`).
"""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from container import Container
from contract import operations, schemas
from models import LinkedIdentity, Passkey, Role, SanctionGround, SanctionKind
from services.safety.sanctions import SanctionOrder
from testing.accounts import make_admin
from testing.call_history import add_call
from testing.databases import query
from testing.gates import consent_to_all
from testing.lessons import MISSING_ID
from testing.payments import add_course, completed, deliver
from testing.people import in_days, make_partners, propose
from testing.pictures import picture, upload
from testing.polling import eventually
from testing.raw_websockets import dial_bare
from testing.servers import PASSWORD, Learner, Server, address, client, register

OPERATIONS = operations.definitions(schemas.load(schemas.OPENAPI))


#: Done once, and by the moderator before the administrator tries.
DONE_BY_MODERATORS = {"liftSanction", "decidePicture"}
#: Address of the picture of `userId`, which waits for review.
PICTURE_URL = "https://files.example.com/avatars/{userId}/1.webp"


class Case(NamedTuple):
    """`owner` is the status for who may. `stranger` is that for another learner; None where no row has an owner."""

    owner: int
    stranger: int | None = None
    body: dict[str, Any] | None = None
    #: Arguments of the request beside the body.
    more: dict[str, Any] | None = None


TUS = {"Tus-Resumable": "1.0.0"}


def build_upload(content_type: str, **headers: str) -> dict[str, Any]:
    """The arguments of a request that sends what begins as a video does."""
    return {"content": b"\0\0\0\x14ftypisom\0\0\0\0isom", "headers": {"Content-Type": content_type, **headers}}


#: Operations that anybody may call, with a token or without one, and the answer to a request with an empty body.
OPEN: dict[str, tuple[int, str | None]] = {
    "checkHealth": (200, None),
    "checkReadiness": (200, None),
    # Requests through a proxy do not find it.
    "getMetrics": (404, "not_found"),
    "getJwks": (200, None),
    "getPolicy": (200, None),
    "register": (400, "request_invalid"),
    "login": (400, "request_invalid"),
    "refreshTokens": (401, "refresh_token_invalid"),
    "requestPasswordReset": (400, "request_invalid"),
    "resetPassword": (400, "request_invalid"),
    "verifyEmail": (400, "request_invalid"),
    "loginWithIdToken": (400, "request_invalid"),
    "startAuthorization": (400, "request_invalid"),
    "exchangeAuthorizationCode": (400, "request_invalid"),
    "createPasskeyChallenge": (200, None),
    "loginWithPasskey": (400, "request_invalid"),
    "getLoginMethods": (200, None),
    "requestEmailCode": (400, "request_invalid"),
    "loginWithEmailCode": (400, "request_invalid"),
    "undoEmailChange": (400, "request_invalid"),
    # For accounts that cannot log in; the token in the body is for one sanction.
    "submitAppeal": (400, "request_invalid"),
    "readSanction": (400, "request_invalid"),
    # Providers have no account here; their signature is checked instead.
    "receivePaymentWebhook": (400, "signature_invalid"),
    # Players send no headers; the token in the address is for this lesson alone.
    "getPlaylist": (400, "request_invalid"),
    # What the server offers is no secret, and clients ask before they log in.
    "describeUploads": (204, None),
    "describeUpload": (204, None),
}
#: Operations on the user's own account or rows. {placeholders} are filled in with the ids of `Roles`.
LEARNERS: dict[str, Case] = {
    "logout": Case(204),
    "logoutAll": Case(204),
    "resendVerification": Case(202),
    "listDevices": Case(200),
    "logoutDevice": Case(204, 404),
    "getMe": Case(200),
    "updateMe": Case(200, body={"bio": "Hello."}),
    "deleteMe": Case(401, body={"password": "not the password"}),
    "deleteMeWithBody": Case(401, body={"password": "not the password"}),
    "exportMe": Case(200),
    "linkIdentity": Case(
        400, body={"provider": "none", "idToken": "a.b.c", "nonce": "0" * 16, "proof": {"password": PASSWORD}}
    ),
    "unlinkIdentity": Case(204, 404),
    "createPasskeyRegistration": Case(200, body={"proof": {"password": PASSWORD}}),
    "addPasskey": Case(401, body={"challengeToken": "a.b.c", "credentialJson": "{{}}", "name": "Phone"}),
    "removePasskey": Case(204, 404),
    "getMyLoginMethods": Case(200),
    "changePassword": Case(401, body={"newPassword": PASSWORD, "proof": {"password": "not the password"}}),
    "requestEmailChange": Case(401, body={"newEmail": "a@example.com", "proof": {"password": "not the password"}}),
    "confirmEmailChange": Case(401, body={"challengeId": MISSING_ID, "code": "123456"}),
    "uploadAvatar": Case(200, more=upload(picture())),
    "deleteAvatar": Case(204),
    "setAge": Case(200, body={"birthDate": "1991-05-06"}),
    "listConsents": Case(200),
    "giveConsent": Case(204, body={"document": "{document}", "version": "{version}"}),
    "withdrawConsent": Case(204, 404),
    "listBlocks": Case(200),
    "getUser": Case(200),
    "blockUser": Case(204),
    "unblockUser": Case(204, 404),
    "listCalls": Case(200),
    "getCall": Case(200, 404),
    "rateCall": Case(201, 404, body={"stars": 4}),
    "createReport": Case(201, 404, body={"reportedId": "{userId}", "reason": "spam"}),
    "listReports": Case(200),
    "listPartners": Case(200),
    "askPartner": Case(204, 404),
    # The same for learners who were never asked.
    "removePartner": Case(204, 204),
    "listAppointments": Case(200),
    "proposeAppointment": Case(
        201,
        404,
        body={"partnerId": "{partnerId}", "localTime": in_days(3), "timezone": "UTC", "durationMinutes": 30},
    ),
    "cancelAppointment": Case(204, 404),
    "acceptAppointment": Case(200, 404),
    "declineAppointment": Case(200, 404),
    "listMySanctions": Case(200),
    "acknowledgeWarning": Case(204, 404),
    "appealMySanction": Case(201, 404, body={"text": "It was not me."}),
    "createCheckoutSession": Case(201, body={"courseId": "{courseId}"}),
    "listOrders": Case(200),
    "getOrder": Case(200, 404),
    "listNotifications": Case(200),
    "registerPushDevice": Case(204, body={"fcmToken": "a-token", "deviceId": "phone", "platform": "ios"}),
    "unregisterPushDevice": Case(204, 204),
    "unregisterPushDeviceWithBody": Case(204, body={"deviceId": "phone"}),
    "markAllNotificationsRead": Case(200),
    "markNotificationRead": Case(200, 404),
    "listCourses": Case(200),
    "getCourse": Case(200),
    "enroll": Case(201),
    "listLessons": Case(200),
    "getLesson": Case(200),
    "setLessonProgress": Case(200, 403, body={"watchSeconds": 5}),
    "completeLesson": Case(200, 403),
    "listAttachments": Case(200, 403),
    "getVideoUrl": Case(409, 403),
    "listMyCourses": Case(200),
    "getMyProgress": Case(200),
}
#: Operations of staff on the own account, with the token of any login.
STAFF: dict[str, Case] = {
    "getSecondFactor": Case(200, 403),
    "createSecondFactor": Case(401, 403, body={"password": "not the password"}),
    # They have none in these tests.
    "deleteSecondFactor": Case(404, 403),
    "confirmSecondFactor": Case(404, 403, body={"code": "123456"}),
    "proveSecondFactor": Case(404, 403, body={"code": "123456"}),
    "createRecoveryCodes": Case(404, 403),
}
#: Operations of administration; every learner is a stranger to them, and `x-role` says which staff may call them.
ADMINS: dict[str, Case] = {
    "getAdminStats": Case(200, 403),
    "listAdminUsers": Case(200, 403),
    "getAdminUser": Case(200, 403),
    "listAdminReports": Case(200, 403),
    "reviewReport": Case(200, 403, body={"status": "reviewed"}),
    "listPictures": Case(200, 403),
    "decidePicture": Case(204, 403, body={"avatarUrl": PICTURE_URL, "outcome": "remove"}),
    "banUser": Case(204, 403, body={"reason": "Spam."}),
    "unbanUser": Case(204, 403),
    "listUserSanctions": Case(200, 403),
    "createSanction": Case(201, 403, body={"kind": "warning", "ground": "spam", "facts": "You sent links."}),
    "liftSanction": Case(200, 403, body={"reason": "A mistake."}),
    "listAppeals": Case(200, 403),
    "decideAppeal": Case(200, 403, body={"outcome": "upheld", "reason": "The links were yours."}),
    "listAdminOrders": Case(200, 403),
    "refundOrder": Case(201, 403, body={"amount": 100}),
    "listAuditEntries": Case(200, 403),
    "createCourse": Case(201, 403, body={"title": "Idioms", "price": 0, "level": "beginner"}),
    "updateCourse": Case(200, 403, body={"title": "Idioms"}),
    "deleteCourse": Case(204, 403),
    "uploadThumbnail": Case(200, 403, more=upload(picture())),
    "createLesson": Case(201, 403, body={"title": "Idioms"}),
    "reorderLessons": Case(200, 403, body={"lessonIds": []}),
    "updateLesson": Case(200, 403, body={"title": "Idioms"}),
    "deleteLesson": Case(204, 403),
    "uploadAttachment": Case(201, 403, more=upload(b"words", "words.txt")),
    "deleteAttachment": Case(204, 403),
    "uploadVideo": Case(202, 403, more=build_upload("video/mp4")),
    "createUpload": Case(201, 403, more={"headers": {**TUS, "Upload-Length": "20"}}),
    "getUpload": Case(200, 403, more={"headers": TUS}),
    "continueUpload": Case(
        204, 403, more=build_upload("application/offset+octet-stream", **TUS, **{"Upload-Offset": "0"})
    ),
    "deleteUpload": Case(204, 403, more={"headers": TUS}),
    "listStaff": Case(200, 403),
    "listStaffLogins": Case(200, 403),
    "endStaffLogin": Case(204, 403),
}
#: Of the learners' operations, those whose token may be left out, and what they answer then. A bad one is refused.
PUBLIC = {"listCourses": 200, "getCourse": 200, "listLessons": 200}
#: Paths whose row has no owner, so that only a missing one is a 404.
SHARED = {
    "getUser",
    "blockUser",
    "getCourse",
    "enroll",
    "listLessons",
    "getLesson",
    "getMyProgress",
}
#: Rows without an owner, open to enrolled learners and to administrators: a missing one differs from a closed one.
ENROLLED = {
    "setLessonProgress",
    "completeLesson",
    "listAttachments",
    "getVideoUrl",
}
#: Operations that answer the same for a missing row: what it asks for is so.
IDEMPOTENT = {"unregisterPushDevice", "removePartner"}
SECURED = {**LEARNERS, **STAFF, **ADMINS}


def may_call(role: str, operation_id: str) -> bool:
    """Whether a role may call an operation: one without `x-role` is for every account."""
    return role in OPERATIONS[operation_id].get("x-role", [role])


@dataclasses.dataclass
class Roles:
    """Learners of each role: `ada` owns the rows of `ids`, `bob` is the subject of some, `stranger` has none."""

    ada: Learner
    bob: Learner
    stranger: Learner
    admin: Learner
    moderator: Learner
    banned: Learner
    ids: dict[str, str]

    async def request(
        self, http: httpx.AsyncClient, operation_id: str, ids: dict[str, str], *, with_body: bool = True
    ) -> httpx.Response:
        """Call an operation with the ids filled in; those of staff name the moderator."""
        if operation_id in ("listStaffLogins", "endStaffLogin"):
            ids = {**ids, "userId": ids["staffId"]}
        if operation_id in ("askPartner", "removePartner"):  # the learner of the other operations is blocked
            ids = {**ids, "userId": ids["partnerId"]}
        operation, case = OPERATIONS[operation_id], SECURED[operation_id]
        body = {
            name: value.format(**ids) if isinstance(value, str) else value for name, value in (case.body or {}).items()
        }
        more: dict[str, Any] = dict(case.more or {}) if with_body else {}
        if body and with_body:
            more["json"] = body
        return await http.request(operation["method"], operation["path"].format(**ids), **more)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a problem; an answer to HEAD has the status alone."""
    codes = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}
    method = answer.request.method
    return answer.status_code, codes[answer.status_code] if method == "HEAD" else answer.json()["code"]


@asynccontextmanager
async def make_roles(container: Container, asgi: Any) -> AsyncIterator[Roles]:
    """Make accounts of each role, and the rows of `ids`."""
    async with AsyncExitStack() as clients:
        ada, bob, stranger, banned, *operators = [
            await register(await clients.enter_async_context(client(asgi)), ready=number < 4) for number in range(6)
        ]
        admin = await make_admin(container, operators[0].http)
        moderator = await make_admin(container, operators[1].http, Role.MODERATOR)
        session = await add_call(container, ada, bob)
        await ada.http.put(f"/users/{bob.id}/block")
        other = await add_call(container, ada, bob)
        made = await ada.http.post("/reports", json={"reportedId": bob.id, "sessionId": other, "reason": "spam"})
        device = f"tablet-{uuid.uuid4().hex[:12]}"
        login = {"email": ada.email, "password": PASSWORD, "deviceId": device, "platform": "ios"}
        assert (await ada.http.post("/auth/login", json=login)).status_code == 200
        await container.sanctions.ban(admin.id, banned.id, "Spam.")
        course = await add_course(container)
        order = await container.checkout.start(ada.id, await add_course(container))
        await deliver(container, completed(order))
        (notification,) = (await ada.http.get("/notifications")).json()["items"]
        lesson = await container.lessons.add(admin.id, str(order.course_id), {"title": "Where we begin"})
        sanction = SanctionOrder(SanctionKind.WARNING, SanctionGround.SPAM, "You sent links.")
        warning = await container.sanctions.issue(None, ada.id, sanction)
        appealed = await container.sanctions.issue(None, bob.id, sanction)
        appeal = await container.appeals.submit(bob.id, str(appealed.id), "It was not me.")
        file = await container.lessons.attach(admin.id, str(lesson.id), "words.txt", b"words")
        await query(
            container,
            "UPDATE profiles SET avatar_url = :url, avatar_held_at = now() WHERE user_id = :id",
            url=PICTURE_URL.format(userId=bob.id),
            id=bob.id,
        )
        await consent_to_all(ada)
        partner = await register(await clients.enter_async_context(client(asgi)))
        await add_call(container, ada, partner)
        await make_partners(ada, partner)
        await consent_to_all(partner)
        proposed = await propose(partner, ada, in_days(2))
        ids = {
            "userId": bob.id,
            "partnerId": partner.id,
            "appointmentId": proposed.json()["id"],
            "document": "terms",
            "version": container.policies["terms"].version,
            "notificationId": notification["id"],
            "courseId": course,
            "orderId": str(order.id),
            "sessionId": session,
            "lessonId": str(lesson.id),
            "uploadId": str((await container.uploads.create(admin.id, str(lesson.id), 20)).id),
            "attachmentId": str(file.attachment.id),
            "reportId": made.json()["id"],
            "sanctionId": str(warning.id),
            "appealId": str(appeal.id),
            "deviceId": device,
            "staffId": moderator.id,
            "loginId": container.logins.identify(moderator.access_token).family_id,
        }
        identity = LinkedIdentity(user_id=uuid.UUID(ada.id), provider="google", subject=uuid.uuid4().hex)
        passkey = Passkey(
            user_id=uuid.UUID(ada.id),
            credential_id=uuid.uuid4().bytes,
            public_key=b"",
            name="Phone",
            aaguid=uuid.UUID(int=0),
        )
        async with container.database.transaction() as db:
            db.add_all((identity, passkey))
        ids |= {"identityId": str(identity.id), "passkeyId": str(passkey.id)}
        yield Roles(ada, bob, stranger, admin, moderator, banned, ids)


@pytest.fixture
async def roles(container: Container, asgi: Any) -> AsyncIterator[Roles]:
    async with make_roles(container, asgi) as made:
        yield made


@pytest.fixture(scope="module")
async def lasting_roles(container: Container, asgi: Any) -> AsyncIterator[Roles]:
    """Roles for the tests whose requests read or are refused, so that nothing changes."""
    async with make_roles(container, asgi) as made:
        yield made


@pytest.fixture
async def anonymous(asgi: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client(asgi) as http:
        yield http


def test_matrix_has_every_operation() -> None:
    assert OPEN.keys() | SECURED.keys() == OPERATIONS.keys(), "decide who may call it"
    for operation_id, operation in OPERATIONS.items():
        needed: list[dict[str, list[str]]] = (
            [] if operation_id in OPEN else [{"admin" if operation_id in ADMINS else "bearer": []}]
        )
        assert ("x-role" in operation) == (operation_id in {**STAFF, **ADMINS}), operation_id
        if operation_id in PUBLIC:
            needed = [{}, *needed]
        assert operation.get("security", []) == needed, operation_id
        if "{" in operation["path"] and operation_id not in SHARED | OPEN.keys():
            assert SECURED[operation_id].stranger is not None, f"{operation_id}: what does a stranger get?"


def test_matrix_answers_every_operation_on_both_paths() -> None:
    """`make test-connexion` selects `rest_paths`, so that a success or a refusal of each operation is seen there."""
    answered: set[str] = set()
    tests: list[Any] = [
        test_owner_can_read_and_others_are_refused,
        test_owner_can_write_and_others_are_refused,
        test_open_operation_needs_no_token,
    ]
    for test in tests:
        marks = {mark.name: mark for mark in test.pytestmark}
        assert "rest_paths" in marks
        answered |= set(marks["parametrize"].args[1])
    assert answered == OPERATIONS.keys()
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    assert re.search(
        r'REST_FAST_PATH=false .* -m "rest_paths and not system" tests/contract tests/handlers\b', makefile
    )


@pytest.mark.rest_paths
@pytest.mark.parametrize("operation_id", SECURED)
async def test_request_without_a_valid_token_is_refused(
    anonymous: httpx.AsyncClient, lasting_roles: Roles, operation_id: str
) -> None:
    ada, given = lasting_roles.ada, lasting_roles.ids
    tokens = (None, "Bearer", "Bearer nonsense", f"Basic {ada.access_token}", f"Bearer {ada.refresh_token}")
    for token in tokens:
        anonymous.headers = httpx.Headers({"Authorization": token} if token else {})
        for ids in (given, dict.fromkeys(given, MISSING_ID)):
            for with_body in (True, False):  # a problem of the body is not shown to anonymous clients
                answer = await lasting_roles.request(anonymous, operation_id, ids, with_body=with_body)
                if token is None and operation_id in PUBLIC:
                    there = ids is given or "{" not in OPERATIONS[operation_id]["path"]
                    assert answer.status_code == (PUBLIC[operation_id] if there else 404), answer.text
                else:
                    assert problem(answer) == (401, "unauthenticated"), token
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.rest_paths
@pytest.mark.parametrize("operation_id", SECURED)
async def test_banned_account_is_refused(lasting_roles: Roles, operation_id: str) -> None:
    answer = await lasting_roles.request(lasting_roles.banned.http, operation_id, lasting_roles.ids)
    assert problem(answer) == (401, "unauthenticated")


#: Operations that change nothing, so that their tests can share the rows.
READS = [each for each in SECURED if OPERATIONS[each]["method"] in ("get", "head")]


@pytest.mark.rest_paths
@pytest.mark.parametrize("operation_id", READS)
async def test_owner_can_read_and_others_are_refused(lasting_roles: Roles, operation_id: str) -> None:
    await check_access(lasting_roles, operation_id)


@pytest.mark.rest_paths
@pytest.mark.parametrize("operation_id", [each for each in SECURED if each not in READS])
async def test_owner_can_write_and_others_are_refused(roles: Roles, operation_id: str) -> None:
    await check_access(roles, operation_id)


async def check_access(roles: Roles, operation_id: str) -> None:
    """Call an operation as another learner, on missing rows, without the role it needs, and as the owner."""
    case = SECURED[operation_id]
    owner = roles.ada if operation_id in LEARNERS else roles.admin
    missing = dict.fromkeys(roles.ids, MISSING_ID)
    if case.stranger is not None:
        theirs = await roles.request(roles.stranger.http, operation_id, roles.ids)
        assert theirs.status_code == case.stranger, theirs.text
        if operation_id not in ENROLLED:
            nowhere = await roles.request(roles.stranger.http, operation_id, missing)
            # Another learner's row answers to the letter like a missing one.
            assert (nowhere.status_code, nowhere.content) == (theirs.status_code, theirs.content)
    takes_ids = "{" in OPERATIONS[operation_id]["path"]
    if takes_ids and operation_id not in IDEMPOTENT:
        answer = await roles.request(owner.http, operation_id, missing)
        assert problem(answer) == (404, "not_found")
    if operation_id not in LEARNERS:
        refused = await roles.request(roles.ada.http, operation_id, roles.ids)
        assert problem(refused) == (403, "forbidden")
        answer = await roles.request(roles.moderator.http, operation_id, roles.ids)
        if may_call("moderator", operation_id):
            assert answer.status_code == case.owner, answer.text
        else:
            assert problem(answer) == (403, "forbidden")
    answer = await roles.request(owner.http, operation_id, roles.ids)
    assert answer.status_code == (409 if operation_id in DONE_BY_MODERATORS else case.owner), answer.text
    # Staff have no access to a learner's own rows.
    if operation_id in LEARNERS and case.stranger is not None and operation_id not in ENROLLED:
        for staff in (roles.admin, roles.moderator):
            again = await roles.request(staff.http, operation_id, roles.ids)
            assert again.status_code == case.stranger


#: A refund without an amount is one in full; of all other bodies the tables have the required fields alone.
WITH_REQUIRED_FIELDS = [each for each in SECURED if SECURED[each].body and each != "refundOrder"]


@pytest.mark.rest_paths
@pytest.mark.parametrize("operation_id", WITH_REQUIRED_FIELDS)
async def test_body_without_a_required_field_is_refused(lasting_roles: Roles, operation_id: str) -> None:
    body: dict[str, Any] = SECURED[operation_id].body or {}
    http = (lasting_roles.ada if operation_id in LEARNERS else lasting_roles.admin).http
    operation = OPERATIONS[operation_id]
    for missing in body:
        rest = {
            name: value.format(**lasting_roles.ids) if isinstance(value, str) else value
            for name, value in body.items()
            if name != missing
        }
        answer = await http.request(operation["method"], operation["path"].format(**lasting_roles.ids), json=rest)
        assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid"), missing


async def demote(container: Container, admin: Learner) -> None:
    """Demote an administrator, who is not the last one."""
    await container.administrators.create(f"{uuid.uuid4().hex}@example.com", PASSWORD)
    await container.administrators.demote(admin.email)


@pytest.mark.rest_paths
async def test_demoted_administrator_token_is_refused(container: Container, roles: Roles) -> None:
    other = roles.admin.http
    await demote(container, roles.admin)

    async def refused() -> bool:
        return (await other.get("/admin/stats")).status_code == 401

    await eventually(refused, "the token is refused", within=1)
    for operation_id in SECURED:
        answer = await roles.request(other, operation_id, roles.ids)
        assert problem(answer) == (401, "unauthenticated"), operation_id


async def test_demoted_administrator_logs_in_as_a_learner(container: Container, roles: Roles) -> None:
    await demote(container, roles.admin)
    login = {"email": roles.admin.email, "password": PASSWORD, "deviceId": "desk", "platform": "ios"}
    answer = await roles.admin.http.post("/auth/login", json=login)
    roles.admin.http.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
    for operation_id in {**STAFF, **ADMINS}:
        answer = await roles.request(roles.admin.http, operation_id, roles.ids)
        assert problem(answer) == (403, "forbidden"), operation_id


#: Requests that name an operation of administrators in a way that a router might read differently.
_DISGUISES: list[tuple[str, str, dict[str, str]]] = [
    ("HEAD", "/admin/orders", {}),
    ("GET", "/admin/%6frders", {}),
    ("GET", "/%61dmin/stats", {}),
    ("GET", "//admin/orders", {}),
    ("GET", "/admin//orders", {}),
    ("GET", "/admin/orders/", {}),
    ("GET", "/admin/users/../orders", {}),
    ("GET", "/admin/users/%2e%2e/orders", {}),
    ("GET", "/ADMIN/orders", {}),
    ("GET", "/admin/orders;x=1", {}),
    ("GET", "/admin/users", {"X-Original-URL": "/admin/orders", "X-Rewrite-URL": "/admin/orders"}),
    ("POST", "/admin/reports", {"X-HTTP-Method-Override": "GET"}),
    ("GET", "/admin/orders?limit=1&limit=2", {}),
    ("GET", "/admin/orders", {"Content-Type": "text/plain", "Content-Length": "0"}),
    ("OPTIONS", "/admin/orders", {}),
]


@pytest.mark.rest_paths
@pytest.mark.parametrize(("method", "path", "headers"), _DISGUISES)
async def test_moderator_reaches_no_admin_operation_in_disguise(
    lasting_roles: Roles, method: str, path: str, headers: dict[str, str]
) -> None:
    token = lasting_roles.moderator.http.headers["Authorization"]
    request = httpx.Request(method, "http://parlance.test/", headers={**headers, "Authorization": token})
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = await lasting_roles.moderator.http.send(request)
    if path == "/admin/users":  # the headers name another path, and are ignored
        assert answer.status_code == 200 and "receiptId" not in answer.text
    else:
        assert answer.status_code in (403, 404, 405), answer.text


@pytest.mark.rest_paths
@pytest.mark.parametrize("operation_id", sorted(OPEN))
async def test_open_operation_needs_no_token(
    anonymous: httpx.AsyncClient, lasting_roles: Roles, operation_id: str
) -> None:
    operation = OPERATIONS[operation_id]
    anonymous.headers["X-Forwarded-For"] = address()
    for token in ("", f"Bearer {lasting_roles.banned.access_token}"):
        if token:
            anonymous.headers["Authorization"] = token
        path = operation["path"].format(**lasting_roles.ids, name="master.m3u8")
        answer = await anonymous.request(operation["method"], path, json={} if "requestBody" in operation else None)
        code = answer.json()["code"] if answer.status_code >= 400 else None
        assert (answer.status_code, code) == OPEN[operation_id]


async def test_socket_handshake_needs_a_valid_token(server: Server, container: Container, roles: Roles) -> None:
    for learner in (roles.ada, roles.stranger, roles.admin, roles.moderator):
        await (await dial_bare(server, learner)).close()
    await demote(container, roles.admin)
    refused = {
        "{}": "unauthenticated",
        json.dumps({"token": "nonsense"}): "unauthenticated",
        json.dumps({"token": roles.ada.refresh_token}): "unauthenticated",
        json.dumps({"token": roles.banned.access_token}): "banned",
        json.dumps({"token": roles.admin.access_token}): "unauthenticated",
    }

    data = {"banned": ',"data":{"ground":"other","until":null}'}

    async def answer(auth: str) -> str:
        socket = await dial_bare(server)
        await socket.send(f"40{auth}")
        refusal = await socket.wait_for("4")
        await socket.close()
        return refusal

    for auth, code in refused.items():

        async def is_refused(auth: str = auth, code: str = code) -> bool:
            return await answer(auth) == f'44{{"message":"{code}"{data.get(code, "")}}}'

        await eventually(is_refused, f"{auth} is {code}", within=1)


async def test_token_of_a_deleted_account_is_refused(roles: Roles) -> None:
    learner = roles.stranger
    gone = await learner.http.post("/users/me/deletion", json={"password": PASSWORD})
    assert gone.status_code == 204

    async def refused() -> bool:
        return (await learner.http.get("/users/me")).status_code == 401

    await eventually(refused, "the token is refused", within=1)
    for operation_id in LEARNERS:
        assert (await roles.request(learner.http, operation_id, roles.ids)).status_code == 401, operation_id
