"""Spellings of listed words: which letters and signs people write for a letter, and how far a text follows an entry.

Letters that stand for one another are of one class, by which entries are found; `read` then compares letter by letter.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import NamedTuple

from services.safety.skeletons import I_OR_L
from services.safety.word_lists import Entry

#: Letters and signs that are compared as the first of them.
_CLASSES = (f"il{I_OR_L}y1!|", "sz5$2", "ckq(<", "uv", "o0", "e3з", "a4@ч", "t7+", "b8б", "g96д")
CLASSES = str.maketrans({sign: each[0] for each in _CLASSES for sign in each})
#: The letters that a digit or a sign may stand for.
_SIGNS = {
    "0": "o", "1": "il", "!": "il", "|": "il", I_OR_L: "il", "2": "z", "3": "eз", "4": "aч", "@": "a", "5": "s",
    "$": "s", "6": "gб", "7": "t", "+": "t", "8": "b", "9": "g", "(": "c", "<": "c",
}  # fmt: skip
#: The letters that sound like a letter, or look like one of Cyrillic. A z is written for s, but not the reverse.
_SOUNDS = {"i": "y", "y": "i", "s": "z", "c": "kq", "k": "cq", "q": "kc", "б": "b", "д": "g", "з": "e", "ч": "a"}
#: Other ways to write the sound of a word.
_SOUND_FORMS = (("f", "ph"), ("w", "vv"), ("cks", "x"), ("ck", "x"), ("ks", "x"), ("u", "oo"))
_LAST_SOUNDS = (("er", "a"), ("er", "ah"), ("er", "ur"), ("a", "ah"))
#: Shorter words are not compared by their sound: Phuc and Kunta are names.
MIN_SOUNDED = 5
_REPEATED = re.compile(r"(.)\1+")


class Reading(enum.IntEnum):
    """How far the letters of a text are those of an entry."""

    LETTERS = 0
    #: Digits, signs or look-alikes of two letters are among them.
    SIGNS = 1
    #: Letters that sound or look alike are among them.
    SOUNDS = 2


class Form(NamedTuple):
    """A spelling of an entry; its letters without spaces, in runs of one class each."""

    entry: Entry
    letters: str
    classes: str
    runs: tuple[str, ...]
    #: Places between its words.
    breaks: frozenset[int]
    is_sounded: bool = False


def squeeze(text: str) -> str:
    """Return a text without repeated letters."""
    return _REPEATED.sub(r"\1", text)


def write_forms(entry: Entry) -> Iterator[Form]:
    """Yield the forms of an entry by which it is found."""
    words = entry.letters.split(" ")
    letters = "".join(words)
    breaks = frozenset(len("".join(words[:number])) for number in range(1, len(words)))
    yield _write_form(entry, letters, breaks)
    if len(words) > 1 or len(letters) < MIN_SOUNDED - 1 or not letters.isascii():
        return
    sounded = {letters.replace(letter, sound, 1) for letter, sound in _SOUND_FORMS if letter in letters}
    if entry.ends:
        sounded |= {letters.removesuffix(end) + sound for end, sound in _LAST_SOUNDS if letters.endswith(end)}
    for each in sorted(each for each in sounded if len(each) >= MIN_SOUNDED):
        yield _write_form(entry, each, breaks, is_sounded=True)


def _write_form(entry: Entry, letters: str, breaks: frozenset[int], *, is_sounded: bool = False) -> Form:
    classes = letters.translate(CLASSES)
    runs, start = [], 0
    for end in range(1, len(letters) + 1):
        if end == len(letters) or classes[end] != classes[start]:
            runs.append(letters[start:end])
            start = end
    return Form(entry, letters, squeeze(classes), tuple(runs), breaks, is_sounded)


def read(written: str, run: str) -> Reading | None:
    """Return how the letters of a text, all of one class, write a run of an entry; None if they do not."""
    if written == run:
        return Reading.LETTERS
    letters, signs = set(written) - _SIGNS.keys(), set(written) & _SIGNS.keys()
    if letters <= set(run) and len(written) >= len(run):
        if not signs and _repeats(written, run):
            return Reading.LETTERS
        if signs and all(set(_SIGNS[sign]) & set(run) for sign in signs):
            return Reading.SIGNS
    if run == "ck":
        return Reading.SOUNDS if set(written) <= {"k", "q", "c"} and set(written) != {"c"} else None
    if set(run) == {"u"} and set(written) <= {"u", "v"} and len(written) >= len(run):
        return Reading.SIGNS
    # Others in the place of one.
    if len(set(run)) == 1 and len(written) >= len(run) and letters <= {*_SOUNDS.get(run[0], ""), run[0]}:
        return Reading.SOUNDS if all(run[0] in _SIGNS[sign] for sign in signs) else None
    return None


def _repeats(written: str, run: str) -> bool:
    """Whether both have the same letters in order, of which the text repeats each as often or more."""
    if squeeze(written) != squeeze(run):
        return False
    counts = ([len(each[0]) for each in re.finditer(r"(.)\1*", text)] for text in (written, run))
    return all(has >= needs for has, needs in zip(*counts, strict=True))
