"""Lists of words that names, bios and topics may not have: those that ship, and those of the operator.

Each language is a file `{language}.txt` with an entry a line:

    # a comment
    word        a whole word            word*       words that begin so
    two words   a phrase                *word       words that end so
    =wörd       with exactly its marks  *word*      anywhere

`allow.txt` holds names and ordinary words that stay, although a listed word is in them; `staff.txt` the words by which
an account pretends to be the operator's; `companions.txt` those that people write beside a listed word in one word. A
file of WORD_LISTS_DIRECTORY replaces the one of its name; an empty one switches a language off.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from errors import Refused
from services.safety.skeletons import fold

#: The lists that ship.
FOLDER = Path(__file__).parent / "word_lists"
ALLOW, STAFF, COMPANIONS = "allow", "staff", "companions"
#: Lists that are no language's.
_SPECIAL = frozenset((ALLOW, STAFF, COMPANIONS))
#: Letters of an entry; and of a whole list, which is searched for in each text.
MAX_ENTRY_LENGTH, MAX_ENTRIES = 40, 20_000

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*|" + "|".join(_SPECIAL))
#: What stands between the letters of a skeleton.
_SEPARATORS = re.compile(r"[\x00-/:-@\[-`{-~]+")


class WordListError(Refused):
    """A list cannot be read; the message says which, where and why."""


class Entry(NamedTuple):
    """A listed word or phrase: `letters` are its skeleton, with single spaces between words."""

    letters: str
    language: str
    #: As the file has it.
    source: str
    begins: bool = True
    ends: bool = True
    is_exact: bool = False


class Claim(enum.Enum):
    """Where a word of staff is refused in a name."""

    ANYWHERE = ""
    #: Where the whole name consists of such words and additions.
    ALONE = "+"
    #: Only beside those.
    ADDITION = "++"


class WordLists(NamedTuple):
    entries: tuple[Entry, ...]
    allowed: tuple[str, ...]
    staff: Mapping[str, Claim]
    companions: frozenset[str]
    languages: tuple[str, ...]


def load_word_lists(directory: Path | None = None) -> WordLists:
    """Read the lists that ship with those of `directory` in their place; raise WordListError."""
    if directory is not None and not directory.is_dir():
        raise WordListError(f"WORD_LISTS_DIRECTORY {directory} is not a folder")
    files = {path.stem: path for folder in (FOLDER, directory) if folder for path in sorted(folder.glob("*.txt"))}
    entries: list[Entry] = []
    for language, path in files.items():
        if not _LANGUAGE.fullmatch(language):
            raise WordListError(f"{path} is not named after a language, such as en.txt or pt-BR.txt")
        if language not in _SPECIAL:
            entries += [_parse_entry(line, language, place) for place, line in _read_lines(path)]
    if len(entries) > MAX_ENTRIES:
        raise WordListError(f"the word lists have {len(entries)} entries; the most is {MAX_ENTRIES}")
    allowed = tuple(_fold_entry(line, place) for place, line in _read_lines(files[ALLOW]))
    staff = {
        _fold_entry(line.rstrip("+"), place): Claim(line[len(line.rstrip("+")) :][:2])
        for place, line in _read_lines(files[STAFF])
    }
    companions = frozenset(_fold_entry(line, place) for place, line in _read_lines(files[COMPANIONS]))
    languages = tuple(name for name in files if name not in _SPECIAL)
    return WordLists(tuple(entries), allowed, staff, companions, languages)


def _read_lines(path: Path) -> list[tuple[str, str]]:
    """Return the entries of a file, each with its place."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WordListError(f"{path} cannot be read: {error}") from None
    entries = ((f"{path}, line {number}", line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1))
    return [(place, entry) for place, entry in entries if entry]


def _parse_entry(line: str, language: str, place: str) -> Entry:
    if line.startswith("="):
        exact = unicodedata.normalize("NFC", line[1:].strip()).casefold()
        if not re.fullmatch(r"\w+", exact):
            raise WordListError(f"{place}: '{line}' should be one word after the =")
        return Entry(exact, language, line, is_exact=True)
    letters = _fold_entry(line.removeprefix("*").removesuffix("*"), place)
    if line.isascii() and len(letters.replace(" ", "")) < (4 if "*" in line else 3):
        raise WordListError(f"{place}: '{line}' is too short; it would refuse ordinary words")
    return Entry(letters, language, line, not line.startswith("*"), not line.endswith("*"))


def _fold_entry(line: str, place: str) -> str:
    letters = " ".join(_SEPARATORS.sub(" ", fold(line)).split())
    if not letters or "*" in line.strip("*") or re.search("[0-9]", letters):
        raise WordListError(f"{place}: '{line}' should be letters alone, with * only before or after them")
    if len(letters) > MAX_ENTRY_LENGTH:
        raise WordListError(f"{place}: '{line}' is too long; the most is {MAX_ENTRY_LENGTH} letters")
    return letters
