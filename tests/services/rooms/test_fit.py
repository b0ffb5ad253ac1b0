"""Fit of searches: of those that wait, who is met, who is not met yet, and whom a retry meets."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

import errors
from container import Container
from models import AgeBand, Level
from services.calls.fit import (
    OLDEST_FIRST,
    Features,
    FitWeights,
    list_accepted_levels,
    serialize_features,
)
from services.calls.room_state import Paired, Queued, QueueEntry, Waits
from services.calls.rooms import Rooms
from services.calls.skills import INITIAL_SIGMA
from testing.rooms import MakeEntry, find, list_keys

MICROSECONDS = 1_000_000
#: Those of these tests, which do not change with the defaults. With the strict ones fits count from the first search
#: on: no pool is thin, and nothing is accepted because of a wait.
WEIGHTS = FitWeights(
    repeat=1.5,
    same_language=0.3,
    other_goal=0.15,
    points=0.2,
    slack=0.4,
    wait_bonus=0.02,
    threshold=0.7,
    threshold_growth=0.001,
    enough=8,
    leaving_seconds=60,
    neighbour_seconds=45,
    again_seconds=0,
)
STRICT_WEIGHTS = replace(WEIGHTS, enough=0, threshold=0.3, threshold_growth=0, slack=0)

Search = Callable[..., QueueEntry]


@pytest.fixture
def search(make_entry: MakeEntry) -> Search:
    """Make an entry with features."""

    def make(level: Level = "all", topic: str = "", *, strict: bool = False, **features: Any) -> QueueEntry:
        fields = {key: features.pop(key) for key in ("user", "worker", "pool") if key in features}
        entry = make_entry(level, topic, **fields)
        entry["fit"] = serialize_features(Features(**{"mu": 25.0, "sigma": 3.0, **features}), is_strict=strict)
        if strict:
            entry["isStrict"] = True
        return entry

    return make


@pytest.fixture
def rooms(container: Container, rooms: Rooms) -> Rooms:
    """The empty queue, with the weights of these tests."""
    assert rooms.weights != WEIGHTS
    return with_weights(container, WEIGHTS)


def with_weights(container: Container, weights: FitWeights) -> Rooms:
    return Rooms(container.scripts, weights=weights)


async def began(container: Container, seconds_ago: float) -> int:
    """Return the position of a search that has waited for that long, by Redis's clock (µs)."""
    seconds, microseconds = await container.redis.time()
    return int(seconds * MICROSECONDS + microseconds - seconds_ago * MICROSECONDS)


async def wait(container: Container, rooms: Rooms, entry: QueueEntry, seconds_ago: float = 0.0) -> QueueEntry:
    """Let a search wait that has begun some time ago, with any others."""
    waiting: QueueEntry = {**entry, "since": await began(container, seconds_ago)}
    await rooms.requeue(waiting)
    return waiting


async def retry(rooms: Rooms, entry: QueueEntry, **wishes: Any) -> Queued | Paired:
    return await rooms.find_partner(entry, str(uuid.uuid4()), str(uuid.uuid4()), is_retry=True, **wishes)


def met(outcome: Queued | Paired) -> str:
    assert isinstance(outcome, Paired), "waits"
    return outcome.partner_entry["userId"]


@pytest.mark.parametrize(
    ("own", "worse", "better"),
    [
        ({"mu": 30.0}, {"mu": 22.0}, {"mu": 29.0}),
        ({"points": 2.0}, {"points": 0.0}, {"points": 2.0}),
        ({"native_language": "pt-BR"}, {"native_language": "pt"}, {"native_language": "de"}),
        ({"goal": "exam"}, {"goal": "travel"}, {"goal": "exam"}),
    ],
)
async def test_search_meets_the_best_fit(
    container: Container, rooms: Rooms, search: Search, own: Any, worse: Any, better: Any
) -> None:
    """The one who fits is met, although another has waited for longer; without features the latter would be."""
    fitting = with_weights(container, replace(WEIGHTS, slack=0))
    for each, expected in ((fitting, 1), (with_weights(container, OLDEST_FIRST), 0)):
        waiting = [
            await wait(container, each, search(**features), seconds) for features, seconds in ((worse, 3), (better, 1))
        ]
        assert met(await find(each, search(**own))) == waiting[expected]["userId"]
        assert await each.leave_queue(waiting[1 - expected]["userId"])


