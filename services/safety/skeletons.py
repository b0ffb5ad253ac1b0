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

#: Marks that a reader overlooks: diacritics, vowel points of Arabic and Hebrew, variation selectors. Others are parts
#: of letters, such as the vowels of Devanagari or the voicing of kana.
_DIACRITICS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed\u17b4\u17b5\u180b-\u180f"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef]"
)
#: A letter that has the shape of both i and l: the capitals of iota and of the Ukrainian i, the palochka.
I_OR_L = "\u0131"
#: Letters and symbols without a visible shape.
_EMPTY_SHAPES = frozenset("\u115f\u1160\u3164\uffa0\u2800")
#: Single letters of Hangul as keyboards write them, which NFKC would not join into syllables with a last consonant.
_LEADS, _TAILS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
_HANGUL = re.compile(f"([{_LEADS}])([ㅏ-ㅣ])(?:([ㄱ-ㅎ])(?![ㅏ-ㅣ]))?")
#: Letters that have the shape of a Latin one in most fonts, and another prototype in confusables.txt.
_SHAPES = dict(zip("кĸмпиятгцшьβεηκμτχςωϝøłđħŋþƨʉʊժիⲈⲉⲍ", "kkmnurtruwbbenkutxcwfoldhnpsuudieez", strict=True))
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
    "ӏ": I_OR_L,
}
_APOSTROPHES = frozenset("\u2018\u2019\u02bc\u00b4\u0060\uff07\u2032")
#: Letters of fonts, of phonetic alphabets and of flags, by their names.
_LATIN_NAME = re.compile(
    r"(?:LATIN (?:CAPITAL |SMALL )?LETTER (?:SMALL CAPITAL )?"
    r"(?:DOTLESS |OPEN |LONG |SCRIPT |TURNED |REVERSED |BARRED )*"
    r"|(?:CROSSED )?NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER "
    r"|REGIONAL INDICATOR SYMBOL LETTER )([A-Z])(?: WITH .*)?"
)
#: The blocks of those; and the first of kana, Hangul and Chinese characters, which have other shapes.
_OF_LATIN = re.compile(
    "[\u0080-\u02af\u1d00-\u1dbf\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f\U00010780-\U000107bf"
    "\U0001df00-\U0001dfff\U0001f100-\U0001f1ff]\\Z"
)
_UNLIKE_LATIN = "\u3040"
#: Characters of which NFKC makes a sentence each.
_PHRASES = re.compile("[\ufdfa\ufdfb]")
#: Characters whose folding is kept: a text of rare ones must not fill the memory.
_MAX_KEPT = 20_000


class _Folding(dict[int, str]):
    """The skeleton of each character, by its code, for `str.translate`."""

    def __init__(self, prototypes: dict[str, str]) -> None:
        super().__init__({code: chr(code).lower() for code in range(128)})
        self[ord(I_OR_L)] = I_OR_L
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
        if category == "Lo" and character >= _UNLIKE_LATIN and character not in self._prototypes:
            return character
        if category == "Cf" or character in _EMPTY_SHAPES or _DIACRITICS.match(character):
            return ""
        if category in ("Nd", "No", "Nl") and (digit := unicodedata.digit(character, None)) is not None:
            return str(digit)
        lower = _strip(character.casefold())
        # In the given case first: capital and small letters have other shapes.
        if latin := self._find_latin(character) or (self._find_latin(lower) if lower != character else ""):
            return latin
        if category[0] in "LMN":
            return lower
        if category[0] in "ZC":
            return " "
        return "-" if category == "Pd" else "."

    def _find_latin(self, character: str) -> str:
        """Return the ASCII letters that a character looks like, if it does."""
        prototype = self._prototypes.get(character, "")
        if prototype == "l":
            return I_OR_L
        for each in (character, _strip(prototype)) if prototype else (character,):
            if each in _SHAPES:
                return _SHAPES[each]
            if each.isascii() and each.isalpha():
                return each.lower()
            if _OF_LATIN.match(each) and (match := _LATIN_NAME.fullmatch(unicodedata.name(each, ""))):
                return match[1].lower()
        return ""


def _strip(text: str) -> str:
    if text.isascii():
        return text
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
    return translate(normalize(text))


def translate(text: str) -> str:
    """Return the skeleton of a normalized text."""
    global _folding
    if _folding is None:
        _folding = _Folding(_read_prototypes())
    return text.translate(_folding)


def normalize(text: str) -> str:
    """Return a text in NFKC, without the ligatures that stand for whole phrases, and with syllables of Hangul."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _HANGUL.sub(_join_hangul, _PHRASES.sub(" ", text)))


def _join_hangul(letters: re.Match[str]) -> str:
    lead, vowel, tail = letters.groups()
    last = _TAILS.find(tail) if tail else 0
    syllable = chr(0xAC00 + (_LEADS.index(lead) * 21 + ord(vowel) - ord("ㅏ")) * 28 + max(last, 0))
    return syllable if last >= 0 else syllable + tail
