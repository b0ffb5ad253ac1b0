"""Owns picture work: a stranger's bytes are decoded in a process of their own, with little memory and little time.

`python -m adapters.images` is that process: bytes come in on standard input, WebP goes out on standard output; exit 3
says that the bytes are no picture we take.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import warnings
from pathlib import Path

import errors

#: Megapixels read from the header, before anything is decoded.
MAX_PIXELS = 25_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")
_MEMORY_BYTES = 768 * 1024 * 1024
_SECONDS = 10
_REFUSED = 3
#: Pictures that one worker has made at a time: each may take as much memory as the limit says.
_AT_ONCE = asyncio.Semaphore(2)
_ROOT = Path(__file__).resolve().parent.parent


async def square_webp(data: bytes, side: int) -> bytes:
    """Crop and scale a JPEG, PNG or WebP to a square WebP without metadata; raise UnsupportedMediaType."""
    return await cover_webp(data, side, side)


async def cover_webp(data: bytes, width: int, height: int) -> bytes:
    """Crop and scale a JPEG, PNG or WebP to a WebP of that size without metadata; raise UnsupportedMediaType."""
    async with _AT_ONCE:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "adapters.images",
            str(width),
            str(height),
            cwd=_ROOT,  # where `-m` finds this module, wherever the server was started
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_SECONDS * 2):
                picture, _ = await process.communicate(data)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
    if process.returncode != 0 or not picture:
        raise errors.UnsupportedMediaType("the file is not a JPEG, PNG or WebP picture of at most 25 megapixels")
    return picture


def _convert(data: bytes, width: int, height: int) -> bytes:
    from PIL import Image, ImageOps

    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("too many pixels")
        # JPEG decodes small at once; the others ignore it.
        picture.draft("RGB", (width * 2, height * 2))
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I"):  # 16 bits a grey: `convert` would cut them off instead of scaling them
            upright = upright.point(lambda grey: grey / 256).convert("L")
        mode = "RGBA" if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info else "RGB"
        cover = ImageOps.fit(upright.convert(mode), (width, height), Image.Resampling.LANCZOS)
        output = io.BytesIO()
        cover.save(output, "WEBP", quality=82, exif=b"", icc_profile=b"", xmp=b"")
        return output.getvalue()


def _limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


if __name__ == "__main__":
    _limit()
    try:
        sys.stdout.buffer.write(_convert(sys.stdin.buffer.read(), int(sys.argv[1]), int(sys.argv[2])))
    except Exception:
        sys.exit(_REFUSED)
