"""SQLModel tables, one file per noun. Importing this package registers every table in `metadata`."""

from sqlmodel import SQLModel

from models.call_session import CallSession, EndedBy
from models.profile import EnglishLevel, LearningGoal, Profile
from models.refresh_token import Platform, RefreshToken
from models.user import Role, User

metadata = SQLModel.metadata

__all__ = [
    "CallSession",
    "EndedBy",
    "EnglishLevel",
    "LearningGoal",
    "Platform",
    "Profile",
    "RefreshToken",
    "Role",
    "User",
    "metadata",
]
