"""The end of logins: logout, logout of all devices, devices one by one."""

from __future__ import annotations

from typing import Any

from testing.accounts import bearer, new_email
from testing.lessons import problem
from testing.logins import ALLOWED_ORIGINS, Visit, log_in, read_cookie, read_status


async def test_logout_ends_this_login_alone(visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await log_in(http, email, new=True)).json()
    laptop = await log_in(http, email, device="laptop", platform="web")
    out = await http.post("/auth/logout", headers=bearer(laptop.json()["accessToken"]))
    assert out.status_code == 204 and read_cookie(out) == "" and "Max-Age=0" in out.headers["set-cookie"]
    assert await read_status(http, laptop.json()["accessToken"]) == 401
    spent = {"Cookie": f"refresh_token={read_cookie(laptop)}", "Origin": ALLOWED_ORIGINS[0]}
    assert problem(await http.post("/auth/refresh", headers=spent)) == (401, "refresh_token_invalid")
    assert (await http.post("/auth/logout", headers=bearer(laptop.json()["accessToken"]))).status_code == 401
    assert await read_status(http, phone["accessToken"]) == 200
    assert (await http.post("/auth/refresh", json={"refreshToken": phone["refreshToken"]})).status_code == 200


async def test_logout_all_ends_every_login_of_the_account(visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await log_in(http, email, new=True)).json()
    tablet = (await log_in(http, email, device="tablet", platform="android")).json()
    stranger = (await log_in(http, new_email(), new=True)).json()
    out = await http.post("/auth/logout-all", headers=bearer(phone["accessToken"]))
    assert out.status_code == 204 and read_cookie(out) == ""
    for tokens in (phone, tablet):
        assert await read_status(http, tokens["accessToken"]) == 401
        answer = await http.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
        assert problem(answer) == (401, "refresh_token_invalid")
    assert await read_status(http, stranger["accessToken"]) == 200
    again = (await log_in(http, email)).json()
    assert await read_status(http, again["accessToken"]) == 200


async def test_devices_are_listed_and_ended_one_by_one(visit: Visit) -> None:
    http, email = visit(), new_email()
    phone = (await log_in(http, email, new=True)).json()
    laptop = (await log_in(http, email, device="laptop", platform="web")).json()
    tablet = (await log_in(http, email, device="tablet", platform="android")).json()
    phone = (await http.post("/auth/refresh", json={"refreshToken": phone["refreshToken"]})).json()

    async def devices(tokens: Any) -> list[Any]:
        answer = await http.get("/auth/devices", headers=bearer(tokens["accessToken"]))
        assert answer.status_code == 200
        return list(answer.json()["items"])

    listed = await devices(phone)
    assert [(each["deviceId"], each["platform"], each["isCurrent"]) for each in listed] == [
        ("phone", "ios", True),
        ("tablet", "android", False),
        ("laptop", "web", False),
    ]
    assert listed[0]["loggedInAt"] < listed[0]["lastUsedAt"] and listed[1]["loggedInAt"] == listed[1]["lastUsedAt"]
    assert [each["deviceId"] for each in await devices(tablet) if each["isCurrent"]] == ["tablet"]

    assert (await http.delete("/auth/devices/laptop", headers=bearer(phone["accessToken"]))).status_code == 204
    assert [each["deviceId"] for each in await devices(phone)] == ["phone", "tablet"]
    assert await read_status(http, laptop["accessToken"]) == 401
    assert await read_status(http, tablet["accessToken"]) == 200

    stranger = (await log_in(http, new_email(), device="strangers-phone", new=True)).json()
    for unknown in ("laptop", "never-seen", "strangers-phone"):
        answer = await http.delete(f"/auth/devices/{unknown}", headers=bearer(phone["accessToken"]))
        assert problem(answer) == (404, "not_found")
    assert await read_status(http, stranger["accessToken"]) == 200

    assert (await http.delete("/auth/devices/phone", headers=bearer(phone["accessToken"]))).status_code == 204
    assert await read_status(http, phone["accessToken"]) == 401
