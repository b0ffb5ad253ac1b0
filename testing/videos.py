"""Videos for tests: generated clips, their transcoding, and a player without a browser."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from urllib.parse import urljoin

import httpx
import imageio_ffmpeg

from testing.servers import Learner, http_client


def ffmpeg(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-y", *arguments], capture_output=True)


@cache
def clip(seconds: int = 4, size: str = "854x480", *, sound: bool = True, kind: str = "mp4") -> bytes:
    """A test picture that counts, with a tone; ffmpeg writes it to a pipe."""
    picture = ["-f", "lavfi", "-i", f"testsrc=size={size}:rate=25:duration={seconds}"]
    tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"] if sound else []
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    flags = ["-movflags", "frag_keyframe+empty_moov"] if kind == "mp4" else []
    made = ffmpeg("-v", "error", *picture, *tone, *coded, *flags, "-f", kind, "-")
    assert made.returncode == 0, made.stderr
    return made.stdout


async def in_pieces(data: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def put(admin: Learner, lesson: str, data: bytes, kind: str = "video/mp4") -> httpx.Response:
    """Upload a video in one request."""
    headers = {"Content-Type": kind, "Content-Length": str(len(data))}
    return await admin.http.put(f"/lessons/{lesson}/video", content=in_pieces(data), headers=headers)


def addresses(playlist: str, base: str) -> list[str]:
    """What a playlist names."""
    return [urljoin(base, line) for line in playlist.splitlines() if line and not line.startswith("#")]


async def everything(http: httpx.AsyncClient, url: str) -> dict[str, list[str]]:
    """Follow a link to play: each quality's playlist, with the addresses of its segments."""
    master = await http.get(url)
    assert master.status_code == 200, master.text
    assert master.headers["content-type"] == "application/vnd.apple.mpegurl"
    found = {}
    for variant in addresses(master.text, url):
        playlist = await http.get(variant)
        assert playlist.status_code == 200, playlist.text
        found[variant] = addresses(playlist.text, variant)
    return found


async def decoded(segments: list[str], directory: Path) -> tuple[float, str]:
    """Fetch segments from storage and decode them with ffmpeg; return their seconds, and ffmpeg's output."""
    joined = directory / "joined.ts"
    async with http_client() as anybody:
        parts = [await anybody.get(each) for each in segments]
    assert all(part.status_code == 200 for part in parts)
    joined.write_bytes(b"".join(part.content for part in parts))
    done = await asyncio.to_thread(ffmpeg, "-xerror", "-i", str(joined), "-f", "null", "-")
    said = done.stderr.decode()
    assert done.returncode == 0, said
    hours, minutes, seconds = re.findall(r"time=(\d+):(\d+):([\d.]+)", said)[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds), said
