"""Dawid-Skene (1979) over labels of learners, with the library crowd-kit, in a process with its own packages.

Reads lines `reporter reported 0|1` (a call without or with a report) from the standard input and writes lines
`reported probability`. Run by bench.safety.run; the packages are those of requirements/dawid_skene.txt.
"""

from __future__ import annotations

import sys

import pandas as pd  # type: ignore[import-not-found]
from crowdkit.aggregation import DawidSkene  # type: ignore[import-not-found]

ITERATIONS = 50


def main() -> None:
    rows = [line.split() for line in sys.stdin]
    frame = pd.DataFrame(rows, columns=["worker", "task", "label"])
    found = DawidSkene(n_iter=ITERATIONS).fit_predict_proba(frame)
    for task, probability in found["1"].items():
        print(task, float(probability))


if __name__ == "__main__":
    main()
