"""Transcoding of a video to HLS by ffmpeg, in a child process that ends with this one.

The file is untrusted: ffmpeg may read it and no other, and only as one of the accepted containers.
`adapters/probing.py` reads its properties; of ffmpeg's output only `-progress` and the exit status are used.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import math
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adapters import hls, probing
from adapters.child_processes import die_with_parent
from adapters.probing import HLG, PQ, Video
from settings import Settings

log = logging.getLogger("parlance.video")

#: Limits of each quality: pixels of the shorter side, and kilobits a second of picture.
_LADDER = {1080: 5000, 720: 2800, 480: 1400, 360: 800}
SEGMENT_SECONDS = 6
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
#: Seconds without progress after which ffmpeg is stopped.
_STALL_TIMEOUT_SECONDS = 300
#: Exit statuses of ffmpeg (its last error, negated) with a cause in this machine: a retry may succeed.
_MACHINE_ERRORS = {256 - number for number in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EMFILE)}
#: Free bytes below which a disk is full.
_DISK_BYTES = 1024 * 1024
#: Primaries wider than those of HD, by their numbers in ISO/IEC 23091-2 and zscale's names.
_WIDE = {9: "2020", 11: "smpte431", 12: "smpte432"}

#: Folders of work under the temporary directory (TMPDIR); each is locked by the process that uses it.
_WORKSPACE_PREFIX = "parlance-video-"


class NotPlayable(Exception):
    """The file cannot be made into a video; the message has the reason, for users. A retry would fail too."""


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a folder for the work on one video; remove folders that killed job workers left."""
    for left in Path(tempfile.gettempdir()).glob(f"{_WORKSPACE_PREFIX}*"):
        with suppress(OSError), _held(left):  # else it is in use, or gone
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_WORKSPACE_PREFIX) as name, _held(Path(name)):
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
        """Return the path of ffmpeg: the setting's, or that of the package that contains it."""
        if self._path is not None:
            return str(self._path)
        # Imported here: only the job worker needs it.
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())

    def _input(self, source: Path) -> list[str]:
        return ["-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS, "-i", str(source)]

    async def probe(self, source: Path) -> Video:
        """Read what a file holds; raise NotPlayable."""
        try:
            (video,) = await probing.probe(_CONTAINERS, source)
        except probing.Unreadable as reason:
            raise NotPlayable(str(reason)) from None
        return video

    async def make_hls(
        self, source: Path, video: Video, directory: Path, on_progress: Callable[[float], Awaitable[None]]
    ) -> None:
        """Write `master.m3u8`, a playlist for each quality and one of the sound, and their segments; raise NotPlayable.

        `on_progress` is called about twice a second with the seconds that are done.
        """
        process = await self._start(*_command(self._input(source), video, directory))
        assert process.stdout is not None and process.stderr is not None
        said = asyncio.create_task(process.stderr.read())
        try:
            while True:
                async with asyncio.timeout(_STALL_TIMEOUT_SECONDS):
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
        if code != 0:
            log.warning("ffmpeg_failed status=%s output=%s", code, complaints[-1000:])
            if code < 0 or code in _MACHINE_ERRORS:
                raise OSError(f"ffmpeg did not finish ({code})")
            raise NotPlayable("The video is damaged, or of a kind that cannot be decoded.")
        # ffmpeg's HLS muxer ignores failed writes and exits with 0.
        if shutil.disk_usage(directory).free < _DISK_BYTES:
            raise OSError("the disk is full")
        try:
            made = await hls.write_master(directory, video.rate)
        except probing.Unreadable:
            raise OSError("what ffmpeg has written cannot be read") from None
        if made == 0:
            raise NotPlayable("The video is damaged: no picture of it can be decoded.")
        if video.seconds and made < video.seconds * 0.98 - 1:
            raise NotPlayable(
                f"The file is cut off or damaged: {made:.0f} of its {video.seconds:.0f} seconds can be decoded."
            )

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
            # A killed job worker cannot stop it.
            preexec_fn=die_with_parent(signal.SIGKILL),
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _command(source: list[str], video: Video, directory: Path) -> list[str]:
    shorter = min(video.width, video.height)
    # Never above the source; a source below all qualities keeps its size.
    rungs = [rung for rung in _LADDER if rung <= shorter] or [shorter - shorter % 2]
    options: list[str] = []
    variants = []
    for index, rung in enumerate(rungs):
        options += ["-map", f"[out{rung}]"]
        sound = ""
        if video.sound is not None:
            options += ["-map", f"0:{video.sound}"]
            sound = f",a:{index}"
        rate = _LADDER.get(rung, _LADDER[360])
        options += [f"-maxrate:v:{index}", f"{rate}k", f"-bufsize:v:{index}", f"{rate * 2}k"]
        variants.append(f"v:{index}{sound},name:{rung}p")
    if video.sound is not None:
        options += ["-map", f"0:{video.sound}"]
        variants.append(f"a:{len(rungs)},name:{hls.SOUND}")
    length = _segment_seconds(video.seconds)
    return [
        *("-nostdin", "-hide_banner", "-v", "error", "-progress", "pipe:1", "-nostats", "-y"),
        *source,
        *("-filter_complex", _graph(video, rungs), *options),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "22"),
        # Players switch qualities between segments: each begins with a key frame, at the same time in all qualities.
        *("-force_key_frames", f"expr:gte(t,n_forced*{length})", "-sc_threshold", "0"),
        *("-c:a", "aac", "-b:a", "128k", "-ac", "2", "-ar", "48000"),
        *("-map_metadata", "-1", "-map_chapters", "-1"),
        *("-f", "hls", "-hls_time", str(length), "-hls_playlist_type", "vod"),
        *("-hls_flags", "independent_segments", "-hls_segment_filename", str(directory / "%v_%05d.ts")),
        *("-var_stream_map", " ".join(variants), str(directory / "%v.m3u8")),
    ]


