"""Lessons, their videos and files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC
from email.utils import format_datetime
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

import errors
import texts
from handlers import shapes
from services.identity.logins import Identity
from services.learning.lessons import LessonChanges
from wire import rest

if TYPE_CHECKING:
    from container import Container
    from models import VideoUpload

#: Capabilities of resumable uploads in `OPTIONS`; contract/tus.py refuses other extensions.
_TUS = {"Tus-Version": "1.0.0", "Tus-Extension": "creation,expiration,termination"}
#: For pages of other sites that play it; no shared cache may store it.
_PLAYLIST = {
    "Content-Type": "application/vnd.apple.mpegurl",
    "Cache-Control": "private, no-store",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


async def get_lesson(services: Container, identity: Identity, lesson_id: str) -> rest.Lesson:
    admin = services.second_factors.acts_as_admin(identity)
    return shapes.lesson(await services.lessons.read(identity.user_id, lesson_id, drafts=admin), admin=admin)


async def update_lesson(
    services: Container, identity: Identity, lesson_id: str, body: rest.LessonUpdate
) -> rest.Lesson:
    changes = shapes.columns(body, LessonChanges)
    return shapes.lesson(await services.lessons.update(identity.user_id, lesson_id, changes), admin=True)


async def delete_lesson(services: Container, identity: Identity, lesson_id: str) -> None:
    await services.lessons.remove(identity.user_id, lesson_id)


async def set_lesson_progress(
    services: Container, identity: Identity, lesson_id: str, body: rest.LessonPosition
) -> rest.LessonProgress:
    return shapes.progress(await services.progress.record_position(identity.user_id, lesson_id, body["watchSeconds"]))


async def complete_lesson(services: Container, identity: Identity, lesson_id: str) -> rest.LessonProgress:
    return shapes.progress(await services.progress.complete(identity.user_id, lesson_id))


async def list_attachments(services: Container, identity: Identity, lesson_id: str) -> rest.AttachmentList:
    found = await services.lessons.list_attachments(
        identity.user_id, lesson_id, drafts=services.second_factors.acts_as_admin(identity)
    )
    return {"items": [shapes.attachment(each) for each in found]}


async def upload_attachment(
    services: Container, identity: Identity, lesson_id: str, file: UploadFile | None = None
) -> rest.Attachment:
    if file is None:
        raise errors.RequestInvalid("the part 'file' should be a file")
    name = texts.clean_file_name(file.filename or "")
    if fault := texts.find_fault(name, texts.Kind.NAME, min_length=1, max_bytes=texts.FILE_NAME_BYTES):
        raise errors.RequestInvalid(f"the name of 'file' {fault}")
    return shapes.attachment(await services.lessons.attach(identity.user_id, lesson_id, name, await file.read()))


async def delete_attachment(services: Container, identity: Identity, lesson_id: str, attachment_id: str) -> None:
    await services.lessons.detach(identity.user_id, lesson_id, attachment_id)


# --- Video ----------------------------------------------------------------------------------------


async def upload_video(services: Container, identity: Identity, request: Request, lesson_id: str) -> rest.Lesson:
    declared = request.headers.get("content-length", "")
    length = int(declared) if declared.isdigit() else None
    return shapes.lesson(
        await services.uploads.put(identity.user_id, lesson_id, _body(services, identity, request), length), admin=True
    )


async def create_upload(
    services: Container, identity: Identity, request: Request, lesson_id: str
) -> tuple[None, dict[str, str]]:
    length, metadata = int(request.headers["Upload-Length"]), request.headers.get("Upload-Metadata")
    row = await services.uploads.create(identity.user_id, lesson_id, length, metadata)
    return None, {**_expiry(services, row), "Location": f"/lessons/{lesson_id}/video/uploads/{row.id}"}


async def describe_uploads(services: Container, lesson_id: str) -> tuple[None, dict[str, str]]:
    return None, {**_TUS, "Tus-Max-Size": str(services.uploads.max_bytes)}


async def describe_upload(services: Container, lesson_id: str, upload_id: str) -> tuple[None, dict[str, str]]:
    return await describe_uploads(services, lesson_id)


async def get_upload(services: Container, lesson_id: str, upload_id: str) -> tuple[None, dict[str, str]]:
    row = await services.uploads.read(lesson_id, upload_id)
    headers = {**_upload(services, row), "Upload-Length": str(row.length), "Cache-Control": "no-store"}
    if row.client_metadata is not None:
        headers["Upload-Metadata"] = row.client_metadata
    return None, headers


async def continue_upload(
    services: Container, identity: Identity, request: Request, lesson_id: str, upload_id: str
) -> tuple[None, dict[str, str]]:
    offset = int(request.headers["Upload-Offset"])
    row = await services.uploads.append(
        identity.user_id, lesson_id, upload_id, offset, _body(services, identity, request)
    )
    return None, _upload(services, row)


async def delete_upload(services: Container, identity: Identity, lesson_id: str, upload_id: str) -> None:
    await services.uploads.abort(identity.user_id, lesson_id, upload_id)


async def get_video_url(services: Container, identity: Identity, lesson_id: str) -> rest.VideoLink:
    as_admin = services.second_factors.acts_as_admin(identity)
    return shapes.link(await services.playback.create_link(identity, lesson_id, as_admin=as_admin))


async def get_playlist(services: Container, lesson_id: str, name: str, token: str) -> tuple[bytes, dict[str, str]]:
    return (await services.playback.read_playlist(lesson_id, name, token)).encode(), _PLAYLIST


async def _body(services: Container, identity: Identity, request: Request) -> AsyncIterator[bytes]:
    """Read a body that may take hours; at its end the login has to be open still."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise errors.RequestInvalid("the body is incomplete; send the request again") from None
    await services.logins.require_open_in_database(identity)


def _upload(services: Container, row: VideoUpload) -> dict[str, str]:
    return {**_expiry(services, row), "Upload-Offset": str(row.received)}


def _expiry(services: Container, row: VideoUpload) -> dict[str, str]:
    """Return the header with the expiry of an upload, in the form of RFC 9110, 5.6.7."""
    return {"Upload-Expires": format_datetime(services.uploads.get_expiry(row).astimezone(UTC), usegmt=True)}