async def test_search_meets_those_it_has_met_last(container: Container, rooms: Rooms, search: Search) -> None:
    """Partners of the last days are met when nobody else waits, the one who was met less often first."""
    often, once, new = [await wait(container, rooms, search(), seconds) for seconds in (9, 6, 3)]
    times = {often["userId"]: 3, once["userId"]: 1}
    for expected in (new, once, often):
        outcome = await rooms.find_partner(search(), str(uuid.uuid4()), str(uuid.uuid4()), met=times)
        assert met(outcome) == expected["userId"]


async def test_longer_wait_outweighs_a_better_fit(container: Container, rooms: Rooms, search: Search) -> None:
    long = await wait(container, rooms, search(mu=20.0), 150)
    short = await wait(container, rooms, search(mu=25.0), 1)
    assert met(await find(rooms, search())) == long["userId"]
    assert met(await find(rooms, search())) == short["userId"]


async def test_those_about_to_leave_are_met_first(container: Container, rooms: Rooms, search: Search) -> None:
    weights = replace(WEIGHTS, wait_bonus=0.0, threshold=0.1, threshold_growth=0, enough=0)
    strict = with_weights(container, weights)
    leaving = await wait(container, strict, search(mu=5.0, native_language="de"), 250)
    await wait(container, strict, search(), 200)
    times = {leaving["userId"]: 5}
    outcome = await strict.find_partner(search(native_language="de"), "room", "session", met=times)
    assert met(outcome) == leaving["userId"]


async def test_misfits_wait_until_the_threshold_has_risen(container: Container, rooms: Rooms, search: Search) -> None:
    patient = with_weights(container, replace(WEIGHTS, enough=0))
    one = await wait(container, patient, search(mu=19.0))
    other = search(mu=31.0)
    queued = await find(patient, other)
    assert isinstance(queued, Queued)
    assert isinstance(await retry(patient, other), Queued)
    # The longer of both waits counts: that of the other one, or its own.
    await patient.leave_queue(one["userId"])
    await wait(container, patient, one, 60)
    assert met(await retry(patient, other)) == one["userId"]
    assert await list_keys(container, "{match}:searching:*") == await list_keys(container, "{match}:queue:*") == set()


async def test_search_waits_while_better_partners_come(container: Container, rooms: Rooms, search: Search) -> None:
    """A misfit is met at once, unless `enough` others of the last minutes would have been accepted, waiting or not."""
    few = with_weights(container, replace(STRICT_WEIGHTS, enough=2))
    for mu in (80.0, 60.0):
        await find(few, search(mu=mu))  # the second meets the first, and both are gone
    misfit = await wait(container, few, search(mu=10.0))
    assert met(await find(few, search(mu=60.5))) == misfit["userId"], "one such other has come"
    misfit = await wait(container, few, search(mu=10.0))
    own = search(mu=60.2)
    assert isinstance(await find(few, own), Queued), "two have come"
    assert met(await find(few, search(mu=60.4))) == own["userId"]
    assert met(await few.find_partner(search(mu=35.0), str(uuid.uuid4()), "s")) == misfit["userId"]


