"""Profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile

import errors
from handlers import shapes
from models import AgeBand, AgeSource
from services.identity.logins import Identity
from services.identity.profiles import ProfileChanges
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def get_me(services: Container, identity: Identity) -> rest.Me:
    return shapes.me(await services.profiles.read_own(identity.user_id))


async def update_me(services: Container, identity: Identity, body: rest.MeUpdate) -> rest.Me:
    return shapes.me(await services.profiles.update_me(identity.user_id, shapes.columns(body, ProfileChanges)))


async def delete_me(services: Container, identity: Identity, body: rest.DeleteMeRequest) -> None:
    password, proof = body.get("password"), body.get("proof")
    if proof is None and password is not None:
        proof = {"password": password}
    elif proof is None or password is not None:
        raise errors.RequestInvalid("send either 'password' or 'proof'")
    await services.account_deletion.delete(identity, await services.proofs.verify(identity.user_id, proof))


async def delete_me_with_body(services: Container, identity: Identity, body: rest.DeleteMeRequest) -> None:
    await delete_me(services, identity, body)


async def export_me(services: Container, identity: Identity) -> tuple[rest.DataExport, dict[str, str]]:
    export = await services.data_export.export(identity.user_id)
    return shapes.data_export(export), {"Content-Disposition": shapes.EXPORT_DISPOSITION}


async def upload_avatar(services: Container, identity: Identity, file: UploadFile | None = None) -> rest.Avatar:
    if file is None:
        raise errors.RequestInvalid("the part 'file' should be a file")
    avatar = await services.profiles.set_avatar(identity.user_id, await file.read())
    return {"avatarUrl": avatar.url, "isUnderReview": avatar.is_held}


async def delete_avatar(services: Container, identity: Identity) -> None:
    await services.profiles.remove_avatar(identity.user_id)


async def set_age(services: Container, identity: Identity, body: rest.AgeDeclaration) -> rest.Me:
    birth_date, band, source = body.get("birthDate"), body.get("ageBand"), body.get("source")
    if birth_date is not None and band is None and source is None:
        await services.ages.declare_birth_date(identity, birth_date)
    elif birth_date is None and band is not None and source is not None:
        await services.ages.declare_band(identity, AgeBand(band), AgeSource(source))
    else:
        raise errors.RequestInvalid("send either 'birthDate', or 'ageBand' with 'source'")
    return await get_me(services, identity)


async def list_consents(services: Container, identity: Identity) -> rest.ConsentList:
    return {"items": [shapes.consent(each) for each in await services.consents.list_for_user(identity.user_id)]}


async def give_consent(services: Container, identity: Identity, body: rest.ConsentRequest) -> None:
    await services.consents.give(identity.user_id, body["document"], body["version"])


async def withdraw_consent(services: Container, identity: Identity, document: str) -> None:
    await services.consents.withdraw(identity.user_id, document)


async def get_user(services: Container, user_id: str) -> rest.PublicProfile:
    return shapes.public_profile(await services.profiles.read_public(user_id))


async def list_blocks(services: Container, identity: Identity, limit: int, cursor: str | None = None) -> rest.BlockPage:
    return shapes.page(await services.blocks.list_for_user(identity.user_id, limit=limit, cursor=cursor), shapes.block)


async def block_user(services: Container, identity: Identity, user_id: str) -> None:
    await services.blocks.block(identity.user_id, user_id)


async def unblock_user(services: Container, identity: Identity, user_id: str) -> None:
    await services.blocks.unblock(identity.user_id, user_id)
