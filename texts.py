"""Texts that other users read: permitted characters, stored form, and shortening.

One rule for both contracts (`x-text` in openapi.yaml and asyncapi.yaml), the command line and names of files. Imports
no other module of the product.

Sources: UAX #9 (bidirectional controls), UTS #51 (emoji sequences), UTS #39 (runs of marks).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum


class Kind(StrEnum):
    """Values of `x-text`."""

    LINE = "line"
    PARAGRAPHS = "paragraphs"
    NAME = "name"


#: Limit of file systems.
FILE_NAME_BYTES = 255
#: Nonspacing marks on one letter: Burmese needs six; a dozen and more write over the lines around them.
MAX_MARKS = 8

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_BLACK_FLAG, _CANCEL_TAG = "\U0001f3f4", "\U000e007f"
_TAGS = range(0xE0020, 0xE0080)
#: Embeddings, overrides and isolates, and the deprecated controls that swap digits and shapes. The marks U+200E,
#: U+200F and U+061C are not among them: Arabic and Hebrew need them next to numbers, and they reorder no other text.
_REORDERING = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x2070))))
_ANNOTATION = frozenset(map(chr, (0xFFF9, 0xFFFA, 0xFFFB, 0xE0001)))
#: Letters and symbols without a visible shape: Hangul fillers, an empty braille cell, a note without a head.
_EMPTY_SHAPES = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159")
#: Categories that are invisible by themselves: marks, separators, controls, format characters.
_INVISIBLE_CATEGORIES = frozenset(("Mn", "Mc", "Me", "Zs", "Zl", "Zp", "Cc", "Cf", "Cn"))
#: Reserved for invisible characters (Default_Ignorable_Code_Point).
_RESERVED = (range(0x2065, 0x2066), range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000))
_FLAG_TAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,32}\U000e007f")
_SPACES = " \t\r\n\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_OUTER_SPACE = re.compile(f"^[{_SPACES}]+|[{_SPACES}]+$")


def normalize(text: str, kind: Kind) -> str:
    """Return the stored form of a text: NFC, line breaks as `\\n`, no space around it."""
    if kind is Kind.PARAGRAPHS:
        text = text.replace("\r\n", "\n")
    # Space is stripped first: composing never creates any, and a mark must not combine with what is stripped.
    return unicodedata.normalize("NFC", _OUTER_SPACE.sub("", text))


def find_fault(
    text: str, kind: Kind, *, min_length: int = 0, max_length: int | None = None, max_bytes: int | None = None
) -> str | None:
    """Return the rule that a text breaks, as the end of a sentence, or None; lengths are of the stored form."""
    text = normalize(text, kind)
    if max_length is not None and len(text) > max_length:
        return f"is too long; the most is {max_length}"
    if max_bytes is not None and len(text.encode(errors="surrogatepass")) > max_bytes:
        return f"is too long; the most is {max_bytes} bytes of UTF-8"
    if (text or min_length > 0) and _is_blank(text):
        return "is blank: it has no visible character"
    if len(text) < min_length:
        return f"is too short; the least is {min_length}"
    if text.isascii() and text.isprintable():
        return _find_path_fault(text) if kind is Kind.NAME else None
    return _find_character_fault(text, kind) or (_find_path_fault(text) if kind is Kind.NAME else None)


def _find_path_fault(name: str) -> str | None:
    if "/" in name or "\\" in name:
        return "may not contain a path separator"
    if name.startswith("."):
        return "may not begin with a dot"
    return None


def _find_character_fault(text: str, kind: Kind) -> str | None:
    marks = 0
    before = ""
    text = _FLAG_TAGS.sub(_BLACK_FLAG, text)  # the flags of England, Scotland and Wales
    for character in text:
        category = unicodedata.category(character)
        if category == "Cc" and not (character == "\n" and kind is Kind.PARAGRAPHS):
            plain = "control characters" if kind is Kind.PARAGRAPHS else "control characters or line breaks"
            return f"may not contain {plain}"
        if character in "\u2028\u2029":
            return "may not contain the separators U+2028 and U+2029"
        if character in _REORDERING:
            return "may not contain controls that reorder text (bidirectional overrides, embeddings and isolates)"
        if character in _ANNOTATION or ord(character) in _TAGS:
            return "may not contain tag characters outside of a flag, or annotation controls"
        if category in ("Co", "Cs") or _is_noncharacter(character):
            return "may not contain private-use characters or noncharacters"
        if character in (_ZWJ, _ZWNJ) and (not before or before in (_ZWJ, _ZWNJ) or before.isspace()):
            return "may contain a zero-width joiner or non-joiner only inside a word or an emoji"
        if category in ("Mn", "Me") and not _is_variation_selector(character):
            marks += 1
            if marks > MAX_MARKS:
                return f"may have at most {MAX_MARKS} combining marks on one letter"
        elif category not in ("Mn", "Me"):
            marks = 0
        before = character
    return None


def _is_noncharacter(character: str) -> bool:
    code = ord(character)
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


def _is_variation_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _is_blank(text: str) -> bool:
    return not any(_is_visible(character) for character in text)


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":  # a letter or an emoji that is younger than this Python, unless reserved
        return not (_is_noncharacter(character) or any(ord(character) in each for each in _RESERVED))
    return category not in _INVISIBLE_CATEGORIES and character not in _EMPTY_SHAPES


def shorten(text: str, max_bytes: int, end: str = "…") -> str:
    """Cut a text to at most `max_bytes` of UTF-8, between two grapheme clusters, with `end` where it was cut."""
    if len(text.encode()) <= max_bytes:
        return text
    left, kept = max_bytes - len(end.encode()), ""
    if left < 0:
        return ""
    for cluster in split_clusters(text):
        left -= len(cluster.encode())
        if left < 0:
            break
        kept += cluster
    return kept.rstrip() + end


def split_clusters(text: str) -> Iterator[str]:
    """Split a text into grapheme clusters: letters with marks, joined emoji, flags as pairs of letters."""
    cluster = ""
    for character in text:
        if cluster and not _belongs(cluster, character):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _belongs(cluster: str, character: str) -> bool:
    """Say whether a character continues a cluster (UAX #29, for marks, emoji, flags and Hangul)."""
    last = cluster[-1]
    if character in (_ZWJ, _ZWNJ) or unicodedata.category(character) in ("Mn", "Mc", "Me"):
        return True
    if "\U0001f3fb" <= character <= "\U0001f3ff" or ord(character) in _TAGS:  # skin tones, tags
        return True
    if last == _ZWJ:
        return True
    if _is_regional(character) and _is_regional(last):
        return len(cluster) % 2 == 1
    return (last == "\r" and character == "\n") or ("\u1160" <= character <= "\u11ff" and "\u1100" <= last <= "\u11ff")


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def clean_file_name(name: str) -> str:
    """Return the stored form of the name of an uploaded file: without folders, at most 255 bytes, with its extension.

    A path is cut to its last part, and dots and spaces around the name are stripped: they hide a file, or some systems
    drop them. The result may still break the rule of names: see `find_fault`.
    """
    name = normalize(name.replace("\\", "/").rpartition("/")[2], Kind.NAME).lstrip(". ").rstrip(". ")
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix.encode(errors="surrogatepass")) > 32:
        stem, suffix = name, ""
    ending = f"{dot}{suffix}" if suffix else ""
    return (shorten(stem, FILE_NAME_BYTES - len(ending.encode(errors="surrogatepass"))) + ending) or "file"