async def test_learners_who_have_all_met_do_not_wait(container: Container, rooms: Rooms, search: Search) -> None:
    """Where all who come have been met in the last days, a repeat is met at once; strangers are waited for."""
    few = with_weights(container, replace(STRICT_WEIGHTS, enough=2, again_seconds=60))
    learners = [search() for _ in range(4)]
    for one, other in (learners[:2], learners[2:]):
        await find(few, one)
        await find(few, other)
    await container.redis.delete(*(f"{{match}}:in_room:{each['userId']}" for each in learners))
    own, met_before = search(), dict.fromkeys((each["userId"] for each in learners), 3)
    waiting = await wait(container, few, search(user=learners[0]["userId"]))
    await container.redis.set(_recent(own, waiting), "a room", ex=600)
    outcome = await few.find_partner(own, str(uuid.uuid4()), "s", met=met_before)
    assert met(outcome) == waiting["userId"], "all have been met, this one a moment ago"
    waiting = await wait(container, few, search(user=learners[1]["userId"]))
    repeat = {waiting["userId"]: 3}
    outcome = await few.find_partner(search(), str(uuid.uuid4()), "s", met=repeat)
    assert isinstance(outcome, Queued), "this one has not met the others"


async def test_new_learner_meets_anybody(container: Container, rooms: Rooms, search: Search) -> None:
    """With the default weights, and many who come: a search without evidence accepts any level at once."""
    busy = with_weights(container, replace(WEIGHTS, enough=0))
    for mu in (19.0, 25.0, 31.0):
        known = await wait(container, busy, search(mu=mu, sigma=INITIAL_SIGMA))
        assert met(await find(busy, search(mu=25.0, sigma=INITIAL_SIGMA))) == known["userId"]
    # Two of whom as much is known as ever will be, as far apart, do not.
    await wait(container, busy, search(mu=31.0, sigma=1.0))
    assert isinstance(await find(busy, search(mu=25.0, sigma=1.0)), Queued)


async def test_recent_partner_is_met_when_nobody_else_waits(container: Container, rooms: Rooms, search: Search) -> None:
    """As oldest-first does; also where the recent partner fits best, and many recent ones wait."""
    own = search()
    waiting = [await wait(container, rooms, search(), 9 - number) for number in range(6)]
    for each in waiting[:5]:
        await container.redis.set(_recent(own, each), "a room", ex=600)
    assert met(await find(rooms, own)) == waiting[5]["userId"]
    for each in waiting[1:5]:
        await rooms.leave_queue(each["userId"])
    again = search(user=own["userId"])
    await container.redis.delete(f"{{match}}:in_room:{own['userId']}")
    assert met(await find(rooms, again)) == waiting[0]["userId"]


@pytest.mark.parametrize("waits", ["the one", "the other"])
async def test_recent_partner_is_met_after_a_wait(
    container: Container, rooms: Rooms, search: Search, waits: str
) -> None:
    """Two who met a moment ago meet once either has waited for `again_seconds`; until then both wait for others."""
    patient = with_weights(container, replace(WEIGHTS, enough=0, again_seconds=60))
    one, other = search(), search()
    await container.redis.set(_recent(one, other), "a room", ex=600)
    await wait(container, patient, one, 55)
    assert isinstance(await find(patient, other), Queued)
    longer = one if waits == "the one" else other
    await patient.leave_queue(longer["userId"])
    await wait(container, patient, longer, 61)
    assert met(await retry(patient, other)) == one["userId"]


async def test_unfit_stranger_is_waited_for_as_long(container: Container, rooms: Rooms, search: Search) -> None:
    """Beside a stranger who fits badly no recent partner is met: the stranger will be, after a wait."""
    patient = with_weights(container, replace(STRICT_WEIGHTS, again_seconds=60))
    own, recent, stranger = search(), search(), search(mu=60.0)
    await container.redis.set(_recent(own, recent), "a room", ex=600)
    await wait(container, patient, recent, 70)
    await wait(container, patient, stranger, 65)
    assert isinstance(await find(patient, own), Queued)
    await patient.leave_queue(stranger["userId"])
    assert met(await retry(patient, own)) == recent["userId"]


def _recent(one: QueueEntry, other: QueueEntry) -> str:
    first, second = sorted((one["userId"], other["userId"]))
    return f"{{match}}:recent:{first}:{second}"


