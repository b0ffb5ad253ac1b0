"""Refresh-token families: one child for each token, detection of reuse, and a reliable end."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import errors
from container import Container
from instants import utc_now
from services.identity import logins
from services.identity.login_opening import Client
from services.identity.logins import LoginTokens
from settings import Settings
from testing.accounts import new_email
from testing.containers import run_jobs, running_container
from testing.databases import own_database, query
from testing.email_outbox import Outbox
from testing.polling import eventually
from testing.servers import PASSWORD

BAN = "UPDATE users SET is_banned = true, banned_at = now(), ban_reason = 'a test' WHERE id = :id"
UNBAN = "UPDATE users SET is_banned = false, banned_at = NULL, ban_reason = NULL WHERE id = :id"


@pytest.fixture(scope="module")
async def other_worker(settings: Settings) -> AsyncIterator[Container]:
    """What a second worker process has."""
    async with running_container(settings) as services:
        yield services


async def register(services: Container, *, device: str = "phone") -> LoginTokens:
    return await services.authentication.register(new_email(), PASSWORD, device, "ios")


def family(services: Container, signed_in: LoginTokens) -> uuid.UUID:
    return uuid.UUID(services.logins.identify(signed_in.access_token).family_id)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def age_exchange(services: Container, token: str, seconds: float) -> None:
    """Move the moment at which a token was exchanged into the past."""
    await query(
        services,
        "UPDATE refresh_tokens SET rotated_at = rotated_at - make_interval(secs => :seconds) WHERE token_hash = :hash",
        seconds=seconds,
        hash=digest(token),
    )


async def usable(services: Container, signed_in: LoginTokens) -> list[Any]:
    """The tokens of a user that could still be exchanged, or that have not been revoked."""
    return await query(
        services, "SELECT id, rotated_at FROM refresh_tokens WHERE user_id = :id AND NOT revoked", id=signed_in.user.id
    )


async def refused(services: Container, token: str) -> str:
    with pytest.raises(errors.ProductError) as caught:
        await services.logins.refresh(token)
    return caught.value.code


# --- Exchanging -------------------------------------------------------------------------------


async def test_concurrent_refreshes_get_one_child(container: Container, other_worker: Container) -> None:
    parent = await register(container)
    children = await asyncio.gather(
        *(services.logins.refresh(parent.refresh_token) for services in [container, other_worker] * 25)
    )
    assert len(children) == 50 and len({child.refresh_token for child in children}) == 1
    rows = await query(
        container, "SELECT rotated_at, revoked FROM refresh_tokens WHERE family_id = :id", id=family(container, parent)
    )
    assert len(rows) == 2 and [row.rotated_at for row in rows].count(None) == 1
    assert not any(row.revoked for row in rows)
    assert (await container.logins.refresh(children[0].refresh_token)).refresh_token != children[0].refresh_token


async def test_lost_refresh_answer_is_repeated(container: Container) -> None:
    parent = await register(container)
    lost = await container.logins.refresh(parent.refresh_token)
    again = await container.logins.refresh(parent.refresh_token)
    assert again.refresh_token == lost.refresh_token != parent.refresh_token
    assert family(container, again) == family(container, parent)
    await container.logins.refresh(again.refresh_token)


async def test_delayed_refresh_gets_the_same_child_for_a_minute(container: Container) -> None:
    """By PostgreSQL's clock; what was exchanged earlier is moved into the past."""
    parent = await register(container)
    child = await container.logins.refresh(parent.refresh_token)
    await age_exchange(container, parent.refresh_token, 50)
    assert (await container.logins.refresh(parent.refresh_token)).refresh_token == child.refresh_token
    await age_exchange(container, parent.refresh_token, 10.1)
    assert await refused(container, parent.refresh_token) == "refresh_token_reused"
    assert await refused(container, child.refresh_token) == "refresh_token_invalid"


