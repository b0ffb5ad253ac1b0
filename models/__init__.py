"""SQLModel tables, one file per noun. Importing this package registers every table in `metadata`."""

from sqlmodel import SQLModel

from models.call_session import CallSession, EndedBy
from models.one_time_token import EmailVerificationToken, PasswordResetToken
from models.profile import EnglishLevel, LearningGoal, Profile
from models.refresh_token import Platform, RefreshToken
from models.user import Role, User

metadata = SQLModel.metadata

__all__ = [
    "CallSession",
    "EmailVerificationToken",
    "EndedBy",
    "EnglishLevel",
    "LearningGoal",
    "PasswordResetToken",
    "Platform",
    "Profile",
    "RefreshToken",
    "Role",
    "User",
    "metadata",
]
