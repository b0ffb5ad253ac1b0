"""Owns the work on uploaded videos: HLS in several qualities, durable and repeatable.

Each upload has a folder with its original, which is kept, and each attempt to make HLS of it one inside, so that
whatever a killed attempt left is in nobody's way. What learners play changes in one transaction at the end; the
leftovers go by a job that it enqueues (`tidy`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.ffmpeg import Ffmpeg, NotPlayable, workspace
from adapters.jobs import Jobs
from adapters.storage import Storage
from jobs import delete_unused_video, transcode_original
from models import Lesson, VideoStatus
from services.messaging import notification_templates
from services.messaging.notifications import tell_admins
from services.operations.audit import AuditService

log = logging.getLogger("parlance.video")

_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t"}
#: Files that are stored at a time.
_AT_ONCE = 4
#: Seconds between two writes of how far the work has come.
_TELL = 1.0
#: Percent that are left to storing what was made.
_STORING = 10


#: What became of a lesson that was to be made again.
Outcome = Literal["enqueued", "processing", "no_original", "no_video", "not_found"]


@dataclass(frozen=True, slots=True)
class Remake:
    """A lesson that was to be made again from its original, and whether it is."""

    lesson_id: str
    title: str | None
    outcome: Outcome


class VideosService:
    def __init__(self, database: Database, audit: AuditService, jobs: Jobs, storage: Storage, ffmpeg: Ffmpeg) -> None:
        self._database = database
        self._audit = audit
        self._jobs = jobs
        self._storage = storage
        self._ffmpeg = ffmpeg

    async def transcode(
        self,
        lesson_id: str,
        source: str,
        attempt: str | None = None,
        tags: Sequence[str] = (),
        *,
        last_try: bool = False,
    ) -> None:
        """Make HLS of an upload, unless another has taken its place meanwhile.

        With an `attempt` the upload is still to be put together, of the parts `tags`. A file that is no video ends as
        `failed`, with the reason. Whatever else goes wrong is raised, to be tried again; on the `last_try` it ends as
        `failed` too. In each case the original stays.
        """
        kept = attempt is None
        try:
            if not await self._is_wanted(lesson_id, source):
                if attempt is not None:
                    await self._storage.drop_parts(source, attempt)
                await self.tidy(lesson_id, _folder(source))
                return
            if attempt is not None:
                await self._storage.finish_parts(source, attempt, list(tags))
                kept = True
            await self._make(lesson_id, source)
        except NotPlayable as reason:
            await self._fail(lesson_id, source, str(reason), kept=kept)
        except Exception as error:
            if not last_try:
                raise
            kept = kept and not isinstance(error, errors.NotFound)  # else it is lost
            log.exception("video_given_up lesson_id=%s source=%s", lesson_id, source)
            again = "`parlance videos remake` tries again" if kept else "upload it again"
            await self._fail(lesson_id, source, f"The work on the video did not succeed; {again}.", kept=kept)

    async def _make(self, lesson_id: str, source: str) -> None:
        hls = f"{_folder(source)}hls-{uuid.uuid4().hex}/"
        with workspace() as folder:
            original, made = folder / "original", folder / "hls"
            made.mkdir()
            await self._storage.download(source, original)
            video = await self._ffmpeg.probe(original)
            told = _Progress(self, lesson_id, source, video.seconds)
            await self._ffmpeg.make_hls(original, video, made, told)
            await self._store(made, hls)
            seconds = await asyncio.to_thread(_length, made)
        await self._publish(lesson_id, source, hls, round(seconds))

    async def _store(self, made: Path, hls: str) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def store(path: Path) -> None:
            async with gate:
                await self._storage.upload(path, hls + path.name, _TYPES[path.suffix])

        async with asyncio.TaskGroup() as group:
            for path in await asyncio.to_thread(lambda: sorted(made.iterdir())):
                group.create_task(store(path))

    async def _publish(self, lesson_id: str, source: str, hls: str, seconds: int) -> None:
        async with self._database.transaction() as db:
            lesson = (await db.exec(select(Lesson).where(*_of(lesson_id, source)).with_for_update())).first()
            folders = {_folder(source)}
            if lesson is not None:  # else deleted, or another upload's meanwhile
                folders |= _folders(lesson)
                lesson.video_url, lesson.duration_secs, lesson.video_original = f"{hls}master.m3u8", seconds, source
                lesson.video_status, lesson.video_source, lesson.video_progress = VideoStatus.READY, None, 100
                db.add(lesson)
                await tell_admins(db, notification_templates.video_ready(lesson))
            await self._enqueue_tidy(db, lesson_id, folders)

    async def _fail(self, lesson_id: str, source: str, reason: str, *, kept: bool) -> None:
        """Note that an upload is of no use. An earlier video stays what learners play, the original to be tried again.

        Without `kept` there is no original in storage.
        """
        async with self._database.transaction() as db:
            lesson = (await db.exec(select(Lesson).where(*_of(lesson_id, source)).with_for_update())).first()
            folders = {_folder(source)}
            if lesson is not None:
                folders |= _folders(lesson)
                lesson.video_status, lesson.video_source, lesson.video_error = VideoStatus.FAILED, None, reason
                if kept:
                    lesson.video_original = source
                elif lesson.video_original == source:
                    lesson.video_original = None
                db.add(lesson)
                await tell_admins(db, notification_templates.video_failed(lesson, reason))
            await self._enqueue_tidy(db, lesson_id, folders)

    async def _enqueue_tidy(self, db: AsyncSession, lesson_id: str, folders: set[str]) -> None:
        for folder in sorted(folders):
            await self._jobs.enqueue(db, delete_unused_video, lesson_id=lesson_id, folder=folder)

    async def tidy(self, lesson_id: str, folder: str) -> None:
        """Remove from an upload's folder what its lesson does not refer to: other attempts, replaced videos.

        Does nothing while the upload is being worked on; that work ends with the same job.
        """
        # Listed before the lesson is read: what work that begins later writes is not in the list.
        keys = await self._storage.keys(folder)
        async with self._database.transaction() as db:
            lesson = await db.get(Lesson, uuid.UUID(lesson_id))
        used: list[str] = []
        if lesson is not None:
            if lesson.video_source and _folder(lesson.video_source) == folder:
                return
            used = [_folder(lesson.video_url)] if lesson.video_url else []
            used += _originals(lesson)
        await self._storage.delete_many([key for key in keys if not key.startswith(tuple(used))])

    # --- Again, from the original ---------------------------------------------------------------------

    async def remake(self, lesson_ids: Sequence[uuid.UUID]) -> list[Remake]:
        """Ask for the work on the originals of lessons once more; learners play what there is until it is done."""
        return [await self._remake(each) for each in lesson_ids]

    async def remakeable(self, *, failed: bool = False) -> list[uuid.UUID]:
        """List the lessons that have a video, or had an upload that failed; with `failed` the latter alone."""
        statement = select(Lesson.id).order_by(col(Lesson.course_id), col(Lesson.order_index))
        wanted = col(Lesson.video_status) == VideoStatus.FAILED
        if not failed:
            wanted = sa.or_(wanted, col(Lesson.video_url).is_not(None))
        async with self._database.transaction() as db:
            return list((await db.exec(statement.where(wanted))).all())

    async def _remake(self, lesson_id: uuid.UUID) -> Remake:
        async with self._database.transaction() as db:
            lesson = await db.get(Lesson, lesson_id, with_for_update=True)
            if lesson is None:
                return Remake(str(lesson_id), None, "not_found")
            if lesson.video_status is VideoStatus.PROCESSING:
                return Remake(str(lesson_id), lesson.title, "processing")
            source = lesson.video_original
            if source is None:
                outcome: Outcome = "no_video" if lesson.video_status is VideoStatus.NONE else "no_original"
                return Remake(str(lesson_id), lesson.title, outcome)
            lesson.video_status, lesson.video_source = VideoStatus.PROCESSING, source
            lesson.video_progress, lesson.video_error = 0, None
            db.add(lesson)
            await self._jobs.enqueue(db, transcode_original, lesson_id=str(lesson_id), source=source)
            await self._audit.write(db, None, "lesson.video_remake", lesson_id)
        return Remake(str(lesson_id), lesson.title, "enqueued")

    async def _is_wanted(self, lesson_id: str, source: str) -> bool:
        async with self._database.transaction() as db:
            return (await db.exec(select(Lesson.id).where(*_of(lesson_id, source)))).first() is not None

    async def tell(self, lesson_id: str, source: str, percent: int) -> None:
        """Note how far the work on an upload has come."""
        async with self._database.transaction() as db:
            await db.execute(sa.update(Lesson).where(*_of(lesson_id, source)).values(video_progress=percent))


class _Progress:
    """Tells administrators how far ffmpeg is, no more often than they would notice."""

    def __init__(self, videos: VideosService, lesson_id: str, source: str, seconds: float | None) -> None:
        self._videos, self._lesson_id, self._source, self._seconds = videos, lesson_id, source, seconds
        self._told_at = 0.0

    async def __call__(self, done: float) -> None:
        if not self._seconds or time.monotonic() - self._told_at < _TELL:
            return
        self._told_at = time.monotonic()
        percent = min(done / self._seconds, 1) * (100 - _STORING)
        await self._videos.tell(self._lesson_id, self._source, int(percent))


def _of(lesson_id: str, source: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return col(Lesson.id) == uuid.UUID(lesson_id), col(Lesson.video_source) == source


def _folder(key: str) -> str:
    return key.rpartition("/")[0] + "/"


def _folders(lesson: Lesson) -> set[str]:
    """Return the folders of the uploads that a lesson refers to."""
    played = {_folder(_folder(lesson.video_url)[:-1])} if lesson.video_url else set()
    return played | ({_folder(lesson.video_original)} if lesson.video_original else set())


def _originals(lesson: Lesson) -> list[str]:
    """Return the originals to keep: the newest, and that of what learners play."""
    played = [f"{_folder(_folder(lesson.video_url)[:-1])}original"] if lesson.video_url else []
    return played + ([lesson.video_original] if lesson.video_original else [])


def _length(made: Path) -> float:
    """Seconds of what was made, whatever the container had said."""
    playlist = next(made.glob("*p.m3u8")).read_text()
    return sum(map(float, re.findall(r"#EXTINF:([0-9.]+)", playlist)))
