"""Demo partners of the account for visitors, and their appointments."""

from __future__ import annotations

import random
from datetime import UTC, timedelta

import time_zones
from devtools.demo_data.people import Person, make_id, sort_by_calls
from instants import utc_now
from models import Appointment, AppointmentState, Block, CallSession, PartnerWish, Report

#: Partners, and one more learner whose wish is not answered.
PARTNERS = 3


def make_partner_wishes(
    people: list[Person], calls: list[CallSession], blocks: list[Block], reports: list[Report]
) -> list[PartnerWish]:
    """Make wishes of the most active learner and of learners whom they talked to, that no report or block is about."""
    me = sort_by_calls(people)[0]
    avoided = {row.blocked_id for row in blocks} | {row.blocker_id for row in blocks}
    avoided |= {row.reported_id for row in reports} | {row.reporter_id for row in reports}
    met = [
        call.user_b_id if call.user_a_id == me.user.id else call.user_a_id
        for call in calls
        if call.connected_at and me.user.id in (call.user_a_id, call.user_b_id)
    ]
    others = [each for each in dict.fromkeys(reversed(met)) if each not in avoided][: PARTNERS + 1]
    for person in people:
        if person.user.id in others[::2]:
            person.profile.shares_presence = True
    at = utc_now()
    wishes = [
        PartnerWish(user_id=me.user.id, wished_id=other, created_at=at - timedelta(days=days))
        for days, other in enumerate(others, 1)
    ]
    answers = [
        PartnerWish(user_id=each.wished_id, wished_id=each.user_id, created_at=each.created_at + timedelta(hours=1))
        for each in wishes[:PARTNERS]
    ]
    return [*wishes, *answers]


def make_appointments(rng: random.Random, people: list[Person], wishes: list[PartnerWish]) -> list[Appointment]:
    """Make an accepted appointment with the first partner, and one that the second proposes."""
    me = sort_by_calls(people)[0]
    partners = [wish.user_id for wish in wishes if wish.wished_id == me.user.id]
    zone = time_zones.get_zone(me.profile.timezone)
    rows = []
    for number, partner in enumerate(partners[:2]):
        day = utc_now().astimezone(zone) + timedelta(days=2 + number)
        local = day.replace(hour=18, minute=0, second=0, microsecond=0, tzinfo=None)
        is_accepted = number == 0
        rows.append(
            Appointment(
                id=make_id(rng),
                proposer_id=me.user.id if is_accepted else partner,
                partner_id=partner if is_accepted else me.user.id,
                local_time=local,
                timezone=zone.key,
                starts_at=local.replace(tzinfo=zone).astimezone(UTC),
                zone_version=time_zones.VERSION,
                duration_minutes=30,
                note=None if is_accepted else "Shall we practise job interviews?",
                state=AppointmentState.ACCEPTED if is_accepted else AppointmentState.PROPOSED,
                answered_at=utc_now() if is_accepted else None,
            )
        )
    return rows
