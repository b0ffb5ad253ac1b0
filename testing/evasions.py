"""Listed words as people write them to get past a filter: seeded, and made without any table of the filter."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Words that any list of these languages has, as their writers know them.
WORDS = (
    "fuck", "fucking", "fucker", "motherfucker", "shit", "bullshit", "shithead", "cunt", "bitch", "bitches", "asshole",
    "dickhead", "cocksucker", "bastard", "nigger", "nigga", "faggot", "whore", "slut", "pussy", "tits", "penis",
    "blowjob", "dildo", "porn", "horny", "nudes", "rapist", "retard", "twat", "wanker", "puta", "pendejo", "maricon",
    "caralho", "buceta", "connard", "salope", "hurensohn", "schlampe", "arschloch", "kurwa", "pizda", "cazzo",
    "stronzo", "puttana", "orospu", "siktir", "madarchod", "chutiya", "kontol", "ngentot", "putangina", "pidoras",
)  # fmt: skip
#: Words of other alphabets, for the kinds that apply to them.
OTHER_WORDS = (
    "сука",
    "блядь",
    "пизда",
    "хуйня",
    "мудак",
    "चूतिया",
    "मादरचोद",
    "شرموطة",
    "操你妈",
    "傻逼",
    "씨발",
    "병신",
    "ควย",
)
#: Where the word stands; a name has no spaces.
SENTENCES = ("{}", "you {}", "I am a {} ok", "hello {} friend", "let us talk about {} today", "{} people only")
NAMES = ("{}", "{}99", "xx_{}_xx", "real_{}", "{}_2024")

_CYRILLIC = dict(zip("aceiopsxyjhk", "асеіорѕхујһк", strict=True))
_GREEK = dict(zip("aeiouvnp", "αειουνηρ", strict=True)) | {"o": "ο", "u": "υ", "k": "κ", "t": "τ"}
_PHONETIC = dict(zip("abcdefghijklmnoprstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", strict=True))
_ACCENTED = dict(zip("aceinosuyz", "äçéíñöśüýž", strict=True))
_DIGITS = {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!", "l": "1|", "o": "0", "s": "5$", "t": "7+"}
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e"
_OVERLAYS = "\u0336\u0335\u0307\u0323\u0301\u0332\u034f"
_FONTS = (0x1D41A, 0x1D44E, 0x1D4EA, 0x1D51E, 0x1D5BA, 0x1D5EE, 0x1D68A, 0xFF41, 0x24D0)
_VOWELS = "aeiouy"


class Evasion(NamedTuple):
    kind: str
    word: str
    text: str


def _some(chooser: random.Random, word: str, table: dict[str, str], share: float) -> str:
    """Replace letters by those of a table: at least one that it has, else about `share` of them."""
    able = [index for index, letter in enumerate(word) if letter in table]
    if not able:
        return word
    chosen = {chooser.choice(able)} | {index for index in able if chooser.random() < share}
    return "".join(chooser.choice(table[letter]) if index in chosen else letter for index, letter in enumerate(word))


def _between(chooser: random.Random, word: str, signs: str) -> str:
    sign = chooser.choice(signs)
    return sign.join(word)


def _font(chooser: random.Random, word: str) -> str:
    start = chooser.choice(_FONTS)
    # Planck's constant has the place of the italic h.
    return "".join("ℎ" if start == 0x1D44E and each == "h" else chr(start + ord(each) - ord("a")) for each in word)


def _squares(chooser: random.Random, word: str) -> str:
    start = chooser.choice((0x1F130, 0x1F150, 0x1F170))
    return "".join(chr(start + ord(each) - ord("a")) for each in word)


def _repeat(chooser: random.Random, word: str) -> str:
    chosen = chooser.sample(range(len(word)), k=chooser.randint(1, len(word)))
    return "".join(each * (chooser.randint(2, 5) if index in chosen else 1) for index, each in enumerate(word))


def _insert(chooser: random.Random, word: str, signs: str, share: float = 0.6) -> str:
    forced = chooser.randrange(len(word) - 1)
    return "".join(
        each + (chooser.choice(signs) if index == forced or chooser.random() < share else "")
        for index, each in enumerate(word)
    )


def _split(chooser: random.Random, word: str) -> str:
    at = chooser.randrange(1, len(word))
    return word[:at] + chooser.choice((" ", ".", "-", "_")) + word[at:]


def _mask(chooser: random.Random, word: str) -> str:
    inner = [index for index in range(1, len(word) - 1) if word[index] in _VOWELS]
    return "".join("*" if index in inner else each for index, each in enumerate(word)) if inner else word


def _case(chooser: random.Random, word: str) -> str:
    return "".join(chooser.choice((each, each.upper())) for each in word)


#: How a word in Latin letters is written.
KINDS: dict[str, Callable[[random.Random, str], str]] = {
    "case": _case,
    "fonts": _font,
    "squared letters": _squares,
    "Cyrillic look-alikes": lambda chooser, word: _some(chooser, word, _CYRILLIC, 0.7),
    "Greek look-alikes": lambda chooser, word: _some(chooser, word, _GREEK, 0.4),
    "small capitals": lambda chooser, word: _some(chooser, word, _PHONETIC, 0.8),
    "accents": lambda chooser, word: _some(chooser, word, _ACCENTED, 0.6),
    "overlaid marks": lambda chooser, word: _insert(chooser, word, _OVERLAYS),
    "digits and signs": lambda chooser, word: _some(chooser, word, _DIGITS, 0.6),
    "repeated letters": _repeat,
    "spaces between letters": lambda chooser, word: _between(chooser, word, " \u00a0\u2003"),
    "signs between letters": lambda chooser, word: _between(chooser, word, ".-_,~/•"),
    "invisible characters": lambda chooser, word: _insert(chooser, word, _INVISIBLE),
    "split in two": _split,
    "masked vowels": _mask,
    "repeated, with digits": lambda chooser, word: _some(chooser, _repeat(chooser, word), _DIGITS, 0.3),
    "spaced, with look-alikes": lambda chooser, word: _between(chooser, _some(chooser, word, _CYRILLIC, 0.5), " .-"),
    "case, with invisible": lambda chooser, word: _insert(chooser, _case(chooser, word), _INVISIBLE),
}
#: How a word of another alphabet is written.
OTHER_KINDS: dict[str, Callable[[random.Random, str], str]] = {
    "other alphabets": lambda chooser, word: word,
    "other alphabets, spaced": lambda chooser, word: " ".join(word),
    "other alphabets, with invisible": lambda chooser, word: _insert(chooser, word, "\u200b\u2060\ufeff"),
}
_NAME_KINDS = frozenset(
    {"case", "digits and signs", "repeated letters", "signs between letters", "repeated, with digits"}
)


def generate(count: int, seed: int) -> Iterator[Evasion]:
    """Yield `count` evasions, as many of each kind."""
    chooser = random.Random(seed)
    kinds: list[tuple[str, Callable[[random.Random, str], str], tuple[str, ...]]]
    kinds = [(kind, write, WORDS) for kind, write in KINDS.items()]
    kinds += [(kind, write, OTHER_WORDS) for kind, write in OTHER_KINDS.items()]
    for number in range(count):
        kind, write, words = kinds[number % len(kinds)]
        word = chooser.choice(words)
        frames = NAMES if kind in _NAME_KINDS and chooser.random() < 0.4 else SENTENCES
        yield Evasion(kind, word, chooser.choice(frames).format(write(chooser, word)))
