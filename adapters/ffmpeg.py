"""Owns ffmpeg: what a video is, and making HLS of it, in a process that dies with this one.

The file is a stranger's: ffmpeg may read it and nothing else, and only as one of the containers we take.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded import die_with_parent
from settings import Settings

log = logging.getLogger("parlance.video")

#: What each quality may have: the pixels of its shorter side, and kilobits a second of picture.
_LADDER = {1080: 5000, 720: 2800, 480: 1400, 360: 800}
SEGMENT_SECONDS = 6
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
#: Seconds without a sign of progress after which ffmpeg is taken for stuck.
_PATIENCE = 300
_STREAM = re.compile(r"Stream #0:(\d+)\S*: (Video|Audio): (.*)")
_SIZE = re.compile(r"\b(\d{2,5})x(\d{2,5})\b")
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_TURNED = re.compile(r"rotation of (-?\d+)")


#: Folders of work under the temporary directory (TMPDIR); each is locked by who works in it.
_WORK = "parlance-video-"


class NotPlayable(Exception):
    """The file cannot be made into a video; the message says why, for people. Trying again would not help."""


@dataclass(frozen=True, slots=True)
class Video:
    """What a file holds. `seconds` is None where the container does not say; sizes are as they are shown."""

    seconds: float | None
    width: int
    height: int
    #: Indices of the streams in the file.
    picture: int
    sound: int | None


@contextmanager
def workspace() -> Iterator[Path]:
    """Give the work on one video a folder, and remove those that killed workers left behind."""
    for left in Path(tempfile.gettempdir()).glob(f"{_WORK}*"):
        with suppress(OSError), _held(left):  # else it is somebody's, or gone
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_WORK) as name, _held(Path(name)):
        yield Path(name)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a folder; raise OSError where another process has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class Ffmpeg:
    def __init__(self, settings: Settings) -> None:
        self._path = settings.ffmpeg_path

    @property
    def program(self) -> str:
        """The path of the program: the setting's, or that of the package which carries one."""
        if self._path is not None:
            return str(self._path)
        # Imported here: only the worker needs it.
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())

    def _input(self, source: Path) -> list[str]:
        return ["-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS, "-i", str(source)]

    async def probe(self, source: Path) -> Video:
        """Read what a file holds; raise NotPlayable."""
        process = await self._start("-nostdin", "-hide_banner", *self._input(source))
        try:
            async with asyncio.timeout(_PATIENCE):
                _, said = await process.communicate()  # no output is asked for: it describes the input and fails
        finally:
            await _end(process)
        return _read(said.decode(errors="replace"))

    async def make_hls(
        self, source: Path, video: Video, directory: Path, on_progress: Callable[[float], Awaitable[None]]
    ) -> None:
        """Write `master.m3u8`, a playlist for each quality and their segments; raise NotPlayable.

        `on_progress` hears how many seconds are done, about twice a second.
        """
        process = await self._start(*_command(self._input(source), video, directory))
        assert process.stdout is not None and process.stderr is not None
        said = asyncio.create_task(process.stderr.read())
        try:
            while True:
                async with asyncio.timeout(_PATIENCE):
                    line = await process.stdout.readline()
                if not line:
                    break
                name, _, value = line.decode().strip().partition("=")
                if name == "out_time_us" and value.isdigit():
                    await on_progress(int(value) / 1_000_000)
            code = await process.wait()
        finally:
            await _end(process)
            complaints = (await said).decode(errors="replace")
        if code == 0:
            return
        log.warning("ffmpeg ended with %s: %s", code, complaints[-1000:])
        if code < 0 or "No space left" in complaints or "Cannot allocate" in complaints:
            raise OSError(f"ffmpeg did not finish ({code})")  # this machine's fault: another try may do
        raise NotPlayable("The video is damaged, or of a kind that cannot be decoded.")

    async def test_picture(self, seconds: int) -> bytes:
        """Make a short video of a test picture with a tone, for demonstrations."""
        process = await self._start(
            *("-nostdin", "-v", "error", "-f", "lavfi", "-i", f"testsrc=size=854x480:rate=25:duration={seconds}"),
            *("-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}", "-pix_fmt", "yuv420p"),
            *("-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-"),
        )
        try:
            made, said = await process.communicate()
        finally:
            await _end(process)
        if process.returncode != 0:
            raise OSError(f"ffmpeg made no test picture: {said.decode(errors='replace')[-500:]}")
        return made

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A worker that is killed leaves nobody to stop it.
            preexec_fn=die_with_parent(signal.SIGKILL),
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _read(said: str) -> Video:
    pictures = [
        (int(number), tail)
        for number, kind, tail in _STREAM.findall(said)
        if kind == "Video" and "(attached pic)" not in tail
    ]
    sounds = [int(number) for number, kind, _ in _STREAM.findall(said) if kind == "Audio"]
    size = _SIZE.search(pictures[0][1]) if pictures else None
    if size is None:
        raise NotPlayable("The file holds no video.")
    width, height = int(size[1]), int(size[2])
    turned = _TURNED.search(said)
    if turned and int(turned[1]) % 180:
        width, height = height, width
    length = _DURATION.search(said)
    seconds = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]) if length else None
    return Video(seconds, width, height, pictures[0][0], sounds[0] if sounds else None)


def _command(source: list[str], video: Video, directory: Path) -> list[str]:
    shorter = min(video.width, video.height)
    # Never above the source; one that is smaller than all keeps its size.
    rungs = [rung for rung in _LADDER if rung <= shorter] or [shorter - shorter % 2]
    inputs = "".join(f"[in{rung}]" for rung in rungs)
    graph = [f"[0:{video.picture}]split={len(rungs)}{inputs}"]
    options: list[str] = []
    names = []
    for index, rung in enumerate(rungs):
        width, height = (_even(each * rung / shorter) for each in (video.width, video.height))
        graph.append(f"[in{rung}]scale={width}:{height},setsar=1,format=yuv420p[out{rung}]")
        options += ["-map", f"[out{rung}]"]
        sound = ""
        if video.sound is not None:
            options += ["-map", f"0:{video.sound}"]
            sound = f",a:{index}"
        rate = _LADDER.get(rung, _LADDER[360])
        options += [f"-maxrate:v:{index}", f"{rate}k", f"-bufsize:v:{index}", f"{rate * 2}k"]
        names.append(f"v:{index}{sound},name:{rung}p")
    return [
        *("-nostdin", "-hide_banner", "-v", "error", "-progress", "pipe:1", "-nostats", "-y"),
        *source,
        *("-filter_complex", ";".join(graph), *options),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "22"),
        # Qualities change where segments do: every segment of each begins with a picture of its own, at the same time.
        *("-force_key_frames", f"expr:gte(t,n_forced*{SEGMENT_SECONDS})", "-sc_threshold", "0"),
        *("-c:a", "aac", "-b:a", "128k", "-ac", "2", "-ar", "48000"),
        *("-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_playlist_type", "vod"),
        *("-hls_flags", "independent_segments", "-hls_segment_filename", str(directory / "%v_%05d.ts")),
        *("-master_pl_name", "master.m3u8", "-var_stream_map", " ".join(names), str(directory / "%v.m3u8")),
    ]


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)
