"""Properties of a video file, read with PyAV in a separate process.

`python -m adapters.probing FORMATS FILE...` is that process: it writes a JSON list with an object a file. Only fields
of the containers and of decoded frames count, never a text in the file.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from adapters import confined

#: Frames of 8K have 33 megapixels; a header with many more is an attack on memory.
MAX_PIXELS = 40_000_000
_MEMORY_BYTES = 2 * 1024 * 1024 * 1024
_TIMEOUT_SECONDS = 60
#: Packets that are decoded in search of a first picture.
_MAX_PACKETS = 500
#: Highest frame rate of the result; a higher one is the rate of a clock, not of pictures.
_MIN_RATE, _MAX_RATE, _DEFAULT_RATE = 10, 60, 30
#: Values of ISO/IEC 23091-2 for colours, as FFmpeg has them.
UNSPECIFIED, PQ, HLG = 2, 16, 18
_OPTIONS = {"protocol_whitelist": "file"}


class Unreadable(Exception):
    """A file without a playable video; the message has the reason, for users."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video as it is shown: square pixels, upright."""

    #: None if the container has none.
    seconds: float | None
    width: int
    height: int
    #: Indices of the streams in the file.
    picture: int
    sound: int | None
    #: Frames a second to make, as a fraction.
    rate: str = "25"
    interlaced: bool = False
    #: Transfer, primaries, matrix and range of the colours (ISO/IEC 23091-2).
    transfer: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    full_range: bool = False
    #: Names of the codecs by RFC 6381, of H.264 and AAC alone.
    codecs: list[str] = field(default_factory=list)


async def probe(formats: str, *files: Path) -> list[Video]:
    """Read what files hold, each of one of the `formats` (names of FFmpeg's demuxers); raise Unreadable."""
    try:
        answer = await confined.run("adapters.probing", formats, *map(str, files), seconds=_TIMEOUT_SECONDS * 5)
    except confined.Refusal as refusal:
        raise Unreadable(str(refusal)) from None
    except confined.Unfinished:
        raise Unreadable("Reading the file takes more time or memory than is allowed.") from None
    return [Video(**each) for each in json.loads(answer)]


# --- In the process ------------------------------------------------------------------------------------


def _main() -> bytes:
    formats, *files = sys.argv[1:]
    return json.dumps([asdict(_read(Path(each), formats)) for each in files]).encode()


def _read(path: Path, formats: str) -> Video:
    import av

    if _is_cut_off(path):
        raise confined.Refusal("The file is cut off: it is shorter than it declares. Upload it again.")
    try:
        # Texts in the file are not read, but PyAV decodes them, and they may be of any encoding.
        opened = av.open(path, options={**_OPTIONS, "format_whitelist": formats}, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, MemoryError):
        raise confined.Refusal("The file is damaged or cut off: it cannot be opened as a video.") from None
    with closing(opened) as container:
        # A stream without a decoder has no codec context.
        videos = [each for each in container.streams.video if not each.disposition & each.disposition.attached_pic]
        stream = next((each for each in videos if each.codec_context), None)
        if stream is None:
            raise confined.Refusal(
                "The video is in a format that cannot be decoded." if videos else "The file holds no video."
            )
        sound = next((each for each in container.streams.audio if each.codec_context), None)
        if sound is None and container.streams.audio:
            raise confined.Refusal("The sound is in a format that cannot be decoded.")
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise confined.Refusal(f"The picture is too large: {context.width}x{context.height}.")
        codecs = [name for name in (_codec(stream), _codec(sound)) if name]
        # An AVI that was written to a pipe has an estimated length.
        seconds = None if _is_streamed_avi(path) else _seconds(container, stream, sound)
        frame = _first_frame(container, stream)
        width, height = _shown(frame, stream.sample_aspect_ratio)
        return Video(
            seconds=seconds,
            width=width,
            height=height,
            picture=stream.index,
            sound=sound.index if sound else None,
            rate=str(_rate(stream, interlaced=frame.interlaced_frame)),
            interlaced=frame.interlaced_frame,
            transfer=_first(frame.color_trc, context.color_trc),
            primaries=_first(frame.color_primaries, context.color_primaries),
            matrix=_first(frame.colorspace, context.colorspace),
            full_range=_first(frame.color_range, context.color_range, unknown=0) == 2,
            codecs=codecs,
        )


