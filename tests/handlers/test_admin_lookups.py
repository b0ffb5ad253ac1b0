"""Look-ups of administrators: accounts, orders, the audit log."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

import app
from container import Container
from models import AuditEntry, OrderStatus, ProviderName, Role
from settings import Settings
from testing.accounts import make_admin
from testing.admin_rows import NOON, add_account, add_course, add_order, minutes_ago
from testing.call_history import add_call
from testing.databases import rows
from testing.http_answers import read_all_pages
from testing.lessons import MISSING_ID
from testing.payments import completed, deliver, selling_container
from testing.servers import Learner, client, register


@pytest.fixture(scope="module")
async def services(settings: Settings) -> AsyncIterator[Container]:
    async with selling_container(settings) as services:
        yield services


@pytest.fixture(scope="module")
def asgi(services: Container) -> Any:
    return app.create(services)


@pytest.fixture(scope="module")
async def admin(services: Container, asgi: Any) -> AsyncIterator[Learner]:
    async with client(asgi) as http:
        yield await make_admin(services, http)


@pytest.fixture
async def learners(asgi: Any) -> AsyncIterator[tuple[Learner, Learner]]:
    async with client(asgi) as one, client(asgi) as other:
        yield await register(one), await register(other)


def name() -> str:
    """How nobody else's address begins."""
    return f"q{uuid.uuid4().hex[:12]}"


async def found(admin: Learner, path: str, **query: Any) -> list[str]:
    """The ids of a whole list, read two at a time."""
    return [each["id"] for each in await read_all_pages(admin.http, path, limit=2, **query)]


async def refused(admin: Learner, path: str, **query: Any) -> tuple[int, str]:
    answer = await admin.http.get(path, params=query)
    return answer.status_code, answer.json().get("code")


# --- Accounts -------------------------------------------------------------------------------------------


async def test_account_list_has_the_operator_fields(services: Container, admin: Learner) -> None:
    email = f"{name()}@example.com"
    columns = {"username": name(), "display_name": "Ada", "total_sessions": 3, "total_practice_mins": 40}
    one = await add_account(
        services, email, is_verified=True, flagged_at=NOON, created_at=minutes_ago(5), last_active_at=NOON, **columns
    )
    (item,) = (await admin.http.get("/admin/users", params={"search": email})).json()["items"]
    assert item == {
        "id": one,
        "email": email,
        "username": columns["username"],
        "displayName": "Ada",
        "avatarUrl": None,
        "role": "student",
        "isVerified": True,
        "isBanned": False,
        "suspendedUntil": None,
        "flaggedAt": "2026-03-14T12:00:00.123Z",
        "totalPracticeMinutes": 40,
        "totalCalls": 3,
        "lastActiveAt": "2026-03-14T12:00:00.123Z",
        "createdAt": "2026-03-14T11:55:00.123Z",
    }


@pytest.mark.rest_paths
async def test_account_filters_combine(services: Container, admin: Learner) -> None:
    prefix = name()
    banned = {"is_banned": True, "ban_reason": "Spam.", "banned_at": NOON}
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "banned": banned,
        "flagged": {"flagged_at": NOON},
        "both": {**banned, "flagged_at": NOON, "is_verified": True},
        "verified": {"is_verified": True},
        "boss": {"role": Role.ADMIN, "is_verified": True},
    }
    ids = {
        kind: await add_account(services, f"{prefix}{kind}@example.com", created_at=minutes_ago(age), **columns)
        for age, (kind, columns) in enumerate(kinds.items())
    }
    for query, expected in (
        ({}, "plain banned flagged both verified boss"),
        ({"isBanned": "true"}, "banned both"),
        ({"isBanned": "false"}, "plain flagged verified boss"),
        ({"isFlagged": "true"}, "flagged both"),
        ({"isFlagged": "false"}, "plain banned verified boss"),
        ({"role": "admin"}, "boss"),
        ({"role": "student"}, "plain banned flagged both verified"),
        ({"isVerified": "true"}, "both verified boss"),
        ({"isVerified": "false"}, "plain banned flagged"),
        ({"isBanned": "true", "isFlagged": "true"}, "both"),
        ({"isBanned": "true", "isVerified": "false", "role": "student"}, "banned"),
        ({"isFlagged": "true", "role": "admin"}, ""),
    ):
        # Newest first, by a search and without one.
        assert await found(admin, "/admin/users", search=prefix, **query) == [ids[kind] for kind in expected.split()]
        mine = [each for each in await found(admin, "/admin/users", **query) if each in ids.values()]
        assert mine == [ids[kind] for kind in expected.split()], query


