"""Skeletons of texts: what a reader takes the letters for, in lower case and mostly ASCII.

Two texts that look alike have one skeleton: NFKC, case, diacritics, look-alikes of other alphabets, letters of fonts
and of flags, and invisible characters make no difference. Separators stay, as a space or one ASCII sign.

Sources: UAX #15 (NFKC), UTS #39 (confusables.txt, from the package confusable-homoglyphs), UAX #44 (names).
"""

from __future__ import annotations

import importlib.util
import json
import re
import unicodedata
from pathlib import Path

#: Marks that a reader overlooks: diacritics, vowel points of Arabic and Hebrew. Others are parts of letters, such as
#: the vowels of Devanagari or the voicing of kana.
_DIACRITICS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]"
)
#: Letters and symbols without a visible shape.
_EMPTY_SHAPES = frozenset("\u115f\u1160\u3164\uffa0\u2800")
#: Letters that have the shape of a Latin one in most fonts, and another prototype in confusables.txt.
_SHAPES = dict(zip("кĸмпиятгцβεηκμτχøłđħ", "kkmnurtrubenkutxoldh", strict=True))
_SHAPES |= {
    "¢": "c",
    "©": "c",
    "€": "e",
    "®": "r",
    "¥": "y",
    "°": "o",
    "×": "x",
    "¡": "i",
    "†": "t",
    "ß": "ss",
    "æ": "ae",
}
_APOSTROPHES = frozenset("\u2018\u2019\u02bc\u00b4\u0060\uff07\u2032")
#: Letters of fonts, of phonetic alphabets and of flags, by their names.
_LATIN_NAME = re.compile(
    r"(?:LATIN (?:CAPITAL |SMALL )?LETTER (?:SMALL CAPITAL )?"
    r"(?:DOTLESS |OPEN |LONG |SCRIPT |TURNED |REVERSED |BARRED )*"
    r"|(?:CROSSED )?NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER "
    r"|REGIONAL INDICATOR SYMBOL LETTER )([A-Z])(?: WITH .*)?"
)
#: Characters of which NFKC makes a sentence each.
_PHRASES = re.compile("[\ufdfa\ufdfb]")
#: Characters whose folding is kept: a text of rare ones must not fill the memory.
_MAX_KEPT = 20_000


class _Folding(dict[int, str]):
    """The skeleton of each character, by its code, for `str.translate`."""

    def __init__(self, prototypes: dict[str, str]) -> None:
        super().__init__({code: chr(code).lower() for code in range(128)})
        self._prototypes = prototypes
        self[ord("`")] = "'"
        self |= {ord(each): "'" for each in _APOSTROPHES}

    def __missing__(self, code: int) -> str:
        folded = self._fold(chr(code))
        if len(self) < _MAX_KEPT:
            self[code] = folded
        return folded

    def _fold(self, character: str) -> str:
        category = unicodedata.category(character)
        if category == "Cf" or character in _EMPTY_SHAPES or _DIACRITICS.match(character):
            return ""
        if category in ("Nd", "No", "Nl") and (digit := unicodedata.digit(character, None)) is not None:
            return str(digit)
        lower = _strip(character.casefold())
        # In the given case first: capital and small letters have other shapes.
        for each in (character, lower):
            if latin := self._find_latin(each):
                return latin
        if category[0] in "LMN":
            return lower
        if category[0] in "ZC":
            return " "
        return "-" if category == "Pd" else "."

    def _find_latin(self, character: str) -> str:
        """Return the ASCII letters that a character looks like, if it does."""
        for each in (character, _strip(self._prototypes.get(character, ""))):
            if each and each in _SHAPES:
                return _SHAPES[each]
            if each.isascii() and each.isalpha():
                return each.lower()
            if len(each) == 1 and (match := _LATIN_NAME.fullmatch(unicodedata.name(each, ""))):
                return match[1].lower()
        return ""


def _strip(text: str) -> str:
    return unicodedata.normalize("NFC", _DIACRITICS.sub("", unicodedata.normalize("NFKD", text)))


def _read_prototypes() -> dict[str, str]:
    """Read the characters of confusables.txt that have one prototype, without the rest of the package."""
    package = importlib.util.find_spec("confusable_homoglyphs")
    assert package is not None and package.origin is not None
    table = json.loads(Path(package.origin).with_name("confusables.json").read_text(encoding="utf-8"))
    # A prototype itself lists all that look like it.
    return {
        character: alike[0]["c"]
        for character, alike in table.items()
        if len(character) == 1 and not character.isascii() and len(alike) == 1
    }


_folding: _Folding | None = None


def fold(text: str) -> str:
    """Return the skeleton of a text. Its length may differ from that of the text."""
    global _folding
    if _folding is None:
        _folding = _Folding(_read_prototypes())
    return normalize(text).translate(_folding)


def normalize(text: str) -> str:
    """Return a text in NFKC, without the ligatures that stand for whole phrases."""
    return text if text.isascii() else unicodedata.normalize("NFKC", _PHRASES.sub(" ", text))