# --- Levels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "is_near"), [(("beginner", "intermediate"), True), (("beginner", "advanced"), False)]
)
@pytest.mark.parametrize("waits", ["the one", "the other"])
@pytest.mark.parametrize("topic", ["", "food"])
async def test_neighbouring_levels_meet_after_a_wait(
    container: Container,
    rooms: Rooms,
    search: Search,
    levels: tuple[Level, Level],
    is_near: bool,
    waits: str,
    topic: str,
) -> None:
    """A rare level does not starve: after the wait of either one, anyone acceptable is met."""
    long = WEIGHTS.neighbour_seconds + 1
    one = await wait(container, rooms, search(levels[0], topic), 0)
    other = search(levels[1], topic)
    assert isinstance(await find(rooms, other), Queued)
    if waits == "the one":
        await rooms.leave_queue(one["userId"])
        await wait(container, rooms, one, long)
    else:
        await rooms.leave_queue(other["userId"])
        other = await wait(container, rooms, other, long)
    outcome = await retry(rooms, other)
    assert isinstance(outcome, Paired if is_near else Queued)
    if isinstance(outcome, Paired):
        assert (outcome.level, outcome.is_level_widened) == (levels[1], True)
        assert outcome.own_wait_ms is not None and (outcome.own_wait_ms >= long * 1000) == (waits == "the other")


@pytest.mark.parametrize("strict", ["the one", "the other"])
async def test_strict_search_meets_its_level_alone(
    container: Container, rooms: Rooms, search: Search, strict: str
) -> None:
    one = await wait(container, rooms, search("beginner", strict=strict == "the one"), 200)
    other = search("intermediate", strict=strict == "the other")
    assert isinstance(await find(rooms, other), Queued)
    assert isinstance(await retry(rooms, {**one}), Queued)
    same = await find(rooms, search("beginner", strict=True))
    assert isinstance(same, Paired) and same.partner_entry["userId"] == one["userId"] and not same.is_level_widened


async def test_widened_searches_do_not_hide_the_own_level(container: Container, rooms: Rooms, search: Search) -> None:
    """Those of a neighbouring level who have not waited for long take none of the places that a find looks at."""
    for _ in range(70):
        await wait(container, rooms, search("intermediate"), 20)
    own = await wait(container, rooms, search("beginner"), 10)
    assert met(await find(rooms, search("beginner"))) == own["userId"]


def test_accepted_levels_are_listed_from_the_lowest() -> None:
    assert list_accepted_levels("all", is_widened=False) == ["beginner", "intermediate", "advanced"]
    assert list_accepted_levels("advanced", is_widened=False) == ["advanced"]
    assert list_accepted_levels("advanced", is_widened=True) == ["intermediate", "advanced"]


# --- Retries ---------------------------------------------------------------------------------------------


async def test_retry_keeps_the_position(container: Container, rooms: Rooms, search: Search) -> None:
    own = await wait(container, rooms, search("advanced", "food"), 30)
    before = {key: await container.redis.get(key) for key in await list_keys(container, "{match}:searching:*")}
    queued = await retry(rooms, own)
    assert isinstance(queued, Queued) and queued.entry["since"] == own["since"] and 29_000 < queued.waited_ms < 90_000
    assert before == {key: await container.redis.get(key) for key in await list_keys(container, "{match}:searching:*")}
    for queue in ("{match}:queue:18_plus:advanced", "{match}:queue:18_plus:advanced:food"):
        assert await container.redis.zscore(queue, own["userId"]) == own["since"]


async def test_retry_of_a_search_that_has_ended(container: Container, rooms: Rooms, search: Search) -> None:
    """A retry never begins a search: not one that has ended, nor for another device, level or pool."""
    own = search("beginner")
    with pytest.raises(errors.NotSearching):
        await retry(rooms, own)
    await find(rooms, own)
    others: list[QueueEntry] = [
        {**own, "socket": f"{container.bus.process_id}.tablet"},
        {**own, "level": "advanced"},
        {**own, "pool": "16_17"},
    ]
    for other in others:
        with pytest.raises(errors.NotSearching):
            await retry(rooms, other)
    await find(rooms, search("beginner"))
    with pytest.raises(errors.NotSearching):
        await retry(rooms, own)


