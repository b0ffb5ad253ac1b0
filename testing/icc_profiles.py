"""ICC profiles for tests, and the sRGB values that follow from them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import product

#: Columns of the matrices to XYZ (D50): red, green, blue; and the gamma of the curve.
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)), 2.2
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 563 / 256
WHITE = (0.9642, 1.0, 0.8249)
#: From XYZ (D50) to linear sRGB: the published Bradford-adapted matrix.
_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)
Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


def matrix_profile(primaries: Matrix, gamma: float) -> bytes:
    """Make a display profile: three primaries and one curve."""
    tags = {b"wtpt": _xyz(WHITE)}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        tags[name] = _xyz(column)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = _curve(gamma)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(WHITE), b"kTRC": _curve(gamma)})


def ink_lab(ink: Sequence[float]) -> tuple[float, float, float]:
    """Return the Lab colour that `cmyk_profile` gives to four inks, each 0 or 1: an invented, muted press."""
    cyan, magenta, yellow, black = ink
    light = (100 - 35 * cyan - 40 * magenta - 8 * yellow) * (1 - black)
    a = (-30 * cyan + 55 * magenta - 4 * yellow) * (1 - black)
    b = (-38 * cyan - 5 * magenta + 60 * yellow) * (1 - black)
    return light, a, b


def cmyk_profile() -> bytes:
    """Make a press profile of a table with two steps an ink (lut8Type)."""
    table = bytearray()
    for ink in product((0, 1), repeat=4):
        light, a, b = ink_lab(ink)
        table += bytes((round(light * 2.55), round(a) + 128, round(b) + 128))
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(table) + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(WHITE), b"A2B0": lut})


def convert_to_srgb(pixel: Sequence[int], primaries: Matrix, gamma: float) -> tuple[int, ...]:
    """Return the 8-bit sRGB value of a pixel in the space of `matrix_profile`, cut to what sRGB has."""
    linear = [(channel / 255) ** gamma for channel in pixel]
    return _encoded([sum(primaries[i][row] * linear[i] for i in range(3)) for row in range(3)])


def srgb_of_lab(light: float, a: float, b: float) -> tuple[int, ...]:
    y = (light + 16) / 116
    xyz = [
        white * (t**3 if t > 6 / 29 else (t - 4 / 29) * 3 * (6 / 29) ** 2)
        for white, t in zip(WHITE, (y + a / 500, y, y - b / 200), strict=True)
    ]
    return _encoded(xyz)


def _encoded(xyz: Sequence[float]) -> tuple[int, ...]:
    channels = [min(max(sum(row[i] * xyz[i] for i in range(3)), 0), 1) for row in _TO_SRGB]
    return tuple(round(255 * (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055)) for c in channels)


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(each * 65536) for each in values))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(79), **tags}
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"\0\0\0\0", 0x02400000, kind, space, connection)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *(round(each * 65536) for each in WHITE)) + bytes(48)
    return header + table + body
