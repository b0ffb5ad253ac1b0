"""Profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import inflection

from handlers import shapes
from services.sign_ins import Identity

if TYPE_CHECKING:
    from container import Container


async def me(services: Container, caller: Identity) -> dict[str, Any]:
    return shapes.me(await services.users.me(caller.user_id))


async def update_me(services: Container, caller: Identity, body: dict[str, Any]) -> dict[str, Any]:
    changes = {inflection.underscore(name): value for name, value in body.items()}
    return shapes.me(await services.users.update_me(caller.user_id, changes))
