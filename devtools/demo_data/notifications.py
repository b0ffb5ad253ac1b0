"""Demo notifications of calls, payments and reports."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from devtools.demo_data.people import Person, make_id
from instants import utc_now
from models import (
    CallSession,
    Notification,
    Order,
    Profile,
    Report,
    User,
)
from services.calls import streaks
from services.messaging import notification_templates
from services.messaging.notification_templates import NotificationTemplate


def make_notifications(
    rng: random.Random,
    people: list[Person],
    calls: list[CallSession],
    orders: list[Order],
    reports: list[Report],
    admin: User,
) -> Iterator[Notification]:
    """Make the notifications of all these weeks, read but for those of the last days."""
    sent: list[tuple[datetime, uuid.UUID, NotificationTemplate]] = []
    profiles = {each.user.id: Profile(user_id=each.user.id, timezone=each.profile.timezone) for each in people}
    ended = [(call.ended_at, call) for call in calls if call.connected_at and call.ended_at]
    for at, call in sorted(ended, key=lambda each: each[0]):
        for user_id in (call.user_a_id, call.user_b_id):
            streaks.add_call(profiles[user_id], at, call.duration_seconds or 0)
            sent += [(at, user_id, each) for each in streaks.list_achievements(profiles[user_id])]
    sent += [
        (order.paid_at, order.user_id, notification_templates.payment_success(order))
        for order in orders
        if order.paid_at
    ]
    sent += [(report.created_at, admin.id, notification_templates.new_report(report)) for report in reports]
    occasions = set()
    for at, user_id, notice in sent:
        if (user_id, notice.occasion) in occasions:
            continue
        occasions.add((user_id, notice.occasion))
        read_at = at + timedelta(hours=rng.uniform(0, 48))
        yield Notification(
            id=make_id(rng),
            user_id=user_id,
            type=notice.type,
            title=notice.title,
            body=notice.body,
            data=dict(notice.data or {}),
            occasion=notice.occasion,
            read=read_at < utc_now(),
            read_at=read_at if read_at < utc_now() else None,
            created_at=at,
        )
