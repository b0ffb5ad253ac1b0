"""Partners: learners who have both asked to meet again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def list_partners(
    services: Container, identity: Identity, limit: int, cursor: str | None = None
) -> rest.PartnershipPage:
    page = await services.partners.list_for_user(identity.user_id, limit=limit, cursor=cursor)
    return shapes.page(page, shapes.partnership)


async def ask_partner(services: Container, identity: Identity, user_id: str) -> None:
    await services.partners.ask(identity.user_id, user_id)


async def remove_partner(services: Container, identity: Identity, user_id: str) -> None:
    await services.partners.remove(identity.user_id, user_id)
