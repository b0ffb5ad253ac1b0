"""What the filter of texts catches and leaves: `python -m bench.filter.run` writes results/text-filter.md.

Evasions are generated from a seed by testing/evasions.py and testing/more_evasions.py, whose tables are their own;
names are all of Faker's providers, and whole names of its locales.
Times are of the process's CPU, the least of several rounds.
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import sys
import time
import timeit
from collections import Counter

from bench import figures
from services.safety.text_filter import TextFilter
from testing import evasions, more_evasions, real_names

SEED = 1
NAMES, EVASIONS = 20_000, 50_000
MIN_CAUGHT = 0.95
_BIO = "I teach mathematics in São Paulo and practise for a conference in June. I've 2 kids and love talking! "
_PLAIN = "I like long walks, and I want to speak English with people from everywhere. My hobbies are chess and hiking. "
TEXTS = {
    "a username": "ada_lovelace99",
    "a topic": "travel in South America",
    "a bio of 500 characters": (_PLAIN * 5)[:500],
    "the same with digits and accents": (_BIO * 5)[:500],
    "500 characters of spaced letters": "f " * 250,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    seed = parser.parse_args().seed
    began = time.perf_counter()
    text_filter = TextFilter()
    text_filter.find_entry("first")
    started = time.perf_counter() - began
    made: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    for generate in (evasions.generate, more_evasions.generate):
        for each in generate(EVASIONS, seed):
            made[each.kind] += 1
            caught[each.kind] += text_filter.find_entry(each.text) is not None
    provided = real_names.read_all()
    spelled_so = [name for name in provided if text_filter.find_fault("displayName", name)]
    refused = [name for _, name in real_names.generate(NAMES, seed) if text_filter.find_fault("displayName", name)]
    hard = [each for each in real_names.HARD_NAMES if text_filter.find_fault("displayName", each)]
    topics = [each for each in real_names.SENTENCES if text_filter.find_fault("topic", each)]
    table = [[kind, f"{made[kind]:,}", f"{caught[kind] / made[kind]:.1%}"] for kind in made]
    table.append(["all", f"{made.total():,}", f"{caught.total() / made.total():.1%}"])
    times = [[name, f"{_measure(text_filter, text):.0f}"] for name, text in TEXTS.items()]
    hostile = sorted(_measure(text_filter, text, 3) for text in write_hostile_texts(seed))
    times += [
        [f"{len(hostile):,} hostile texts of 500 characters, median", f"{statistics.median(hostile):.0f}"],
        ["their 99th percentile", f"{hostile[len(hostile) * 99 // 100]:.0f}"],
        ["their slowest", f"{hostile[-1]:.0f}"],
    ]
    lists = text_filter.lists
    lines = [
        "# What the filter of texts catches and leaves",
        "",
        f"`make bench-filter`, seed {seed}: {len(lists.entries)} entries in {len(lists.languages)} languages, read in"
        f" {started * 1000:.0f} ms. Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}. Evasions are of"
        f" {len(evasions.WORDS) + len(evasions.OTHER_WORDS)} words; their generators share no code with the filter.",
        "",
        *figures.table(["evasion", "texts", "caught"], table),
        "",
        *figures.table(
            ["must be allowed", "texts", "refused"],
            [
                [f"names of {len(real_names.LOCALES)} locales", f"{NAMES:,}", str(len(refused))],
                [
                    "names of all providers of Faker",
                    f"{len(provided):,}",
                    f"{len(spelled_so)}: {', '.join(spelled_so)}",
                ],
                ["names that filters are known to refuse", str(len(real_names.HARD_NAMES)), str(len(hard))],
                ["topics and sentences of lessons", str(len(real_names.SENTENCES)), str(len(topics))],
            ],
        ),
        "",
        *figures.table(["time of", "µs of CPU"], times),
        "",
        "A topic that was compared before is looked up in less than a microsecond.",
        "",
    ]
    text = "\n".join(lines)
    (figures.RESULTS / "text-filter.md").write_text(text)
    print(text)
    if (
        refused
        or hard
        or topics
        or set(spelled_so) > real_names.SPELLED_LIKE_LISTED_WORDS
        or caught.total() < MIN_CAUGHT * made.total()
    ):
        sys.exit(f"refused: {refused + hard + topics}; caught {caught.total()} of {made.total()}")


def write_hostile_texts(seed: int) -> list[str]:
    """Return texts of 500 characters that cause much work: pieces of entries, signs, rare characters, repetitions."""
    chooser = random.Random(seed)
    words = [*evasions.WORDS, *real_names.HARD_NAMES]
    units = [
        "f ",
        "a1!",
        "as s ",
        "pen is ",
        "put as ",
        "putas",
        "|_|",
        "&#97;",
        "🇬🇧",
        "ㅆㅣ",
        "Aa1!|",
        "s5$z2",
        "'s",
        "*#",
    ]
    signs = "fuckshitasn1!|5$.@*#_-'aA \u200b\u0336ѕі操你妈बचो😀&;<>()pwrehobdeg0437"
    texts = [unit * 500 for unit in units]
    texts += ["".join(chooser.choices(signs, k=500)) for _ in range(600)]
    texts += ["".join(chr(chooser.randrange(0x80, 0xD800)) for _ in range(500)) for _ in range(300)]
    for _ in range(600):
        parts = chooser.choices(words, k=200)
        texts.append(" ".join(part[:-1] + chooser.choice(("", " ", "q", part[-1])) for part in parts))
    return [text[:500] for text in texts]


def _measure(text_filter: TextFilter, text: str, number: int = 20) -> float:
    """Microseconds of a comparison that is not kept."""
    rounds = timeit.repeat(lambda: text_filter._find(text), time.process_time, number=number, repeat=number)
    return min(rounds) / number * 1e6


if __name__ == "__main__":
    main()
