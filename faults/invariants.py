"""Invariants after every fault: each reads the stores and lists its violations."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import httpx
import psycopg
import redis
from minio import Minio
from minio.error import S3Error

from devtools.stand_ins import StandIns
from faults.load import Claims
from models import Order
from settings import Settings
from testing.shop import agrees


@dataclass
class Rows:
    """What the invariants of accounts, calls and jobs read: the database, Redis, and the clients' claims."""

    database: psycopg.Connection[Any]
    redis: redis.Redis
    claims: Claims

    def rows(self, statement: str, *values: Any) -> list[Any]:
        return self.database.execute(statement.encode(), values).fetchall()


@dataclass
class Stores(Rows):
    """What all invariants read: the bucket and the providers' ledger, too."""

    settings: Settings
    bucket: Minio
    stand_ins: StandIns


_Read = TypeVar("_Read", bound=Rows)
#: Answers a sentence for each thing that is not as it must be.
Invariant = Callable[[_Read], list[str]]


def accounts(stores: Rows) -> list[str]:
    """Every acknowledged account exists, with its profile."""
    there = {email for (email,) in stores.rows("SELECT email FROM users JOIN profiles ON user_id = users.id")}
    return [f"the account {email} is gone" for email in stores.claims.registered if email not in there]


def logins(stores: Rows) -> list[str]:
    """No learner who refreshed correctly was logged out."""
    return [f"signed out: {login}" for login in stores.claims.signed_out]


def calls(stores: Rows) -> list[str]:
    """Every call that both participants ended has one row with its end."""
    found = []
    for room, one, other in stores.claims.calls:
        rows = stores.rows(
            "SELECT user_a_id::text, user_b_id::text, started_at <= connected_at AND connected_at <= ended_at,"
            " ended_by::text, duration_seconds FROM call_sessions WHERE room_id = %s",
            room,
        )
        if len(rows) != 1:
            found.append(f"the call {room} has {len(rows)} rows")
        elif {rows[0][0], rows[0][1]} != {one, other} or not rows[0][2] or rows[0][4] is None:
            found.append(f"the call {room} is recorded as {rows[0]}")
    return found


def one_call_each(stores: Rows) -> list[str]:
    """No learner was in two calls at once."""
    statement = """
        WITH sides AS (
            SELECT id, room_id, unnest(ARRAY[user_a_id, user_b_id]) AS user_id,
                tstzrange(connected_at, ended_at) AS during
            FROM call_sessions WHERE connected_at IS NOT NULL AND ended_at IS NOT NULL)
        SELECT a.user_id, a.room_id, b.room_id FROM sides a JOIN sides b USING (user_id)
        WHERE a.id < b.id AND a.during && b.during"""
    return [f"{user} was in {one} and in {other}" for user, one, other in stores.rows(statement)]


def open_calls(stores: Rows) -> list[str]:
    """No call, search or room is left after the load has ended."""
    rows = stores.rows("SELECT room_id FROM call_sessions WHERE ended_at IS NULL")
    left = [
        str(key)
        for pattern in ("{match}:searching:*", "{match}:in_room:*", "{match}:room:*", "{match}:queue:*")
        for key in stores.redis.scan_iter(pattern, count=1000)
    ]
    return [f"the call {room} is open" for (room,) in rows] + [f"{key} is left in Redis" for key in left]


def invitations(stores: Rows) -> list[str]:
    """Every acknowledged invitation is there, with its acknowledged end, and every accepted one has one call."""
    rows = stores.rows(
        "SELECT i.id::text, i.state::text, count(c.id) FROM invitations i"
        " LEFT JOIN call_sessions c USING (room_id) GROUP BY i.id"
    )
    states = {invitation: state for invitation, state, _ in rows}
    found = [
        f"the invitation {each} has {calls} calls" for each, state, calls in rows if calls != (state == "accepted")
    ]
    found += [f"the invitation {each} is open" for each, state in states.items() if state == "open"]
    for invitation, claimed in stores.claims.invitations:
        state = states.get(invitation)
        if state is None or (claimed != "sent" and state != claimed):
            found.append(f"the invitation {invitation} was {claimed} and is {state}")
    return found


def statistics(stores: Rows) -> list[str]:
    """Profile statistics equal the sum of the calls."""
    statement = """
        SELECT p.user_id, p.total_sessions, count(c.id) FROM profiles p
        LEFT JOIN call_sessions c ON p.user_id IN (c.user_a_id, c.user_b_id)
            AND c.connected_at IS NOT NULL AND c.ended_at IS NOT NULL
        GROUP BY 1, 2 HAVING p.total_sessions <> count(c.id)"""
    return [f"{user} counts {counted} calls, and had {had}" for user, counted, had in stores.rows(statement)]


def ratings(stores: Rows) -> list[str]:
    """Every acknowledged rating exists, once."""
    there = {
        (str(session), str(rater)) for session, rater in stores.rows("SELECT session_id, rater_id FROM session_ratings")
    }
    return [
        f"the rating of {session} by {rater} is gone"
        for session, rater in stores.claims.ratings
        if (session, rater) not in there
    ]


def reports(stores: Rows) -> list[str]:
    """Every acknowledged report exists, once."""
    statement = "SELECT reporter_id::text, reported_id::text, count(*) FROM reports GROUP BY 1, 2"
    there = {(who, whom): count for who, whom, count in stores.rows(statement)}
    return [
        f"the report of {whom} by {who} is there {there.get((who, whom), 0)} times"
        for who, whom in stores.claims.reports
        if there.get((who, whom)) != 1
    ]


