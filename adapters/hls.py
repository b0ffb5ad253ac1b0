"""Master playlist of a video, written from the properties of its segments (RFC 8216, 4.3.4)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from adapters import probing

MASTER = "master.m3u8"
#: Name of the audio-only playlist, for slow connections.
SOUND = "audio"


@dataclass(frozen=True, slots=True)
class _Variant:
    name: str
    first: Path
    seconds: float
    #: Bits a second of the largest segment, and of all.
    peak: int
    average: int


async def write_master(directory: Path, rate: str) -> float:
    """Write the master playlist of the variants in a directory, best first; return their length in seconds.

    `rate` is frames a second, as a fraction. Zero, and no playlist, where there are no segments.
    """
    variants = await asyncio.to_thread(_measured, directory)
    pictures = [each for each in variants if each.name != SOUND]
    if not pictures:
        return 0
    videos = await probing.probe("mpegts", *(each.first for each in pictures))
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for variant, video in zip(pictures, videos, strict=True):
        more = f"RESOLUTION={video.width}x{video.height},FRAME-RATE={float(Fraction(rate)):.3f},VIDEO-RANGE=SDR"
        lines += _entry(variant, f'{more},CODECS="{",".join(video.codecs)}"')
    for variant in variants:
        if variant.name == SOUND:
            lines += _entry(variant, 'CODECS="mp4a.40.2"')
    await asyncio.to_thread((directory / MASTER).write_text, "\n".join(lines) + "\n")
    return pictures[0].seconds


def _entry(variant: _Variant, more: str) -> list[str]:
    stream = f"#EXT-X-STREAM-INF:BANDWIDTH={variant.peak},AVERAGE-BANDWIDTH={variant.average},{more}"
    return [stream, f"{variant.name}.m3u8"]


def _measured(directory: Path) -> list[_Variant]:
    """Measure each playlist's segments; sort by average bit rate, highest first."""
    variants = []
    for playlist in directory.glob("*.m3u8"):
        text = playlist.read_text()
        if "#EXT-X-TARGETDURATION:0\n" in text:  # players wait so long before they ask again
            playlist.write_text(text.replace("#EXT-X-TARGETDURATION:0\n", "#EXT-X-TARGETDURATION:1\n"))
        found = re.findall(r"#EXTINF:([0-9.]+),[^\n]*\n([^#\n]+)", text)
        segments = [(float(seconds), directory / name) for seconds, name in found if float(seconds)]
        if not segments:
            continue
        bits = [(seconds, path.stat().st_size * 8) for seconds, path in segments]
        seconds = sum(each for each, _ in bits)
        peak = max(-(-size // each) for each, size in bits)
        average = -(-sum(size for _, size in bits) // seconds)
        variants.append(_Variant(playlist.stem, segments[0][1], seconds, int(peak), int(average)))
    return sorted(variants, key=lambda each: (each.name != SOUND, each.average), reverse=True)
