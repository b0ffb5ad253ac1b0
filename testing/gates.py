"""Learners who have, or lack, what the gates ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

from settings import Settings
from testing.servers import Learner

#: Every gate, and pools of minors.
GATES_ON = {"AGE_GATE": "on", "TERMS_GATE": "on", "EMAIL_GATE": "on", "MINIMUM_AGE": "13", "MINOR_POOLS": "on"}


def birth_date(age: int) -> str:
    """Return a birth date of a learner who has been of this age for half a year."""
    return (datetime.now(UTC) - timedelta(days=365.25 * age + 180)).date().isoformat()


def verify_address(settings: Settings, learner: Learner, *, is_verified: bool = True) -> None:
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("UPDATE users SET is_verified = %s WHERE id = %s", (is_verified, learner.id))


async def consent_to_all(learner: Learner) -> None:
    for each in (await learner.http.get("/users/me/consents")).json()["items"]:
        body = {"document": each["document"], "version": each["version"]}
        assert (await learner.http.post("/users/me/consents", json=body)).status_code == 204


async def pass_gates(settings: Settings, learner: Learner, *, age: int = 30) -> None:
    """Give a learner all that the gates ask for, and a profile."""
    verify_address(settings, learner)
    answer = await learner.http.put("/users/me/age", json={"birthDate": birth_date(age)})
    assert answer.status_code == 200, answer.text
    await consent_to_all(learner)
    profile = {"username": learner.username, "englishLevel": "intermediate"}
    answer = await learner.http.patch("/users/me", json=profile)
    assert answer.status_code == 200 and answer.json()["missing"] == [], answer.text
