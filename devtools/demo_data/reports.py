"""Demo reports in each status."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta

import errors
from devtools.demo_data.people import make_id
from instants import utc_now
from models import (
    CallSession,
    Report,
    ReportReason,
    ReportStatus,
)

ADMIN_NOTES = {
    ReportStatus.REVIEWED: "Spoke to both; nothing more to do.",
    ReportStatus.ACTIONED: "Third time. Banned.",
    ReportStatus.DISMISSED: "A misunderstanding, says the reporter.",
}
WARNING_FACTS = "In one of your calls you went on after your partner had asked you to stop."
APPEAL_TEXT = "My connection was bad, and I did not catch the question."
_REPORT_DESCRIPTIONS = {
    ReportReason.HARASSMENT: "Shouted at me when I did not understand.",
    ReportReason.SPAM: "Tried to sell me a course for the whole call.",
    ReportReason.INAPPROPRIATE: "Asked for my private number again and again.",
    ReportReason.OTHER: "Only played loud music.",
}


def make_reports(rng: random.Random, calls: list[CallSession]) -> list[Report]:
    """Make reports in each status: three pending about a flagged person, an actioned one about a banned person."""
    met: dict[uuid.UUID, dict[uuid.UUID, CallSession]] = {}
    for call in calls:
        for one, other in ((call.user_a_id, call.user_b_id), (call.user_b_id, call.user_a_id)):
            if call.connected_at is not None:
                met.setdefault(one, {})[other] = call
    # Few partners, so that those who practise most stay out of trouble.
    known = sorted((each for each in met if len(met[each]) >= 3), key=lambda each: (len(met[each]), each))
    if len(known) < 4:
        raise errors.Refused("so few learners have not met often enough; ask for more of them")
    flagged, banned, dismissed, reviewed = known[:4]
    wanted = [
        (flagged, [ReportStatus.PENDING] * 3),
        (banned, [ReportStatus.ACTIONED]),
        (dismissed, [ReportStatus.DISMISSED, ReportStatus.PENDING]),
        (reviewed, [ReportStatus.REVIEWED, ReportStatus.DISMISSED]),
    ]
    reports = []
    for reported, statuses in wanted:
        for status, (reporter, call) in zip(statuses, met[reported].items(), strict=False):
            reason = rng.choice(list(_REPORT_DESCRIPTIONS))
            reports.append(
                Report(
                    id=make_id(rng),
                    reporter_id=reporter,
                    reported_id=reported,
                    session_id=call.id,
                    reason=reason,
                    description=_REPORT_DESCRIPTIONS[reason],
                    status=status,
                    call_seconds=call.duration_seconds,
                    created_at=(call.ended_at or utc_now()) + timedelta(minutes=2),
                )
            )
    return reports
