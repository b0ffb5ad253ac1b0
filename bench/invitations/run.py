"""Invitations that cross: `python -m bench.invitations.run [PAIRS]`, 200 when not given.

Partners on two web processes invite each other at once. Each pair has to come to one room, and each learner to receive
one match. Then some pairs invite and accept once more, for the time from the acceptance to the match at both. Exits
with 1 where a room is double or lost. Needs Linux; all traffic stays on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from adapters.keys import KeyFiles
from cli.migrations import upgrade_to_head
from container import Container
from devtools.embedded import EmbeddedServices
from testing.containers import load_settings
from testing.databases import rows
from testing.invitations import answer, invite, make_partners
from testing.servers import Phone, dial, http_client, register, start_server, stop_server

#: Pairs that press the button at the same moment.
AT_ONCE = 40
#: What two learners who cross lead to.
Pair = tuple[Phone, Phone]


async def connect(url: str, apart_from: Phone | None = None) -> Phone:
    """Connect a new learner, to another web process than that of `apart_from`."""
    learner = await register(http_client(url))
    while True:
        phone = await dial(url, learner)
        if apart_from is None or phone.worker != apart_from.worker:
            return phone
        await phone.client.disconnect()


async def make_pair(url: str, services: Container) -> Pair:
    one = await connect(url)
    other = await connect(url, apart_from=one)
    await make_partners(services, one.learner, other.learner)
    return one, other


async def cross(one: Phone, other: Phone) -> str:
    """Invite each other at once; return what is wrong, or nothing."""
    acks = await asyncio.gather(
        one.send("invite_partner", {"userId": other.learner.id}),
        other.send("invite_partner", {"userId": one.learner.id}),
    )
    if not all(each["ok"] for each in acks):
        return f"refused: {acks}"
    found = [await phone.wait_for("match_found", within=10) for phone in (one, other)]
    if found[0]["roomId"] != found[1]["roomId"]:
        return "two rooms"
    await asyncio.sleep(0.5)  # a second match would arrive by then
    counts = [[name for name, _ in phone.received].count("match_found") for phone in (one, other)]
    room = {"roomId": found[0]["roomId"]}
    for phone in (one, other):
        await phone.send("join_room", room)
    await one.send("end_call", room)
    await other.wait_for("peer_left")
    return "" if counts == [1, 1] else f"matches: {counts}"


async def accept(one: Phone, other: Phone) -> float:
    """Invite and accept; return the seconds from the acceptance to the match at both."""
    for phone in (one, other):
        phone.received.clear()
    invitation = await invite(one, other)
    began = time.perf_counter()
    sent = asyncio.create_task(answer(other, invitation, is_accepted=True))

    async with asyncio.timeout(10):
        while not all(any(name == "match_found" for name, _ in phone.received) for phone in (one, other)):
            await asyncio.sleep(0.001)
    took = time.perf_counter() - began
    assert (await sent)["ok"]
    return took


async def run(url: str, environment: dict[str, str], count: int) -> int:
    services = Container(load_settings(environment))
    pairs = [await make_pair(url, services) for _ in range(count)]
    wrong: list[str] = []
    for begin in range(0, count, AT_ONCE):
        results = await asyncio.gather(*(cross(*each) for each in pairs[begin : begin + AT_ONCE]))
        wrong += [each for each in results if each]
    [[calls, rooms]] = await rows(services, "SELECT count(*), count(DISTINCT room_id) FROM call_sessions")
    [[accepted]] = await rows(services, "SELECT count(*) FROM invitations WHERE state = 'accepted'")
    print(f"{count} crossing invitations: {calls} calls in {rooms} rooms, {accepted} accepted; wrong: {wrong or 0}")
    took = sorted([await accept(*each) for each in pairs[:50]])
    print(
        "from the acceptance to the match at both, on two web processes:"
        f" median {statistics.median(took) * 1000:.1f} ms, p95 {took[int(len(took) * 0.95)] * 1000:.1f} ms,"
        f" longest {took[-1] * 1000:.1f} ms"
    )
    for pair in pairs:
        for phone in pair:
            await phone.client.disconnect()
            await phone.learner.http.aclose()
    await services.close()
    return len(wrong) + (calls != count) + (accepted != count)


def main(count: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="parlance-invite-") as directory,
        EmbeddedServices(Path(directory) / "services", durable=False) as connections,
    ):
        environment = {
            **connections,
            "APP_ENV": "test",
            "BCRYPT_ROUNDS": "4",
            "JWT_PRIVATE_KEY_PATH": f"{directory}/private.pem",
            "JWT_PUBLIC_KEY_PATH": f"{directory}/public.pem",
        }
        settings = load_settings(environment)
        KeyFiles(settings).generate()
        upgrade_to_head(settings)
        server = start_server(environment, Path(directory) / "server.log", workers=2)
        try:
            wrong = asyncio.run(run(server.url, environment, count))
        finally:
            stop_server(server)
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
