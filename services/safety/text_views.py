"""Views of a text: its words in a line, its letters by classes, and the places where words begin and end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property

from services.safety.spellings import CLASSES, Form, Reading, read, squeeze

#: In a folded text, where a capital followed a small letter.
CAMEL_MARK = "\x01"
_DIGITS = "0123456789"
#: Letters around a place that are looked at; no word beside another has as many.
_MAX_REST = 64


class View:
    """Words of a folded text in a `line`, with single spaces; `classes` are those of its letters, none repeated."""

    def __init__(self, words: Sequence[str]) -> None:
        parts = " ".join(words).split(CAMEL_MARK)
        self.line = "".join(parts)
        self._camels: list[int] = []
        place = 0
        for part in parts[:-1]:
            place += len(part)
            self._camels.append(place)
        self._classes = self.line.translate(CLASSES)
        self.classes = squeeze(self._classes.replace(" ", ""))

    @cached_property
    def _runs(self) -> tuple[list[int], list[int]]:
        """Where the letters of each class begin and end in the line."""
        starts: list[int] = []
        ends: list[int] = []
        last = ""
        for place, each in enumerate(self._classes):
            if each == last:
                ends[-1] = place + 1
            elif each != " ":
                starts.append(place)
                ends.append(place + 1)
                last = each
        return starts, ends

    def find_starts(self, at: int, length: int) -> tuple[int, ...]:
        """Return where a run of a class may begin as the first of a form: words before may end with the same."""
        start, end = self._runs[0][at], self._runs[1][at]
        if end - start <= length:
            return (start,)
        space = self.line.rfind(" ", start, end)
        return (start, end - length if space < 0 else space + 1)

    def find_ends(self, at: int, length: int) -> tuple[int, ...]:
        """Return where a run of a class may end as the last of a form: words after may begin with the same."""
        start, end = self._runs[0][at], self._runs[1][at]
        if end - start <= length:
            return (end,)
        space = self.line.find(" ", start, end)
        return (end, start + length if space < 0 else space)

    def read(self, form: Form, at: int, start: int, end: int) -> Reading | None:
        """Return how a place of the line, whose first class is `at`, writes a form; None if it does not."""
        written = self.line[start:end].replace(" ", "")
        if written == form.letters:
            return Reading.LETTERS
        worst, last = Reading.LETTERS, len(form.runs) - 1
        starts, ends = self._runs
        for number, run in enumerate(form.runs):
            begin = starts[at + number] if number else start
            stop = ends[at + number] if number < last else end
            reading = read(self.line[begin:stop].replace(" ", ""), run)
            if reading is None:
                return None
            worst = max(worst, reading)
        return worst

    def is_number(self, start: int, end: int) -> bool:
        """Whether the digits of a place are those of a number: 455, ana1, koenig64; but not cun7, a55, 5lu75."""
        line = self.line
        written = line[start:end]
        if not written.strip(_DIGITS + " "):
            return True
        if written[0] in _DIGITS and line[start - 1 : start] and line[start - 1] in _DIGITS:
            return True
        if written[-1] not in _DIGITS:
            return False
        word = line[line.rfind(" ", max(0, end - _MAX_REST), end) + 1 : end]
        if end < len(line) and line[end] in _DIGITS:
            return True
        stem = word.rstrip(_DIGITS)
        if len(stem) <= 2 or not stem.isalpha() or (end < len(line) and line[end] != " "):
            return False
        return len(word) > len(stem) + 1 or word[-1] == "1"

    def find_rest(self, start: int, end: int) -> tuple[str, str]:
        """Return what stands before and after a place in its words, up to digits and to changes of case."""
        line = self.line
        nearest, farthest = max(0, start - _MAX_REST), end + _MAX_REST
        space, stop = line.rfind(" ", nearest, start), line.find(" ", end, farthest)
        begin, stop = nearest if space < 0 else space + 1, farthest if stop < 0 else stop
        camels = self._camels[bisect_left(self._camels, begin) : bisect_right(self._camels, stop)]
        if camels and not any(start < each < end for each in camels):
            begin = max((each for each in camels if each <= start), default=begin)
            stop = min((each for each in camels if each >= end), default=stop)
        before, after = line[begin:start], line[end:stop]
        if before and not before.isalpha():
            before = "" if before[-1] in _DIGITS else before.lstrip(_DIGITS)
        if after and not after.isalpha():
            after = "" if after[0] in _DIGITS else after.rstrip(_DIGITS)
        return before, after

    def has_camels(self, form: Form, start: int, end: int) -> bool:
        """Whether the words of a phrase, written as one, begin with capitals."""
        bounds = {start + each for each in form.breaks}
        if not self._camels or end - start != len(form.letters):
            return False
        camels = set(self._camels[bisect_left(self._camels, start) : bisect_right(self._camels, end)])
        if not bounds <= camels:
            return False
        before, after = self.line[start - 1 : start], self.line[end : end + 1]
        return (start in camels or before in ("", " ")) and (end in camels or after in ("", " "))
