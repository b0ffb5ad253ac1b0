"""Tables (SQLModel), one file for each. Importing this package registers every table in `metadata`."""

from sqlmodel import SQLModel

from models.age_refusal import AgeRefusal
from models.appeal import Appeal, AppealStatus, AppealToken, AppealTokenSource
from models.audit_entry import AuditEntry
from models.barred_identifier import BarredIdentifier
from models.block import Block
from models.call_session import CallOrigin, CallSession, EndedBy, Level, MatchOutcome
from models.consent import Consent, ConsentAction
from models.course import Course
from models.device_token import DeviceToken
from models.dispute import Dispute, DisputeStatus
from models.email_change import EmailChange
from models.email_code import EmailCode, EmailCodePurpose
from models.enrollment import Enrollment
from models.learner_skill import LearnerSkill
from models.lesson import Lesson, VideoStatus
from models.lesson_attachment import LessonAttachment
from models.lesson_progress import LessonProgress
from models.linked_identity import LinkedIdentity
from models.notification import Notification, NotificationType
from models.one_time_token import AccountDeletionToken, EmailVerificationToken, PasswordResetToken, SpentToken
from models.order import Order, OrderStatus, ProviderName
from models.pairing_record import PairingRecord
from models.passkey import Passkey
from models.payment_alert import AlertKind, PaymentAlert
from models.profile import EnglishLevel, LearningGoal, Profile
from models.refresh_token import Platform, RefreshToken
from models.refund import Refund, RefundStatus
from models.report import URGENT_REASONS, Report, ReportReason, ReportStatus
from models.sanction import Sanction, SanctionGround, SanctionKind
from models.second_factor import RecoveryCode, SecondFactor
from models.session_rating import FeedbackPace, SessionRating
from models.user import AgeBand, AgeSource, Role, User
from models.video_upload import VideoUpload
from models.webhook_event import WebhookEvent

metadata = SQLModel.metadata

__all__ = [
    "URGENT_REASONS",
    "AccountDeletionToken",
    "AgeBand",
    "AgeRefusal",
    "AgeSource",
    "AlertKind",
    "Appeal",
    "AppealStatus",
    "AppealToken",
    "AppealTokenSource",
    "AuditEntry",
    "BarredIdentifier",
    "Block",
    "CallOrigin",
    "CallSession",
    "Consent",
    "ConsentAction",
    "Course",
    "DeviceToken",
    "Dispute",
    "DisputeStatus",
    "EmailChange",
    "EmailCode",
    "EmailCodePurpose",
    "EmailVerificationToken",
    "EndedBy",
    "EnglishLevel",
    "Enrollment",
    "FeedbackPace",
    "LearnerSkill",
    "LearningGoal",
    "Lesson",
    "LessonAttachment",
    "LessonProgress",
    "Level",
    "LinkedIdentity",
    "MatchOutcome",
    "Notification",
    "NotificationType",
    "Order",
    "OrderStatus",
    "PairingRecord",
    "Passkey",
    "PasswordResetToken",
    "PaymentAlert",
    "Platform",
    "Profile",
    "ProviderName",
    "RecoveryCode",
    "RefreshToken",
    "Refund",
    "RefundStatus",
    "Report",
    "ReportReason",
    "ReportStatus",
    "Role",
    "Sanction",
    "SanctionGround",
    "SanctionKind",
    "SecondFactor",
    "SessionRating",
    "SpentToken",
    "User",
    "VideoStatus",
    "VideoUpload",
    "WebhookEvent",
    "metadata",
]
