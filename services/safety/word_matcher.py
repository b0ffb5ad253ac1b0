"""Search for listed words in a text, however their letters are written.

A text is searched in a few views of its skeleton: its words; its words with the digits and signs that stand for
letters; and the same without flags, markup and letters made of several signs. In each view the letters, without what
stands between them, are looked up by classes of letters (spellings.py), and what is found is compared letter by
letter, and by where its words begin and end. All of it is look-ups of fixed strings: time grows with the text's length.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from operator import add

from services.safety.skeletons import I_OR_L, normalize, translate
from services.safety.spellings import MIN_SOUNDED, Form, Reading, write_forms
from services.safety.text_views import CAMEL_MARK, View
from services.safety.word_lists import Entry, WordLists

#: Neighbouring pieces that may make one word.
MAX_PIECES = 24
#: A phrase of this many letters or more is listed as one word too.
_MIN_CLOSED_PHRASE = 8
#: Shorter words are not made of pieces of several letters (“as s” is a slip), nor found beside others in one word.
_MIN_JOINED = 4
#: Letters from which on an entry that may be any part of a word is found in one by its sound.
_MIN_SOUNDED_PART = 7
#: Letters by which forms are looked up; _find_forms has this number in its look-ups.
_BEGINNING = 3

#: In place of letters of no form.
_UNLISTED = "\x02"
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: A capital i among small letters has the shape of an l.
_CAPITAL_I = re.compile("(?<=[a-z])I(?=[a-z])")
_WORD = re.compile("[\x01\x02a-z\x80-\U0010ffff]+")
_SIGNED_WORD = re.compile("[\x01\x02a-z\x80-\U0010ffff0-9!$(+<@|]+")
_SIGN = re.compile(r"[0-9@$+]|[!|(<]\w")
#: What follows an apostrophe is no part of the word: “who're”, “cat's”.
_ENDING = re.compile(r"'(?:s|re|ve|ll|d|m)(?![a-z'])")
#: Endings of words whose entry leaves the end open; and of words by their sound.
_ENDINGS = frozenset(("", "s", "e", "es", "y", "ed", "er", "ers", "in", "ing", "o", "a", "os", "as", "z", "ah"))
_ENGLISH_ENDINGS = frozenset(("", "s", "z", "ed", "er", "ers", "in", "ing"))
#: Words with signs in the place of letters: of any, or of one vowel each.
_MASKED = re.compile("(?<![a-z\x80-\U0010ffff])[a-z\x80-\U0010ffff]++[*#]+[a-z\x80-\U0010ffff*#]*")
_MASKED_VOWELS = re.compile(
    "(?<![a-z\x80-\U0010ffff])[a-z\x80-\U0010ffff]++[*#@%?!_.~+&^$-][a-z\x80-\U0010ffff*#@%?!_.~+&^$-]+"
)
_ANY_MASKS, _VOWEL_MASKS = frozenset("*#"), frozenset("*#@%?!_.~+&^$-")
_ANY_LETTERS, _VOWELS = frozenset[str](), frozenset("aeiouy")
#: Signs that stand between words too, so that one alone is a mask.
_HYPHENS = re.compile("[._~-]")
_EXACT_WORD = re.compile(r"\w+")
#: What a rewritten text is without: two letters of a flag, markup, letters made of signs.
_FLAG = re.compile("(?<![\U0001f1e6-\U0001f1ff])[\U0001f1e6-\U0001f1ff]{2}(?![\U0001f1e6-\U0001f1ff])")
_TAG = re.compile("</?[A-Za-z]{1,10}/?>")
_MADE_LETTER = re.compile(r"\|=|\|-\||\|[<{]|\|_\||\|\\\||\|\)|\(\)|\|\\/\||\\/\\/")
_MADE_LETTERS = {
    "|=": "f", "|-|": "h", "|<": "k", "|{": "k", "|_|": "u", "|\\|": "n", "|)": "d", "()": "o", "|\\/|": "m",
    "\\/\\/": "w",
}  # fmt: skip
#: Digits among letters of other alphabets.
_INNER_DIGIT = re.compile("(?<=[\u0590-\U0000ffff])[0-9]+(?=[\u0590-\U0000ffff])")
_CYRILLIC = re.compile("[\u0400-\u04ff]")
_REWRITTEN = re.compile("[&<|\\\\()6\U0001f1e6-\U0001f1ff]")


class WordMatcher:
    """The lists, prepared for searches."""

    def __init__(self, lists: WordLists) -> None:
        #: Forms by the first classes of their letters; shorter ones by all of theirs.
        self._forms: defaultdict[str, list[Form]] = defaultdict(list)
        self._exact = {entry.letters: entry for entry in lists.entries if entry.is_exact}
        #: Of words with signs in place of letters: by length, first and last letter, which may be a sign too.
        self._masked: defaultdict[tuple[int, str, str], list[tuple[str, Entry]]] = defaultdict(list)
        self._companions = lists.companions
        for entry in lists.entries:
            for form in () if entry.is_exact else write_forms(entry):
                self._forms[form.classes[:_BEGINNING]].append(form)
                if len(form.letters) >= _MIN_JOINED and not (form.breaks or form.is_sounded):
                    for ending in ("",) if entry.ends else _ENDINGS:
                        letters = form.letters + ending
                        for last in (letters[-1], ""):
                            self._masked[len(letters), letters[0], last].append((letters, entry))
        self._beginnings = frozenset(self._forms)
        written = [form.letters for forms in self._forms.values() for form in forms]
        listed = "".join({*"".join(written), *"".join(lists.allowed), *"".join(lists.companions)} - {" "})
        #: Letters of no form, which stand for one another: of most texts in other alphabets.
        self._unlisted = re.compile(f"[^\x00-\x7f{I_OR_L}{re.escape(listed)}]+")
        #: Allowed words and phrases by the entries that they have.
        self._allowed: defaultdict[Entry, list[str]] = defaultdict(list)
        for allowed in lists.allowed:
            for form, _ in self._find_forms(View([allowed]).classes):
                self._allowed[form.entry].append(allowed)

    def find(self, text: str) -> Entry | None:
        """Return the first entry that a text has, or None."""
        return next(self._find(text), None)

    def _find(self, text: str) -> Iterator[Entry]:
        plain = normalize(text)
        folded = self._unlisted.sub(_UNLISTED, _fold(plain))
        yield from self._search(View(_WORD.findall(folded)))
        if _SIGN.search(folded):
            yield from self._search(_view_signs(folded))
        yield from self._search_masked(folded.replace(CAMEL_MARK, ""))
        if _REWRITTEN.search(plain) and (rewritten := _rewrite(plain)) != plain:
            yield from self._search(_view_signs(self._unlisted.sub(_UNLISTED, _fold(rewritten))))
        if self._exact and not text.isascii():
            words = _EXACT_WORD.findall(unicodedata.normalize("NFC", text).casefold())
            yield from (self._exact[word] for word in words if word in self._exact)

    def _search(self, view: View) -> Iterator[Entry]:
        """Yield the entries in a view."""
        return (form.entry for form, at in self._find_forms(view.classes) if self._has(view, form, at))

    def _find_forms(self, classes: str) -> Iterator[tuple[Form, int]]:
        """Yield the forms whose classes are in others, with their places."""
        pairs = list(map(add, classes, classes[1:]))
        beginnings = self._beginnings & {*classes, *pairs, *map(add, pairs, classes[2:])}
        for beginning in sorted(beginnings):
            at = classes.find(beginning)
            while at >= 0:
                for form in self._forms[beginning]:
                    if classes.startswith(form.classes, at):
                        yield form, at
                at = classes.find(beginning, at + 1)

    def _has(self, view: View, form: Form, at: int) -> bool:
        """Whether a form begins at one of the classes; its first and last letters may be repeated in other words."""
        for start in view.find_starts(at, len(form.runs[0])):
            for end in view.find_ends(at + len(form.runs) - 1, len(form.runs[-1])):
                if self._holds(view, form, at, start, end):
                    return True
        return False

    def _holds(self, view: View, form: Form, at: int, start: int, end: int) -> bool:
        """Whether a place of the line is a form, as a word or part of one as its entry says, and no allowed word."""
        line, entry = view.line, form.entry
        is_joined = line.find(" ", start, end) >= 0
        # First what costs least.
        if is_joined and start and line[start - 1] != " ":
            return False
        reading = view.read(form, at, start, end)
        if reading is None or view.is_number(start, end):
            return False
        if form.is_sounded:
            reading = Reading.SOUNDS
        if form.breaks and not is_joined and len(form.letters) < _MIN_CLOSED_PHRASE:
            return view.has_camels(form, start, end)
        before, after = view.find_rest(start, end)
        if is_joined:
            holds = (not after or (not entry.ends and after in _ENDINGS)) and _make(line[start:end], form, reading)
        elif reading is Reading.SOUNDS:
            holds = _sounds(form, before, after)
        else:
            holds = not ((entry.begins and before) or (entry.ends and after)) or self._is_accompanied(
                form, before, after
            )
        return holds and not self._is_allowed(view, entry, start, end)

    def _is_accompanied(self, form: Form, before: str, after: str) -> bool:
        """Whether a form is in one word with those that people write beside it: bigslut, shitlord."""
        return (
            len(form.letters) >= _MIN_JOINED
            and not form.breaks
            and (not before or before in self._companions)
            and (not after or after in self._companions)
        )

    def _is_allowed(self, view: View, entry: Entry, start: int, end: int) -> bool:
        """Whether an allowed word or phrase covers a place."""
        return entry in self._allowed and any(
            0 <= view.line.find(allowed, max(0, end - len(allowed)), start + len(allowed)) <= start
            for allowed in self._allowed[entry]
        )

    def _search_masked(self, folded: str) -> Iterator[Entry]:
        """Yield the entries of which signs stand for letters: f*ck, sh.t, puss*."""
        if "*" in folded or "#" in folded:
            for word in _MASKED.findall(folded):
                stem = word.strip("*#")
                yield from self._find_masked(stem, _ANY_MASKS, _ANY_LETTERS)
                # The star after a short word is that of a note.
                if word[-1] in "*#" and (len(stem) >= _MIN_JOINED or not stem.isalpha()):
                    yield from self._find_masked(f"{stem}*", _ANY_MASKS, _ANY_LETTERS)
        for word in _MASKED_VOWELS.findall(folded):
            word = word.lstrip("*#@%?!_.~+&^$-").rstrip("*#%?!_.~+&^$-")
            if not word.isalpha() and len(_HYPHENS.findall(word)) < 2:
                yield from self._find_masked(word, _VOWEL_MASKS, _VOWELS)

    def _find_masked(self, word: str, masks: frozenset[str], masked: frozenset[str]) -> Iterator[Entry]:
        if word.isalpha():
            return
        last = word[-1] if word[-1].isalpha() else ""
        for letters, entry in self._masked.get((len(word), word[0], last), ()):
            for sign, letter in zip(word, letters, strict=True):
                if sign != letter and not (sign in masks and (letter in masked or not masked)):
                    break
            else:
                yield entry


def _make(written: str, form: Form, reading: Reading) -> bool:
    """Whether pieces of words make a form: f u c k, or fu ck."""
    pieces = written.split(" ")
    if len(pieces) > MAX_PIECES:
        return False
    if all(len(each) == 1 for each in pieces):
        return reading is not Reading.SOUNDS or len(form.letters) >= MIN_SOUNDED
    return (
        reading is not Reading.SOUNDS
        and len(form.letters) >= _MIN_JOINED - (not form.letters.isascii())
        and not any(each.isdigit() for each in pieces)
    )


def _sounds(form: Form, before: str, after: str) -> bool:
    """Whether a form in other letters of the same sound is a word, or a part that is long enough."""
    if len(form.letters) < MIN_SOUNDED or form.breaks:
        return False
    is_part = not (form.entry.begins or form.entry.ends) and len(form.letters) >= _MIN_SOUNDED_PART
    return is_part or (not before and after in _ENGLISH_ENDINGS)


def read_words(name: str) -> list[list[str]]:
    """Return the views of a name's words: as they stand, split at capitals, as one word, with letters for digits."""
    folded = _fold(normalize(name))
    signs = [
        folded.translate(str.maketrans("03456789@$+(2", "oeasgtbgastcz") | dict.fromkeys(map(ord, "1!|"), letter))
        for letter in "il"
    ]
    texts = [
        text for each in (folded, *signs) for text in (each.replace(CAMEL_MARK, ""), each.replace(CAMEL_MARK, " "))
    ]
    views = [_WORD.findall(text) for text in texts]
    return [view for words in views for view in (words, ["".join(words)]) if words]


