"""Filter of the texts by which learners meet: names, bios, language tags, topics of searches.

The texts of courses and lessons are the operator's, and reports are read by staff alone: neither is filtered.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path

import errors
from services.safety.word_lists import Claim, Entry, WordLists, load_word_lists
from services.safety.word_matcher import WordMatcher, read_words

#: Short texts whose result is kept: learners search for the same topics.
KEPT_RESULTS, KEPT_LENGTH = 4096, 64
#: Fields that are filtered, by their names in the contract, where `x-text-filter` marks them.
FIELDS = ("username", "displayName", "bio", "nativeLanguage", "topic", "note")
#: Letters of a language's or a country's code (BCP 47).
LANGUAGE_CODE_LENGTH = 3
#: Those by which an account could pretend to be the operator's.
NAME_FIELDS = ("username", "displayName")


class TextFilter:
    """Lists of words, and what is refused because of them."""

    def __init__(self, directory: Path | None = None, *, is_on: bool = True) -> None:
        """Read the lists, now if the filter is on, else when they are used; raise WordListError."""
        self._directory = directory
        self.is_on = is_on
        self._find_short = lru_cache(KEPT_RESULTS)(self._find)
        if is_on:
            self._find("")

    @cached_property
    def lists(self) -> WordLists:
        return load_word_lists(self._directory)

    @cached_property
    def _matcher(self) -> WordMatcher:
        return WordMatcher(self.lists)

    def _find(self, text: str) -> Entry | None:
        return self._matcher.find(text)

    def find_entry(self, text: str) -> Entry | None:
        """Return the first listed word or phrase that a text has, or None."""
        return (self._find_short if len(text) <= KEPT_LENGTH else self._find)(text)

    def is_staff_name(self, field: str, name: str) -> bool:
        """Whether a name, in one of NAME_FIELDS, reads like one of the operator's."""
        if field not in NAME_FIELDS:
            return False
        for words in read_words(name):
            claims = [self.lists.staff.get(word) for word in words]
            if Claim.ANYWHERE in claims or (Claim.ALONE in claims and None not in claims):
                return True
        return False

    def find_fault(self, field: str, text: str, *, is_staff: bool = False) -> str | None:
        """Return why the text of a field is refused, without the word, or None; `is_staff`: of an account of staff."""
        if not is_staff and self.is_staff_name(field, text):
            return f"'{field}' reads like an account of the staff; choose another name"
        if field == "nativeLanguage":
            # Codes of languages may spell anything (fag is Finongan); longer parts are of the learner's making.
            text = " ".join(part for part in text.split("-") if len(part) > LANGUAGE_CODE_LENGTH)
        if self.find_entry(text):
            return f"'{field}' has a word that is not allowed here; change it"
        return None

    def check(self, field: str, text: str | None, *, is_staff: bool = False) -> None:
        """Raise TextRefused where the filter is on and the text of a field is refused."""
        if self.is_on and text and (fault := self.find_fault(field, text, is_staff=is_staff)):
            raise errors.TextRefused(fault)