async def test_concurrent_retries_match_nobody_twice(container: Container, rooms: Rooms, search: Search) -> None:
    """However many processes try the same searches again at once, each learner is in one room."""
    hesitant = with_weights(container, replace(STRICT_WEIGHTS, threshold=0))
    entries = [search(mu=float(number)) for number in range(0, 60, 3)]
    for each in entries:
        assert isinstance(await find(hesitant, each), Queued)
    retries = [retry(rooms, each) for each in entries for _ in range(3)]
    outcomes = await asyncio.gather(*retries, return_exceptions=True)
    pairs = [outcome for outcome in outcomes if isinstance(outcome, Paired)]
    assert len(pairs) == 10
    assert {type(each) for each in outcomes} <= {Paired, Queued, errors.NotSearching, errors.AlreadyInRoom}
    found = {await rooms.get_room_id(each["userId"]) for each in entries}
    assert len(found) == 10 and None not in found
    assert await list_keys(container, "{match}:searching:*") == await list_keys(container, "{match}:queue:*") == set()


async def test_many_recent_partners_cost_two_walks(container: Container, rooms: Rooms, search: Search) -> None:
    """A find reads who was met a moment ago at most once for each that it looks at, however many those are."""
    own = search()
    for _ in range(64):
        each = await wait(container, rooms, search(), 5)
        await container.redis.set(_recent(own, each), "a room", ex=600)
    before = (await container.redis.info("commandstats"))["cmdstat_get"]["calls"]
    assert isinstance(await find(rooms, own), Paired), "nobody else waits"
    assert (await container.redis.info("commandstats"))["cmdstat_get"]["calls"] - before < 64 + 64


# --- Pools -----------------------------------------------------------------------------------------------


async def test_partners_meet_in_any_pool_of_their_band(container: Container, rooms: Rooms, search: Search) -> None:
    course = f"18_plus_course_{uuid.uuid4().hex}"
    for pool in ("18_plus", "18_plus_partners", course):
        partner = await wait(container, rooms, search(pool=pool), 10)
        await wait(container, rooms, search(pool=pool), 20)  # a stranger, who has waited for longer
        own = search(pool="18_plus_partners")
        outcome = await rooms.find_partner(own, str(uuid.uuid4()), "s", only=[partner["userId"], str(uuid.uuid4())])
        assert met(outcome) == partner["userId"]


async def test_partners_of_another_band_do_not_meet(container: Container, rooms: Rooms, search: Search) -> None:
    partner = await wait(container, rooms, search(pool=AgeBand.FROM_16), 10)
    outcome = await rooms.find_partner(search(pool="18_plus_partners"), "room", "s", only=[partner["userId"]])
    assert isinstance(outcome, Queued)


async def test_search_without_partners_waits(container: Container, rooms: Rooms, search: Search) -> None:
    await wait(container, rooms, search(pool="18_plus_partners"), 10)
    assert isinstance(await rooms.find_partner(search(pool="18_plus_partners"), "room", "s", only=[]), Queued)


async def test_retry_finds_a_partner_who_searches_anyone(container: Container, rooms: Rooms, search: Search) -> None:
    own, partner = search(pool="18_plus_partners"), search("beginner")
    only = [partner["userId"]]
    assert isinstance(await rooms.find_partner(own, "room", "s", only=only), Queued)
    assert isinstance(await find(rooms, partner), Queued), "the pool of anyone does not see the partners"
    assert met(await retry(rooms, own, only=only)) == partner["userId"]
    assert await list_keys(container, "{match}:queue:*") == set()


