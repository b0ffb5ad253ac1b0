"""What the filter of texts catches and leaves: `python -m bench.filter.run` writes results/text-filter.md.

Evasions are generated from a seed by testing/evasions.py, whose tables are its own; names come from Faker's locales.
Times are of the process's CPU, the least of several rounds.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import timeit
from collections import Counter

from bench import figures
from services.safety.text_filter import TextFilter
from testing import evasions, real_names

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
    for each in evasions.generate(EVASIONS, seed):
        made[each.kind] += 1
        caught[each.kind] += text_filter.find_entry(each.text) is not None
    refused = [name for _, name in real_names.generate(NAMES, seed) if text_filter.find_fault("displayName", name)]
    hard = [each for each in real_names.HARD_NAMES if text_filter.find_fault("displayName", each)]
    topics = [each for each in real_names.SENTENCES if text_filter.find_fault("topic", each)]
    table = [[kind, f"{made[kind]:,}", f"{caught[kind] / made[kind]:.1%}"] for kind in made]
    table.append(["all", f"{made.total():,}", f"{caught.total() / made.total():.1%}"])
    times = [[name, f"{_measure(text_filter, text):.0f}"] for name, text in TEXTS.items()]
    lists = text_filter.lists
    lines = [
        "# What the filter of texts catches and leaves",
        "",
        f"`make bench-filter`, seed {seed}: {len(lists.entries)} entries in {len(lists.languages)} languages, read in"
        f" {started * 1000:.0f} ms. Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}. Evasions are of"
        f" {len(evasions.WORDS) + len(evasions.OTHER_WORDS)} words; their generator shares no code with the filter.",
        "",
        *figures.table(["evasion", "texts", "caught"], table),
        "",
        *figures.table(
            ["must be allowed", "texts", "refused"],
            [
                [f"names of {len(real_names.LOCALES)} locales", f"{NAMES:,}", str(len(refused))],
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
    if refused or hard or topics or caught.total() < MIN_CAUGHT * made.total():
        sys.exit(f"refused: {refused + hard + topics}; caught {caught.total()} of {made.total()}")


def _measure(text_filter: TextFilter, text: str) -> float:
    """Microseconds of a comparison that is not kept."""
    rounds = timeit.repeat(lambda: text_filter._find(text), time.process_time, number=20, repeat=20)
    return min(rounds) / 20 * 1e6


if __name__ == "__main__":
    main()
