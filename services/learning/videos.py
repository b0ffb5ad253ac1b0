"""Transcoding of uploaded videos to HLS in several qualities, durable and repeatable.

Each upload has a folder with its original, which is kept, and a folder inside for each attempt, so that a killed
attempt does not disturb the next. What learners play changes in one transaction at the end; leftovers are deleted by
a job that it enqueues (`tidy`).
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
from adapters.storage import Storage, get_folder
from jobs import delete_unused_video, transcode_original
from models import Lesson, VideoStatus
from services.messaging import notification_templates
from services.messaging.notifications import notify_admins
from services.operations.audit import AuditService

log = logging.getLogger("parlance.video")

_CONTENT_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t"}
#: Files that are stored at once.
MAX_CONCURRENT_STORES = 4
#: Least time between two updates of the progress.
PROGRESS_INTERVAL_SECONDS = 1.0
#: Share of the progress that is left to storing the files.
STORING_PERCENT = 10


#: Outcomes of a request to transcode a lesson again.
Outcome = Literal["enqueued", "processing", "no_original", "no_video", "not_found"]


@dataclass(frozen=True, slots=True)
class Remake:
    """A lesson whose original was to be transcoded again, and the outcome."""

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
        """Transcode an upload to HLS, unless another has replaced it meanwhile.

        With an `attempt` the upload is still to be completed, of the parts `tags`. A file that is no video ends as
        `failed`, with the reason. Any other error is raised, to be retried; on the `last_try` it ends as `failed` too.
        In each case the original stays.
        """
        kept = attempt is None
        try:
            if not await self._is_wanted(lesson_id, source):
                if attempt is not None:
                    await self._storage.abort_multipart_upload(source, attempt)
                await self.tidy(lesson_id, get_folder(source))
                return
            if attempt is not None:
                await self._storage.complete_multipart_upload(source, attempt, list(tags))
                kept = True
            await self._make(lesson_id, source)
        except NotPlayable as reason:
            await self._fail(lesson_id, source, str(reason), kept=kept)
        except Exception as error:
            if not last_try:
                raise
            kept = kept and not isinstance(error, errors.NotFound)  # else it is lost
            log.exception("video_failed lesson_id=%s source=%s", lesson_id, source)
            again = "`parlance videos remake` tries again" if kept else "upload it again"
            await self._fail(lesson_id, source, f"The work on the video did not succeed; {again}.", kept=kept)

    async def _make(self, lesson_id: str, source: str) -> None:
        hls = f"{get_folder(source)}hls-{uuid.uuid4().hex}/"
        with workspace() as folder:
            original, made = folder / "original", folder / "hls"
            made.mkdir()
            await self._storage.download(source, original)
            video = await self._ffmpeg.probe(original)
            report_progress = _ProgressReporter(self, lesson_id, source, video.seconds)
            await self._ffmpeg.make_hls(original, video, made, report_progress)
            await self._store(made, hls)
            seconds = await asyncio.to_thread(_read_duration, made)
        await self._publish(lesson_id, source, hls, round(seconds))

    async def _store(self, made: Path, hls: str) -> None:
        gate = asyncio.Semaphore(MAX_CONCURRENT_STORES)

        async def store(path: Path) -> None:
            async with gate:
                await self._storage.upload(path, hls + path.name, _CONTENT_TYPES[path.suffix])

        async with asyncio.TaskGroup() as group:
            for path in await asyncio.to_thread(lambda: sorted(made.iterdir())):
                group.create_task(store(path))

    async def _publish(self, lesson_id: str, source: str, hls: str, seconds: int) -> None:
        async with self._database.transaction() as db:
            lesson = await _lock_lesson(db, lesson_id, source)
            folders = {get_folder(source)}
            if lesson is not None:
                folders |= _list_folders(lesson)
                lesson.video_url, lesson.duration_secs, lesson.video_original = f"{hls}master.m3u8", seconds, source
                lesson.video_status, lesson.video_source, lesson.video_progress = VideoStatus.READY, None, 100
                db.add(lesson)
                await notify_admins(db, notification_templates.video_ready(lesson))
            await self._enqueue_tidy(db, lesson_id, folders)

    async def _fail(self, lesson_id: str, source: str, reason: str, *, kept: bool) -> None:
        """Record that an upload failed. Learners still play an earlier video; the original stays for a retry.

        Without `kept` there is no original in storage.
        """
        async with self._database.transaction() as db:
            lesson = await _lock_lesson(db, lesson_id, source)
            folders = {get_folder(source)}
            if lesson is not None:
                folders |= _list_folders(lesson)
                lesson.video_status, lesson.video_source, lesson.video_error = VideoStatus.FAILED, None, reason
                if kept:
                    lesson.video_original = source
                elif lesson.video_original == source:
                    lesson.video_original = None
                db.add(lesson)
                await notify_admins(db, notification_templates.video_failed(lesson, reason))
            await self._enqueue_tidy(db, lesson_id, folders)

    async def _enqueue_tidy(self, db: AsyncSession, lesson_id: str, folders: set[str]) -> None:
        for folder in sorted(folders):
            await self._jobs.enqueue(db, delete_unused_video, lesson_id=lesson_id, folder=folder)

    async def tidy(self, lesson_id: str, folder: str) -> None:
        """Delete from an upload's folder what its lesson does not refer to: other attempts, replaced videos.

        Does nothing while the upload is being transcoded; that ends with the same job.
        """
        # Listed before the lesson is read: what a later attempt writes is not in the list.
        keys = await self._storage.keys(folder)
        async with self._database.transaction() as db:
            lesson = await db.get(Lesson, uuid.UUID(lesson_id))
        used: list[str] = []
        if lesson is not None:
            if lesson.video_source and get_folder(lesson.video_source) == folder:
                return
            used = [get_folder(lesson.video_url)] if lesson.video_url else []
            used += _list_originals(lesson)
        await self._storage.delete_many([key for key in keys if not key.startswith(tuple(used))])

    # --- Again, from the original ---------------------------------------------------------------------

    async def remake(self, lesson_ids: Sequence[uuid.UUID]) -> list[Remake]:
        """Enqueue the transcoding of lessons' originals again; learners play the current video until it is done."""
        return [await self._remake(each) for each in lesson_ids]

    async def list_remakeable(self, *, failed: bool = False) -> list[uuid.UUID]:
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
            return (await db.exec(select(Lesson.id).where(*_match_source(lesson_id, source)))).first() is not None

    async def record_progress(self, lesson_id: str, source: str, percent: int) -> None:
        """Record the progress of transcoding an upload."""
        async with self._database.transaction() as db:
            await db.execute(sa.update(Lesson).where(*_match_source(lesson_id, source)).values(video_progress=percent))


