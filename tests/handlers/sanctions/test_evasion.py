"""Deletion of an account during a sanction, and another account with the same address."""

from __future__ import annotations

import uuid
from datetime import timedelta

import httpx
import pytest

import errors
from models import User
from services.safety.barred_identifiers import BarredIdentifiers
from testing.accounts import credentials, new_email
from testing.containers import run_jobs
from testing.databases import query
from testing.logins import Deployment, Visit
from testing.sanctions import BAN, SUSPENSION, WARNING, MakeMember, issue
from testing.servers import Learner


async def delete(deployment: Deployment, learner: Learner) -> None:
    """Delete an account as its owner does who cannot log in."""
    await deployment.services.deletion_links.request(learner.email)
    await run_jobs(deployment.services)
    await deployment.services.deletion_links.delete(deployment.outbox.tokens(learner.email, "delete-account")[-1])


async def verify(deployment: Deployment, learner: Learner) -> None:
    await query(deployment.services, "UPDATE users SET is_verified = true WHERE id = :i", i=learner.id)


async def register(visit: Visit, email: str) -> httpx.Response:
    return await visit().post("/auth/register", json=credentials(email, device=uuid.uuid4().hex))


async def test_ban_outlasts_a_deletion(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    """The verified address is refused with the code of a banned login, in any spelling, and without the reasons."""
    ada = await member()
    await verify(deployment, ada)
    sanction = await issue(admin, ada.id, BAN)
    await delete(deployment, ada)
    refused = await register(visit, ada.email.upper())
    assert refused.status_code == 403 and refused.json()["code"] == "account_banned"
    assert "/contact" in refused.json()["detail"] and "sanction" not in refused.json()
    assert (await register(visit, new_email())).status_code == 201
    # Nothing of the address, nor the words of the ban, is in the database.
    [kept] = await query(
        deployment.services, "SELECT * FROM barred_identifiers WHERE sanction_id = :i", i=sanction["id"]
    )
    assert ada.email not in str(kept) and len(kept.identifier_hash) == 64
    [left] = await query(deployment.services, "SELECT ban_reason FROM users WHERE id = :i", i=ada.id)
    assert left.ban_reason == ""
    # An operator who finds the complaint right lets the address in.
    found = await deployment.services.barred_identifiers.find(ada.email)
    assert str(found.sanction.id) == sanction["id"]
    lifted = await admin.http.post(f"/admin/sanctions/{sanction['id']}/lift", json={"reason": "It was the wrong one."})
    assert lifted.status_code == 200, lifted.text
    assert (await register(visit, ada.email)).status_code == 201


async def test_suspension_outlasts_a_deletion_until_it_ends(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    ada = await member()
    await verify(deployment, ada)
    await issue(admin, ada.id, SUSPENSION)
    assert (await ada.http.get("/users/me")).status_code == 401
    await delete(deployment, ada)
    refused = await register(visit, ada.email)
    assert refused.status_code == 403 and refused.json()["code"] == "account_suspended"
    await query(deployment.services, "UPDATE barred_identifiers SET until = now() - interval '1 second'")
    await deployment.services.pruning.prune()
    assert await query(deployment.services, "SELECT FROM barred_identifiers") == []
    assert (await register(visit, ada.email)).status_code == 201


async def test_unverified_or_free_address_is_not_kept(
    deployment: Deployment, visit: Visit, member: MakeMember, admin: Learner
) -> None:
    """An address that was never verified may be another person's; and a warning keeps nobody out."""
    impostor, warned = await member(), await member()
    await issue(admin, impostor.id, BAN)
    await verify(deployment, warned)
    await issue(admin, warned.id, WARNING)
    for each in (impostor, warned):
        await delete(deployment, each)
        assert (await register(visit, each.email)).status_code == 201


async def test_address_is_found_with_an_older_key(deployment: Deployment, member: MakeMember, admin: Learner) -> None:
    ada = await member()
    await verify(deployment, ada)
    sanction = await issue(admin, ada.id, BAN)
    database = deployment.services.database

    def build(*keys: bytes) -> BarredIdentifiers:
        return BarredIdentifiers(database, lambda: keys, timedelta(days=1))

    async with database.transaction() as db:
        await build(b"old").add_within(db, await db.get_one(User, uuid.UUID(ada.id)))
    assert str((await build(b"new", b"old").find(ada.email)).sanction.id) == sanction["id"]
    with pytest.raises(errors.NotFound):
        await build(b"new").find(ada.email)
