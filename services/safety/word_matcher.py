"""Search for listed words in a text, however their letters are written.

A text is searched in a few views of its skeleton: its words; its words with the digits and signs that stand for letters
(two of them, since a 1 is an i and an l); its words split where a capital follows a small letter. In each view single
words, phrases, parts of words, and neighbouring pieces that make a word (f u c k) are compared without regard to
repeated letters. All of it is look-ups and searches of fixed strings: the time grows with the length of the text alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from services.safety.skeletons import fold, normalize
from services.safety.word_lists import Entry, WordLists

#: Neighbouring pieces that may make one word.
MAX_PIECES = 24
#: A phrase of this many letters or more is listed as one word too.
_MIN_CLOSED_PHRASE = 8
#: Shorter words are not made of pieces of several letters: “as s” is a slip.
_MIN_JOINED = 4
#: Letters by which parts of words are looked up.
_PART_BEGINNING = 4

_WORD = re.compile(r"[^\x00-`{-\x7f]+")
_LEET_WORD = re.compile(r"[^\x00-\x20\"-#%-'*,-/:-?A-`{}~\x7f)]+")
#: A digit or a sign that may stand for a letter.
_LEET_SIGN = re.compile(r"[0-9@$]|(?<=[^\s!])[!|+(](?=[^\s!])")
_LEET_LETTERS = str.maketrans("03456789@$+(2", "oeasgtbgastcz")
_TRAILING_DIGITS = re.compile("[0-9]+$")
_REPEATED = re.compile(r"(.)\1+")
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: What follows an apostrophe is no part of the word: “who're”, “cat's”.
_ENDING = re.compile(r"'(?:s|re|ve|ll|d|m)(?![a-z])")
_MASKED = re.compile(r"[^\x00-`{-\x7f]+(?:[*#]+[^\x00-`{-\x7f]+)+")
#: Endings of words whose entry leaves the end open.
_ENDINGS = ("s", "es", "y", "ed", "er", "ers", "in", "ing", "o", "a", "os", "as")
_EXACT_WORD = re.compile(r"\w+")


class WordMatcher:
    """The lists, prepared for searches."""

    def __init__(self, lists: WordLists) -> None:
        #: Entries by their letters without repetition: of whole words, of what pieces may make, of parts of words.
        self._words: defaultdict[str, list[Entry]] = defaultdict(list)
        self._joined: defaultdict[str, list[tuple[str, Entry]]] = defaultdict(list)
        self._parts: defaultdict[str, list[Entry]] = defaultdict(list)
        #: Parts by their first letters, of which a text has few; and the shorter ones, of scripts without spaces.
        self._by_beginning: defaultdict[str, list[str]] = defaultdict(list)
        self._short_parts: list[str] = []
        self._exact: dict[str, Entry] = {}
        #: Of words with signs in place of letters: by length, first and last letter.
        self._masked: defaultdict[tuple[int, str, str], list[tuple[str, Entry]]] = defaultdict(list)
        for entry in lists.entries:
            self._add(entry)
        for part in self._parts:
            if len(part) < _PART_BEGINNING:
                self._short_parts.append(part)
            else:
                self._by_beginning[part[:_PART_BEGINNING]].append(part)
        self._beginnings = {key[:length] for key in self._joined for length in range(1, len(key) + 1)}
        self._allowed = {entry: _find_allowed(entry, lists.allowed) for entry in lists.entries if not entry.is_exact}

    def _add(self, entry: Entry) -> None:
        if entry.is_exact:
            self._exact[entry.letters] = entry
            return
        squeezed, closed = _squeeze(entry.letters), entry.letters.replace(" ", "")
        if entry.begins and entry.ends and " " not in entry.letters:
            self._words[squeezed].append(entry)
        else:
            self._parts[" " * entry.begins + squeezed + " " * entry.ends].append(entry)
        if " " in entry.letters and len(closed) >= _MIN_CLOSED_PHRASE:
            self._words[_squeeze(closed)].append(entry)
        # With its endings, where the list leaves the end open.
        for form in [closed + ending for ending in ("", *_ENDINGS)] if not entry.ends else [closed]:
            self._joined[_squeeze(form)].append((form, entry))
            if len(form) >= _MIN_JOINED and " " not in entry.letters:
                self._masked[len(form), form[0], form[-1]].append((form, entry))

    def find(self, text: str) -> Entry | None:
        """Return the first entry that a text has, or None."""
        return next(self._find(text), None)

    def _find(self, text: str) -> Iterator[Entry]:
        folded = fold(text)
        if "'" in folded:
            folded = _ENDING.sub("", folded).replace("'", "")
        yield from self._search(_WORD.findall(folded))
        if _LEET_SIGN.search(folded):
            for letter in "il" if re.search("[1!|]", folded) else "i":
                words, numbers = _read_leet(folded, letter)
                yield from self._search(words, numbers)
        if "*" in folded or "#" in folded:
            yield from self._search_masked(folded)
        if _CAMEL.search(plain := normalize(text)):
            yield from self._search(_WORD.findall(fold(_CAMEL.sub(" ", plain))), is_joined=False)
        if self._exact and not text.isascii():
            words = _EXACT_WORD.findall(unicodedata.normalize("NFC", text).casefold())
            yield from (self._exact[word] for word in words if word in self._exact)

    def _search(
        self, words: Sequence[str], numbers: frozenset[int] = frozenset(), *, is_joined: bool = True
    ) -> Iterator[Entry]:
        """Yield the entries in a view: its words, of which some are written as numbers."""
        line = " ".join(words)
        squeezed = _squeeze(line)
        view = _View(words, line, squeezed, numbers)
        pieces = squeezed.split(" ")
        at = 0
        for index, piece in enumerate(pieces):
            for entry in self._words.get(piece, ()):
                if self._holds(view, entry, at, at + len(piece)):
                    yield entry
            if is_joined and piece in self._beginnings:
                yield from self._join(view, pieces, index, at)
            at += len(piece) + 1
        yield from self._search_parts(view, f" {squeezed} ")

    def _search_parts(self, view: _View, padded: str) -> Iterator[Entry]:
        """Yield the entries that are parts of words, or phrases; `padded` are the words between spaces."""
        beginnings = {padded[at : at + _PART_BEGINNING] for at in range(len(padded) - _PART_BEGINNING + 1)}
        found = [part for each in sorted(self._by_beginning.keys() & beginnings) for part in self._by_beginning[each]]
        for part in found if padded.isascii() else (*found, *self._short_parts):
            start = padded.find(part)
            while start >= 0:
                for entry in self._parts[part]:
                    begin = start - 1 + entry.begins
                    if self._holds(view, entry, begin, begin + len(part) - entry.begins - entry.ends):
                        yield entry
                start = padded.find(part, start + 1)

    def _join(self, view: _View, pieces: list[str], index: int, at: int) -> Iterator[Entry]:
        """Yield the entries that pieces from `index` on make, the first of which begins `at` a place of the view."""
        joined, end = pieces[index], at + len(pieces[index])
        for last in range(index + 1, min(len(pieces), index + MAX_PIECES)):
            piece = pieces[last]
            end += 1 + len(piece)
            if piece == joined[-1]:
                continue
            joined += piece[1:] if piece[:1] == joined[-1:] else piece
            if joined not in self._beginnings:
                return
            for form, entry in self._joined.get(joined, ()):
                spelled = all(len(each) == 1 for each in view.words[index : last + 1])
                whole = len(joined) >= _MIN_JOINED and not view.numbers.intersection(range(index, last + 1))
                if (spelled or whole) and self._holds(view, entry, at, end, form):
                    yield entry

    def _holds(self, view: _View, entry: Entry, start: int, end: int, form: str = "") -> bool:
        """Say whether a place of a view repeats letters as often as the entry does, and no allowed word covers it.

        `form` is the entry with an ending.
        """
        begin, stop = view.find_place(start, end)
        if not _repeats(view.line[begin:stop].replace(" ", ""), form or entry.letters.replace(" ", "")):
            return False
        for allowed in self._allowed[entry]:
            found = view.line.find(allowed, max(0, stop - len(allowed)))
            if 0 <= found <= begin:
                return False
        return True

    def _search_masked(self, folded: str) -> Iterator[Entry]:
        """Yield the entries of which a sign stands for a letter: f*ck."""
        for word in _MASKED.findall(folded):
            for form, entry in self._masked.get((len(word), word[0], word[-1]), ()):
                if all(sign in ("*", "#", letter) for sign, letter in zip(word, form, strict=True)):
                    yield entry


def read_words(name: str) -> list[list[str]]:
    """Return the views of a name's words: as they stand, split at capitals, as one word, with letters for digits."""
    folded = fold(name)
    camel = _WORD.findall(fold(_CAMEL.sub(" ", normalize(name))))
    views = [_WORD.findall(folded), camel, *(_read_leet(folded, letter)[0] for letter in "il")]
    return [view for words in views for view in (words, ["".join(words)]) if words]


