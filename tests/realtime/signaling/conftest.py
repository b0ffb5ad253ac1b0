"""Signaling on the fast lane and without it, on one process and across two, with equal results for clients."""

from __future__ import annotations

import pytest

from testing.calls import MakePhone, Pair
from testing.servers import Server


@pytest.fixture(scope="module", params=["fast lane", "no fast lane"])
def server(request: pytest.FixtureRequest, server: Server) -> Server:
    if request.param == "fast lane":
        return server
    slow: Server = request.getfixturevalue("server_without_fast_lane")
    return slow


@pytest.fixture(params=["on one worker", "across workers"])
async def pair(request: pytest.FixtureRequest, make_phone: MakePhone) -> Pair:
    one = await make_phone()
    where = {"together_with": one} if request.param == "on one worker" else {"apart_from": one}
    return one, await make_phone(**where)
