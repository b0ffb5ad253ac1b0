"""FCM tokens: one owner each, and the end of a token with its login."""

from __future__ import annotations

import asyncio
import uuid

import errors
from container import Container
from services.identity.login_opening import Client
from testing.accounts import new_email
from testing.databases import query
from testing.notifications import list_owners, new_fcm_token, register_device, register_learner
from testing.servers import PASSWORD


async def test_concurrent_registrations_of_a_token_leave_one_owner(services: Container) -> None:
    users, token = [await register_learner(services) for _ in range(50)], new_fcm_token()
    await asyncio.gather(*(services.push_devices.register(who, token, "phone", "ios") for who in users))
    (owner,) = await list_owners(services, token)
    assert owner in {who.user_id for who in users}
    last = users[7]
    await services.push_devices.register(last, token, "phone", "android")
    assert await list_owners(services, token) == [last.user_id]


async def test_swapped_tokens_follow_their_registration(services: Container) -> None:
    one, other, first, second = (
        await register_learner(services),
        await register_learner(services),
        new_fcm_token(),
        new_fcm_token(),
    )
    register = services.push_devices.register
    for _ in range(15):
        await asyncio.gather(
            register(one, first, "phone", "ios"),
            register(other, second, "phone", "ios"),
            register(one, second, "phone", "ios"),
            register(other, first, "phone", "ios"),
        )
        rows = await query(
            services, "SELECT fcm_token, user_id FROM device_tokens WHERE fcm_token IN (:a, :b)", a=first, b=second
        )
        assert len({row.fcm_token for row in rows}) == len({row.user_id for row in rows}) == len(rows) <= 2


async def test_new_token_replaces_the_devices_old_one(services: Container) -> None:
    who, old = await register_device(services)
    new = new_fcm_token()
    await asyncio.gather(*(services.push_devices.register(who, new, "phone", "ios") for _ in range(10)))
    assert await list_owners(services, old) == [] and await list_owners(services, new) == [who.user_id]


async def test_logout_during_registration_leaves_no_token(services: Container) -> None:
    for _ in range(20):
        who, token = await register_learner(services), new_fcm_token()
        outcomes = await asyncio.gather(
            *(services.push_devices.register(who, token, f"d{number}", "ios") for number in range(3)),
            services.logins.end(who),
            *(services.push_devices.register(who, token, f"e{number}", "ios") for number in range(3)),
            return_exceptions=True,
        )
        assert all(each is None or isinstance(each, errors.Unauthenticated) for each in outcomes), outcomes
        assert await list_owners(services, token) == []


async def test_ended_logins_lose_their_tokens(services: Container) -> None:
    for ends in ("logout", "logout-all", "ban", "password", "role"):
        who, phone = await register_device(services)
        email = (await query(services, "SELECT email FROM users WHERE id = :u", u=who.user_id))[0].email
        tablet, second = (
            new_fcm_token(),
            await services.authentication.login(email, PASSWORD, Client("tablet", "android")),
        )
        await services.push_devices.register(services.logins.identify(second.access_token), tablet, "tablet", "android")
        if ends == "logout":
            await services.logins.end(who)
        elif ends == "logout-all":
            await services.logins.end_all(who.user_id)
        elif ends == "ban":
            admin = await services.administrators.create(new_email(), PASSWORD)
            await services.sanctions.ban(str(admin.id), who.user_id, "Spam.")
        elif ends == "password":
            async with services.database.transaction() as db:
                await services.logins.end_all_within(db, uuid.UUID(who.user_id))
        else:
            await services.administrators.promote(email)
        assert await list_owners(services, phone) == [], ends
        assert await list_owners(services, tablet) == ([who.user_id] if ends == "logout" else []), ends


async def test_expired_login_loses_its_token(services: Container) -> None:
    who, token = await register_device(services)
    _, other = await register_device(services)
    await query(
        services, "UPDATE refresh_tokens SET expires_at = now() - interval '2 days' WHERE user_id = :u", u=who.user_id
    )
    await services.logins.delete_expired()
    assert await list_owners(services, token) == [] and await list_owners(services, other) != []
