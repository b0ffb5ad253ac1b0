"""Texts of every notification, with the data by which an app opens the right page."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from digests import compute_digest
from instants import format_instant
from models import Appeal, AppealStatus, Appointment, Lesson, NotificationType, Order, Report, Sanction, SanctionKind
from models.payment_alert import AlertKind

#: The `kind` in the data of a notification about a new partner.
PARTNER_KIND = "partner"
#: What happens to an appointment: changes by the two, a new time by new rules of its zone, and the two reminders.
AppointmentChange: TypeAlias = Literal["proposed", "accepted", "declined", "cancelled", "moved", "day", "soon"]

_STREAK_WORDS = {3: "Three", 7: "Seven", 30: "Thirty", 100: "A hundred"}
_CALL_WORDS = {10: "Ten", 50: "Fifty", 100: "A hundred", 500: "Five hundred"}
#: Title and body.
_APPOINTMENT_TEXTS: dict[AppointmentChange, tuple[str, str]] = {
    "proposed": ("{name} proposes a call", "On {when}. Accept or decline it in your list of appointments."),
    "accepted": ("{name} has accepted", "Your call is on {when}."),
    "declined": ("{name} has declined", "Your call on {when} does not take place. You can propose another time."),
    "cancelled": ("An appointment was cancelled", "Your call with {name} on {when} does not take place."),
    "moved": (
        "An appointment begins at another time for you",
        "The rules of its time zone have changed. Your call with {name} is on {when}.",
    ),
    "day": ("Your call with {name}", "It begins on {when}."),
    "soon": ("Your call with {name} begins soon", "It begins on {when}."),
}
_ALERT_BODIES = {
    AlertKind.AMOUNT_DIFFERS: "The amount that the provider reports differs from that of the order.",
    AlertKind.CURRENCY_DIFFERS: "The currency that the provider reports differs from that of the order.",
    AlertKind.MODE_DIFFERS: "The provider reports another kind of payment: test money, real money, a subscription.",
    AlertKind.SESSION_DIFFERS: "It was paid on a checkout page of another order.",
    AlertKind.PAID_TWICE: "A learner has paid twice.",
    AlertKind.INQUIRY: "A bank inquires about the payment. Answer the inquiry, or refund the payment to end it.",
    AlertKind.DISPUTED: "A learner disputes the payment.",
    AlertKind.REFUND_FAILED: "A refund failed: the money was not returned to the learner.",
    AlertKind.ACCOUNT_DELETED: "A payment arrived for an account that was deleted meanwhile. Refund it.",
}


@dataclass(frozen=True, slots=True)
class NotificationTemplate:
    """Type and texts of a notification; with an `occasion` a user gets it once."""

    type: NotificationType
    title: str
    body: str
    data: Mapping[str, str] | None = None
    occasion: str | None = None


def payment_success(order: Order) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.PAYMENT_SUCCESS,
        "Payment received",
        f"“{order.course_title}” is open for you.",
        {"orderId": str(order.id), "courseId": str(order.course_id)},
        f"order:{order.id}",
    )


def payment_failed(order: Order) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.PAYMENT_FAILED,
        "Payment failed",
        f"Your payment for “{order.course_title}” did not arrive. You can buy the course again.",
        {"orderId": str(order.id), "courseId": str(order.course_id)},
        f"order:{order.id}:failed",
    )


def achievement(kind: Literal["streak", "sessions"], count: int) -> NotificationTemplate:
    if kind == "streak":
        title = f"{_STREAK_WORDS[count]} days in a row"
        body = f"You have practised on {count} days without a gap. Come back tomorrow to keep it going."
    else:
        title = f"{_CALL_WORDS[count]} calls"
        body = f"You have talked to partners {count} times. Every call makes the next one easier."
    data = {"achievement": kind, "reached": str(count)}
    return NotificationTemplate(NotificationType.ACHIEVEMENT, title, body, data, f"{kind}:{count}")


def match_found(partner_name: str, room_id: str, session_id: str) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.MATCH_FOUND,
        "Your partner is here",
        f"{partner_name} is waiting for you to join the call.",
        {"roomId": room_id, "sessionId": session_id},
        f"match:{session_id}",
    )


def pairing_warning(call_id: uuid.UUID) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.SYSTEM,
        "Please keep your matches",
        "You have declined, not joined or left within a minute several matches in a short time, and partners waited for"
        " you in vain. If it goes on, you cannot meet new partners for some minutes. Calls that a poor connection ends"
        " do not count.",
        {"kind": "pairing_warning"},
        f"pairing_warning:{call_id}",
    )


def pairing_rest(call_id: uuid.UUID, until: datetime) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.SYSTEM,
        "A short rest",
        "You can meet new partners again in some minutes: several matches were declined, not joined or left within a"
        " minute. You can still meet the partners you know.",
        {"kind": "pairing_rest", "until": format_instant(until)},
        f"pairing_rest:{call_id}",
    )


def new_partner(partner_name: str, partner_id: uuid.UUID) -> NotificationTemplate:
    # Without an occasion: two who part may meet again.
    return NotificationTemplate(
        NotificationType.SYSTEM,
        "You have a new partner",
        f"{partner_name} and you have both asked to meet again. Invite each other, or propose a time.",
        {"kind": PARTNER_KIND, "userId": str(partner_id)},
    )


def appointment_occasion(appointment_id: uuid.UUID, change: AppointmentChange, detail: str | None = None) -> str:
    """Name what a user is notified of once; `detail` distinguishes what happens more than once."""
    return ":".join(filter(None, ("appointment", str(appointment_id), change, detail)))


def appointment(
    row: Appointment, change: AppointmentChange, partner_name: str, when: str, partner_id: uuid.UUID, detail: str | None
) -> NotificationTemplate:
    """For one of the two; `when` is the beginning as the reader's clock shows it. Without the note: pushes are shown
    on locked screens."""
    title, body = _APPOINTMENT_TEXTS[change]
    return NotificationTemplate(
        NotificationType.SYSTEM,
        title.format(name=partner_name),
        body.format(name=partner_name, when=when),
        {"kind": "appointment", "appointmentId": str(row.id), "userId": str(partner_id)},
        appointment_occasion(row.id, change, detail),
    )


def invitation(invitation_id: str, inviter_name: str, expires_at: datetime) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.SYSTEM,
        "A partner invites you",
        f"{inviter_name} invites you to a call.",
        {"kind": "invitation", "invitationId": invitation_id, "expiresAt": format_instant(expires_at)},
        f"invitation:{invitation_id}",
    )


def system(title: str, body: str) -> NotificationTemplate:
    return NotificationTemplate(NotificationType.SYSTEM, title, body)


def payment_alert(alert_id: uuid.UUID, kind: AlertKind, order: Order) -> NotificationTemplate:
    data = {"kind": str(kind), "orderId": str(order.id)}
    return _alert(f"Order {order.receipt_id} needs review", _ALERT_BODIES[kind], data, f"payment_alert:{alert_id}")


def webhook_unknown(provider: str, kind: str) -> NotificationTemplate:
    """For a signed event of an unknown kind: once for each kind."""
    return _alert(
        "An unknown payment event",
        f"{provider.title()} sends `{kind}` events that are not about an order of this system. They are acknowledged."
        " Check which events the webhook subscribes to; `parlance payments events --set-aside` lists what was kept.",
        {"kind": "webhook_unknown", "provider": provider},
        f"webhook_unknown:{provider}:{kind}",
    )


def webhook_set_aside(event_id: uuid.UUID, provider: str, kind: str) -> NotificationTemplate:
    return _alert(
        "A payment event was set aside",
        f"Handling a `{kind}` event of {provider.title()} failed too often. Find the cause in the log, then"
        f" `parlance payments events --retry {event_id}`.",
        {"kind": "webhook_set_aside", "provider": provider, "eventId": str(event_id)},
        f"webhook_set_aside:{event_id}",
    )


def new_report(report: Report) -> NotificationTemplate:
    data = {"kind": "report", "reportId": str(report.id), "userId": str(report.reported_id)}
    reason = report.reason.replace("_", " ")
    return _alert("A new report", f"A learner was reported for: {reason}.", data, f"report:{report.id}")


def _redress(contact: str) -> str:
    """How to answer a decision about reports and pictures (DSA, articles 16(5) and 17(3)(f))."""
    return (
        f"If you disagree, write to {contact}, free of charge: a person will answer. You can also turn to a certified"
        " body for out-of-court dispute settlement, or to a court."
    )


def report_decided(report: Report, contact: str) -> NotificationTemplate:
    """For the reporter: whether we acted, not how, and how to answer."""
    outcome = report.outcome or "no_action"
    found = {
        "acted": "We have reviewed your report and acted on it.",
        "no_action": "We have reviewed your report and found no reason to act.",
    }[outcome]
    return NotificationTemplate(
        NotificationType.SYSTEM,
        "Your report was reviewed",
        f"{found} To protect everyone involved we do not share more. {_redress(contact)}",
        {"kind": "report_decided", "reportId": str(report.id), "outcome": outcome},
        f"report_decided:{report.id}:{outcome}",
    )


def report_overdue(report: Report) -> NotificationTemplate:
    data = {"kind": "report_overdue", "reportId": str(report.id), "userId": str(report.reported_id)}
    reason = report.reason.replace("_", " ")
    body = f"A report for {reason} is not reviewed, and its time is over."
    return _alert("A report is overdue", body, data, f"report_overdue:{report.id}")


def pairing_held(user_id: uuid.UUID) -> NotificationTemplate:
    data = {"kind": "pairing_held", "userId": str(user_id)}
    body = "An urgent report keeps a learner from being paired, for up to a day. Review the report to end that."
    # Without an occasion: a learner may be held again later.
    return _alert("A learner is not paired", body, data, None)


def user_flagged(user_id: uuid.UUID) -> NotificationTemplate:
    data = {"kind": "flagged", "userId": str(user_id)}
    # Without an occasion: a learner may be cleared, and be reported again.
    return _alert("A learner needs review", "The pending reports of a learner weigh enough for a flag.", data, None)


def picture_held(user_id: uuid.UUID, url: str) -> NotificationTemplate:
    return _alert(
        "A picture needs review",
        "The screen did not decide about a learner's picture. It waits in the list of pictures at /admin-ui.",
        {"kind": "picture", "userId": str(user_id)},
        f"picture:{compute_digest(url)[:32]}",
    )


def picture_removed(url: str, contact: str) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.SYSTEM,
        "Your picture was removed",
        "A person of our staff has looked at your profile picture and found that it breaks the rules of conduct. You"
        f" can upload another one. {_redress(contact)}",
        {"kind": "picture_removed"},
        f"picture_removed:{compute_digest(url)[:32]}",
    )


def sanction_issued(sanction: Sanction) -> NotificationTemplate:
    title = {
        SanctionKind.WARNING: "You have received a warning",
        SanctionKind.SUSPENSION: "Your account is suspended",
        SanctionKind.BAN: "Your account is banned",
    }[sanction.kind]
    return NotificationTemplate(
        NotificationType.SYSTEM,
        title,
        # Not the facts: a push is shown on locked screens.
        "The e-mail about it says why, and how to appeal.",
        {"kind": "sanction", "sanctionId": str(sanction.id)},
        f"sanction:{sanction.id}",
    )


def sanction_lifted(sanction: Sanction) -> NotificationTemplate:
    return NotificationTemplate(
        NotificationType.SYSTEM,
        f"Your {sanction.kind.value} was lifted",
        "The e-mail about it says why.",
        {"kind": "sanction", "sanctionId": str(sanction.id)},
        f"sanction:{sanction.id}:lifted",
    )


def appeal_decided(appeal: Appeal, sanction: Sanction) -> NotificationTemplate:
    kind = sanction.kind.value
    outcome = f"The {kind} is lifted." if appeal.status is AppealStatus.OVERTURNED else f"The {kind} stays."
    return NotificationTemplate(
        NotificationType.SYSTEM,
        "Your appeal was decided",
        f"{outcome} The e-mail about it says why.",
        {"kind": "appeal", "sanctionId": str(sanction.id)},
        f"appeal:{appeal.id}",
    )


def new_appeal(appeal: Appeal, sanction: Sanction) -> NotificationTemplate:
    data = {"kind": "appeal", "appealId": str(appeal.id), "userId": str(sanction.user_id)}
    return _alert("A new appeal", f"A learner appeals against a {sanction.kind.value}.", data, f"appeal:{appeal.id}")


def video_ready(lesson: Lesson) -> NotificationTemplate:
    return _alert("A video is ready", f"“{lesson.title}” can be watched.", _video(lesson), None)


def video_failed(lesson: Lesson, reason: str) -> NotificationTemplate:
    return _alert("A video could not be processed", f"“{lesson.title}”: {reason}", _video(lesson), None)


def _video(lesson: Lesson) -> dict[str, str]:
    return {"kind": "video", "lessonId": str(lesson.id), "courseId": str(lesson.course_id)}


def _alert(title: str, body: str, data: Mapping[str, str], occasion: str | None) -> NotificationTemplate:
    return NotificationTemplate(NotificationType.ADMIN_ALERT, title, body, data, occasion)