async def test_delayed_refresh_works_for_the_newest_pair_only(container: Container) -> None:
    """Each exchange moves the pair on: its parent is answered again, the token before it ends the family."""
    tokens = [await register(container)]
    for _ in range(3):
        tokens.append(await container.logins.refresh(tokens[-1].refresh_token))
        again = await container.logins.refresh(tokens[-2].refresh_token)
        assert again.refresh_token == tokens[-1].refresh_token
    assert await refused(container, tokens[-3].refresh_token) == "refresh_token_reused"
    assert await usable(container, tokens[0]) == []


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_clock_skew_neither_ends_nor_keeps_a_login(
    container: Container, other_worker: Container, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    parent = await register(container)
    child = await container.logins.refresh(parent.refresh_token)
    with monkeypatch.context() as wrong:
        wrong.setattr(logins, "utc_now", lambda: utc_now() + timedelta(minutes=minutes))
        assert (await other_worker.logins.refresh(parent.refresh_token)).refresh_token == child.refresh_token
        await other_worker.logins.end(container.logins.identify(child.access_token))
    await eventually(lambda: is_ended(container, child), within=1, what="known to the worker whose clock is right")


async def test_late_parent_token_revokes_its_family(container: Container, other_worker: Container) -> None:
    parent = await register(container)
    child = await container.logins.refresh(parent.refresh_token)
    await age_exchange(container, parent.refresh_token, 61)

    assert await refused(container, parent.refresh_token) == "refresh_token_reused"

    # The answer was an error; what it did is committed all the same.
    assert await usable(container, parent) == []
    for _ in range(2):
        assert await refused(container, child.refresh_token) == "refresh_token_invalid"
        assert await refused(other_worker, parent.refresh_token) == "refresh_token_invalid"
    for token in (parent.access_token, child.access_token):
        with pytest.raises(errors.Unauthenticated):
            container.logins.identify(token)
    await eventually(lambda: is_ended(other_worker, child), within=1, what="known to the other worker")


async def test_grandparent_token_revokes_its_family(container: Container) -> None:
    grandparent = await register(container)
    parent = await container.logins.refresh(grandparent.refresh_token)
    child = await container.logins.refresh(parent.refresh_token)
    assert await refused(container, grandparent.refresh_token) == "refresh_token_reused"
    assert await usable(container, child) == []
    for token in (grandparent, parent, child):
        assert await refused(container, token.refresh_token) == "refresh_token_invalid"


async def test_expired_refresh_token_revokes_nothing(container: Container) -> None:
    parent = await register(container)
    await query(
        container,
        "UPDATE refresh_tokens SET expires_at = now() - interval '1 second' WHERE token_hash = :hash",
        hash=digest(parent.refresh_token),
    )
    assert await refused(container, parent.refresh_token) == "refresh_token_invalid"
    assert len(await usable(container, parent)) == 1
    assert await container.logins.list_devices(container.logins.identify(parent.access_token)) == []


@pytest.mark.parametrize("token", ["", "x", "ü" * 64, "a" * 43], ids=["empty", "short", "not ascii", "unknown"])
async def test_unknown_refresh_token_is_refused(container: Container, token: str) -> None:
    assert await refused(container, token) == "refresh_token_invalid"


async def test_database_allows_one_usable_token_per_family(container: Container) -> None:
    parent = await register(container)
    with pytest.raises(Exception, match="refresh_tokens_current_key"):
        await query(
            container,
            "INSERT INTO refresh_tokens (id, user_id, family_id, token_hash, device_id, platform, expires_at) "
            "SELECT gen_random_uuid(), user_id, family_id, repeat('0', 64), device_id, platform, expires_at "
            "FROM refresh_tokens WHERE token_hash = :hash",
            hash=digest(parent.refresh_token),
        )


# --- Other devices ------------------------------------------------------------------------------


async def test_ending_a_device_keeps_the_others(container: Container) -> None:
    phone = await register(container)
    email = phone.user.email
    tablet = await container.authentication.login(email, PASSWORD, Client("tablet", "android"))
    laptop = await container.authentication.login(email, PASSWORD, Client("laptop", "web"))
    stranger = await register(container)
    user_id = str(phone.user.id)

    grandchild = await container.logins.refresh((await container.logins.refresh(phone.refresh_token)).refresh_token)
    assert await refused(container, phone.refresh_token) == "refresh_token_reused"
    for ended in (phone, grandchild):
        assert is_ended(container, ended)
    await container.logins.end_device(user_id, "tablet")
    assert is_ended(container, tablet)

    assert not is_ended(container, laptop)
    laptop = await container.logins.refresh(laptop.refresh_token)
    await container.logins.end(container.logins.identify(laptop.access_token))
    assert is_ended(container, laptop)

    assert not is_ended(container, stranger)
    await container.logins.refresh(stranger.refresh_token)


async def test_same_device_id_of_another_user_is_kept(container: Container) -> None:
    mine, theirs = await register(container, device="same-name"), await register(container, device="same-name")
    await container.logins.end_device(str(mine.user.id), "same-name")
    assert is_ended(container, mine) and not is_ended(container, theirs)
    await container.logins.refresh(theirs.refresh_token)


# --- One device, one login --------------------------------------------------------------------


async def push_rows(services: Container, user_id: object) -> list[tuple[str, str]]:
    rows = await query(services, "SELECT fcm_token, family_id FROM device_tokens WHERE user_id = :id", id=user_id)
    return [(row.fcm_token, str(row.family_id)) for row in rows]


async def test_login_ends_the_earlier_login_of_the_device(container: Container, other_worker: Container) -> None:
    first = await register(container)
    email, laptop = (
        first.user.email,
        await container.authentication.login(first.user.email, PASSWORD, Client("laptop", "web")),
    )
    stranger = await register(container)
    refreshed = await container.logins.refresh(first.refresh_token)
    second = await other_worker.authentication.login(email, PASSWORD, Client("phone", "android"))

    assert is_ended(other_worker, first)
    await eventually(lambda: is_ended(container, refreshed), within=1, what="known to the worker that did not end it")
    for token in (first.refresh_token, refreshed.refresh_token):
        assert await refused(container, token) == "refresh_token_invalid"
    for kept in (second, laptop, stranger):
        assert not is_ended(container, kept)
    devices = await container.logins.list_devices(container.logins.identify(second.access_token))
    assert sorted((each.device_id, each.platform, each.current) for each in devices) == [
        ("laptop", "web", False),
        ("phone", "android", True),
    ]


async def test_login_keeps_the_push_token_and_logout_removes_it(container: Container) -> None:
    first = await register(container)
    user_id, token = first.user.id, uuid.uuid4().hex
    await container.push_devices.register(container.logins.identify(first.access_token), token, "phone", "ios")
    second = await container.authentication.login(first.user.email, PASSWORD, Client("phone", "ios"))
    assert await push_rows(container, user_id) == [(token, str(family(container, second)))]

    identity = container.logins.identify(second.access_token)
    await container.logins.end(identity)
    assert await push_rows(container, user_id) == []
    assert await container.logins.list_devices(identity) == [] and await usable(container, first) == []
    for each in (first, second):
        assert await refused(container, each.refresh_token) == "refresh_token_invalid"


async def test_concurrent_logins_of_a_device_leave_one(container: Container, other_worker: Container) -> None:
    first = await register(container)
    logins = await asyncio.gather(
        *(
            services.authentication.login(first.user.email, PASSWORD, Client("phone", "ios"))
            for services in [container, other_worker] * 4
        )
    )
    assert len(await usable(container, first)) == 1
    codes = [await outcome_of_refresh(container, each.refresh_token) for each in logins]
    assert sorted(codes) == ["", *["refresh_token_invalid"] * 7]


async def outcome_of_refresh(services: Container, token: str) -> str:
    try:
        await services.logins.refresh(token)
    except errors.ProductError as error:
        return error.code
    return ""


async def test_database_allows_one_usable_login_of_a_device(container: Container) -> None:
    parent = await register(container)
    with pytest.raises(Exception, match="refresh_tokens_device_key"):
        await query(
            container,
            "INSERT INTO refresh_tokens (id, user_id, family_id, token_hash, device_id, platform, expires_at) "
            "SELECT gen_random_uuid(), user_id, gen_random_uuid(), repeat('0', 64), device_id, platform, expires_at "
            "FROM refresh_tokens WHERE token_hash = :hash",
            hash=digest(parent.refresh_token),
        )


# --- Races --------------------------------------------------------------------------------------


def is_ended(services: Container, signed_in: LoginTokens) -> bool:
    try:
        services.logins.identify(signed_in.access_token)
    except errors.Unauthenticated:
        return True
    return False


async def soon(work: Any, *, within: float = 0.002) -> Any:
    """Begin within some seconds, so that each round of a race begins another way; answer errors as values."""
    await asyncio.sleep(random.random() * within)
    try:
        return await work
    except errors.ProductError as error:
        return error


async def assert_nothing_left(services: Container, user: LoginTokens, outcomes: list[Any]) -> None:
    assert await usable(services, user) == []
    for outcome in outcomes:
        if isinstance(outcome, LoginTokens):
            assert is_ended(services, outcome)
            assert await refused(services, outcome.refresh_token) == "refresh_token_invalid"
        else:
            assert outcome is None or isinstance(outcome, errors.ProductError), outcome


@pytest.mark.parametrize("how", ["end_all", "end_device", "end"])
async def test_refresh_during_logout_leaves_no_token(container: Container, other_worker: Container, how: str) -> None:
    first = await register(container)
    user_id, won = str(first.user.id), 0
    await container.logins.end_all(user_id)
    for _ in range(100):
        parent = await container.authentication.login(first.user.email, PASSWORD, Client("phone", "ios"))
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "end_all": lambda: container.logins.end_all(user_id),
            "end_device": lambda: container.logins.end_device(user_id, "phone"),
            "end": functools.partial(container.logins.end, container.logins.identify(parent.access_token)),
        }
        outcomes = await asyncio.gather(
            soon(other_worker.logins.refresh(parent.refresh_token)),
            soon(container.logins.refresh(parent.refresh_token)),
            soon(ways[how]()),
        )
        assert outcomes[2] is None
        won += isinstance(outcomes[0], LoginTokens)
        await assert_nothing_left(container, first, list(outcomes))
    assert won, "the refresh never came first: this was no race"


