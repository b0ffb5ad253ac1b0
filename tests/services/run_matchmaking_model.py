"""Runs the matchmaking model for as long as wanted: `python -m tests.services.run_matchmaking_model --help`.

Prints what happened how often, and what must never happen: matches across age bands, and matches of learners without
what the gates ask for. Ends with status 1, the seed and the operation where something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import settings as configuration
from adapters.redis_pipeline import RedisPipeline
from devtools.embedded import EmbeddedServices
from services.calls.rooms import LUA_DIRECTORY
from tests.services.matchmaking_model import Model

#: Operations between two looks at everything that Redis holds.
AUDIT_EVERY = 200


async def run(model: Model, operations: int) -> None:
    """Run operations with audits; raise AssertionError with the number of the one that failed."""
    for number in range(1, operations + 1):
        try:
            await model.step()
            if number % AUDIT_EVERY == 0:
                await model.audit()
        except Exception as problem:
            raise AssertionError(f"seed {model.seed}, operation {number}: {problem!r}") from problem


async def _main(operations: int, seed: int, port: int) -> None:
    scripts = RedisPipeline(configuration.load(None, redis_host="127.0.0.1", redis_port=port), LUA_DIRECTORY)
    model = Model(scripts, seed, port)
    await model.begin()
    began = time.monotonic()
    try:
        await run(model, operations)
    finally:
        await scripts.close()
    print(f"seed {seed}, {operations} operations in {time.monotonic() - began:.0f} s")
    for name, count in sorted(model.counts.items()):
        print(f"{count:>10}  {name}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.services.run_matchmaking_model", description=__doc__)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20260314)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServices(Path(folder), durable=False, only=("valkey",)) as connections,
    ):
        try:
            asyncio.run(_main(arguments.operations, arguments.seed, int(connections["REDIS_PORT"])))
        except AssertionError as error:
            print(error, file=sys.stderr)
            logging.disable(logging.NOTSET)
            logging.getLogger("model").exception("what failed")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