def _fold(plain: str) -> str:
    """Return the skeleton of a normalized text without apostrophes, with marks where capitals follow small letters."""
    plain = plain.replace(CAMEL_MARK, " ").replace(_UNLISTED, " ")
    folded = translate(_CAMEL.sub(CAMEL_MARK, _CAPITAL_I.sub(I_OR_L, plain)))
    return _ENDING.sub("", folded).replace("'", "") if "'" in folded else folded


def _view_signs(folded: str) -> View:
    """Return the view of a skeleton in which signs within words and at their beginning are letters."""
    # A bracket that is closed is none.
    no_letters = "!|<(" if ")" in folded else "!|<"
    found = _SIGNED_WORD.findall(_INNER_DIGIT.sub("", folded))
    words = (word if len(word) == 1 else word.lstrip(no_letters).rstrip("!|<(") for word in found)
    return View([word for word in words if word])


def _rewrite(plain: str) -> str:
    """Return a normalized text without flags, markup and letters made of signs."""
    text = plain
    if "&" in text or "<" in text:
        text = normalize(_TAG.sub("", html.unescape(text)))
    text = _MADE_LETTER.sub(lambda sign: _MADE_LETTERS[sign[0]], _FLAG.sub(" ", text))
    if "6" in text and _CYRILLIC.search(text):
        text = text.replace("6", "б")
    return text