async def test_login_during_a_ban_leaves_no_token(container: Container) -> None:
    user = await register(container)
    won, window = 0, 0.01

    async def ban() -> None:
        async with container.database.transaction() as db:
            connection = await db.connection()
            await connection.execute(sa.text(BAN), {"id": user.user.id})
            ended = await container.logins.end_all_within(db, user.user.id)
        await container.logins.publish_ended(ended)

    for _ in range(100):
        await query(container, UNBAN, id=user.user.id)
        outcomes = await asyncio.gather(
            soon(container.authentication.login(user.user.email, PASSWORD, Client("phone", "ios"))),
            soon(container.authentication.login(user.user.email, PASSWORD, Client("tablet", "ios"))),
            soon(ban(), within=window),
        )
        # The one that came first starts later in the next round.
        won += (login_came_first := isinstance(outcomes[0], LoginTokens))
        window *= 0.8 if login_came_first else 1.25
        await assert_nothing_left(container, user, list(outcomes))
    assert 0 < won < 100, f"one side always came first: this was no race ({won})"


async def test_old_password_login_during_reset_leaves_no_token(
    container: Container,
) -> None:
    user = await register(container)
    old, won, window = PASSWORD, 0, 0.005
    for number in range(50):
        new, token = f"new password {number}", f"reset-{uuid.uuid4().hex}"
        await query(
            container,
            "INSERT INTO password_reset_tokens (id, user_id, token_hash, expires_at) "
            "VALUES (gen_random_uuid(), :user, :hash, now() + interval '1 hour')",
            user=user.user.id,
            hash=digest(token),
        )
        outcomes = await asyncio.gather(
            soon(container.authentication.login(user.user.email, old, Client("phone", "ios"))),
            soon(container.passwords.reset(token, new), within=window),
        )
        assert outcomes[1] is None
        won += (login_came_first := isinstance(outcomes[0], LoginTokens))
        window *= 0.8 if login_came_first else 1.25
        await assert_nothing_left(container, user, list(outcomes))
        old = new
    assert 0 < won < 50, f"one side always came first: this was no race ({won})"


