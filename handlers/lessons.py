"""Lessons, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import inflection
from starlette.datastructures import UploadFile

import errors
from handlers import shapes
from services.sign_ins import Identity

if TYPE_CHECKING:
    from container import Container

#: Characters of a file's name; its end says what it is, so the end stays.
_NAME_LENGTH = 200


async def read(services: Container, caller: Identity, lesson_id: str) -> dict[str, Any]:
    admin = caller.role == "admin"
    return shapes.lesson(await services.lessons.read(lesson_id, drafts=admin), admin=admin)


async def update(services: Container, caller: Identity, lesson_id: str, body: dict[str, Any]) -> dict[str, Any]:
    columns = {inflection.underscore(name): value for name, value in body.items()}
    return shapes.lesson(await services.lessons.update(caller.user_id, lesson_id, columns), admin=True)


async def remove(services: Container, caller: Identity, lesson_id: str) -> None:
    await services.lessons.remove(caller.user_id, lesson_id)


async def set_progress(services: Container, caller: Identity, lesson_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return shapes.progress(await services.progress.watched(caller.user_id, lesson_id, body["watchSeconds"]))


async def complete(services: Container, caller: Identity, lesson_id: str) -> dict[str, Any]:
    return shapes.progress(await services.progress.complete(caller.user_id, lesson_id))


async def list_attachments(services: Container, caller: Identity, lesson_id: str) -> dict[str, Any]:
    found = await services.lessons.attachments(caller.user_id, lesson_id, drafts=caller.role == "admin")
    return {"items": [shapes.attachment(each) for each in found]}


async def add_attachment(
    services: Container, caller: Identity, lesson_id: str, file: UploadFile | None = None
) -> dict[str, Any]:
    if file is None:
        raise errors.RequestInvalid("the part 'file' should be a file")
    name = (file.filename or "file").replace("\\", "/").rpartition("/")[2]
    name = "".join(each for each in name if each.isprintable())[-_NAME_LENGTH:] or "file"
    return shapes.attachment(await services.lessons.attach(caller.user_id, lesson_id, name, await file.read()))


async def remove_attachment(services: Container, caller: Identity, lesson_id: str, attachment_id: str) -> None:
    await services.lessons.detach(caller.user_id, lesson_id, attachment_id)
