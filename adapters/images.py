"""Pictures of users: untrusted bytes are decoded in a separate process with limits of memory and time.

`python -m adapters.images` is that process: it reads the file from standard input and writes WebP to standard output.
"""

from __future__ import annotations

import asyncio
import io
import sys
import warnings
from typing import TYPE_CHECKING

import errors
from adapters import confined

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

#: Megapixels read from the header, before anything is decoded.
MAX_PIXELS = 25_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")
_MEMORY_BYTES = 768 * 1024 * 1024
_TIMEOUT_SECONDS = 10
#: Decompressed bytes of one text chunk of a PNG, and of all: XMP of a megabyte is common, gigabytes are an attack.
_MAX_TEXT_BYTES, _MAX_TEXTS_BYTES = 8 * 1024 * 1024, 16 * 1024 * 1024
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
#: Modes of Pillow that hold colours of each space of ICC profiles.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
#: Pictures that a web process converts at a time: each may use memory up to the limit.
_DECODERS = asyncio.Semaphore(2)


async def square_webp(data: bytes, side: int) -> bytes:
    """Crop and scale a JPEG, PNG or WebP to a square WebP without metadata; raise UnsupportedMediaType."""
    return await cover_webp(data, side, side)


async def cover_webp(data: bytes, width: int, height: int) -> bytes:
    """Crop and scale a JPEG, PNG or WebP to a WebP of that size, in sRGB and without metadata.

    Raises UnsupportedMediaType.
    """
    async with _DECODERS:
        try:
            return await confined.run(
                "adapters.images", str(width), str(height), data=data, seconds=_TIMEOUT_SECONDS * 2
            )
        except (confined.Refusal, confined.Unfinished):
            raise errors.UnsupportedMediaType(
                "the file is not a JPEG, PNG or WebP picture of at most 25 megapixels"
            ) from None


def _convert(data: bytes, width: int, height: int) -> bytes:
    from PIL import Image, ImageOps, PngImagePlugin

    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = _MAX_TEXT_BYTES, _MAX_TEXTS_BYTES
    if data.startswith(_JPEG_START):
        # Some cameras and messengers omit the end marker. libjpeg requires one, and ignores what follows the first.
        data += _JPEG_END
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        profile = picture.info.get("icc_profile")
        # JPEG decodes at a reduced size; other formats ignore this.
        picture.draft("RGB", (width * 2, height * 2))
        upright = _flat(ImageOps.exif_transpose(picture))
        cover = _srgb(ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS), profile)
        output = io.BytesIO()
        cover.save(output, "WEBP", quality=82, exif=b"", icc_profile=b"", xmp=b"")
        return output.getvalue()


def _flat(picture: Picture) -> Picture:
    """Return a picture of 8 bits a channel in the colour space that it is stored in, with its transparency."""
    if picture.mode.startswith("I"):  # 16 bits a grey: `convert` would cut them off instead of scaling them
        picture = picture.point(lambda grey: grey / 256).convert("L")
    transparent = picture.has_transparency_data
    if picture.mode in ("1", "L", "LA"):
        return picture.convert("LA" if transparent else "L")
    if picture.mode == "CMYK":
        return picture
    return picture.convert("RGBA" if transparent else "RGB")


def _srgb(picture: Picture, profile: bytes | None) -> Picture:
    """Convert a picture to sRGB by its ICC profile. An unreadable or mismatched profile is ignored."""
    from PIL import ImageCms

    alpha = picture.getchannel("A") if picture.mode in ("RGBA", "LA") else None
    colours = None
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = _MODES.get(source.profile.xcolor_space.strip(), "")
            if mode == (picture.mode.removesuffix("A") if alpha else picture.mode):
                colours = ImageCms.profileToProfile(
                    picture.convert(mode),
                    source,
                    ImageCms.createProfile("sRGB"),
                    renderingIntent=ImageCms.Intent.PERCEPTUAL,
                    outputMode="RGB",
                )
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            colours = None
    colours = colours or picture.convert("RGB")
    if alpha:
        colours.putalpha(alpha)
    return colours


def _main() -> bytes:
    try:
        return _convert(sys.stdin.buffer.read(), int(sys.argv[1]), int(sys.argv[2]))
    except Exception as error:
        raise confined.Refusal(type(error).__name__) from None


if __name__ == "__main__":
    sys.exit(confined.main(_main, memory_bytes=_MEMORY_BYTES, cpu_seconds=_TIMEOUT_SECONDS))
