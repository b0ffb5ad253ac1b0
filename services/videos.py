"""Owns the work on uploaded videos: HLS in several qualities, durable and repeatable.

Each upload has a folder, and each attempt to make HLS of it one inside, so that whatever a killed attempt left is in
nobody's way. What learners play changes in one transaction at the end; the leftovers go by a job that it enqueues.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlmodel import col, select

from adapters.database import Database
from adapters.ffmpeg import Ffmpeg, NotPlayable, workspace
from adapters.jobs import Jobs
from adapters.storage import Storage
from models import Lesson, VideoStatus
from services import notices
from services.notifications import tell_admins

log = logging.getLogger("parlance.video")

_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t"}
#: Files that are stored at a time.
_AT_ONCE = 4
#: Seconds between two writes of how far the work has come.
_TELL = 1.0
#: Percent that are left to storing what was made.
_STORING = 10


class VideosService:
    def __init__(self, database: Database, jobs: Jobs, storage: Storage, ffmpeg: Ffmpeg) -> None:
        self._database = database
        self._jobs = jobs
        self._storage = storage
        self._ffmpeg = ffmpeg

    async def transcode(
        self, lesson_id: str, source: str, attempt: str, tags: list[str], *, last_try: bool = False
    ) -> None:
        """Make HLS of an upload, whose parts are `tags`, unless another has taken its place meanwhile.

        A file that is no video ends as `failed`, with the reason. Whatever else goes wrong is raised, to be tried
        again; on the `last_try` it ends as `failed` too.
        """
        try:
            if await self._is_wanted(lesson_id, source):
                await self._storage.finish_parts(source, attempt, tags)
                await self._make(lesson_id, source)
            else:
                await self._storage.drop_parts(source, attempt)
                await self._storage.delete_all(_folder(source))
        except NotPlayable as reason:
            await self._fail(lesson_id, source, str(reason))
        except Exception:
            if not last_try:
                raise
            log.exception("the video of lesson %s is given up", lesson_id)
            await self._fail(lesson_id, source, "The work on the video did not succeed; upload it again.")

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
        async with self._database.transaction() as session:
            lesson = (await session.exec(select(Lesson).where(*_of(lesson_id, source)).with_for_update())).first()
            if lesson is None:  # deleted, or another upload's meanwhile
                await self._jobs.enqueue(session, "storage.delete_all", prefix=_folder(source))
                return
            if lesson.video_url:
                await self._jobs.enqueue(session, "storage.delete_all", prefix=_folder(_folder(lesson.video_url)[:-1]))
            # The original, and what attempts that were killed left behind.
            await self._jobs.enqueue(session, "storage.delete_all", prefix=_folder(source), keep=hls)
            lesson.video_url, lesson.duration_secs = f"{hls}master.m3u8", seconds
            lesson.video_status, lesson.video_source, lesson.video_progress = VideoStatus.READY, None, 100
            session.add(lesson)
            await tell_admins(session, notices.video_ready(lesson, source))

    async def _fail(self, lesson_id: str, source: str, reason: str) -> None:
        """Note that an upload is of no use. An earlier video stays what learners play."""
        async with self._database.transaction() as session:
            failed = await session.execute(
                sa.update(Lesson)
                .where(*_of(lesson_id, source))
                .values(video_status=VideoStatus.FAILED, video_source=None, video_error=reason)
                .returning(Lesson)
            )
            if (lesson := failed.scalars().first()) is not None:
                await tell_admins(session, notices.video_failed(lesson, source, reason))
            await self._jobs.enqueue(session, "storage.delete_all", prefix=_folder(source))

    async def _is_wanted(self, lesson_id: str, source: str) -> bool:
        async with self._database.transaction() as session:
            return (await session.exec(select(Lesson.id).where(*_of(lesson_id, source)))).first() is not None

    async def tell(self, lesson_id: str, source: str, percent: int) -> None:
        """Note how far the work on an upload has come."""
        async with self._database.transaction() as session:
            await session.execute(sa.update(Lesson).where(*_of(lesson_id, source)).values(video_progress=percent))


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


def _of(lesson_id: str, source: str) -> tuple[Any, Any]:
    return col(Lesson.id) == uuid.UUID(lesson_id), col(Lesson.video_source) == source


def _folder(key: str) -> str:
    return key.rpartition("/")[0] + "/"


def _length(made: Path) -> float:
    """Seconds of what was made, whatever the container had said."""
    playlist = next(made.glob("*p.m3u8")).read_text()
    return sum(map(float, re.findall(r"#EXTINF:([0-9.]+)", playlist)))
