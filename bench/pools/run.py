"""Finds where iOS offers partners and courses alone: `python -m bench.pools.run [FINDS]`, 1,000,000 when not given.

Learners, of whom some are partners and some are in the same courses, search among anyone, partners and courses, on a
real Valkey and a real PostgreSQL, through the pools and the queue of the product. Every pair that is found is
compared with the partners and courses that the script knows. The seed is fixed. Exits with 1 where strangers met.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import errors
from adapters.keys import KeyFiles
from cli.migrations import upgrade_to_head
from container import Container
from devtools.embedded import EmbeddedServices
from models import AgeBand
from services.calls.outcomes import Partner
from services.calls.pools import ANYONE, PARTNERS, allow_pair
from services.calls.room_state import Paired
from services.calls.rooms import Rooms
from services.calls.seekers import Seeker, Wishes, build_entry
from testing.containers import load_settings
from testing.databases import query

PAIRING = "ios=partners,course;*=anyone,partners,course"
LEARNERS, PARTNERS_OF_EACH, COURSES, COURSES_OF_EACH = 2000, 6, 40, 2
SEED, CONCURRENCY = 7, 256
#: How often a search is among anyone, which iOS refuses, and among partners; the others are among a course.
ANYONE_SHARE, PARTNERS_SHARE = 0.1, 0.5
_ADD_USERS = """
    INSERT INTO users (id, email, email_canonical, password_hash)
    SELECT id, id || '@example.com', id || '@example.com', '' FROM unnest(CAST(:ids AS uuid[])) AS id"""
_ADD_WISHES = """
    INSERT INTO partner_wishes (user_id, wished_id)
    SELECT * FROM unnest(CAST(:users AS uuid[]), CAST(:others AS uuid[])) ON CONFLICT DO NOTHING"""
_ADD_COURSES = """
    INSERT INTO courses (id, title, slug, description, price, currency, level)
    SELECT id, 'A course', id::text, 'Of a benchmark', 0, 'usd', 'beginner' FROM unnest(CAST(:ids AS uuid[])) AS id"""
_ADD_ENROLLMENTS = """
    INSERT INTO enrollments (id, user_id, course_id)
    SELECT gen_random_uuid(), u, c FROM unnest(CAST(:users AS uuid[]), CAST(:courses AS uuid[])) AS each (u, c)"""


class Learners:
    """Who are partners, and who is enrolled where."""

    def __init__(self, chance: random.Random) -> None:
        self.ids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(LEARNERS)]
        courses = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(COURSES)]
        self.courses = {each: chance.sample(courses, COURSES_OF_EACH) for each in self.ids}
        self.partners: dict[str, set[str]] = {each: set() for each in self.ids}
        for each in self.ids:
            for other in chance.sample(self.ids, PARTNERS_OF_EACH // 2):
                if other != each:
                    self.partners[each].add(other)
                    self.partners[other].add(each)

    async def write(self, services: Container) -> None:
        await query(services, _ADD_USERS, ids=self.ids)
        wishes = [(one, other) for one, others in self.partners.items() for other in sorted(others)]
        await query(services, _ADD_WISHES, users=[one for one, _ in wishes], others=[other for _, other in wishes])
        places = [(user, course) for user, courses in self.courses.items() for course in courses]
        await query(services, _ADD_COURSES, ids=sorted({course for _, course in places}))
        users, courses = [user for user, _ in places], [course for _, course in places]
        await query(services, _ADD_ENROLLMENTS, users=users, courses=courses)

    def are_strangers(self, one: str, other: str) -> bool:
        return other not in self.partners[one] and not set(self.courses[one]) & set(self.courses[other])


async def search(services: Container, rooms: Rooms, learners: Learners, chance: random.Random, user_id: str) -> str:
    """Search once for a learner; return what came of it."""
    draw = chance.random()
    among = ANYONE if draw < ANYONE_SHARE else PARTNERS if draw < PARTNERS_SHARE else ""
    among = among or f"course:{chance.choice(learners.courses[user_id])}"
    try:
        pool = await services.pools.choose(user_id, AgeBand.ADULT, among, "ios")
    except errors.PoolClosed:
        return "refused"
    seeker = Seeker(Partner(user_id, "Ada", None, "beginner", f"bench.{user_id}"), [], AgeBand.ADULT)
    entry = build_entry(seeker, Wishes("all", "", among=among, platform="ios"), pool, at_head=False)
    await rooms.leave_queue(user_id)
    try:
        found = await rooms.find_partner(entry, str(uuid.uuid4()), str(uuid.uuid4()), only=pool.only)
    except errors.AlreadyInRoom:
        return "in a room"
    if not isinstance(found, Paired):
        return "waiting"
    partner_id = found.partner_entry["userId"]
    room_id = await rooms.get_room_id(user_id)
    assert room_id is not None and allow_pair(entry, found.partner_entry)
    await rooms.close(room_id, None, by="error")
    return "STRANGERS" if learners.are_strangers(user_id, partner_id) else "paired"


async def measure(services: Container, finds: int) -> Counter[str]:
    chance = random.Random(SEED)
    learners = Learners(chance)
    await learners.write(services)
    await services.redis.set("worker:{match}:bench", "1")
    rooms = Rooms(services.scripts)
    outcomes: Counter[str] = Counter()
    left, began, reported = finds, time.monotonic(), 0
    while left > 0:
        batch = chance.sample(learners.ids, min(CONCURRENCY, left))
        outcomes.update(await asyncio.gather(*(search(services, rooms, learners, chance, each) for each in batch)))
        left -= len(batch)
        if (finds - left) // 100_000 > reported:
            reported = (finds - left) // 100_000
            # What closed rooms leave behind: pairs that met, and deadlines.
            await services.redis.zremrangebyrank("{match}:due", 0, -1)
            print(f"{finds - left} finds in {time.monotonic() - began:.0f} s: {dict(outcomes)}", flush=True)
    print(f"{finds} finds in {time.monotonic() - began:.0f} s: {dict(outcomes)}", flush=True)
    return outcomes


async def run(environment: dict[str, str], finds: int) -> int:
    services = Container(load_settings({**environment, "APP_ENV": "test", "PAIRING": PAIRING}))
    try:
        outcomes = await measure(services, finds)
    finally:
        await services.close()
    return outcomes["STRANGERS"]


def main(finds: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="parlance-pools-") as directory,
        EmbeddedServices(Path(directory) / "services", durable=False) as connections,
    ):
        keys = {
            "JWT_PRIVATE_KEY_PATH": f"{directory}/private.pem",
            "JWT_PUBLIC_KEY_PATH": f"{directory}/public.pem",
        }
        settings = load_settings({**connections, **keys})
        KeyFiles(settings).generate()
        upgrade_to_head(settings)
        strangers = asyncio.run(run({**connections, **keys}, finds))
    if strangers:
        raise SystemExit(f"{strangers} pairs of strangers")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
