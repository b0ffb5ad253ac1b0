"""Dawid-Skene (1979) over labels of learners, with the library crowd-kit, in a process with its own packages.

Reads lines of JSON, each a list of `[reporter, reported, 0 or 1]` (a call without or with a report), and answers each
with a line of JSON: the probability by reported learner. Run by bench.safety.run; the packages are those of
requirements/dawid_skene.txt.
"""

from __future__ import annotations

import json
import sys

import pandas as pd  # type: ignore[import-not-found]
from crowdkit.aggregation import DawidSkene  # type: ignore[import-not-found]

ITERATIONS = 20


def main() -> None:
    for line in sys.stdin:
        frame = pd.DataFrame(json.loads(line), columns=["worker", "task", "label"])
        found = DawidSkene(n_iter=ITERATIONS).fit_predict_proba(frame)
        print(json.dumps({str(task): float(each) for task, each in found[1].items()}), flush=True)


if __name__ == "__main__":
    main()
