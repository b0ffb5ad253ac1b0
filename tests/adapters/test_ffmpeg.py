"""Transcoding of videos of many kinds: read properties, and the resulting HLS, read back with PyAV."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from adapters.ffmpeg import Ffmpeg, NotPlayable
from adapters.probing import Video
from settings import Settings
from testing.videos import ffmpeg

CODED = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def picture(size: str = "640x360", rate: str = "25", seconds: float = 2) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}:duration={seconds}"]


def tone(seconds: float = 2) -> list[str]:
    return ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]


def write(path: Path, *arguments: str) -> Path:
    done = ffmpeg("-v", "error", *arguments, str(path))
    assert done.returncode == 0, done.stderr
    return path


class Made:
    """HLS in a directory, with what its master playlist says of each variant."""

    def __init__(self, video: Video, directory: Path) -> None:
        self.video, self.directory = video, directory
        self.lines = (directory / "master.m3u8").read_text().splitlines()
        self.variants = dict(strict_master(self.lines))

    def segments(self, name: str) -> list[tuple[float, Path]]:
        found = re.findall(r"#EXTINF:([\d.]+),\n(.+)", (self.directory / name).read_text())
        return [(float(seconds), self.directory / file) for seconds, file in found]

    def frames(self, name: str) -> list[Any]:
        """All decoded pictures of a variant."""
        frames: list[Any] = []
        for _, path in self.segments(name):
            with closing(av.open(path)) as container:
                frames += list(container.decode(container.streams.video[0]))
        return frames


def sample(frame: Any, plane: int, x: int, y: int) -> int:
    """One value of a plane, in its own pixels."""
    return int(bytes(frame.planes[plane])[y * frame.planes[plane].line_size + x])


def strict_master(lines: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Parse a master playlist by RFC 8216, 4.3.4, or fail."""
    assert lines[0] == "#EXTM3U" and re.fullmatch(r"#EXT-X-VERSION:\d+", lines[1])
    assert lines[2] == "#EXT-X-INDEPENDENT-SEGMENTS"
    assert len(lines) % 2 == 1 and len(lines) > 3
    attribute = r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)'
    for tag, uri in zip(lines[3::2], lines[4::2], strict=True):
        assert re.fullmatch(rf"#EXT-X-STREAM-INF:{attribute}(,{attribute})*", tag), tag
        fields = re.findall(attribute, tag.partition(":")[2])
        assert len(fields) == len(dict(fields)) and re.fullmatch(r"[a-z0-9]+\.m3u8", uri)
        found = dict(fields)
        assert re.fullmatch(r"\d+", found["BANDWIDTH"]) and re.fullmatch(r"\d+", found["AVERAGE-BANDWIDTH"])
        yield uri, found


@pytest.fixture
def encoder(settings: Settings) -> Ffmpeg:
    return Ffmpeg(settings)


async def make(encoder: Ffmpeg, source: Path) -> Made:
    directory = source.parent / "hls"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    video = await encoder.probe(source)

    async def ignore(_: float) -> None:
        pass

    await encoder.make_hls(source, video, directory, ignore)
    return Made(video, directory)


# --- What a file is ------------------------------------------------------------------------------------


async def test_metadata_texts_of_a_file_are_ignored(encoder: Ffmpeg, tmp_path: Path) -> None:
    """Titles that look like ffmpeg's own description of streams, in the container and in a stream."""
    words = "Stream #0:7: Video: h264, 99999x99999\nDuration: 99:00:00.00\nrotation of 90 degrees"
    places = [f"-metadata{where}" for where in ("", ":s:v:0", ":s:a:0")]
    texts = [
        each
        for where in places
        for field in ("title", "comment", "handler_name")
        for each in (where, f"{field}={words}")
    ]
    for kind in ("mp4", "mkv"):
        source = write(tmp_path / f"titled.{kind}", *picture(), *tone(), *CODED, *texts)
        seen = await encoder.probe(source)
        assert (seen.width, seen.height, seen.picture, seen.sound) == (640, 360, 0, 1)
        assert seen.seconds and abs(seen.seconds - 2) < 0.1
        assert list((await make(encoder, source)).variants) == ["360p.m3u8", "audio.m3u8"]


