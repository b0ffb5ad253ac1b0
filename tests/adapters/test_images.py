"""Square pictures of untrusted files: accepted formats, results, limits of time and memory."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, PngImagePlugin

import errors
from adapters import images
from testing.pictures import picture
from testing.time_limits import SLOWNESS, limit

ROOT = Path(__file__).resolve().parent.parent.parent
RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (245, 245, 245)
SIDE = 400


def opened(data: bytes) -> Image.Image:
    made = Image.open(io.BytesIO(data))
    made.load()
    assert made.format == "WEBP" and made.size == (SIDE, SIDE)
    assert not getattr(made, "is_animated", False)
    return made


def corners(made: Image.Image) -> list[str]:
    """The colour in each corner, from the top left clockwise."""
    names = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE}
    found = []
    for at in ((40, 40), (360, 40), (360, 360), (40, 360)):
        pixel: Any = made.convert("RGB").getpixel(at)
        found.append(min(names, key=lambda name: sum(abs(a - b) for a, b in zip(names[name], pixel, strict=True))))
    return found


def quarters(size: int = 200) -> Image.Image:
    """Red, green, blue and white, from the top left clockwise."""
    made, half = Image.new("RGB", (size, size)), size // 2
    for colour, at in ((RED, (0, 0)), (GREEN, (half, 0)), (BLUE, (half, half)), (WHITE, (0, half))):
        made.paste(colour, (*at, at[0] + half, at[1] + half))
    return made


def saved(made: Image.Image, kind: str, **options: Any) -> bytes:
    output = io.BytesIO()
    made.save(output, kind, **options)
    return output.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(64, 48), (1, 1), (3000, 40), (40, 3000)])
async def test_accepted_picture_becomes_a_square(kind: str, size: tuple[int, int]) -> None:
    made = opened(await images.square_webp(picture(kind, size, RED), SIDE))
    assert corners(made) == ["red"] * 4 and made.mode == "RGB"


# How a viewer turns a stored picture upright, by EXIF: where each corner ends up, clockwise from the top left.
TURNED = {
    1: ["red", "green", "blue", "white"],
    2: ["green", "red", "white", "blue"],
    3: ["blue", "white", "red", "green"],
    4: ["white", "blue", "green", "red"],
    5: ["red", "white", "blue", "green"],
    6: ["white", "red", "green", "blue"],
    7: ["blue", "green", "red", "white"],
    8: ["green", "blue", "white", "red"],
}


@pytest.mark.parametrize(("orientation", "expected"), TURNED.items())
async def test_picture_is_turned_upright(orientation: int, expected: list[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("JPEG", "PNG", "WEBP") if orientation == 6 else ("JPEG",):
        made = opened(await images.square_webp(saved(quarters(), kind, exif=exif, quality=95), SIDE))
        assert corners(made) == expected, kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_picture_metadata_is_removed(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0131] = "CAMERAMAKER", "SOFTWARENAME"
    exif.get_ifd(0x8825).update({1: "N", 2: (59.0, 20.0, 0.0)})
    options: dict[str, Any] = {
        "exif": exif,
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>XMPSECRET</x:xmpmeta>",
    }
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", "TEXTSECRET")
        texts.add_itxt("XML:com.adobe.xmp", "XMPSECRET")
        options |= {"pnginfo": texts}
        del options["xmp"]
    if kind == "JPEG":
        options["comment"] = b"COMMENTSECRET"
    data = saved(quarters(), kind, **options)
    assert b"CAMERAMAKER" in data and (b"XMPSECRET" in data)
    result = await images.square_webp(data, SIDE)
    for secret in (b"CAMERAMAKER", b"SOFTWARENAME", b"SECRET", b"EXIF", b"ICCP", b"XMP ", b"Exif"):
        assert secret not in result
    made = opened(result)
    assert not made.getexif() and not {"exif", "icc_profile", "xmp"} & made.info.keys()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
async def test_transparency_is_kept(kind: str) -> None:
    half = Image.new("RGBA", (100, 100), (*RED, 255))
    half.paste((0, 0, 0, 0), (0, 0, 50, 100))
    made = opened(await images.square_webp(saved(half, kind, lossless=True), SIDE))
    assert made.mode == "RGBA"
    left: Any = made.getpixel((40, 200))
    right: Any = made.getpixel((360, 200))
    assert left[3] < 10 and right[3] > 245


async def test_palette_with_a_transparent_colour_keeps_it() -> None:
    flat = Image.new("P", (100, 100), 1)
    flat.putpalette([255, 0, 0, *RED])
    flat.paste(0, (0, 0, 50, 100))
    made = opened(await images.square_webp(saved(flat, "PNG", transparency=0), SIDE))
    left: Any = made.getpixel((40, 200))
    assert made.mode == "RGBA" and left[3] < 10


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
async def test_animation_is_reduced_to_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (80, 80), colour) for colour in (GREEN, RED, BLUE)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert corners(opened(await images.square_webp(data, SIDE))) == ["green"] * 4


async def test_print_colours_become_screen_colours() -> None:
    red = Image.new("RGB", (100, 100), RED).convert("CMYK")
    assert corners(opened(await images.square_webp(saved(red, "JPEG", quality=95), SIDE))) == ["red"] * 4


@pytest.mark.parametrize("level", [0, 64, 128, 200, 255])
async def test_sixteen_bits_a_grey_become_eight(level: int) -> None:
    data = saved(Image.new("I;16", (60, 60), level * 257), "PNG")
    made = opened(await images.square_webp(data, SIDE))
    pixel: Any = made.convert("RGB").getpixel((200, 200))
    assert all(abs(channel - level) <= 6 for channel in pixel), pixel


def _png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


async def test_sixteen_bits_a_colour_become_eight() -> None:
    line = b"\x00" + struct.pack(">HHH", *(channel * 257 for channel in RED)) * 50
    made = opened(await images.square_webp(_png(50, 50, 16, 2, zlib.compress(line * 50)), SIDE))
    assert corners(made) == ["red"] * 4


def archive() -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as packed:
        packed.writestr("payload.html", "<script>alert('ZIPSECRET')</script>")
    return output.getvalue()


SVG = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>1</script></svg>"""
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/etc/passwd) run\nshowpage\n%%EOF\n"
REFUSED: dict[str, bytes] = {
    "svg": SVG,
    "eps": EPS,
    "gif": picture("GIF"),
    "bmp": picture("BMP"),
    "tiff": picture("TIFF"),
    "ico": picture("ICO"),
    "pdf": picture("PDF"),
    "html": b"<!doctype html><img src=x onerror=alert(1)>",
    "zip": archive(),
    "empty": b"",
    "noise": bytes(range(256)) * 40,
    "jpeg cut short": picture("JPEG", (500, 500))[:300],
    "png cut short": picture("PNG", (500, 500))[:-60],
    "webp cut short": saved(quarters(), "WEBP", lossless=True)[:-20],
    "png of nothing": _png(0, 0, 8, 2, zlib.compress(b"")),
    "png that lies about its rows": _png(4000, 4000, 8, 2, zlib.compress(b"\x00" * 100)),
    "zip before jpeg": archive() + picture("JPEG"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_other_picture_formats_are_refused(what: str) -> None:
    with pytest.raises(errors.UnsupportedMediaType):
        await images.square_webp(REFUSED[what], SIDE)


@pytest.mark.parametrize("appended", [archive(), SVG, b"<script>ZIPSECRET</script>" * 100])
async def test_data_behind_a_picture_is_dropped(appended: bytes) -> None:
    result = await images.square_webp(picture("JPEG", colour=BLUE) + appended, SIDE)
    assert corners(opened(result)) == ["blue"] * 4
    assert b"ZIPSECRET" not in result and b"PK" not in result[12:] and b"script" not in result
    assert int.from_bytes(result[4:8], "little") == len(result) - 8, "something hangs on the answer"


# Runs in a process of its own, so that the peak of its children is that of pictures alone.
MEASURED = """
import asyncio, json, resource, sys, time
import errors
from adapters import images
data, began = sys.stdin.buffer.read(), time.monotonic()
try:
    asyncio.run(images.square_webp(data, 400)); outcome = "taken"
except errors.UnsupportedMediaType:
    outcome = "refused"
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([outcome, peak, time.monotonic() - began]))
"""


def measured(data: bytes) -> tuple[str, float, float]:
    """Whether a picture is taken, what its process held at most (MB), and how long it took (s)."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        input=data,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=limit(60),
        check=True,
    )
    outcome, peak, seconds = json.loads(done.stdout)
    return outcome, peak / 1e6, seconds


def bomb_png(side: int) -> bytes:
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\x00" * (side * 3 + 1)) for _ in range(side)) + packer.flush()
    return _png(side, side, 8, 2, rows)


def bomb_webp(side: int) -> bytes:
    """A lossless WebP that says it has `side` pixels a side, and has hardly any bytes."""
    small = saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True)
    at = small.index(b"VP8L") + 9
    bits = int.from_bytes(small[at : at + 4], "little") & ~((1 << 28) - 1) | (side - 1) | (side - 1) << 14
    return small[:at] + bits.to_bytes(4, "little") + small[at + 4 :]


@pytest.mark.parametrize("bomb", ["png", "webp"])
def test_decompression_bomb_is_refused_by_its_header(bomb: str) -> None:
    data = {"png": bomb_png, "webp": bomb_webp}[bomb](13_000)
    assert len(data) < 1_000_000
    outcome, megabytes, seconds = measured(data)
    print(f"{bomb} bomb of {len(data)} bytes: {outcome}, {megabytes:.0f} MB, {seconds:.2f} s")
    assert outcome == "refused"
    assert megabytes < 150, f"{megabytes:.0f} MB"
    assert seconds < 8 * SLOWNESS, f"{seconds:.1f} s"


def test_largest_accepted_picture_fits_memory_and_time() -> None:
    noisy = Image.effect_noise((625, 625), 60).convert("RGBA").resize((5000, 5000), Image.Resampling.NEAREST)
    outcome, megabytes, seconds = measured(saved(noisy, "PNG", compress_level=1))
    print(f"25 megapixels with transparency: {outcome}, {megabytes:.0f} MB, {seconds:.2f} s")
    assert outcome == "taken"
    assert megabytes < 768 and seconds < 20 * SLOWNESS


def test_picture_of_one_pixel_more_is_refused() -> None:
    assert measured(saved(Image.new("L", (5001, 5000)), "PNG"))[0] == "refused"


async def test_pictures_do_not_depend_on_the_working_directory(tmp_path: Path) -> None:
    began = time.monotonic()
    program = MEASURED.replace("sys.stdin.buffer.read()", "open('me.png', 'rb').read()")
    (tmp_path / "me.png").write_bytes(picture())
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        timeout=limit(60),
        check=True,
    )
    assert json.loads(done.stdout)[0] == "taken", f"after {time.monotonic() - began:.1f} s"
