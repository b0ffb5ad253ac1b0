"""Profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import inflection
from starlette.datastructures import UploadFile

import errors
from handlers import shapes
from services.identity.logins import Identity

if TYPE_CHECKING:
    from container import Container


async def me(services: Container, caller: Identity) -> dict[str, Any]:
    return shapes.me(await services.profiles.me(caller.user_id))


async def update_me(services: Container, caller: Identity, body: dict[str, Any]) -> dict[str, Any]:
    changes = {inflection.underscore(name): value for name, value in body.items()}
    return shapes.me(await services.profiles.update_me(caller.user_id, changes))


async def delete_me(services: Container, caller: Identity, body: dict[str, Any]) -> None:
    await services.privacy.erase(caller.user_id, body["password"])


async def export_me(services: Container, caller: Identity) -> tuple[dict[str, Any], dict[str, str]]:
    copy = await services.privacy.copy(caller.user_id)
    return shapes.data_export(copy), {"Content-Disposition": 'attachment; filename="parlance.json"'}


async def set_avatar(services: Container, caller: Identity, file: UploadFile | None = None) -> dict[str, Any]:
    if file is None:
        raise errors.RequestInvalid("the part 'file' should be a file")
    return {"avatarUrl": await services.profiles.set_avatar(caller.user_id, await file.read())}


async def remove_avatar(services: Container, caller: Identity) -> None:
    await services.profiles.remove_avatar(caller.user_id)


async def public(services: Container, user_id: str) -> dict[str, Any]:
    return shapes.public_profile(await services.profiles.public(user_id))


async def list_blocks(services: Container, caller: Identity, limit: int, cursor: str | None = None) -> dict[str, Any]:
    return shapes.page(await services.blocks.list_of(caller.user_id, limit=limit, cursor=cursor), shapes.block)


async def block(services: Container, caller: Identity, user_id: str) -> None:
    await services.blocks.block(caller.user_id, user_id)


async def unblock(services: Container, caller: Identity, user_id: str) -> None:
    await services.blocks.unblock(caller.user_id, user_id)
