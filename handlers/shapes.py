"""Responses made from rows: a whitelist of fields, in camelCase. No other module decides which fields are sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import date
from typing import Generic, TypedDict, TypeVar

import inflection

from instants import format_instant, utc_now
from models import (
    Appeal,
    Appointment,
    AuditEntry,
    CallSession,
    Dispute,
    EmailChange,
    Enrollment,
    Invitation,
    LearnerSkill,
    Lesson,
    LessonProgress,
    LinkedIdentity,
    Notification,
    Order,
    PairingRecord,
    Passkey,
    Platform,
    Profile,
    RefreshToken,
    Refund,
    Report,
    SessionRating,
    User,
)
from services.calls.call_history import Call
from services.identity.authentication import PublicKey
from services.identity.data_export import DataExport
from services.identity.login_methods import AccountLoginMethods, LoginOffer
from services.identity.logins import AccessToken, Device, LoginTokens
from services.identity.profiles import Me
from services.identity.second_factors import NewSecret, SecondFactorState
from services.identity.staff import StaffAccount, StaffLogin
from services.identity.user_directory import UserDetail, UserWithProfile
from services.learning.courses import CourseListing
from services.learning.lessons import AttachmentDownload
from services.learning.playback import PlaybackLink
from services.learning.progress import CourseEnrollment, CourseProgress
from services.operations.dashboard import DashboardStats, TableCount
from services.operations.retention_schedule import RetentionRule
from services.pagination import Page
from services.payments.orders import AdminOrder
from services.people.appointments import AppointmentView
from services.people.partner_rows import PartnerCard
from services.people.partners import Partnership
from services.safety.appeals import SubmittedAppeal
from services.safety.blocks import BlockedUser
from services.safety.consents import DocumentConsent
from services.safety.pictures import WaitingPicture
from services.safety.policies import ACCEPTED
from services.safety.published_policy import ADDRESSES, CONTACT_ADDRESS, PublishedPolicy
from services.safety.review_queue import ReviewItem, ReviewPage
from services.safety.standings import SanctionNotice
from time_zones import format_offset
from wire import rest

Row = TypeVar("Row")
Item = TypeVar("Item")
Fields = TypeVar("Fields")


class ItemPage(TypedDict, Generic[Item]):
    """Any page of the spec; pages differ only in their items."""

    items: list[Item]
    nextCursor: str | None


def page(page: Page[Row], shape: Callable[[Row], Item]) -> ItemPage[Item]:
    return {"items": [shape(item) for item in page.items], "nextCursor": page.next_cursor}


def columns(body: Mapping[str, object], fields: Callable[..., Fields]) -> Fields:
    """Return a body by column name, as the `fields` that a service takes; a test compares the two."""
    return fields(**{inflection.underscore(name): value for name, value in body.items()})


def account(user: User) -> rest.Account:
    return {"id": str(user.id), "email": user.email, "role": user.role.value, "isVerified": user.is_verified}


def login_offer(offer: LoginOffer) -> rest.LoginMethods:
    return {
        "password": True,
        "emailCode": offer.has_email_codes,
        "passkeys": {"isOffered": offer.passkey_domain is not None, "rpId": offer.passkey_domain},
        "providers": [
            {
                "provider": each.provider,
                "name": each.name,
                "hasWebFlow": each.has_web_flow,
                "clientIds": {
                    "ios": list(each.client_ids.get("ios", ())),
                    "android": list(each.client_ids.get("android", ())),
                    "web": list(each.client_ids.get("web", ())),
                },
            }
            for each in offer.providers
        ],
    }


def login_methods(methods: AccountLoginMethods) -> rest.MyLoginMethods:
    return {
        "email": methods.user.email,
        "isVerified": methods.user.is_verified,
        "hasPassword": methods.user.password_hash != "",
        "identities": [identity(each) for each in methods.identities],
        "passkeys": [passkey(each) for each in methods.passkeys],
        "undoableEmailChange": _undoable_change(methods.undoable_change),
    }


def identity(row: LinkedIdentity) -> rest.Identity:
    return {
        "id": str(row.id),
        "provider": row.provider,
        "email": row.email,
        "createdAt": format_instant(row.created_at),
        "lastUsedAt": format_instant(row.last_used_at),
    }


def passkey(row: Passkey) -> rest.Passkey:
    return {
        "id": str(row.id),
        "name": row.name,
        "createdAt": format_instant(row.created_at),
        "lastUsedAt": format_instant(row.last_used_at),
        "isSynced": row.is_synced,
    }


def _undoable_change(change: EmailChange | None) -> rest.UndoableEmailChange | None:
    if change is None:
        return None
    return {
        "oldEmail": change.old_email,
        "changedAt": format_instant(change.created_at),
        "undoUntil": format_instant(change.undo_until),
    }


def json_web_key_set(keys: list[PublicKey]) -> rest.JsonWebKeySet:
    return {"keys": [_json_web_key(key) for key in keys]}


def _json_web_key(key: PublicKey) -> rest.JsonWebKey:
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key.key_id, "n": key.modulus, "e": key.exponent}


def tokens(signed_in: LoginTokens) -> rest.AuthTokens:
    shape: rest.AuthTokens = {
        "accessToken": signed_in.access_token,
        "tokenType": "Bearer",
        "expiresInSeconds": signed_in.expires_in,
        "deviceProof": signed_in.device_proof,
        "user": account(signed_in.user),
    }
    if signed_in.platform is not Platform.WEB:
        shape["refreshToken"] = signed_in.refresh_token
    return shape


def access_token(issued: AccessToken) -> rest.SecondFactorProof:
    return {"accessToken": issued.token, "tokenType": "Bearer", "expiresInSeconds": issued.expires_in}


def second_factor(state: SecondFactorState) -> rest.SecondFactor:
    return {
        "isEnrolled": state.is_enrolled,
        "isRequired": state.is_required,
        "enrolledAt": format_instant(state.enrolled_at),
        "provenAt": format_instant(state.proven_at),
        "recoveryCodesLeft": state.recovery_codes_left,
        "passkeyCount": state.passkey_count,
    }


def second_factor_secret(made: NewSecret) -> rest.SecondFactorSecret:
    return {
        "secret": made.secret,
        "otpauthUri": made.uri,
        "qrCode": made.qr_code,
        "expiresAt": format_instant(made.expires_at),
    }


def staff_account(account: StaffAccount) -> rest.StaffAccount:
    return {
        "id": str(account.user.id),
        "email": account.user.email,
        "role": account.user.role.value,
        "isSecondFactorEnrolled": account.is_enrolled,
        "logins": account.logins,
        "lastUsedAt": format_instant(account.last_used_at),
        "createdAt": format_instant(account.user.created_at),
    }


def staff_login(login: StaffLogin, current_id: str) -> rest.StaffLogin:
    return {
        "id": str(login.id),
        "deviceId": login.device_id,
        "platform": login.platform.value,
        "loggedInAt": format_instant(login.logged_in_at),
        "lastUsedAt": format_instant(login.last_used_at),
        "factorProvenAt": format_instant(login.factor_proven_at),
        "isCurrent": str(login.id) == current_id,
    }


def device(device: Device) -> rest.Device:
    return {
        "deviceId": device.device_id,
        "platform": device.platform.value,
        "loggedInAt": format_instant(device.signed_in_at),
        "lastUsedAt": format_instant(device.last_used_at),
        "isCurrent": device.current,
    }


def me(row: Me) -> rest.Me:
    return {
        "id": str(row.id),
        "email": row.email,
        "role": row.role,
        "isVerified": row.is_verified,
        "username": row.username,
        "displayName": row.display_name,
        "avatarUrl": row.avatar_url,
        "bio": row.bio,
        "nativeLanguage": row.native_language,
        "englishLevel": row.english_level,
        "learningGoal": row.learning_goal,
        "country": row.country,
        "timezone": row.timezone,
        "sharesPresence": row.shares_presence,
        "totalPracticeMinutes": row.total_practice_mins,
        "totalCalls": row.total_sessions,
        "streakDays": row.streak_days,
        "lastCallAt": format_instant(row.last_session_at),
        "lastActiveAt": format_instant(row.last_active_at),
        "createdAt": format_instant(row.created_at),
        "ageBand": row.age_band.value if row.age_band else None,
        "missing": row.missing,
    }


def consent(row: DocumentConsent) -> rest.Consent:
    return {
        "document": row.policy.name,
        "title": row.policy.title,
        "version": row.policy.version,
        "acceptedVersion": row.accepted_version,
        "acceptedAt": format_instant(row.accepted_at),
    }


def call(row: Call) -> rest.Call:
    record = row.session
    return {
        "id": str(record.id),
        "roomId": record.room_id,
        "partner": {
            "userId": str(row.partner_id),
            "displayName": row.partner_name,
            "avatarUrl": row.partner_avatar_url,
            "level": row.partner_level.value if row.partner_level else None,
        },
        "topic": record.topic,
        "level": record.level,
        "startedAt": format_instant(record.started_at),
        "connectedAt": format_instant(record.connected_at),
        "endedAt": format_instant(record.ended_at),
        "durationSeconds": record.duration_seconds,
        "endedBy": row.ended_by,
        "myRating": row.my_rating,
    }


def partnership(row: Partnership) -> rest.Partnership:
    return {**_partner_card(row.card), "since": format_instant(row.since), "presence": row.presence}


def _partner_card(card: PartnerCard) -> rest.Partner:
    return {
        "userId": str(card.user_id),
        "displayName": card.name,
        "avatarUrl": card.avatar_url,
        "level": card.level.value if card.level else None,
    }


def appointment(view: AppointmentView) -> rest.Appointment:
    row = view.appointment
    return {
        "id": str(row.id),
        "partner": _partner_card(view.partner),
        "isProposer": view.is_proposer,
        "startsAt": format_instant(row.starts_at),
        "localTime": row.local_time.isoformat(timespec="minutes"),
        "timezone": row.timezone,
        "utcOffset": format_offset(view.utc_offset),
        "durationMinutes": row.duration_minutes,
        "note": row.note,
        "state": row.state.value,
        "createdAt": format_instant(row.created_at),
        "answeredAt": format_instant(row.answered_at),
    }


def public_profile(profile: Profile) -> rest.PublicProfile:
    return {
        "id": str(profile.user_id),
        "username": profile.username,
        "displayName": profile.display_name,
        "avatarUrl": profile.avatar_url,
        "bio": profile.bio,
        "nativeLanguage": profile.native_language,
        "englishLevel": profile.english_level.value if profile.english_level else None,
        "learningGoal": profile.learning_goal.value if profile.learning_goal else None,
        "country": profile.country,
        "totalPracticeMinutes": profile.total_practice_mins,
        "totalCalls": profile.total_sessions,
        "streakDays": profile.streak_days,
    }


def block(row: BlockedUser) -> rest.Block:
    made, profile, avatar_url = row
    return {
        "userId": str(made.blocked_id),
        "username": profile.username,
        "displayName": profile.display_name,
        "avatarUrl": avatar_url,
        "blockedAt": format_instant(made.created_at),
    }


def report(row: Report) -> rest.Report:
    return {
        "id": str(row.id),
        "reportedId": str(row.reported_id),
        "sessionId": str(row.session_id) if row.session_id else None,
        "reason": row.reason.value,
        "description": row.description,
        # Whether we acted is for the reporter; how is not.
        "status": "pending" if row.outcome is None else "reviewed",
        "outcome": row.outcome,
        "createdAt": format_instant(row.created_at),
    }


def admin_report(item: ReviewItem) -> rest.AdminReport:
    row, about = item.report, item.about
    return {
        "id": str(row.id),
        "reporterId": str(row.reporter_id),
        "reportedId": str(row.reported_id),
        "sessionId": str(row.session_id) if row.session_id else None,
        "reason": row.reason.value,
        "description": row.description,
        "status": row.status.value,
        "createdAt": format_instant(row.created_at),
        "adminNote": row.admin_note,
        "actionedAt": format_instant(row.actioned_at),
        "isUrgent": row.is_urgent,
        "weight": row.weight,
        "rank": row.rank,
        "dueAt": format_instant(row.due_at),
        "decidedAt": format_instant(row.decided_at),
        "isBlocked": row.has_block,
        "callSeconds": row.call_seconds,
        "about": {
            "pending": about.pending,
            "actioned": about.actioned,
            "reviewed": about.reviewed,
            "dismissed": about.dismissed,
            "heldUntil": format_instant(about.held_until),
        },
    }


def admin_report_page(found: ReviewPage) -> rest.AdminReportPage:
    counts = found.counts
    return {
        **page(found.page, admin_report),
        "counts": {"open": counts.open, "urgent": counts.urgent, "overdue": counts.overdue},
    }


def appeal(row: Appeal) -> rest.Appeal:
    return {
        "id": str(row.id),
        "text": row.text,
        "status": row.status.value,
        "createdAt": format_instant(row.created_at),
        "decidedAt": format_instant(row.decided_at),
        "decisionReason": row.decision_reason,
    }


def sanction(notice: SanctionNotice) -> rest.Sanction:
    row = notice.sanction
    return {
        "id": str(row.id),
        "kind": row.kind.value,
        "ground": row.ground.value,
        "facts": row.facts if row.shows_facts else None,
        "startsAt": format_instant(row.starts_at),
        "endsAt": format_instant(row.ends_at),
        "appealUntil": format_instant(row.appeal_until),
        "isAppealable": notice.is_appealable(utc_now()),
        "liftedAt": format_instant(row.lifted_at),
        "acknowledgedAt": format_instant(row.acknowledged_at),
        "appeal": appeal(notice.appeal) if notice.appeal else None,
    }


def sanction_notice(notice: SanctionNotice) -> rest.SanctionInForce:
    return {**sanction(notice), "appealToken": notice.token}


def admin_sanction(notice: SanctionNotice) -> rest.AdminSanction:
    row = notice.sanction
    return {
        **sanction(notice),
        "userId": str(row.user_id),
        "facts": row.facts,
        "isInternal": not row.shows_facts,
        "issuedBy": str(row.issued_by) if row.issued_by else None,
        "reportId": str(row.report_id) if row.report_id else None,
        "liftedBy": str(row.lifted_by) if row.lifted_by else None,
        "liftReason": row.lift_reason,
    }


def admin_appeal(row: SubmittedAppeal) -> rest.AdminAppeal:
    return {
        **appeal(row.appeal),
        "decidedBy": str(row.appeal.decided_by) if row.appeal.decided_by else None,
        "displayName": row.profile.display_name,
        "sanction": admin_sanction(SanctionNotice(row.sanction, row.appeal)),
    }


def admin_picture(row: WaitingPicture) -> rest.AdminPicture:
    causes: list[tuple[rest.PictureCause, bool]] = [("screen", row.is_held), ("reports", row.is_reported)]
    return {
        "userId": str(row.user_id),
        "username": row.username,
        "displayName": row.display_name,
        "avatarUrl": row.url,
        "causes": [cause for cause, applies in causes if applies],
        "reports": row.reports,
        "weight": row.weight,
        "waitingSince": format_instant(row.waiting_since),
        "reviewedAt": format_instant(row.reviewed_at),
        "reviewNote": row.note,
    }


def admin_user(row: UserWithProfile) -> rest.AdminUser:
    user, profile = row
    return {
        **account(user),
        "username": profile.username,
        "displayName": profile.display_name,
        "avatarUrl": profile.avatar_url,
        "isBanned": user.is_banned,
        "suspendedUntil": format_instant(user.suspended_until),
        "flaggedAt": format_instant(user.flagged_at),
        "totalPracticeMinutes": profile.total_practice_mins,
        "totalCalls": profile.total_sessions,
        "lastActiveAt": format_instant(profile.last_active_at),
        "createdAt": format_instant(user.created_at),
    }


def admin_user_detail(row: UserDetail) -> rest.AdminUserDetail:
    user, profile = row.user, row.profile
    return {
        **admin_user(UserWithProfile(user, profile)),
        "bio": profile.bio,
        "nativeLanguage": profile.native_language,
        "englishLevel": profile.english_level.value if profile.english_level else None,
        "learningGoal": profile.learning_goal.value if profile.learning_goal else None,
        "country": profile.country,
        "timezone": profile.timezone,
        "streakDays": profile.streak_days,
        "lastCallAt": format_instant(profile.last_session_at),
        "banReason": user.ban_reason,
        "bannedAt": format_instant(user.banned_at),
        "bannedBy": str(user.banned_by) if user.banned_by else None,
        "deletedAt": format_instant(user.deleted_at),
        "calls": [call(each) for each in row.calls],
        "reportsAbout": [admin_report(each) for each in row.reports_about],
        "reportsBy": [admin_report(each) for each in row.reports_by],
        "orders": [admin_order(each) for each in row.orders],
        "bans": [audit_entry(each) for each in row.bans],
    }


def admin_stats(row: DashboardStats) -> rest.AdminStats:
    return {
        "computedAt": format_instant(row.made_at),
        "totals": {
            "users": _total(row.users),
            "calls": _total(row.sessions),
            "courses": _total(row.courses),
            "orders": _total(row.orders),
        },
        "activeToday": row.active_today,
        "newToday": row.new_today,
        "openReports": row.open_reports,
        "flaggedUsers": row.flagged_users,
        "openDisputes": row.open_disputes,
        "appeals": {
            "open": row.open_appeals,
            "upheld": row.appeals_upheld,
            "overturned": row.appeals_overturned,
        },
        "live": {"searches": row.searches, "rooms": row.live_rooms, "calls": row.live_calls},
        "wait": {"medianSeconds": row.median_wait_seconds, "matches": row.waits},
        "hours": [{"since": format_instant(each.since), "matches": each.matches} for each in row.hours],
        "days": [
            {"day": each.day.isoformat(), "matches": each.matches, "calls": each.calls, "callMinutes": each.minutes}
            for each in row.days
        ],
        "revenue": [
            {
                "currency": each.currency,
                "isLive": each.live,
                "orders": each.orders,
                "amount": each.amount,
                "refunds": each.refunds,
                "amountRefunded": each.amount_refunded,
            }
            for each in row.revenue
        ],
    }


def _total(row: TableCount) -> rest.ApproximateCount:
    return {"count": row.count, "isExact": row.exact}


def audit_entry(row: AuditEntry) -> rest.AuditEntry:
    return {
        "number": row.number,
        "createdAt": format_instant(row.at),
        "actorId": str(row.actor_id) if row.actor_id else None,
        "action": row.action,
        "targetId": str(row.subject_id) if row.subject_id else None,
        "details": row.detail,
        "hash": row.hash,
    }


def checkout(row: Order) -> rest.Checkout:
    assert row.checkout_url is not None, "an order is answered with its page"
    return {"orderId": str(row.id), "url": row.checkout_url}


def order(row: Order) -> rest.Order:
    return {
        "id": str(row.id),
        "receiptId": row.receipt_id,
        "courseId": str(row.course_id),
        "courseTitle": row.course_title,
        "amount": row.amount,
        "amountRefunded": row.amount_refunded,
        "currency": row.currency,
        "status": row.status.value,
        "provider": row.provider.value,
        "isDisputed": row.disputed,
        "paidAt": format_instant(row.paid_at),
        "createdAt": format_instant(row.created_at),
    }


def admin_order(row: AdminOrder) -> rest.AdminOrder:
    return {
        **order(row.order),
        "userId": str(row.order.user_id),
        "providerPaymentId": row.order.provider_payment_id,
        "isUnderInquiry": row.order.inquiry,
        "alerts": [alert.value for alert in row.alerts],
    }


def refund(row: Refund) -> rest.Refund:
    return {
        "id": str(row.id),
        "orderId": str(row.order_id),
        "amount": row.amount,
        "currency": row.currency,
        "status": row.status.value,
        "reason": row.reason,
        "createdAt": format_instant(row.created_at),
    }


def course(offer: CourseListing) -> rest.Course:
    row = offer.course
    return {
        "id": str(row.id),
        "title": row.title,
        "slug": row.slug,
        "description": row.description,
        "thumbnailUrl": row.thumbnail_url,
        "price": row.price,
        "currency": row.currency,
        "level": row.level.value,
        "isPublished": row.is_published,
        "isEnrolled": offer.enrolled,
        "createdAt": format_instant(row.created_at),
    }


def notification(row: Notification) -> rest.Notification:
    return {
        "id": str(row.id),
        "type": row.type.value,
        "title": row.title,
        "body": row.body,
        "data": row.data,
        "isRead": row.read,
        "createdAt": format_instant(row.created_at),
        "readAt": format_instant(row.read_at),
    }


def lesson(row: Lesson, *, admin: bool) -> rest.Lesson:
    return {
        "id": str(row.id),
        "courseId": str(row.course_id),
        "title": row.title,
        "description": row.description,
        "orderIndex": row.order_index,
        "isFree": row.is_free,
        "isPlayable": row.video_url is not None,
        "durationSeconds": row.duration_secs,
        # The state of a video's transcoding is for administrators only.
        "videoStatus": row.video_status.value if admin else None,
        "videoProgress": row.video_progress if admin else None,
        "videoError": row.video_error if admin else None,
        "createdAt": format_instant(row.created_at),
    }


def attachment(download: AttachmentDownload) -> rest.Attachment:
    row = download.attachment
    return {
        "id": str(row.id),
        "name": row.name,
        "contentType": row.content_type,
        "sizeBytes": row.size,
        "url": download.url,
        "expiresAt": format_instant(download.expires_at),
        "createdAt": format_instant(row.created_at),
    }


def link(found: PlaybackLink) -> rest.VideoLink:
    return {"url": found.url, "expiresAt": format_instant(found.expires_at)}


def progress(row: LessonProgress) -> rest.LessonProgress:
    return {
        "lessonId": str(row.lesson_id),
        "watchSeconds": row.watch_seconds,
        "isCompleted": row.completed,
        "completedAt": format_instant(row.completed_at),
    }


def course_progress(found: CourseProgress) -> rest.CourseProgress:
    resume = found.resume_lesson_id
    return {
        "courseId": str(found.course_id),
        "totalLessons": len(found.lessons),
        "completedLessons": found.completed,
        "resumeLessonId": str(resume) if resume else None,
        "items": [progress(row) if row else _untouched(lesson) for lesson, row in found.lessons],
    }


def _untouched(lesson: Lesson) -> rest.LessonProgress:
    return {"lessonId": str(lesson.id), "watchSeconds": 0, "isCompleted": False, "completedAt": None}


def course_enrollment(row: CourseEnrollment) -> rest.CourseEnrollment:
    return {
        "course": course(CourseListing(row.course, True)),
        "enrolledAt": format_instant(row.enrolled_at),
        "totalLessons": row.lessons,
        "completedLessons": row.completed,
    }


#: Of the file that a data export is.
EXPORT_DISPOSITION = 'attachment; filename="parlance.json"'


def data_export(export: DataExport) -> rest.DataExport:
    return {
        "exportedAt": format_instant(utc_now()),
        "me": me(export.me),
        "age": _exported_age(export.account),
        "consents": [
            {"document": row.document, "version": row.version, "action": row.action.value, "at": format_instant(row.at)}
            for row in export.consents
        ],
        "logins": [_exported_login(row) for row in export.refresh_tokens],
        "calls": [_exported_call(row, export.me.id) for row in export.sessions],
        "ratings": [_exported_rating(row) for row in export.ratings],
        "reports": [report(row) for row in export.reports],
        "blocks": [
            {"userId": str(row.blocked_id), "blockedAt": format_instant(row.created_at)} for row in export.blocks
        ],
        "partnerWishes": [
            {"userId": str(row.wished_id), "askedAt": format_instant(row.created_at)} for row in export.partner_wishes
        ],
        "appointments": [_exported_appointment(row, export.me.id) for row in export.appointments],
        "invitations": [_exported_invitation(row, export.me.id) for row in export.invitations],
        "orders": [order(row) for row in export.orders],
        "refunds": [refund(row) for row in export.refunds],
        "disputes": [_exported_dispute(row) for row in export.disputes],
        "enrollments": [_exported_enrollment(row) for row in export.enrollments],
        "notifications": [notification(row) for row in export.notifications],
        "pushDevices": [
            {"deviceId": row.device_id, "platform": row.platform.value, "updatedAt": format_instant(row.updated_at)}
            for row in export.push_devices
        ],
        "progress": [progress(row) for row in export.progress],
        "sanctions": [sanction(row) for row in export.sanctions],
        "identities": [_exported_identity(row) for row in export.identities],
        "passkeys": [passkey(row) for row in export.passkeys],
        "emailChanges": [
            {"oldEmail": row.old_email, "newEmail": row.new_email, "changedAt": format_instant(row.created_at)}
            for row in export.email_changes
        ],
        "skill": _exported_skill(export.skill, export.today),
        "pairingRecord": _exported_pairing_record(export.pairing_record),
    }


def _exported_skill(row: LearnerSkill | None, today: date) -> rest.ExportedSkill | None:
    """Return what was known when the day began: what one partner has said is not to be read the moment it is said."""
    if row is None:
        return None
    is_moved = row.day >= today
    calls = row.day_calls if is_moved else row.calls
    if calls == 0:
        return None
    mean, deviation = (row.day_mu, row.day_sigma) if is_moved else (row.mu, row.sigma)
    return {"mean": mean, "deviation": deviation, "calls": calls, "day": today.isoformat()}


def _exported_pairing_record(row: PairingRecord | None) -> rest.ExportedPairingRecord | None:
    if row is None:
        return None
    return {
        "points": row.points,
        "pointsAt": format_instant(row.points_at),
        "warnedAt": format_instant(row.warned_at),
        "restingUntil": format_instant(row.resting_until),
        "rests": row.rests,
    }


def _exported_identity(row: LinkedIdentity) -> rest.ExportedIdentity:
    return {
        "provider": row.provider,
        "subject": row.subject,
        "email": row.email,
        "createdAt": format_instant(row.created_at),
        "lastUsedAt": format_instant(row.last_used_at),
    }


def _exported_age(user: User) -> rest.ExportedAge | None:
    if user.age_band is None or user.age_source is None or user.age_declared_at is None:
        return None
    return {
        "ageBand": user.age_band.value,
        "source": user.age_source.value,
        "setAt": format_instant(user.age_declared_at),
    }


def _exported_login(row: RefreshToken) -> rest.ExportedLogin:
    return {
        "deviceId": row.device_id,
        "platform": row.platform.value,
        "createdAt": format_instant(row.created_at),
        "expiresAt": format_instant(row.expires_at),
        "revokedAt": format_instant(row.revoked_at),
    }


def _exported_call(row: CallSession, user_id: uuid.UUID) -> rest.ExportedCall:
    outcome = row.user_a_outcome if row.user_a_id == user_id else row.user_b_outcome
    return {
        "id": str(row.id),
        "partnerId": str(row.user_b_id if row.user_a_id == user_id else row.user_a_id),
        "topic": row.topic,
        "level": row.level,
        "startedAt": format_instant(row.started_at),
        "connectedAt": format_instant(row.connected_at),
        "endedAt": format_instant(row.ended_at),
        "durationSeconds": row.duration_seconds,
        "outcome": outcome.value if outcome else None,
    }


def _exported_appointment(row: Appointment, user_id: uuid.UUID) -> rest.ExportedAppointment:
    is_proposer = row.proposer_id == user_id
    return {
        "id": str(row.id),
        "partnerId": str(row.partner_id if is_proposer else row.proposer_id),
        "isProposer": is_proposer,
        "startsAt": format_instant(row.starts_at),
        "localTime": row.local_time.isoformat(timespec="minutes"),
        "timezone": row.timezone,
        "durationMinutes": row.duration_minutes,
        "note": row.note,
        "state": row.state.value,
        "createdAt": format_instant(row.created_at),
        "answeredAt": format_instant(row.answered_at),
    }


def _exported_invitation(row: Invitation, user_id: uuid.UUID) -> rest.ExportedInvitation:
    is_inviter = row.inviter_id == user_id
    return {
        "id": str(row.id),
        "partnerId": str(row.invitee_id if is_inviter else row.inviter_id),
        "isInviter": is_inviter,
        "topic": row.topic,
        "state": row.state.value,
        "createdAt": format_instant(row.created_at),
        "expiresAt": format_instant(row.expires_at),
        "endedAt": format_instant(row.answered_at),
    }


def _exported_rating(row: SessionRating) -> rest.ExportedRating:
    return {
        "sessionId": str(row.session_id),
        "ratedId": str(row.rated_id),
        "stars": row.stars,
        "pace": row.pace.value if row.pace else None,
        "createdAt": format_instant(row.created_at),
    }


def _exported_dispute(row: Dispute) -> rest.ExportedDispute:
    return {
        "id": str(row.id),
        "orderId": str(row.order_id),
        "amount": row.amount,
        "currency": row.currency,
        "status": row.status.value,
        "reason": row.reason,
        "createdAt": format_instant(row.created_at),
    }


def _exported_enrollment(row: Enrollment) -> rest.ExportedEnrollment:
    return {
        "courseId": str(row.course_id),
        "orderId": str(row.order_id) if row.order_id else None,
        "enrolledAt": format_instant(row.enrolled_at),
    }


def policy(published: PublishedPolicy, site: str) -> rest.Policy:
    return {
        "documents": [
            {"name": name, "version": each.version, "title": each.title, "url": f"{site}{ADDRESSES[name]}"}
            for name in ACCEPTED
            for each in (published.texts[name],)
        ],
        "minimumAge": published.minimum_age,
        "minorPools": "on" if published.minor_pools else "off",
        "contact": {
            "email": published.contact_email,
            "address": published.contact_address,
            "url": f"{site}{CONTACT_ADDRESS}",
        },
        "waysToMeet": published.ways_to_meet,
        "pairing": {
            "ios": [*published.pairing["ios"]],
            "android": [*published.pairing["android"]],
            "web": [*published.pairing["web"]],
        },
        "retention": [_retention_rule(each) for each in published.retention],
    }


def _retention_rule(row: RetentionRule) -> rest.RetentionRule:
    return {"name": row.name, "data": row.data, "days": row.days, "rule": row.rule}