class _ProgressReporter:
    """Records the progress of ffmpeg, at most once a `PROGRESS_INTERVAL_SECONDS`."""

    def __init__(self, videos: VideosService, lesson_id: str, source: str, seconds: float | None) -> None:
        self._videos, self._lesson_id, self._source, self._seconds = videos, lesson_id, source, seconds
        self._recorded_at = 0.0

    async def __call__(self, done: float) -> None:
        if not self._seconds or time.monotonic() - self._recorded_at < PROGRESS_INTERVAL_SECONDS:
            return
        self._recorded_at = time.monotonic()
        percent = min(done / self._seconds, 1) * (100 - STORING_PERCENT)
        await self._videos.record_progress(self._lesson_id, self._source, int(percent))


def _match_source(lesson_id: str, source: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return col(Lesson.id) == uuid.UUID(lesson_id), col(Lesson.video_source) == source


async def _lock_lesson(db: AsyncSession, lesson_id: str, source: str) -> Lesson | None:
    """Lock a lesson whose video is made of this upload; None where it is deleted, or has another upload since."""
    return (await db.exec(select(Lesson).where(*_match_source(lesson_id, source)).with_for_update())).first()


def _list_folders(lesson: Lesson) -> set[str]:
    """Return the folders of the uploads that a lesson refers to."""
    played = {get_folder(get_folder(lesson.video_url)[:-1])} if lesson.video_url else set()
    return played | ({get_folder(lesson.video_original)} if lesson.video_original else set())


def _list_originals(lesson: Lesson) -> list[str]:
    """Return the originals to keep: the newest, and that of what learners play."""
    played = [f"{get_folder(get_folder(lesson.video_url)[:-1])}original"] if lesson.video_url else []
    return played + ([lesson.video_original] if lesson.video_original else [])


def _read_duration(made: Path) -> float:
    """Read the seconds of the HLS segments, which may differ from what the original declares."""
    playlist = next(made.glob("*p.m3u8")).read_text()
    return sum(map(float, re.findall(r"#EXTINF:([0-9.]+)", playlist)))
