"""Pictures with colour profiles, without an end marker, or with long texts: results and limits."""

from __future__ import annotations

import io
import zlib
from itertools import product
from typing import Any

import pytest
from PIL import Image, ImageChops, PngImagePlugin

import errors
from adapters import images
from testing.icc_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    cmyk_profile,
    convert_to_srgb,
    grey_profile,
    ink_lab,
    matrix_profile,
    srgb_of_lab,
)
from testing.time_limits import SLOWNESS
from tests.adapters.test_images import measured, opened, quarters, saved

SIDE, TILE = 400, 80
#: How each kind is written with as little loss as it can.
LOSSLESS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
}
#: Colours of tiles, five a row; none is white or black alone.
COLOURS = list(product((30, 128, 220), repeat=3))[:25]


def tiles(mode: str, colours: list[Any]) -> Image.Image:
    made = Image.new(mode, (SIDE, SIDE))
    for index, colour in enumerate(colours):
        row, column = divmod(index, 5)
        made.paste(colour, (column * TILE, row * TILE, (column + 1) * TILE, (row + 1) * TILE))
    return made


def middle(made: Image.Image, index: int) -> tuple[int, ...]:
    row, column = divmod(index, 5)
    found: Any = made.getpixel((column * TILE + TILE // 2, row * TILE + TILE // 2))
    return tuple(found)


def assert_tiles(made: Image.Image, expected: list[tuple[int, ...]]) -> None:
    """Each tile has the expected value in its middle, within 3 of 255."""
    for index, wanted in enumerate(expected):
        found = middle(made.convert("RGB"), index)
        assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 3, (index, found, wanted)


@pytest.mark.parametrize("space", [DISPLAY_P3, ADOBE_RGB], ids=["display-p3", "adobe-rgb"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_picture_of_a_wide_gamut_becomes_srgb(kind: str, space: Any) -> None:
    options = LOSSLESS[kind]
    data = saved(tiles("RGB", COLOURS), kind, icc_profile=matrix_profile(*space), **options)
    made = opened(await images.square_webp(data, SIDE))
    # What the file says, which differs by one from what was written where JPEG rounds.
    stored = Image.open(io.BytesIO(data)).convert("RGB")
    assert_tiles(made, [convert_to_srgb(middle(stored, index), *space) for index in range(len(COLOURS))])
    assert any(
        max(abs(a - b) for a, b in zip(each, convert_to_srgb(each, *space), strict=True)) > 15 for each in COLOURS
    )


async def test_cmyk_jpeg_becomes_srgb_by_its_profile() -> None:
    """Adobe writes CMYK inverted, which Pillow writes and reads as well."""
    inks = [each for each in product((0, 1), repeat=4) if sum(each) < 3]
    flat = tiles("CMYK", [tuple(255 * ink for ink in each) for each in inks])
    data = saved(flat, "JPEG", quality=100, subsampling=0, icc_profile=cmyk_profile())
    assert b"Adobe" in data[:2000]
    assert_tiles(opened(await images.square_webp(data, SIDE)), [srgb_of_lab(*ink_lab(each)) for each in inks])


@pytest.mark.parametrize("kind", ["RGBA", "P", "LA", "L"])
async def test_profile_counts_in_every_mode(kind: str) -> None:
    """Palettes and greys have profiles too, and transparency is not a colour."""
    flat = Image.new("RGB", (100, 100), (200, 80, 80)) if kind in ("RGBA", "P") else Image.new("L", (100, 100), 128)
    grey = kind.startswith("L")
    profile = grey_profile(1.0) if grey else matrix_profile(*ADOBE_RGB)
    flat = flat.quantize(4) if kind == "P" else flat.convert(kind)
    if kind.endswith("A"):
        flat.putalpha(Image.linear_gradient("L").resize((100, 100)))
    made = opened(await images.square_webp(saved(flat, "PNG", icc_profile=profile), SIDE))
    found: Any = made.convert("RGB").getpixel((200, 390))
    wanted = (188, 188, 188) if grey else convert_to_srgb((200, 80, 80), *ADOBE_RGB)
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 3, (found, wanted)
    assert (made.mode == "RGBA") == kind.endswith("A")


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"no profile at all",
        matrix_profile(*ADOBE_RGB)[:150],
        matrix_profile(*ADOBE_RGB)[:132] + bytes(range(256)) * 3,
        grey_profile(1.8),
        cmyk_profile(),
        b"\xff" * 500_000,
    ],
    ids=["empty", "text", "cut", "garbled", "grey in RGB", "CMYK in RGB", "absurd"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
async def test_unusable_profile_is_ignored(kind: str, profile: bytes) -> None:
    made = opened(
        await images.square_webp(saved(tiles("RGB", COLOURS), kind, icc_profile=profile, **LOSSLESS[kind]), SIDE)
    )
    assert_tiles(made, COLOURS)


async def test_png_whose_profile_does_not_unpack_is_read() -> None:
    data = saved(tiles("RGB", COLOURS), "PNG", icc_profile=matrix_profile(*ADOBE_RGB))
    start = data.index(b"iCCP")
    length = int.from_bytes(data[start - 4 : start], "big")
    content = b"iCCPmade\0\0" + bytes(length - 6)
    data = data[:start] + content + zlib.crc32(content).to_bytes(4, "big") + data[start + 8 + length :]
    assert_tiles(opened(await images.square_webp(data, SIDE)), COLOURS)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
async def test_jpeg_without_end_marker_is_read(mode: str, progressive: bool) -> None:
    data = saved(quarters(500).convert(mode), "JPEG", quality=95, progressive=progressive)
    assert data.endswith(b"\xff\xd9")
    whole = opened(await images.square_webp(data, SIDE))
    without = opened(await images.square_webp(data[:-2], SIDE))
    assert ImageChops.difference(whole, without).getbbox() is None


def text_png(kind: str, size: int, count: int = 1) -> bytes:
    """Make a PNG with texts of so many bytes."""
    texts = PngImagePlugin.PngInfo()
    for number in range(count):
        if kind == "iTXt":
            texts.add_itxt("XML:com.adobe.xmp", "x" * size)
        else:
            texts.add_text(f"Comment{number}", "x" * size, zip=kind == "zTXt")
    return saved(Image.new("RGB", (100, 100), (20, 200, 20)), "PNG", pnginfo=texts)


@pytest.mark.parametrize("kind", ["iTXt", "tEXt", "zTXt"])
async def test_png_with_long_texts_is_read(kind: str) -> None:
    data = text_png(kind, 1_300_000)
    found: Any = opened(await images.square_webp(data, SIDE)).getpixel((200, 200))
    assert max(abs(a - b) for a, b in zip(found, (20, 200, 20), strict=True)) <= 3


async def test_compressed_xmp_of_a_png_is_read() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 1_300_000, zip=True)
    data = saved(Image.new("RGB", (100, 100)), "PNG", pnginfo=texts)
    assert opened(await images.square_webp(data, SIDE))


@pytest.mark.parametrize("count", [1, 40])
def test_compressed_text_bomb_is_refused_cheaply(count: int) -> None:
    """One text of 400 MB, and many below the limit of one."""
    data = text_png("zTXt", 400_000_000 if count == 1 else 7_000_000, count)
    assert len(data) < 1_000_000
    outcome, megabytes, seconds = measured(data)
    print(f"{count} texts: {outcome}, {megabytes:.0f} MB, {seconds:.2f} s")
    assert outcome == "refused" and megabytes < 150 and seconds < 8 * SLOWNESS


async def test_jpeg_header_alone_is_refused() -> None:
    data = saved(quarters(500), "JPEG")
    with pytest.raises(errors.UnsupportedMediaType):
        await images.square_webp(data[: data.index(b"\xff\xda")], SIDE)


async def test_sixteen_bit_png_with_a_profile_is_read() -> None:
    output = io.BytesIO()
    Image.new("I;16", (60, 60), 128 * 257).save(output, "PNG", icc_profile=grey_profile(1.0))
    found: Any = opened(await images.square_webp(output.getvalue(), SIDE)).convert("RGB").getpixel((200, 200))
    assert max(abs(channel - 188) for channel in found) <= 3