async def test_title_without_a_valid_encoding_is_ignored(encoder: Ffmpeg, tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", *picture(), *CODED, "-metadata", "title=CAFEBABE")
    source.write_bytes(source.read_bytes().replace(b"CAFEBABE", b"\xff\xfe\x80\x81\xc3\x28\xf0\x9f"))
    assert (await encoder.probe(source)).width == 640


async def test_anamorphic_video_gets_square_pixels(encoder: Ffmpeg, tmp_path: Path) -> None:
    source = write(tmp_path / "pal.mp4", *picture("720x576"), *CODED, "-vf", "setsar=64/45")
    made = await make(encoder, source)
    assert (made.video.width, made.video.height) == (1024, 576)
    for name in made.variants:
        with closing(av.open(made.segments(name)[0][1])) as container:
            stream = container.streams.video[0]
            assert stream.sample_aspect_ratio in (None, 1)
            assert abs(stream.width / stream.height / (16 / 9) - 1) < 0.01


@pytest.mark.parametrize("degrees", [90, 180, 270])
async def test_rotation_is_applied_once(encoder: Ffmpeg, tmp_path: Path, degrees: int) -> None:
    """The left half of the stored picture is white; where it ends up shows the turn."""
    half = "color=black:size=640x360:rate=25:duration=1,drawbox=w=320:color=white:t=fill"
    plain = write(tmp_path / "plain.mp4", "-f", "lavfi", "-i", half, *CODED)
    source = write(tmp_path / "turned.mp4", "-display_rotation", str(degrees), "-i", str(plain), "-c", "copy")
    made = await make(encoder, source)
    upright = (360, 640) if degrees != 180 else (640, 360)
    assert (made.video.width, made.video.height) == upright
    frame = made.frames("360p.m3u8")[0]
    assert (frame.width, frame.height, frame.rotation) == (*upright, 0)
    width, height = upright
    light, dark = (width // 2, height - 20), (width // 2, 20)
    if degrees == 180:
        light, dark = (width - 20, height // 2), (20, height // 2)
    elif degrees == 270:
        light, dark = dark, light
    assert sample(frame, 0, *light) > 200 and sample(frame, 0, *dark) < 30


async def test_cover_picture_is_not_the_video(encoder: Ffmpeg, tmp_path: Path) -> None:
    cover = ("-f", "lavfi", "-i", "color=red:size=1000x1000:duration=1")
    song = write(
        tmp_path / "song.mp4",
        *(*tone(), *cover, "-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "mjpeg", "-frames:v", "1"),
        *("-disposition:v", "attached_pic"),
    )
    with pytest.raises(NotPlayable, match="holds no video"):
        await encoder.probe(song)
    film = write(
        tmp_path / "film.mp4",
        *(*picture(), *cover, "-map", "1", "-map", "0", "-c:v:0", "mjpeg", "-frames:v:0", "1", "-c:v:1", "libx264"),
        *("-disposition:v:0", "attached_pic"),
    )
    seen = await encoder.probe(film)
    assert (seen.width, seen.height) == (640, 360)


@pytest.mark.parametrize("kind", ["mp4", "fragments", "index first", "mkv", "avi"])
async def test_truncated_file_is_refused(encoder: Ffmpeg, tmp_path: Path, kind: str) -> None:
    flags = {"fragments": ("-movflags", "frag_keyframe+empty_moov"), "index first": ("-movflags", "faststart")}
    path = tmp_path / f"whole.{kind if len(kind) == 3 else 'mp4'}"
    source = write(path, *picture(seconds=6), *tone(6), *CODED, "-g", "25", *flags.get(kind, ()))
    assert (await make(encoder, source)).video.width == 640
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(NotPlayable, match="cut off"):
        await make(encoder, source)


async def test_other_files_are_refused_with_a_reason(encoder: Ffmpeg, tmp_path: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    for source in (playlist, empty, write(tmp_path / "sound.mp4", *tone())):
        with pytest.raises(NotPlayable, match="video"):
            await encoder.probe(source)


async def test_picture_of_absurd_size_is_refused(encoder: Ffmpeg, tmp_path: Path) -> None:
    """An AVI whose header says 30,000 pixels a side."""
    source = write(tmp_path / "huge.avi", *picture(), "-c:v", "rawvideo", "-frames:v", "1")
    data, side = source.read_bytes(), (30_000).to_bytes(4, "little")
    at = data.index(b"strf") + 12
    source.write_bytes(data[:at] + side + side + data[at + 8 :])
    with pytest.raises(NotPlayable):
        await encoder.probe(source)


# --- What is made of it -----------------------------------------------------------------------------------


async def test_master_playlist_states_what_the_segments_are(encoder: Ffmpeg, tmp_path: Path) -> None:
    """Bandwidths are measured, codecs and sizes read from the segments, and each begins with a key frame."""
    source = write(tmp_path / "a.mp4", *picture("1280x720", "30000/1001", 13), *tone(13), *CODED)
    made = await make(encoder, source)
    assert list(made.variants) == ["720p.m3u8", "480p.m3u8", "360p.m3u8", "audio.m3u8"]
    starts = []
    for name, fields in made.variants.items():
        segments = made.segments(name)
        assert len(segments) == 3 and all(3 < seconds < 6.5 for seconds, _ in segments)
        bits = [(seconds, path.stat().st_size * 8) for seconds, path in segments]
        assert int(fields["BANDWIDTH"]) >= max(size / seconds for seconds, size in bits)
        average = sum(size for _, size in bits) / sum(seconds for seconds, _ in bits)
        assert 0 <= int(fields["AVERAGE-BANDWIDTH"]) - average <= 1
        codecs = fields["CODECS"].strip('"').split(",")
        assert codecs[-1] == "mp4a.40.2"
        if name == "audio.m3u8":
            assert len(codecs) == 1 and not fields.keys() & {"RESOLUTION", "FRAME-RATE", "VIDEO-RANGE"}
            continue
        assert fields["FRAME-RATE"] == "29.970" and fields["VIDEO-RANGE"] == "SDR"
        starts.append([seconds for seconds, _ in segments])
        for _, path in segments:
            with closing(av.open(path)) as container:
                stream = container.streams.video[0]
                context: Any = stream.codec_context
                assert fields["RESOLUTION"] == f"{context.width}x{context.height}"
                at = bytes(context.extradata).index(b"\0\0\1\x67") + 4
                assert codecs[0] == f"avc1.{context.extradata[at : at + 3].hex()}"
                assert int(codecs[0][-2:], 16) == context.level and context.profile == "High"
                assert next(container.demux(stream)).is_keyframe
                audio: Any = container.streams.audio[0].codec_context
                assert (audio.profile, audio.channels, audio.sample_rate) == ("LC", 2, 48000)
    assert starts[0] == starts[1] == starts[2], "players change quality where segments begin"


async def test_sound_alone_is_a_variant_without_pictures(encoder: Ffmpeg, tmp_path: Path) -> None:
    made = await make(encoder, write(tmp_path / "a.mp4", *picture(seconds=4), *tone(4), *CODED))
    segments = made.segments("audio.m3u8")
    assert segments
    for _, path in segments:
        with closing(av.open(path)) as container:
            assert not container.streams.video and len(container.streams.audio) == 1


async def test_video_without_sound_has_no_such_variant(encoder: Ffmpeg, tmp_path: Path) -> None:
    made = await make(encoder, write(tmp_path / "a.mp4", *picture(), *CODED))
    assert list(made.variants) == ["360p.m3u8"]
    assert made.variants["360p.m3u8"]["CODECS"].startswith('"avc1.') and "mp4a" not in str(made.variants)


async def test_surround_sound_becomes_stereo(encoder: Ffmpeg, tmp_path: Path) -> None:
    surround = "[1]pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0[a]"
    source = write(
        tmp_path / "a.mkv", *picture(), *tone(), "-filter_complex", surround, "-map", "0", "-map", "[a]", *CODED
    )
    made = await make(encoder, source)
    with closing(av.open(made.segments("audio.m3u8")[0][1])) as container:
        assert container.streams.audio[0].codec_context.channels == 2


@pytest.mark.parametrize(("transfer", "white"), [("smpte2084", 0.58), ("arib-std-b67", 0.75)])
async def test_hdr_becomes_sdr(encoder: Ffmpeg, tmp_path: Path, transfer: str, white: float) -> None:
    """Paper white (203 nits, ITU-R BT.2408) is bright in SDR, and a saturated red of BT.2020 stays red."""
    level = round(64 + 876 * white)
    source = write(
        tmp_path / "hdr.mov",
        *("-f", "lavfi", "-i", "color=black:size=1280x720:rate=25:duration=1"),
        "-vf",
        f"format=yuv422p10le,geq=lum={level}:cb=512:cr='if(lt(X,W/2),512,700)',"
        f"setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc:range=tv",
        *("-c:v", "libx264", "-preset", "ultrafast"),
    )
    made = await make(encoder, source)
    assert made.video.transfer == {"smpte2084": 16, "arib-std-b67": 18}[transfer]
    assert {each["VIDEO-RANGE"] for each in made.variants.values()} == {"SDR"}
    frame = made.frames("720p.m3u8")[-1]
    assert (int(frame.color_trc), int(frame.color_primaries), int(frame.colorspace)) == (1, 1, 1)
    assert frame.format.name == "yuv420p"
    assert 170 <= sample(frame, 0, 200, 360) <= 235, "paper white is neither grey nor lost"
    assert all(abs(sample(frame, plane, 100, 180) - 128) <= 3 for plane in (1, 2)), "grey is grey"
    assert sample(frame, 2, 540, 180) > 150, "and red is red"


async def test_wide_colours_of_sdr_become_those_of_hd(encoder: Ffmpeg, tmp_path: Path) -> None:
    marked = "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=bt2020-10:colorspace=bt2020nc:range=tv"
    source = write(tmp_path / "a.mov", *picture(), "-vf", marked, "-c:v", "libx264", "-preset", "ultrafast")
    frame = (await make(encoder, source)).frames("360p.m3u8")[0]
    assert (int(frame.color_trc), int(frame.color_primaries), int(frame.colorspace)) == (1, 1, 1)


@pytest.mark.parametrize("pixels", ["yuv422p10le", "yuv444p", "gray", "yuvj420p"])
async def test_every_pixel_format_becomes_what_players_show(encoder: Ffmpeg, tmp_path: Path, pixels: str) -> None:
    source = write(
        tmp_path / "a.mkv", *picture(seconds=1), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", pixels
    )
    frame = (await make(encoder, source)).frames("360p.m3u8")[0]
    assert frame.format.name == "yuv420p" and int(frame.color_range) != 2


async def test_interlaced_video_becomes_progressive(encoder: Ffmpeg, tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.mp4",
        *picture("720x576", "50"),
        *("-vf", "interlace", *CODED, "-flags", "+ildct+ilme", "-x264opts", "tff=1"),
    )
    made = await make(encoder, source)
    assert made.video.interlaced and made.variants["360p.m3u8"]["FRAME-RATE"] == "25.000"
    assert not any(each.interlaced_frame for each in made.frames("480p.m3u8"))


async def test_rates_become_steady(encoder: Ffmpeg, tmp_path: Path) -> None:
    """A recording that skips frames, a fast camera, and a slide show."""
    skipping = write(
        tmp_path / "vfr.mkv",
        *picture(rate="30", seconds=4),
        *("-vf", "select='not(mod(n,7))+not(mod(n,5))'", "-fps_mode", "vfr", *CODED),
    )
    fast = write(tmp_path / "fast.mp4", *picture(rate="240", seconds=1), *CODED)
    slow = write(tmp_path / "slow.mp4", *picture(rate="1/2", seconds=8), *CODED)
    for source, wanted in ((skipping, None), (fast, 60), (slow, 10)):
        made = await make(encoder, source)
        rate = Fraction(made.variants["360p.m3u8"]["FRAME-RATE"])
        assert 10 <= rate <= 60 and (wanted is None or rate == wanted)
        stamps = [each.pts for each in made.frames("360p.m3u8")]
        steps = [b - a for a, b in pairwise(stamps)]
        assert max(steps) - min(steps) <= 1 and abs(90_000 / steps[0] - rate) < 0.1


async def test_odd_and_tiny_and_short_videos_are_made(encoder: Ffmpeg, tmp_path: Path) -> None:
    odd = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p")
    for size, seconds in (("853x481", 1), ("101x77", 0.04), ("16x16", 1)):
        made = await make(encoder, write(tmp_path / "a.mp4", *picture(size, seconds=seconds), *odd))
        assert made.variants
        for name in made.variants:
            frame = made.frames(name)[0]
            assert frame.width % 2 == frame.height % 2 == 0
            assert abs(sum(length for length, _ in made.segments(name)) - seconds) < 0.1
            (target,) = re.findall(r"TARGETDURATION:(\d+)", (made.directory / name).read_text())
            assert int(target) >= 1


async def test_timestamps_that_start_later_are_shifted(encoder: Ffmpeg, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.mp4", *picture(seconds=4), *tone(4), *CODED)
    for kind in ("mkv", "mp4"):
        source = write(
            tmp_path / f"late.{kind}", "-i", str(plain), "-c", "copy", "-output_ts_offset", "3600", "-copyts"
        )
        made = await make(encoder, source)
        assert abs(sum(length for length, _ in made.segments("360p.m3u8")) - 4) < 0.2


async def test_full_disk_is_not_reported_as_a_bad_file(encoder: Ffmpeg, tmp_path: Path) -> None:
    """A device that is always full stands for a full disk."""
    source = write(tmp_path / "a.mp4", *picture(), *CODED)
    video = await encoder.probe(source)
    directory = tmp_path / "full"
    directory.mkdir()
    (directory / "360p_00000.ts").symlink_to("/dev/full")

    async def ignore(_: float) -> None:
        pass

    with pytest.raises(OSError, match="cannot be read"):
        await encoder.make_hls(source, video, directory, ignore)
