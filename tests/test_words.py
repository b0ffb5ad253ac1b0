"""Words that docs/glossary.md replaces, counted in every file of the project: tests/words_left.json lists what is left.

`python -m tests.test_words` writes the list again, and refuses while any word is used more often than listed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEFT = ROOT / "tests" / "words_left.json"
#: Generated, copied or released texts, and the lists of words themselves.
EXEMPT = re.compile(
    r"docs/(glossary\.md|licences\.md|images/)|tests/(test_words\.py|words_left\.json)|contract/released/|bench/results/"
    r"|wire/|web/vendor/|web/practice/(page|player)\.js|clients/typescript/src/(openapi|asyncapi)\.ts|requirements/"
    r"|(.*/)?package-lock\.json$|LICENSE$"
)
#: Uses that stay: the file, the text and the reason.
LEGITIMATE = [
    ("deploy/alerts.yml", "severity: ticket", "severities of alerts are `page` and `ticket` in Google's SRE workbook"),
    ("tests/deploy/test_monitoring.py", '("page", "ticket")', "the same"),
    ("deploy/nginx.conf", "ssl_session_tickets", "a directive of nginx"),
    (
        "services/calls/lua/join_room.lua",
        "'heard:'",
        "a field of rooms in Redis, which two versions share in a rollout",
    ),
    ("services/calls/rooms.py", "heard:{userId}", "the same"),
    ("jobs.py", '"sign_ins.forget_expired"', "the name of a job, stored in rows of PostgreSQL"),
    ("services/identity/__init__.py", '"sign_ins.forget_expired"', "the same"),
    ("Makefile", "crowd-kit", "the name of a library"),
    ("bench/safety/dawid_skene.py", "crowd-kit", "the same"),
    ("bench/safety/run.py", "crowd-kit", "the same"),
    ("docs/decisions/0098-weights-of-reports.md", "crowd-kit", "the same"),
    ("web/practice/src/conversation.ts", "hear your partner", "a learner hears audio"),
    ("tests/cli/test_worker.py", "worker_id", "an argument of procrastinate"),
]
#: Uses by word and file.
Uses = dict[str, dict[str, int]]


def read_banned_words() -> list[str]:
    table = (ROOT / "docs" / "glossary.md").read_text().partition("## Words not used")[2]
    return [word for row in re.findall(r"^\| (`.+?`) \| ", table, re.M) for word in re.findall(r"`(.+?)`", row)]


def count_words(text: str, words: list[str]) -> Counter[str]:
    """Count whole words; an underscore separates words too, so that identifiers count."""
    longest_first = sorted(words, key=len, reverse=True)
    pattern = "|".join(re.escape(word).replace(r"\ ", r"\s+(?:[#*/|]+\s+)?") for word in longest_first)
    spelling = {word.lower(): word for word in words}
    found = re.findall(rf"(?<![a-z])({pattern})(?![a-z])", text, re.IGNORECASE)
    return Counter(spelling[re.sub(r"\s+(?:[#*/|]+\s+)?", " ", each.lower())] for each in found)


def count_in_project(words: list[str]) -> Uses:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    uses: Uses = {word: {} for word in words}
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = ROOT / name
        if EXEMPT.match(name) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for file, use, _ in LEGITIMATE:
            text = text.replace(use, "") if file == name else text
        for word, count in count_words(text, words).items():
            uses[word][name] = count
    return uses


def compare(uses: Uses, left: Uses) -> list[str]:
    """List where the project and the list differ."""
    found = [f"{word!r} is not in the list" for word in uses.keys() - left.keys()]
    found += [f"{word!r} is not in the glossary" for word in left.keys() - uses.keys()]
    for word in uses.keys() & left.keys():
        for name in sorted(uses[word].keys() | left[word].keys()):
            used, listed = uses[word].get(name, 0), left[word].get(name, 0)
            if used > listed:
                found.append(f"{name}: {word!r} {used} times, {listed} allowed; docs/glossary.md has the term to use")
            elif used < listed:
                found.append(f"{name}: {word!r} {used} times, {listed} listed; lower it: python -m tests.test_words")
    return sorted(found)


def find_growth(uses: Uses, left: Uses) -> list[str]:
    """List the words used more often than listed, in all files together: files may be renamed, new words recorded."""
    totals = [(word, sum(uses.get(word, {}).values()), sum(files.values())) for word, files in left.items()]
    return [f"{word!r} {used} times, {listed} listed" for word, used, listed in totals if used > listed]


def test_replaced_words_only_shrink() -> None:
    found = compare(count_in_project(read_banned_words()), json.loads(LEFT.read_text()))
    assert not found, "\n".join(found)


def test_legitimate_uses_exist() -> None:
    assert [(file, use) for file, use, _ in LEGITIMATE if use not in (ROOT / file).read_text()] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The House is TOLD", {"house": 1, "told": 1}),
        ("is_told, told_at", {"told": 2}),
        ("household retold doorway", {}),
        ("an old sign of\n    # life", {"sign of life": 1}),
        ('"""Owns calls."""', {'"""Owns': 1}),
        ("It owns calls.", {}),
    ],
)
def test_count_words_finds_whole_words(text: str, expected: dict[str, int]) -> None:
    assert count_words(text, ["house", "told", "door", "sign of life", '"""Owns']) == expected


def test_compare_reports_more_and_fewer_uses() -> None:
    left = {"told": {"a.py": 2, "b.py": 1}}
    assert compare(left, left) == []
    more, fewer = compare({"told": {"a.py": 3}}, left)
    assert more.startswith("a.py: 'told' 3 times, 2 allowed") and "lower it" in fewer
    assert compare({"told": {}, "door": {}}, {"told": {}}) == ["'door' is not in the list"]


def test_list_refuses_growth_but_not_renamed_files() -> None:
    left = {"told": {"a.py": 2}}
    assert find_growth({"told": {"b.py": 2}, "door": {"b.py": 5}}, left) == []
    assert find_growth({"told": {"a.py": 1, "b.py": 2}}, left) == ["'told' 3 times, 2 listed"]


def main() -> None:
    uses = count_in_project(read_banned_words())
    if growth := find_growth(uses, json.loads(LEFT.read_text()) if LEFT.exists() else {}):
        sys.exit("The list only shrinks:\n" + "\n".join(growth))
    LEFT.write_text(json.dumps(uses, indent=1, sort_keys=True) + "\n")
    print(f"wrote {LEFT.relative_to(ROOT)}: {sum(sum(files.values()) for files in uses.values())} uses")


if __name__ == "__main__":
    main()