# --- What is kept -------------------------------------------------------------------------------


async def test_database_holds_no_token_or_password(settings: Settings) -> None:
    outbox, email, password = Outbox(), new_email(), f"canary {uuid.uuid4().hex}"
    with own_database(settings) as own:
        async with running_container(own, mailer=outbox) as services:
            parent = await services.authentication.register(email, password, "phone", "ios")
            child = await services.logins.refresh(parent.refresh_token)
            await services.passwords.request_reset(email)
            waiting = await everything(services)
            outbox.broken = RuntimeError("the mail provider is unavailable")
            await run_jobs(services)  # each has failed once, and waits for its next try
            failed = await everything(services)
            outbox.broken = None
            await query(services, "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo'")
            await run_jobs(services)
            mailed = outbox.tokens(email, "reset-password") + outbox.tokens(email, "verify-email")
            assert len(mailed) == 2
            sent = await everything(services)
            new = f"another {uuid.uuid4().hex}"
            await services.passwords.reset(mailed[0], new)
            after = await everything(services)
    assert "auth.send_password_reset" in waiting and "RuntimeError" not in failed and digest(mailed[0]) in sent
    secrets = [password, new, parent.access_token, *mailed]
    for signed_in in (parent, child):
        assert digest(signed_in.refresh_token) in waiting
        secrets += [signed_in.refresh_token, signed_in.access_token.rpartition(".")[2]]
    for dump in (waiting, failed, sent, after):
        assert [secret for secret in secrets if secret in dump] == []


async def everything(services: Container) -> str:
    """Every row of every table, as text."""
    tables = await query(services, "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'")
    rows = []
    for table in tables:
        rows += await query(services, f"SELECT t::text FROM {table.name} t")
    return "\n".join(row[0] for row in rows)


async def test_tokens_are_deleted_a_day_after_expiry(container: Container) -> None:
    kept, forgotten = await register(container), await register(container)
    for signed_in, age in ((kept, "23 hours"), (forgotten, "25 hours")):
        await query(
            container,
            "UPDATE refresh_tokens SET expires_at = now() - CAST(CAST(:age AS text) AS interval) WHERE user_id = :id",
            age=age,
            id=signed_in.user.id,
        )
    assert await container.logins.delete_expired() >= 1
    assert len(await usable(container, kept)) == 1 and await usable(container, forgotten) == []
