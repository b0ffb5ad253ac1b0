"""What the service publishes about itself."""

from __future__ import annotations

import httpx

import app
from container import Container
from testing.containers import load_settings
from testing.ports import free_port
from testing.servers import client


async def test_policy_names_documents_ages_and_retention(api: httpx.AsyncClient) -> None:
    answer = await api.get("/policy")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "public, max-age=300"
    policy = answer.json()
    assert [(each["name"], httpx.URL(each["url"]).path) for each in policy["documents"]] == [
        ("terms", "/terms"),
        ("rules", "/safety"),
        ("privacy", "/privacy"),
    ]
    assert (policy["minimumAge"], policy["minorPools"], policy["waysToMeet"]) == (
        *(18, "off"),
        ["anyone", "partners", "course"],
    )
    assert policy["pairing"] == dict.fromkeys(["ios", "android", "web"], policy["waysToMeet"])
    assert policy["contact"] == {"email": None, "address": None, "url": "http://localhost:5503/contact"}
    kept = {each["name"]: each["days"] for each in policy["retention"]}
    assert (kept["calls"], kept["reports"], kept["audit"], kept["notifications"]) == (365, 365, 730, 90)
    assert kept["account"] is None and kept["payments"] is None


async def test_policy_is_revalidated_by_its_etag(api: httpx.AsyncClient) -> None:
    tag = (await api.get("/policy")).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await api.get("/policy", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag), known
        assert answer.headers["cache-control"] == "public, max-age=300"
    assert (await api.get("/policy", headers={"If-None-Match": '"other"'})).status_code == 200


async def test_policy_is_served_without_its_stores(environment: dict[str, str]) -> None:
    """Nothing listens where PostgreSQL, Redis and storage should be."""
    closed = str(free_port())
    stores = {"DB_PORT": closed, "REDIS_PORT": closed, "STORAGE_ENDPOINT": f"http://127.0.0.1:{closed}"}
    services = Container(
        load_settings(
            {
                **environment,
                **stores,
                "MINIMUM_AGE": "16",
                "MINOR_POOLS": "on",
                "CONTACT_EMAIL": "contact@example.com",
                "CONTACT_ADDRESS": "Parlance, 1 Example Street",
                "RETAIN_CALLS_FOR": "40d",
            }
        )
    )
    async with client(app.create(services)) as http:
        policy = (await http.get("/policy")).json()
        ready = await http.get("/ready")
    await services.close()
    assert (policy["minimumAge"], policy["minorPools"]) == (16, "on")
    assert policy["contact"]["email"] == "contact@example.com"
    assert policy["contact"]["address"] == "Parlance, 1 Example Street"
    assert next(each["days"] for each in policy["retention"] if each["name"] == "calls") == 40
    assert ready.status_code == 503