class _View:
    """Words of a text; their line with and without repeated letters."""

    def __init__(self, words: Sequence[str], line: str, squeezed: str, numbers: frozenset[int]) -> None:
        self.words = words
        self.line = line
        self.numbers = numbers
        self._is_same = line == squeezed
        self._places: list[int] | None = None

    def find_place(self, start: int, end: int) -> tuple[int, int]:
        """Return the place in the line of a place in the squeezed line."""
        if self._is_same:
            return start, end
        if self._places is None:
            self._places = [0]
            for _, run in groupby(self.line):
                self._places.append(self._places[-1] + len(list(run)))
        return self._places[start], self._places[end]


def _squeeze(text: str) -> str:
    return _REPEATED.sub(r"\1", text)


def _repeats(text: str, letters: str) -> bool:
    """Say whether each run of a letter is at least as long in `text` as in `letters`, which are the same runs."""
    if text == letters:
        return True
    runs = ([len(list(run)) for _, run in groupby(each)] for each in (text, letters))
    return all(has >= needs for has, needs in zip(*runs, strict=True))


def _find_allowed(entry: Entry, allowed: Iterable[str]) -> tuple[str, ...]:
    closed = _squeeze(entry.letters.replace(" ", ""))
    return tuple(each for each in allowed if closed in _squeeze(each.replace(" ", "")))


def _read_leet(folded: str, letter: str) -> tuple[list[str], frozenset[int]]:
    """Return the words of a skeleton with letters in place of digits and signs, and which of them are numbers.

    `letter` is that of the sign 1. Digits at the end are a number (ana1, koenig64), but for one other than 1 (cun7),
    and after one or two letters (a55). Where other signs come before, both ways to read them are returned.
    """
    words: list[str] = []
    others: list[str] = []
    numbers = set()
    for word in _LEET_WORD.findall(folded):
        word = word.strip("!|(")
        if not word:
            continue
        stem = _TRAILING_DIGITS.sub("", word)
        if not stem:
            numbers.add(len(words))
        elif stem != word and len(stem) > 2:
            if _LEET_SIGN.search(stem):
                others.append(word)
            if len(word) > len(stem) + 1 or word[-1] == "1":
                word = stem
        words.append(word)
    table = _LEET_LETTERS | str.maketrans(dict.fromkeys("1!|", letter))
    read = [word if word.isalpha() else word.translate(table) for word in (*words, *others)]
    return read, frozenset(numbers)