async def test_pools_are_apart(container: Container, rooms: Rooms, search: Search) -> None:
    one, other = f"18_plus_course_{uuid.uuid4().hex}", f"18_plus_course_{uuid.uuid4().hex}"
    for pool in ("18_plus", one, other):
        assert isinstance(await find(rooms, search(pool=pool)), Queued)
    assert isinstance(await find(rooms, search(pool=one)), Paired)


# --- Releases --------------------------------------------------------------------------------------------


async def test_search_of_the_release_before_is_met(container: Container, rooms: Rooms, make_entry: MakeEntry) -> None:
    """A queue entry without `fit` is taken for that of a new learner, and may itself find one that has it."""
    old = make_entry("beginner", "food")
    assert "fit" not in old
    await find(rooms, old)
    found = await find(rooms, {**make_entry("beginner", "food"), "fit": "02500 0000 0833 0 de travel"})
    assert met(found) == old["userId"]
    new: QueueEntry = {**make_entry("beginner"), "fit": "02500 0000 0300 1 - -"}
    await find(rooms, new)
    assert met(await find(rooms, make_entry("beginner"))) == new["userId"]


async def test_release_before_reads_a_search_with_features(container: Container, rooms: Rooms, search: Search) -> None:
    """The pattern of that release's script finds the pool at the beginning of the entry."""
    own = search("beginner", "food", native_language="de")
    await find(rooms, own)
    kept = str(await container.redis.get(f"{{match}}:searching:{own['userId']}"))
    pattern = """
        local level, topic, worker, since, entry_json, pool =
            string.match(ARGV[1], '^(%a+)\\n([^\\n]*)\\n([^\\n.]*)[^\\n]*\\n(%d+)\\n({"pool":"([%w_]+)".*)')
        return {level, topic, worker, since, entry_json, pool}"""
    level, topic, worker, since, entry, pool = await container.redis.eval(pattern, 0, kept)
    assert (level, topic, worker, pool) == ("beginner", "food", container.bus.process_id, "18_plus")
    assert int(since) and orjson.loads(entry)["fit"].split()[4] == "de"


# --- Waits -----------------------------------------------------------------------------------------------


async def test_quantiles_of_waits_cover_their_share(container: Container, rooms: Rooms, search: Search) -> None:
    """After many waits, half of them are at most the median, and nine of ten at most the other quantile."""
    await rooms.seed_waits(search("beginner"), Waits(300, 300))
    waits = [1.0 + number * 37 % 100 for number in range(400)]
    covered = [0, 0]
    for index, seconds in enumerate(waits):
        before = await find(rooms, search("beginner"))
        assert isinstance(before, Queued) and before.waits is not None
        await rooms.leave_queue(before.entry["userId"])
        if index >= 100:
            covered = [covered[0] + (seconds <= before.waits.median), covered[1] + (seconds <= before.waits.p90)]
        await wait(container, rooms, search("beginner"), seconds)
        assert isinstance(await find(rooms, search("beginner")), Paired)
    assert abs(covered[0] / 300 - 0.5) < 0.05 and abs(covered[1] / 300 - 0.9) < 0.05


async def test_seeds_do_not_replace_what_redis_has(rooms: Rooms, search: Search) -> None:
    own = search("advanced")
    assert (await find(rooms, own))[2] is None
    await rooms.leave_queue(own["userId"])
    await rooms.seed_waits(own, Waits(20, 90))
    await rooms.seed_waits(own, Waits(1, 2))
    waits = (await find(rooms, search("advanced")))[2]
    assert isinstance(waits, Waits) and waits == pytest.approx(Waits(20, 90), rel=0.01)


@pytest.mark.parametrize(
    ("language", "word"),
    [("de", "de"), ("pt-BR", "pt"), ("ZH_hans", "zh"), (None, "-"), ("Português", "-"), ('"}', "-"), ("a b", "-")],
)
def test_features_are_words(language: str | None, word: str) -> None:
    fields = serialize_features(Features(25, native_language=language), is_strict=True).split(" ")
    assert fields == ["02500", "0000", "0833", "1", word, "-"]
