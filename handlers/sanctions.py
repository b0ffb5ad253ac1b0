"""Sanctions as their learners read them, and appeals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def list_my_sanctions(
    services: Container, identity: Identity, limit: int, cursor: str | None = None
) -> rest.SanctionPage:
    page = await services.sanctions.list_for_user(identity.user_id, limit=limit, cursor=cursor)
    return shapes.page(page, shapes.sanction)


async def acknowledge_warning(services: Container, identity: Identity, sanction_id: str) -> None:
    await services.sanctions.acknowledge(identity.user_id, sanction_id)


async def appeal_my_sanction(
    services: Container, identity: Identity, sanction_id: str, body: rest.AppealText
) -> rest.Appeal:
    return shapes.appeal(await services.appeals.submit(identity.user_id, sanction_id, body["text"]))


async def submit_appeal(services: Container, body: rest.AppealRequest) -> rest.Appeal:
    return shapes.appeal(await services.appeals.submit_with_token(body["token"], body["text"]))


async def read_sanction(services: Container, body: rest.AppealTokenRequest) -> rest.Sanction:
    return shapes.sanction(await services.appeals.read_notice(body["token"]))