def orders(stores: Stores) -> list[str]:
    """Every order equals its provider's record, is paid once, and enrolls while it is paid."""
    found = []
    ledger = {standing.reference: standing for standing in stores.stand_ins.ledger()}
    statement = """
        SELECT o.id, o.status::text, o.amount, o.amount_refunded, o.disputed, o.provider_payment_id,
            EXISTS (SELECT FROM enrollments e WHERE e.order_id = o.id) FROM orders o"""
    there = {str(row[0]): row for row in stores.rows(statement)}
    for order, _ in stores.claims.paid:
        if order not in there:
            found.append(f"the order {order} is gone")
        if order not in ledger:
            found.append(f"the paid order {order} is unknown to its provider")
    for order, (_, status, amount, refunded, disputed, payment, enrolled) in there.items():
        standing = ledger.get(order)
        if refunded > amount:
            found.append(f"the order {order} is refunded more than was paid")
        if enrolled is not (status == "paid"):
            found.append(f"the order {order} is {status}, and its course is {'open' if enrolled else 'shut'}")
        if standing is None:
            continue
        held = SimpleNamespace(status=status, amount_refunded=refunded, disputed=disputed, provider_payment_id=payment)
        if not agrees(cast("Order", held), standing):
            found.append(f"the order {order} is {status}, {refunded} refunded; its provider has {standing}")
    return found


def refunds(stores: Stores) -> list[str]:
    """Every acknowledged refund was made, once."""
    made = {
        str(order): total
        for order, total in stores.rows(
            "SELECT order_id, sum(amount) FROM refunds WHERE status = 'succeeded' GROUP BY 1"
        )
    }
    return [
        f"of {amount} promised for the order {order}, {made.get(order, 0)} was refunded"
        for order, amount in stores.claims.refunds
        if made.get(order) != amount
    ]


def notifications(stores: Stores) -> list[str]:
    """Every payment made one notification, and at least one push to the device."""
    found = []
    notified = dict(
        stores.rows("SELECT data->>'orderId', count(*) FROM notifications WHERE type = 'payment_success' GROUP BY 1")
    )
    owners = dict(stores.rows("SELECT id::text, user_id::text FROM orders WHERE paid_at IS NOT NULL"))
    for order, user in owners.items():
        if notified.get(order, 0) != 1:
            found.append(f"the order {order} has {notified.get(order, 0)} notifications")
        device = stores.claims.devices.get(user)
        if device and not stores.stand_ins.fcm.shown(device):
            found.append(f"the device of {user} was never notified of the order {order}")
    return found


def jobs(stores: Rows) -> list[str]:
    """No job is stuck, and none has failed for good."""
    statement = """
        SELECT task_name, status::text, id FROM procrastinate_jobs WHERE status = 'failed' OR status = 'doing'
            OR (status = 'todo' AND coalesce(scheduled_at, now()) < now() - interval '30 seconds')"""
    return [f"the job {task} ({job}) is {status}" for task, status, job in stores.rows(statement)]


def webhooks(stores: Stores) -> list[str]:
    """Every acknowledged webhook event was processed."""
    rows = stores.rows("SELECT event_id FROM webhook_events WHERE handled_at IS NULL")
    return [f"the event {event} is not handled" for (event,) in rows]


def pictures(stores: Stores) -> list[str]:
    """Every acknowledged picture is the profile's, and can be read."""
    found = []
    for user, address in stores.claims.pictures.items():
        rows = stores.rows("SELECT avatar_url FROM profiles WHERE user_id = %s", uuid.UUID(user))
        if not rows or rows[0][0] is None:
            found.append(f"{user} has no picture, and was given {address}")
        elif httpx.get(rows[0][0], timeout=10, trust_env=False).status_code != 200:
            found.append(f"the picture {rows[0][0]} cannot be seen")
    return found


def videos(stores: Stores) -> list[str]:
    """Every accepted video can be played."""
    found = []
    for lesson in stores.claims.videos:
        rows = stores.rows("SELECT video_status::text, video_url FROM lessons WHERE id = %s", uuid.UUID(lesson))
        if not rows or rows[0][0] != "ready":
            found.append(f"the video of the lesson {lesson} is {rows[0][0] if rows else 'gone'}")
            continue
        try:
            stores.bucket.stat_object(stores.settings.storage_bucket_name, rows[0][1])
        except S3Error as error:
            found.append(f"the playlist of the lesson {lesson} is not in the bucket: {error.code}")
    return found


def uploads(stores: Stores) -> list[str]:
    """The store holds no parts of abandoned uploads."""
    parts = stores.bucket._list_multipart_uploads(stores.settings.storage_bucket_name).uploads
    return [f"parts of {each.object_name} are left" for each in parts]


#: Those of a load without payments and files.
CALL_INVARIANTS: tuple[Invariant[Rows], ...] = (
    accounts,
    logins,
    calls,
    one_call_each,
    open_calls,
    invitations,
    statistics,
    ratings,
    reports,
    jobs,
)

INVARIANTS: tuple[Invariant[Stores], ...] = (
    *CALL_INVARIANTS,
    orders,
    refunds,
    notifications,
    webhooks,
    pictures,
    videos,
    uploads,
)


def broken(stores: _Read, invariants: Sequence[Invariant[_Read]]) -> dict[str, list[str]]:
    """Ask them; answer what does not hold, by invariant."""
    found = {each.__name__: each(stores) for each in invariants}
    return {name: sentences for name, sentences in found.items() if sentences}
