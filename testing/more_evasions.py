"""Evasions of more kinds, from public reports about other filters; none of the filter's tables is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from testing.evasions import OTHER_WORDS, WORDS, Evasion

_SIGNS = {"a": "4@", "b": "8", "e": "3€", "g": "9", "i": "1!|", "l": "1|", "o": "0", "s": "5$", "t": "7+", "u": "v"}
_MADE = {"f": "|=", "h": "|-|", "k": "|<", "u": "|_|", "d": "|)", "o": "()", "c": "<", "w": "vv"}
_RARE = dict(zip("abcdefghiklmnoprstuvwxyz", "ᎪᏏᏟԁҽꓝꮐᎻɩᏦᏞᎷոօᏢꓣՏᎢսᏙᎳꓫꓬᏃ", strict=True))
_CAPITALS = dict(zip("abcehikmnoprtxy", "АВСЕНΙКМΝОРЯТХΥ", strict=True))
_STROKED = dict(zip("abcdefghiklmnoprstuyz", "ᴀƀȼđɇƒǥħɨƙƚɱŋøƥɍʂŧʉɏƶ", strict=True))
_SUPERSCRIPT = dict(zip("abcdefghiklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
_CYRILLIC_AS_LATIN = dict(zip("аоеухскртмипдб", "aoeyxckptmungb", strict=True))
_EMOJI = ("🔥", "😂", "❤️", "👍🏽", "👩‍👩‍👧", "🇬🇧", "💩")
_SOUNDS = (("f", "ph"), ("ck", "kk"), ("ck", "x"), ("s", "z"), ("i", "y"), ("er", "ah"), ("u", "oo"), ("w", "vv"))
_BEFORE = ("super", "big", "mr", "the", "king", "you", "go", "dirty", "little", "total", "ur", "xx")
_AFTER = ("boy", "man", "girl", "lover", "lord", "master", "99", "face", "head", "king")
_NAMES = ("xX_{}_Xx", "{}420", "the_{}", "{}_king", "_{}_", "{0}.{0}", "its_{}_time", "your_{}_7")
_CAMEL_NAMES = ("Mr{}", "real{}99", "Anna{}", "{}Juan", "Big{}Energy", "Olga{}King")
_FRAMES = ("{}", "I am {}", "Anna {}", "hello {} you", "I like tea.\n{}\nand long walks", "({})", "{}!!!")
_LEADS, _VOWELS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_TAILS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"

Write = Callable[[Random, str], str]


def _swap(table: dict[str, str]) -> Write:
    def write(random: Random, word: str) -> str:
        places = [place for place, letter in enumerate(word) if letter in table]
        chosen = random.sample(places, random.randint(1, len(places))) if places else []
        return "".join(random.choice(table[each]) if place in chosen else each for place, each in enumerate(word))

    return write


def _make_one(random: Random, word: str) -> str:
    """Write a letter with several signs."""
    letters = sorted(set(word) & _MADE.keys())
    letter = random.choice(letters) if letters else ""
    return word.replace(letter, _MADE[letter], 1) if letter else word


def _put(signs: str | tuple[str, ...], share: float = 1.0) -> Write:
    """Put signs between the letters, one at least."""

    def write(random: Random, word: str) -> str:
        forced = random.randrange(1, len(word))
        return word[0] + "".join(
            (random.choice(signs) if place == forced or random.random() < share else "") + word[place]
            for place in range(1, len(word))
        )

    return write


def _mask(random: Random, word: str) -> str:
    place = random.choice([at for at, letter in enumerate(word[1:-1], start=1) if letter in "aeiouy"] or [1])
    return word[:place] + random.choice("*#@%?!-_.•") + word[place + 1 :]


def _sound(random: Random, word: str) -> str:
    usable = [(letter, sound) for letter, sound in _SOUNDS if letter in word]
    return word.replace(*random.choice(usable), 1) if usable else word


def _stand_beside(random: Random, word: str) -> str:
    return random.choice((*_BEFORE, "")) + word + random.choice((*_AFTER, ""))


def _write_entity(random: Random, word: str) -> str:
    place = random.randrange(len(word))
    shape = random.choice(("&#{0};", "&#x{0:x};", "<b>{1}</b>", "&shy;{1}", "&#8203;{1}"))
    return word[:place] + shape.format(ord(word[place]), word[place]) + word[place + 1 :]


def _write_keys(random: Random, word: str) -> str:
    """Write syllables of Hangul as the letters of a keyboard."""
    if not all("가" <= letter <= "힣" for letter in word):
        return word
    codes = [ord(letter) - 0xAC00 for letter in word]
    return "".join((_LEADS[code // 588] + _VOWELS[code % 588 // 28] + _TAILS[code % 28]).strip() for code in codes)


KINDS: dict[str, Write] = {
    "more digits and signs": _swap(_SIGNS),
    "letters made of signs": _make_one,
    "Cherokee, Lisu, Armenian": _swap(_RARE),
    "capitals of other alphabets": _swap(_CAPITALS),
    "stroked letters": _swap(_STROKED),
    "superscript": _swap(_SUPERSCRIPT),
    "flags' letters": lambda random, word: " ".join(chr(0x1F1E6 + ord(each) - 97) for each in word),
    "variation selectors": _put("\ufe0f\ufe00\U000e0100\u180b", 0.7),
    "tag characters": _put("\U000e0041\U000e0062\U000e0073", 0.5),
    "more invisible characters": _put("\u2063\u034f\u115f\u3164\u061c\u200e", 0.5),
    "Zalgo": _put(tuple(chr(each) * 2 + "\u0336" for each in range(0x300, 0x36F)), 0.8),
    "emoji between letters": _put(_EMOJI, 0.6),
    "line breaks": _put(("\n", "\r\n", " \n"), 0.7),
    "different signs between letters": _put(".-_* ~"),
    "masked by other signs": _mask,
    "sounds": _sound,
    "beside other words": _stand_beside,
    "beside others, with digits": lambda random, word: _stand_beside(random, _swap(_SIGNS)(random, word)),
    "names": lambda random, word: random.choice(_NAMES).format(word),
    "names with capitals": lambda random, word: random.choice(_CAMEL_NAMES).format(word.title()),
    "entities and tags": _write_entity,
    "spaced, with digits": lambda random, word: ".".join(_swap(_SIGNS)(random, word)),
}
OTHER_KINDS: dict[str, Write] = {
    "other alphabets, with digits and signs": _put("1.-_~ \u2060", 0.8),
    "Cyrillic with Latin letters": _swap(_CYRILLIC_AS_LATIN),
    "letters of Hangul": _write_keys,
}


def generate(count: int, seed: int) -> Iterator[Evasion]:
    """Yield `count` evasions, as many of each kind; of a word that a kind changes."""
    random = Random(seed)
    kinds: list[tuple[str, Write, tuple[str, ...]]]
    kinds = [(kind, write, WORDS) for kind, write in KINDS.items()]
    kinds += [(kind, write, OTHER_WORDS) for kind, write in OTHER_KINDS.items()]
    for number in range(count):
        kind, write, words = kinds[number % len(kinds)]
        text = word = ""
        while text == word:
            word = random.choice(words)
            text = write(random, word)
        frame = "{}" if kind.startswith(("names", "beside")) else random.choice(_FRAMES)
        yield Evasion(kind, word, frame.format(text))