def _first_frame(container: Any, stream: Any) -> Any:
    import av

    stream.thread_type = "NONE"  # a thread for each core would multiply the memory
    for number, packet in enumerate(container.demux(stream)):
        with suppress(av.error.FFmpegError):  # a damaged beginning: try the next key frame
            for frame in packet.decode():
                if frame.width * frame.height > MAX_PIXELS:
                    raise confined.Refusal(f"The picture is too large: {frame.width}x{frame.height}.")
                return frame
        if number > _MAX_PACKETS:
            break
    raise confined.Refusal("The video is damaged: no picture of it can be decoded.")


def _first(*values: Any, unknown: int = UNSPECIFIED) -> int:
    return next((int(each) for each in values if each is not None and int(each) != unknown), unknown)


def _seconds(container: Any, *streams: Any) -> float | None:
    """Return how long the chosen streams are: a file may hold others, such as subtitles, that are longer."""
    lengths = [float(each.duration * each.time_base) for each in streams if each and each.duration]
    if not lengths and container.duration:
        # Some containers count from zero, not from the first picture.
        lengths = [(container.duration - max(container.start_time or 0, 0)) / 1_000_000]
    return max(lengths, default=0) or None


def _shown(frame: Any, pixel: Fraction | None) -> tuple[int, int]:
    """Return the size in square pixels, upright."""
    if pixel is None or not Fraction(1, 10) <= pixel <= 10:
        pixel = Fraction(1)
    width, height = max(round(frame.width * pixel), 1), frame.height
    return (height, width) if abs(frame.rotation) == 90 else (width, height)


def _rate(stream: Any, *, interlaced: bool) -> Fraction:
    """Return a constant rate that shows all of a stream's pictures."""
    average, base = stream.average_rate or Fraction(0), stream.base_rate or Fraction(0)
    if base <= _MAX_RATE and not interlaced:  # of interlaced video it counts fields
        average = max(average, base)
    elif base > _MAX_RATE and average < base * Fraction(9, 10):  # no steady rate, as of screen recordings
        average = Fraction(_DEFAULT_RATE) if average <= _DEFAULT_RATE else Fraction(_MAX_RATE)
    if not average:
        return Fraction(25)
    return min(max(average, Fraction(_MIN_RATE)), Fraction(_MAX_RATE))


def _codec(stream: Any) -> str | None:
    """Return the name of a stream's codec by RFC 6381, if it is H.264 or AAC."""
    if stream is None:
        return None
    context = stream.codec_context
    if context.name == "aac":
        return {"LC": "mp4a.40.2", "HE-AAC": "mp4a.40.5"}.get(str(stream.profile))
    extra = bytes(context.extradata or b"")
    at = extra.find(b"\0\0\1\x67")  # a sequence parameter set begins with profile, constraints and level
    return f"avc1.{extra[at + 4 : at + 7].hex()}" if context.name == "h264" and at >= 0 else None


def _is_cut_off(path: Path) -> bool:
    """Return whether a file is shorter than it declares: the last box of MP4 and QuickTime, the first chunk of AVI."""
    length = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start.startswith(b"RIFF"):
            return not _is_streamed_avi(path) and int.from_bytes(start[4:], "little") + 8 > length
        if start[4:] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return False
        at = 0
        while at + 8 <= length:
            size = _box(file, at)
            if size < 8:
                return False
            at += size
    return at > length


def _is_streamed_avi(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(8)
    return start.startswith(b"RIFF") and int.from_bytes(start[4:], "little") in (0, 0xFFFFFFFF)


def _box(file: BinaryIO, at: int) -> int:
    """Return the length of a box of ISO/IEC 14496-12, 4.2; 0 for an invalid one, or one up to the end of the file."""
    file.seek(at)
    head = file.read(16)
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:], "big")
    if not head[4:8].isascii() or not head[4:8].strip(b"\0"):
        return 0
    return size


if __name__ == "__main__":
    sys.exit(confined.main(_main, memory_bytes=_MEMORY_BYTES, cpu_seconds=_TIMEOUT_SECONDS))
