"""Retention schedule: how long each kind of data is kept, as it is published and as the nightly jobs carry it out."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import NamedTuple

from services.identity.email_changes import UNDO_LIFETIME
from services.operations.pruning import APPOINTMENT_LIFETIME, INVITATION_LIFETIME
from services.safety.ages import REFUSAL_LIFETIME
from settings import Settings


class RetentionRule(NamedTuple):
    """How long one kind of data is kept.

    `days` count from the event that `rule` names; None where no number of days is known in advance.
    """

    name: str
    data: str
    days: int | None
    rule: str


def build_schedule(settings: Settings) -> list[RetentionRule]:
    """Build the schedule of a deployment, from its settings."""
    calls, reports = _days(settings.retain_calls_for), _days(settings.retain_reports_for)
    audit, notifications = _days(settings.retain_audit_detail_for), _days(settings.prune_notifications_after)
    mailed, events = _days(settings.prune_mailed_tokens_after), _days(settings.prune_webhook_events_after)
    sanctions, barred = _days(settings.retain_sanctions_for), _days(settings.retain_barred_addresses_for)
    logins, jobs = _days(settings.jwt_refresh_expiry), _days(settings.prune_failed_jobs_after)
    return [
        RetentionRule(
            "account",
            "Account, profile, blocks, partners, progress",
            None,
            "Until you delete your account.",
        ),
        RetentionRule(
            "consents",
            "Versions of documents that you accepted or withdrew",
            None,
            "As long as the consent may have to be proven, after a deletion of the account without your identity.",
        ),
        RetentionRule(
            "age_refusals",
            "Refusal of a device and an account below the minimum age, as a hash",
            _days(REFUSAL_LIFETIME),
            "From the refusal.",
        ),
        RetentionRule(
            "skill",
            "Skill that feedback about your calls moves, and points, warnings and rests of your record of matches",
            None,
            "Until you delete your account. Points halve in two days; rests are forgiven after a week.",
        ),
        RetentionRule(
            "calls",
            "Calls: partner, time, length, topic, level, ratings, feedback about the pace, how you kept the match",
            calls,
            "From the beginning of the call, then deleted; your totals stay. A call with a report is kept until the"
            " report's texts are deleted.",
        ),
        RetentionRule(
            "partner_wishes",
            "Wishes for a partnership that the other learner has not asked for",
            calls,
            "From the wish. A partnership ends when one of the two ends it or deletes the account.",
        ),
        RetentionRule(
            "appointments",
            "Appointments with partners, and their notes",
            _days(APPOINTMENT_LIFETIME),
            "From the time of the appointment, or until one of the two deletes the account.",
        ),
        RetentionRule(
            "invitations",
            "Invitations of partners to calls, and their topics",
            _days(INVITATION_LIFETIME),
            "From the end of the invitation, or until one of the two deletes the account.",
        ),
        RetentionRule(
            "reports",
            "Reports: description, note of the decision, the call that they are about",
            reports,
            "From the decision. Who reported whom, the reason and the decision stay while the accounts exist.",
        ),
        RetentionRule(
            "report_traits",
            "Hashes of the device and the network of who reports",
            _days(settings.prune_report_traits_after),
            "From the report, or until you delete your account.",
        ),
        RetentionRule(
            "sanctions",
            "Sanctions and appeals: facts, reasons, text of the appeal",
            sanctions,
            "From the end of the sanction or the decision about the appeal, of the later one, and at least while an"
            " appeal is possible; a ban in force keeps them until you delete your account. Kind, ground and times stay,"
            " after a deletion of the account without your identity.",
        ),
        RetentionRule(
            "barred_addresses",
            "Verified address of an account that was deleted during a ban, as a keyed hash",
            barred,
            "From the deletion, so that the ban does not end by it (GDPR, article 17(3)(e)); of a suspended account"
            " until the suspension ends. Deleted when the sanction is lifted.",
        ),
        RetentionRule(
            "audit",
            "Audit log of the operators' actions: the detail of each entry",
            audit,
            "From the action. Time, actor, action, subject and the hash of the entry stay as proof.",
        ),
        RetentionRule("notifications", "Notifications", notifications, "From reading; achievements stay."),
        RetentionRule("logins", "Logins and devices", logins, "From the last use of the login."),
        RetentionRule(
            "login_methods",
            "Passkeys, and identities at Google, Apple and other providers",
            None,
            "Until you remove them or delete your account.",
        ),
        RetentionRule(
            "spent_tokens",
            "Used ID tokens and passkey challenges, as hashes",
            1,
            "From the use, at the longest: until the token expires.",
        ),
        RetentionRule("second_factors", "Second factors of staff", None, "While the account belongs to staff."),
        RetentionRule("mailed_tokens", "Links in e-mails and refused logins", mailed, "From the expiry of the link."),
        RetentionRule(
            "email_codes",
            "Codes in e-mails, as hashes, with the address",
            1,
            "From the expiry, minutes after the request.",
        ),
        RetentionRule(
            "email_changes",
            "Earlier e-mail addresses of an account",
            _days(UNDO_LIFETIME) + 1,
            "From the change, so that the earlier address can undo it.",
        ),
        RetentionRule(
            "payments",
            "Orders, refunds and disputes",
            None,
            "As long as the law on accounting asks for, after a deletion of the account without your identity.",
        ),
        RetentionRule("payment_events", "Messages of payment providers", events, "From processing."),
        RetentionRule("jobs", "Failed deliveries, such as an e-mail that could not be sent", jobs, "From the failure."),
        RetentionRule("logs", "Logs of the servers", None, "As the operator states; they have no names or addresses."),
    ]


def _days(duration: timedelta) -> int:
    return math.ceil(duration / timedelta(days=1))
