"""Uploads of videos: streamed to storage in parts, in one request or in several that resume each other.

Memory stays flat: no more than a part is buffered. The parts become an object in the transcoding job, so that a
request which breaks off at any point has either enqueued that job or changed nothing that learners see.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.storage import Storage, get_folder
from instants import utc_now
from jobs import delete_object, delete_upload, transcode_upload
from models import Lesson, VideoStatus, VideoUpload
from services.learning.lessons import read_visible_lesson
from services.operations.audit import AuditService

#: Storage takes no smaller parts than 5 MiB, and no more than 10,000 of an object.
PART_BYTES = 8 * 1024 * 1024
#: First bytes of a file that identify its type.
_MAGIC_BYTES = 12
_CONTENT_TYPE = "application/octet-stream"


class UploadsService:
    def __init__(
        self,
        database: Database,
        audit: AuditService,
        jobs: Jobs,
        storage: Storage,
        *,
        max_bytes: int,
        expiry: timedelta,
    ) -> None:
        """`expiry` is how long an upload without progress is kept."""
        self._database = database
        self._audit = audit
        self._jobs = jobs
        self._storage = storage
        self.max_bytes = max_bytes
        self._expiry = expiry

    # --- In one request -----------------------------------------------------------------------------

    async def put(self, actor_id: str, lesson_id: str, chunks: AsyncIterator[bytes], declared: int | None) -> Lesson:
        """Store a video as it comes and enqueue its transcoding; a body that breaks off leaves nothing.

        `declared` is the Content-Length. Raises NotFound, UnsupportedMediaType, PayloadTooLarge.
        """
        if declared is not None:
            self._check_length(declared)
        async with self._database.transaction() as db:
            lesson = await read_visible_lesson(db, lesson_id, drafts=True)
        key, size, tags = _make_key(lesson), 0, list[str]()
        attempt: str | None = None
        try:
            async for part in _split_parts(chunks):
                size += len(part)
                self._check_length(size)
                if attempt is None:
                    _check_file_type(part)
                    attempt = await self._storage.create_multipart_upload(key, _CONTENT_TYPE)
                tags.append(await self._storage.upload_part(key, attempt, len(tags) + 1, part))
            if attempt is None:
                raise errors.RequestInvalid("the body is empty")
            async with self._database.transaction() as db:
                return await self._enqueue_transcoding(db, actor_id, lesson_id, key, attempt, tags)
        except BaseException:
            if attempt is not None:
                # Parts that can't be dropped now are found by `delete_expired`.
                with suppress(errors.Unavailable):
                    await self._storage.abort_multipart_upload(key, attempt)
            raise

    # --- In several requests (tus 1.0) -------------------------------------------------------------------------

    async def create(
        self, actor_id: str, lesson_id: str, length: int, client_metadata: str | None = None
    ) -> VideoUpload:
        """Create an upload of `length` bytes; raise NotFound, PayloadTooLarge, or RequestInvalid for 0."""
        self._check_length(length)
        if length == 0:
            raise errors.RequestInvalid("Upload-Length should be at least 1: no video is empty")
        async with self._database.transaction() as db:
            lesson = await read_visible_lesson(db, lesson_id, drafts=True)
        key = _make_key(lesson)
        attempt = await self._storage.create_multipart_upload(key, _CONTENT_TYPE)
        row = VideoUpload(lesson_id=lesson.id, created_by=uuid.UUID(actor_id), key=key, attempt=attempt, length=length)
        row.client_metadata = client_metadata
        async with self._database.transaction() as db:
            await read_visible_lesson(db, lesson_id, drafts=True, lock=True)
            db.add(row)
            await self._audit.write(db, row.created_by, "upload.begin", lesson.id, upload=str(row.id), length=length)
        return row

    async def read(self, lesson_id: str, upload_id: str) -> VideoUpload:
        """Read an upload and its offset; raise NotFound."""
        statement = select(VideoUpload).where(self._is_current(lesson_id, upload_id))
        async with self._database.transaction() as db:
            row = (await db.exec(statement)).first()
        if row is None:
            raise errors.NotFound()
        return row

    async def append(
        self, actor_id: str, lesson_id: str, upload_id: str, offset: int, chunks: AsyncIterator[bytes]
    ) -> VideoUpload:
        """Append a body at `offset`; where it breaks off, all that came counts.

        The last byte enqueues the transcoding. Raises NotFound, UploadOffsetDiffers, PayloadTooLarge,
        UnsupportedMediaType, RequestInvalid for a body that broke off.
        """
        row = await self._claim(lesson_id, upload_id, offset)
        if row.received == row.length:
            async for chunk in chunks:
                if chunk:
                    raise errors.PayloadTooLarge("The upload is complete: its Upload-Length is stored.")
            return row
        buffer = bytearray(await self._storage.get(row.tail) if row.tail else b"")
        broken: errors.RequestInvalid | None = None
        seen = row.received
        try:
            async for chunk in chunks:
                seen += len(chunk)
                if seen > row.length:
                    raise errors.PayloadTooLarge("The body goes beyond the Upload-Length of this upload.")
                buffer += chunk
                if not row.tags and len(buffer) >= _MAGIC_BYTES:
                    _check_file_type(buffer)
                # The last part is left to the end, which stores it in one transaction with the job.
                while len(buffer) >= PART_BYTES and (len(row.tags) + 1) * PART_BYTES < row.length:
                    await self._store_part(row, bytes(buffer[:PART_BYTES]))
                    del buffer[:PART_BYTES]
        except errors.RequestInvalid as error:
            broken = error
        except errors.UnsupportedMediaType:
            await self.abort(actor_id, lesson_id, upload_id)
            raise
        if seen == row.length:
            await self._finish(actor_id, row, bytes(buffer))
        elif seen > row.received:
            await self._store_tail(row, bytes(buffer))
        if broken:
            raise broken
        return row

    async def abort(self, actor_id: str, lesson_id: str, upload_id: str) -> None:
        """Abort an upload and delete what is stored of it; raise NotFound."""
        row = await self.read(lesson_id, upload_id)
        async with self._database.transaction() as db:
            await self._delete_upload(db, row, uuid.UUID(actor_id))

    def get_expiry(self, row: VideoUpload) -> datetime:
        """Return when an upload expires unless more of it comes."""
        return row.updated_at + self._expiry

    def _is_current(self, lesson_id: str, upload_id: str) -> sa.ColumnElement[bool]:
        """Return the condition of an upload that has not expired, also where `delete_expired` has not run since."""
        return sa.and_(
            col(VideoUpload.id) == uuid.UUID(upload_id),
            col(VideoUpload.lesson_id) == uuid.UUID(lesson_id),
            col(VideoUpload.updated_at) > utc_now() - self._expiry,
        )

    async def delete_expired(self) -> int:
        """Delete expired uploads, and parts without a row; return how many."""
        too_old = utc_now() - self._expiry
        async with self._database.transaction() as db:
            stale = (await db.exec(select(VideoUpload).where(col(VideoUpload.updated_at) < too_old))).all()
        for row in stale:
            async with self._database.transaction() as db:
                await self._delete_upload(db, row, None)
        lost = [each for each in await self._storage.list_multipart_uploads("videos/") if each[2] < too_old]
        async with self._database.transaction() as db:
            resumable = (await db.exec(select(VideoUpload.key))).all()
            waiting = (await db.exec(select(Lesson.video_source))).all()
        known = {*resumable, *waiting}
        lost = [each for each in lost if each[0] not in known]
        for key, attempt, _ in lost:
            await self._storage.abort_multipart_upload(key, attempt)
        return len(stale) + len(lost)

    async def _claim(self, lesson_id: str, upload_id: str, offset: int) -> VideoUpload:
        """Become the upload's writer, in place of a request that hangs."""
        claimed = await self._update_upload(
            sa.and_(self._is_current(lesson_id, upload_id), col(VideoUpload.received) == offset),
            writer=uuid.uuid4(),
        )
        if claimed is None:
            await self.read(lesson_id, upload_id)
            raise errors.UploadOffsetDiffers()
        return claimed

    async def _store_part(self, row: VideoUpload, part: bytes) -> None:
        tag = await self._storage.upload_part(row.key, row.attempt, len(row.tags) + 1, part)
        await self._advance(row, [*row.tags, tag], None)

    async def _store_tail(self, row: VideoUpload, rest: bytes) -> None:
        tail = f"{get_folder(row.key)}tail-{row.writer}" if rest else None
        if tail:
            await self._storage.put(tail, rest, _CONTENT_TYPE)
        await self._advance(row, row.tags, tail, len(rest))

    async def _advance(self, row: VideoUpload, tags: list[str], tail: str | None, beyond: int = 0) -> None:
        """Record what is stored now, unless another request has become the writer; delete the earlier tail."""
        old_tail, mine = row.tail, sa.and_(col(VideoUpload.id) == row.id, col(VideoUpload.writer) == row.writer)
        received = len(tags) * PART_BYTES + beyond
        written = await self._update_upload(mine, received=received, tags=tags, tail=tail)
        if written is None:
            if tail:
                await self._storage.delete(tail)
            raise errors.UploadOffsetDiffers()
        row.received, row.tags, row.tail, row.updated_at = received, tags, tail, written.updated_at
        if old_tail and old_tail != tail:
            await self._storage.delete(old_tail)

    async def _finish(self, actor_id: str, row: VideoUpload, rest: bytes) -> None:
        if not row.tags:
            _check_file_type(rest)
        tags = list(row.tags)
        if rest:
            tags.append(await self._storage.upload_part(row.key, row.attempt, len(tags) + 1, rest))
        async with self._database.transaction() as db:
            # The row is kept for a while: a client whose last response was lost reads the offset.
            mine = sa.and_(
                col(VideoUpload.id) == row.id,
                col(VideoUpload.writer) == row.writer,
                col(VideoUpload.received) < row.length,
            )
            done = sa.update(VideoUpload).where(mine).values(received=row.length, tags=tags, tail=None)
            updated_at = (await db.execute(done.returning(col(VideoUpload.updated_at)))).scalar()
            if updated_at is None:
                raise errors.UploadOffsetDiffers()
            if row.tail:
                await self._jobs.enqueue(db, delete_object, key=row.tail)
            await self._enqueue_transcoding(db, actor_id, str(row.lesson_id), row.key, row.attempt, tags)
        row.received, row.updated_at = row.length, updated_at

    async def _update_upload(self, which: sa.ColumnElement[bool], **values: object) -> VideoUpload | None:
        statement = sa.update(VideoUpload).where(which).values(updated_at=utc_now(), **values).returning(VideoUpload)
        async with self._database.transaction() as db:
            row: VideoUpload | None = (await db.execute(statement)).scalars().first()
        return row

    async def _delete_upload(self, db: AsyncSession, row: VideoUpload, actor_id: uuid.UUID | None) -> None:
        unchanged = sa.and_(col(VideoUpload.id) == row.id, col(VideoUpload.updated_at) == row.updated_at)
        statement = sa.delete(VideoUpload).where(unchanged).returning(VideoUpload)
        gone = (await db.execute(statement)).scalars().first()
        if gone is not None and gone.received < gone.length:  # else it belongs to the lesson
            await self._jobs.enqueue(db, delete_upload, key=gone.key, attempt=gone.attempt)
            detail = {"upload": str(gone.id), "received": gone.received, "length": gone.length}
            await self._audit.write(db, actor_id, "upload.give_up", gone.lesson_id, **detail)

    async def delete_stored(self, key: str, attempt: str) -> None:
        """Delete what is stored of an aborted upload."""
        await self._storage.abort_multipart_upload(key, attempt)
        await self._storage.delete_all(get_folder(key))

    # --- Both -----------------------------------------------------------------------------------------

    async def _enqueue_transcoding(
        self, db: AsyncSession, actor_id: str, lesson_id: str, key: str, attempt: str, tags: list[str]
    ) -> Lesson:
        """Make an upload the lesson's video source, and enqueue its transcoding; raise NotFound."""
        changed = await db.execute(
            sa.update(Lesson)
            .where(col(Lesson.id) == uuid.UUID(lesson_id))
            .values(video_status=VideoStatus.PROCESSING, video_source=key, video_progress=0, video_error=None)
            .returning(Lesson)
        )
        lesson: Lesson | None = changed.scalars().first()
        if lesson is None:
            raise errors.NotFound()
        await self._jobs.enqueue(db, transcode_upload, lesson_id=lesson_id, source=key, attempt=attempt, tags=tags)
        await self._audit.write(db, uuid.UUID(actor_id), "lesson.video", lesson.id)
        return lesson

    def _check_length(self, length: int) -> None:
        if length > self.max_bytes:
            raise errors.PayloadTooLarge(f"a video may have {self.max_bytes} bytes at most")


def _make_key(lesson: Lesson) -> str:
    """Make the key of an upload, in a folder of its own apart from earlier uploads."""
    return f"videos/courses/{lesson.course_id}/{lesson.id}/{uuid.uuid4().hex}/original.mp4"


async def _split_parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut a stream into parts of one size; the last may be shorter."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PART_BYTES:
            yield bytes(buffer[:PART_BYTES])
            del buffer[:PART_BYTES]
    if buffer:
        yield bytes(buffer)


def _check_file_type(start: bytes | bytearray) -> None:
    """Raise UnsupportedMediaType unless a file begins as MP4, QuickTime, Matroska, WebM or AVI do."""
    iso = start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    if not (iso or start.startswith(b"\x1a\x45\xdf\xa3") or (start.startswith(b"RIFF") and start[8:12] == b"AVI ")):
        raise errors.UnsupportedMediaType("the file is not an MP4, QuickTime, Matroska, WebM or AVI video")
