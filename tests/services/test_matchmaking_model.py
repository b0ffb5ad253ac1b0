"""Matchmaking checked against a model: a hundred thousand operations of many users on processes that die.

One operation follows another, so a seed is a story that can be repeated:
`MODEL_SEED=7 MODEL_OPERATIONS=5000 pytest tests/services/test_matchmaking_model.py`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from adapters.redis_pipeline import RedisPipeline
from services.calls.rooms import LUA_DIRECTORY
from settings import Settings
from tests.services.matchmaking_model import Model
from tests.services.run_matchmaking_model import run

OPERATIONS = int(os.environ.get("MODEL_OPERATIONS", "100000"))
SEED = int(os.environ.get("MODEL_SEED", "20260314"))


@pytest.fixture
async def model(settings: Settings, own_valkey: dict[str, str]) -> AsyncIterator[Model]:
    scripts = RedisPipeline(settings.model_copy(update={"redis_port": int(own_valkey["REDIS_PORT"])}), LUA_DIRECTORY)
    made = Model(scripts, SEED, int(own_valkey["REDIS_PORT"]))
    await made.begin()
    yield made
    await scripts.execute("FLUSHALL")
    await scripts.close()


async def test_random_operations_agree_with_a_model(model: Model) -> None:
    """A hundred thousand operations match no user twice and lose none."""
    await run(model, OPERATIONS)
    print(f"seed {SEED}, {OPERATIONS} operations:", dict(model.counts))
    if OPERATIONS >= 10_000:
        for expected in (
            "Match",
            "Searching",
            "SearchExpired",
            "PartnerCancelled",
            "PeerReconnecting",
            "PeerReconnected",
            "PeerLeft",
            "flushed",
            "older copies",
            "restarts of all",
            "workers suspended",
            "SearchRefused",
            "pairs refused",
            "users changed",
        ):
            assert model.counts[expected] > 10, f"the run has too little of {expected}"