async def test_search_matches_the_start_of_email_or_username(services: Container, admin: Learner) -> None:
    tag = uuid.uuid4().hex[:8]
    by_email = await add_account(
        services, f"Zoe.O'Hara+{tag}@Example.com", username=f"tin_{tag}", created_at=minutes_ago(1)
    )
    by_name = await add_account(services, f"x{tag}@example.com", username=f"Zoe_{tag}", created_at=minutes_ago(2))
    other = await add_account(services, f"zoe5ohara{tag}@example.com", username=f"zoeX{tag}", created_at=minutes_ago(3))
    mine = {by_email, by_name, other}

    async def search(text: str) -> list[str]:
        return [each for each in await found(admin, "/admin/users", search=text) if each in mine]

    assert await search("zoe") == await search("ZOE") == await search("  Zoe ") == [by_email, by_name, other]
    assert await search(f"zoe.o'hara+{tag}") == await search(f"ZOE.O'HARA+{tag}@EXAMPLE.COM") == [by_email]
    assert await search("Zoe_") == [by_name], "_ stands for itself"
    assert await search("zoex") == [other]
    assert await search("ｚｏｅ") == [by_email, other], "an address has one spelling, a username is what it is"
    assert await search(f"tin_{tag}") == [by_email]
    for nothing in (
        "%",
        "_",
        "zoe%",
        "%zoe",
        "z_e",
        "\\",
        "zoe\\",
        "'",
        '"',
        "zoe'; --",
        "ohara",
        "hara",
        "zoë",
    ):
        assert await search(nothing) == [], nothing


async def test_account_matching_twice_is_listed_once(services: Container, admin: Learner) -> None:
    same = name()
    ids = [
        await add_account(
            services, f"{same}{number}@example.com", username=f"{same}{number}", created_at=minutes_ago(number)
        )
        for number in range(5)
    ]
    assert await found(admin, "/admin/users", search=same) == ids


async def test_id_search_needs_eight_characters(services: Container, admin: Learner) -> None:
    one = await add_account(services, f"{name()}@example.com")
    for prefix in (one, one.upper(), one[:8], one[:9], one[:20], one[:35]):
        assert await found(admin, "/admin/users", search=prefix) == [one], prefix
    for nothing in (one[:7], one[1:], f"{one}0", f"{one[:8]}{one[9:]}", f"{one[:8]}--", "--------", f"{one[:7]}g"):
        assert await found(admin, "/admin/users", search=nothing) == [], nothing


