"""Pairing of 10,000 learners over 30 days, oldest first and by fit: `make bench-pairing` writes results/pairing.md.

`python -m bench.pairing.run --one RULE SEED` runs one rule in one population, and prints its measures. The environment
changes the size: PAIRING_LEARNERS, PAIRING_DAYS and PAIRING_SEEDS ("1 2 3").
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import redis
import uvloop

from bench import figures
from bench.pairing import report
from bench.pairing.clock import SimulatedClock
from bench.pairing.goals import Run
from bench.pairing.knowledge import Knowledge
from bench.pairing.max_weight import match_all
from bench.pairing.measures import measure
from bench.pairing.policies import Policy
from bench.pairing.population import SECOND, Population
from bench.pairing.simulation import Simulation
from devtools.embedded import EmbeddedServices
from services.calls.fit import FitWeights
from testing.containers import load_settings

Rule = Literal["oldest", "fit"]
RULES: tuple[Rule, ...] = ("oldest", "fit")
RESULTS = Path(__file__).resolve().parent.parent / "results" / "pairing.md"
LEARNERS = int(os.environ.get("PAIRING_LEARNERS", "10000"))
DAYS = int(os.environ.get("PAIRING_DAYS", "30"))
#: Weights were chosen with the first seeds of the population; the results are those of the others.
TRAINING_SEEDS, SEEDS = (1,), tuple(map(int, os.environ.get("PAIRING_SEEDS", "11 12 13").split()))


async def simulate(environment: dict[str, str], directory: Path, population: Population, rule: Rule) -> Run:
    """Run a population with one rule on an empty Valkey; return the measures."""
    weights = FitWeights() if rule == "fit" else None
    with redis.Redis(environment["REDIS_HOST"], int(environment["REDIS_PORT"])) as server:
        server.flushall()
        # The web process of all sockets is alive.
        server.set("worker:{match}:bench", "1")
    knowledge = Knowledge(population)
    clock = SimulatedClock(load_settings(environment), directory)
    began = time.monotonic()
    run = await Simulation(population, clock, Policy(clock, knowledge, weights, population.seed)).run()
    await clock.close()
    measures = measure(population, run, knowledge)
    if weights is not None:
        best, pairs = match_all(run.wishes, weights.neighbour_seconds * SECOND)
        measures |= {"best_worth": best, "best_matches": pairs}
    return {**measures, "seconds": time.monotonic() - began}


def run_one(rule: Rule, seed: int) -> Run:
    """Run one rule in one population on a Valkey of its own."""
    with tempfile.TemporaryDirectory(prefix="parlance-bench-") as directory:
        path = Path(directory)
        with EmbeddedServices(path / "services", durable=False, only={"valkey"}) as environment:
            return uvloop.run(simulate(environment, path / "lua", Population(seed, LEARNERS, DAYS), rule))


def _run_apart(way: tuple[int, Rule]) -> Run:
    seed, rule = way
    command = [sys.executable, "-m", "bench.pairing.run", "--one", rule, str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: Run = json.loads(done.stdout)
    print(f"seed {seed}, {rule}: {found['seconds']:.0f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(run_one("fit" if sys.argv[2] == "fit" else "oldest", int(sys.argv[3]))))
        return
    began = time.monotonic()
    # The fit takes longer: begin with it.
    ways = [(seed, rule) for rule in reversed(RULES) for seed in SEEDS]
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as threads:
        runs = dict(zip(ways, threads.map(_run_apart, ways), strict=True))
    pairs = [(runs[seed, "oldest"], runs[seed, "fit"]) for seed in SEEDS]
    size = report.Size(LEARNERS, DAYS, SEEDS, TRAINING_SEEDS, time.monotonic() - began)
    RESULTS.write_text("\n".join(report.write(size, pairs)))
    figures.write("pairing", report.list_figures(pairs), learners=LEARNERS, days=DAYS, seeds=SEEDS)
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