def _segment_seconds(seconds: float | None) -> float:
    """Return a segment length of about six seconds at most, without a tiny last segment of a misleading bit rate."""
    if not seconds:
        return SEGMENT_SECONDS
    return round((seconds + 0.25) / math.ceil(seconds / SEGMENT_SECONDS), 3)


def _graph(video: Video, rungs: list[int]) -> str:
    """Return the filters: progressive, constant frame rate, square pixels, SDR, each quality (ffmpeg rotates)."""
    sizes = [
        [_even(each * rung / min(video.width, video.height)) for each in (video.width, video.height)] for rung in rungs
    ]
    sdr = _to_sdr(video)  # which sets the range as well
    steps = ["bwdif=mode=send_frame:deint=interlaced"] if video.interlaced else []
    steps += [
        f"fps={video.rate}",
        f"scale={sizes[0][0]}:{sizes[0][1]}{'' if sdr else ':out_range=tv'}",
        "setsar=1",
        *sdr,
        "format=yuv420p",
    ]
    inputs = "".join(f"[in{rung}]" for rung in rungs)
    graph = [f"[0:{video.picture}]{','.join(steps)},split={len(rungs)}{inputs}"]
    graph += [f"[in{rung}]scale={w}:{h},setsar=1[out{rung}]" for rung, (w, h) in zip(rungs, sizes, strict=True)]
    return ";".join(graph)


def _to_sdr(video: Video) -> list[str]:
    """Return the filters that bring HDR (PQ, HLG) and wide colours to BT.709; none for what players show as it is."""
    is_hdr = video.transfer in (PQ, HLG)
    if not is_hdr and video.primaries not in _WIDE:
        return []
    transfer = {PQ: "smpte2084", HLG: "arib-std-b67"}.get(video.transfer, "709")
    primaries = "709" if video.primaries == 1 else _WIDE.get(video.primaries, "2020")
    matrix = "709" if video.matrix == 1 else "2020_ncl"
    given = f"tin={transfer}:pin={primaries}:min={matrix}:rin={'full' if video.full_range else 'limited'}"
    if not is_hdr:
        return [f"zscale={given}:t=709:p=709:m=709:r=limited"]
    # White of graphics is 203 nits in HDR (ITU-R BT.2408).
    return [
        f"zscale={given}:t=linear:npl=203",
        "format=gbrpf32le",
        "zscale=p=709",
        "tonemap=tonemap=mobius:desat=0",
        "zscale=t=709:m=709:r=limited",
    ]


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)