async def test_account_pages_are_stable_under_inserts(services: Container, admin: Learner) -> None:
    prefix = name()
    # Many of one instant: the id orders them.
    made = [
        await add_account(services, f"{prefix}{number}@example.com", created_at=minutes_ago(number // 5))
        for number in range(20)
    ]
    expected = await found(admin, "/admin/users", search=prefix)
    assert sorted(expected) == sorted(made)
    read: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await admin.http.get("/admin/users", params={"search": prefix, "limit": 3, **cursor})).json()
        read += [each["id"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
        await add_account(services, f"{prefix}new{uuid.uuid4().hex}@example.com")
    assert read == expected


@pytest.mark.rest_paths
async def test_invalid_list_query_is_refused(admin: Learner) -> None:
    queries: list[tuple[str, dict[str, Any]]] = [
        ("/admin/users", {"role": "teacher"}),
        ("/admin/users", {"isBanned": "maybe"}),
        ("/admin/users", {"isVerified": ""}),
        ("/admin/users", {"search": ""}),
        ("/admin/users", {"search": "a\x00b"}),
        ("/admin/users", {"search": "x" * 255}),
        ("/admin/users", {"limit": 0}),
        ("/admin/users", {"limit": 101}),
        ("/admin/users", {"cursor": "abc"}),
        ("/admin/users", {"offset": 20}),
        ("/admin/orders", {"provider": "paypal"}),
        ("/admin/orders", {"userId": "ada"}),
        ("/admin/orders", {"isDisputed": 2}),
        ("/admin/orders", {"cursor": "abc"}),
        ("/admin/reports", {"reportedId": "bob"}),
        ("/admin/audit", {"action": "User.ban'"}),
        ("/admin/audit", {"actorId": "me"}),
        *(("/admin/audit", {"cursor": cursor}) for cursor in ("abc", "0", "-1", "01", "9" * 19)),
    ]
    for path, query in queries:
        assert await refused(admin, path, **query) == (400, "request_invalid"), (path, query)
    assert await refused(admin, f"/admin/users/{MISSING_ID}") == (404, "not_found")
    assert await refused(admin, "/admin/users/ada") == (400, "request_invalid")


async def test_account_detail_has_activity_and_moderation(
    services: Container, admin: Learner, learners: tuple[Learner, Learner]
) -> None:
    ada, bob = learners
    calls = [await add_call(services, ada, bob, topic="food") for _ in range(12)]
    about = await bob.http.post("/reports", json={"reportedId": ada.id, "sessionId": calls[0], "reason": "spam"})
    by = await ada.http.post("/reports", json={"reportedId": bob.id, "sessionId": calls[1], "reason": "other"})
    order = await add_order(services, ada.id, await add_course(services), status=OrderStatus.PAID, disputed=True)
    assert (await admin.http.patch(f"/admin/users/{ada.id}/ban", json={"reason": "Spam links."})).status_code == 204
    detail = (await admin.http.get(f"/admin/users/{ada.id}")).json()
    listed = (await admin.http.get("/admin/users", params={"search": ada.email})).json()["items"][0]
    assert {key: detail[key] for key in listed} == listed
    assert (detail["banReason"], detail["bannedBy"], detail["isBanned"]) == ("Spam links.", admin.id, True)
    assert detail["bannedAt"] and detail["deletedAt"] is None and detail["englishLevel"] == "intermediate"
    assert [each["id"] for each in detail["calls"]] == calls[:1:-1]
    assert {each["partner"]["userId"] for each in detail["calls"]} == {bob.id}
    assert {each["endedBy"] for each in detail["calls"]} == {"me"}
    assert [each["id"] for each in detail["reportsAbout"]] == [about.json()["id"]]
    assert [each["id"] for each in detail["reportsBy"]] == [by.json()["id"]]
    assert [(each["id"], each["isDisputed"]) for each in detail["orders"]] == [(order, True)]
    assert [(each["action"], each["actorId"]) for each in detail["bans"]] == [("user.ban", admin.id)]
    await admin.http.patch(f"/admin/users/{ada.id}/unban")
    again = (await admin.http.get(f"/admin/users/{ada.id}")).json()
    assert [each["action"] for each in again["bans"]] == ["user.unban", "user.ban"] and again["banReason"] is None
    assert await found(admin, "/admin/reports", reportedId=ada.id) == [about.json()["id"]]
    assert await found(admin, "/admin/reports", reporterId=ada.id) == [by.json()["id"]]
    assert await found(admin, "/admin/reports", reporterId=ada.id, reportedId=ada.id) == []
    assert await found(admin, "/admin/reports", reporterId=ada.id, status="dismissed") == []


async def test_deleted_account_is_unlisted_and_anonymous(services: Container, asgi: Any, admin: Learner) -> None:
    async with client(asgi) as http:
        gone = await register(http)
        await add_call(services, gone, admin)
        body = {"password": "correct horse battery"}
        assert (await gone.http.post("/users/me/deletion", json=body)).status_code == 204
    for query in ({"search": gone.email}, {"search": gone.username}, {"search": gone.id}, {}):
        assert gone.id not in await found(admin, "/admin/users", **query)
    detail = (await admin.http.get(f"/admin/users/{gone.id}")).json()
    assert detail["deletedAt"] and detail["email"] == f"{gone.id}@deleted.invalid" and detail["username"] is None
    assert len(detail["calls"]) == 1


# --- Orders ---------------------------------------------------------------------------------------------


async def test_order_filters_combine(services: Container, admin: Learner) -> None:
    course, other = await add_course(services), await add_course(services)
    ada, bob = [await add_account(services, f"{name()}@example.com") for _ in range(2)]
    razorpay, paid = ProviderName.RAZORPAY, OrderStatus.PAID
    made: list[tuple[str, str, uuid.UUID, dict[str, Any]]] = [
        ("pending", ada, course, {}),
        ("paid", ada, other, {"status": paid}),
        ("disputed", bob, course, {"status": paid, "disputed": True}),
        ("razorpay", bob, other, {"provider": razorpay}),
        ("refunded", ada, course, {"status": OrderStatus.REFUNDED, "provider": razorpay}),
        ("expired", bob, course, {"status": OrderStatus.EXPIRED, "provider": razorpay}),
    ]
    ids = {
        kind: await add_order(services, who, what, created_at=minutes_ago(age), **columns)
        for age, (kind, who, what, columns) in enumerate(made)
    }
    for query, expected in (
        ({}, "pending paid disputed razorpay refunded expired"),
        ({"status": "paid"}, "paid disputed"),
        ({"status": "refunded"}, "refunded"),
        ({"provider": "razorpay"}, "razorpay refunded expired"),
        ({"provider": "stripe", "status": "pending"}, "pending"),
        ({"userId": ada}, "pending paid refunded"),
        ({"userId": bob.upper(), "provider": "razorpay"}, "razorpay expired"),
        ({"isDisputed": "true"}, "disputed"),
        ({"isDisputed": "false", "userId": bob}, "razorpay expired"),
        ({"isDisputed": "true", "userId": ada}, ""),
        ({"userId": MISSING_ID}, ""),
    ):
        listed = [each for each in await found(admin, "/admin/orders", **query) if each in ids.values()]
        assert listed == [ids[kind] for kind in expected.split()], query


async def test_order_pages_are_stable_under_inserts(services: Container, admin: Learner) -> None:
    ada = await add_account(services, f"{name()}@example.com")
    made = [
        await add_order(services, ada, await add_course(services), created_at=minutes_ago(number // 3))
        for number in range(7)
    ]
    expected = await found(admin, "/admin/orders", userId=ada)
    assert sorted(expected) == sorted(made)
    first = (await admin.http.get("/admin/orders", params={"userId": ada, "limit": 4})).json()
    await add_order(services, ada, await add_course(services))
    rest = (await admin.http.get("/admin/orders", params={"userId": ada, "cursor": first["nextCursor"]})).json()
    assert [each["id"] for each in first["items"] + rest["items"]] == expected


# --- The audit log --------------------------------------------------------------------------------------


async def test_admin_mutations_are_audited(services: Container, asgi: Any, learners: tuple[Learner, Learner]) -> None:
    ada, bob = learners
    async with client(asgi) as http:
        boss = await make_admin(services, http)
        call = await add_call(services, ada, bob)
        body = {"reportedId": bob.id, "sessionId": call, "reason": "spam"}
        report = (await ada.http.post("/reports", json=body)).json()["id"]
        order = await services.checkout.start(ada.id, str(await _published(services)))
        await deliver(services, completed(order))
        requests: list[tuple[str, str, dict[str, Any] | None, str, str]] = [
            ("PATCH", f"/admin/reports/{report}", {"status": "dismissed"}, "report.review", report),
            ("PATCH", f"/admin/users/{bob.id}/ban", {"reason": "Spam."}, "user.ban", bob.id),
            ("PATCH", f"/admin/users/{bob.id}/unban", None, "user.unban", bob.id),
            ("POST", f"/admin/orders/{order.id}/refund", {"amount": 100}, "order.refund", str(order.id)),
        ]
        for method, path, json, *_ in requests:
            assert (await boss.http.request(method, path, json=json)).is_success, path
        entries = await read_all_pages(boss.http, "/admin/audit", limit=3, actorId=boss.id)
        expected = [(action, target) for *_, action, target in requests]
        assert [(each["action"], each["targetId"]) for each in entries[::-1]] == expected
        assert {each["actorId"] for each in entries} == {boss.id}
        assert entries[0]["details"] == {"amount": 100, "currency": "inr", "refund": entries[0]["details"]["refund"]}
        # What is read is what is sealed, and reading adds nothing.
        kept = await rows(
            services, "SELECT number, hash FROM audit_log WHERE actor_id = :a ORDER BY number DESC", a=boss.id
        )
        assert [(each["number"], each["hash"]) for each in entries] == [tuple(each) for each in kept]
        bans = await read_all_pages(boss.http, "/admin/audit", actorId=boss.id, action="user.ban")
        assert [each["targetId"] for each in bans] == [bob.id]
        of_report = await read_all_pages(boss.http, "/admin/audit", targetId=report)
        assert [each["action"] for each in of_report] == ["report.review"]
        assert (
            await read_all_pages(boss.http, "/admin/audit", actorId=boss.id, action="user.ban", targetId=ada.id) == []
        )
        assert await read_all_pages(boss.http, "/admin/audit", action="no.such") == []


async def test_audit_pages_are_stable_under_inserts(services: Container, admin: Learner) -> None:
    target = await add_account(services, f"{name()}@example.com")
    for _ in range(4):
        await services.sanctions.ban(admin.id, target, "Spam.")
        await services.sanctions.unban(admin.id, target)
    entries = await read_all_pages(admin.http, "/admin/audit", limit=100, targetId=target)
    assert [each["action"] for each in entries] == ["user.unban", "user.ban"] * 4
    first = (await admin.http.get("/admin/audit", params={"targetId": target, "limit": 3})).json()
    await services.sanctions.ban(admin.id, target, "Spam.")
    rest = await admin.http.get("/admin/audit", params={"targetId": target, "cursor": first["nextCursor"]})
    assert first["items"] + rest.json()["items"] == entries
    everything = await read_all_pages(admin.http, "/admin/audit", limit=5)
    assert [each["number"] for each in everything] == list(range(len(everything), 0, -1))
    by_nobody = await rows(services, "SELECT number FROM audit_log WHERE actor_id IS NULL")
    assert {each["number"] for each in everything if each["actorId"] is None} == {number for (number,) in by_nobody}


async def test_refresh_updates_last_active(services: Container, asgi: Any, admin: Learner) -> None:
    async with client(asgi) as http:
        ada = await register(http)
        await rows(
            services, "UPDATE profiles SET last_active_at = :at WHERE user_id = :i RETURNING 1", at=NOON, i=ada.id
        )
        answer = await http.post("/auth/refresh", json={"refreshToken": ada.refresh_token})
        assert answer.status_code == 200
        ((active,),) = await rows(services, "SELECT last_active_at FROM profiles WHERE user_id = :i", i=ada.id)
        assert active > NOON + timedelta(days=1)


async def _published(services: Container) -> uuid.UUID:
    course = await add_course(services)
    await rows(services, "UPDATE courses SET is_published = true WHERE id = :c RETURNING 1", c=course)
    return course


async def test_audit_entry_of_the_cli_has_no_actor(services: Container, admin: Learner) -> None:
    user = await services.administrators.create(f"{name()}@example.com", "a good password")
    (entry,) = (await admin.http.get("/admin/audit", params={"targetId": str(user.id)})).json()["items"]
    assert (entry["action"], entry["actorId"], entry["details"]) == ("admin.create", None, {})
    async with services.database.transaction() as db:
        kept = await db.get_one(AuditEntry, entry["number"])
    assert entry["hash"] == kept.hash


async def test_demoted_administrator_cannot_read(services: Container, asgi: Any, admin: Learner) -> None:
    async with client(asgi) as http:
        other = await make_admin(services, http)
        assert (await other.http.get("/admin/users")).status_code == 200
        await services.administrators.demote(other.email)
        for path in ("/admin/stats", "/admin/users", f"/admin/users/{admin.id}", "/admin/orders", "/admin/audit"):
            assert await _code(other.http, path) in ((401, "unauthenticated"), (403, "forbidden"))


async def _code(http: httpx.AsyncClient, path: str) -> tuple[int, str]:
    answer = await http.get(path)
    return answer.status_code, answer.json().get("code")
