"""SQLModel tables, one file per noun. Importing this package registers every table in `metadata`."""

from sqlmodel import SQLModel

from models.audit_entry import AuditEntry
from models.block import Block
from models.call_session import CallSession, EndedBy
from models.one_time_token import EmailVerificationToken, PasswordResetToken
from models.profile import EnglishLevel, LearningGoal, Profile
from models.refresh_token import Platform, RefreshToken
from models.report import Report, ReportReason, ReportStatus
from models.session_rating import SessionRating
from models.user import Role, User

metadata = SQLModel.metadata

__all__ = [
    "AuditEntry",
    "Block",
    "CallSession",
    "EmailVerificationToken",
    "EndedBy",
    "EnglishLevel",
    "LearningGoal",
    "PasswordResetToken",
    "Platform",
    "Profile",
    "RefreshToken",
    "Report",
    "ReportReason",
    "ReportStatus",
    "Role",
    "SessionRating",
    "User",
    "metadata",
]
