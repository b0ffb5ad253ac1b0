"""Accounts: who may sign in."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class Role(enum.StrEnum):
    STUDENT = "student"
    ADMIN = "admin"


class User(SQLModel, table=True):
    __tablename__ = "users"
    __table_args__ = (sa.Index("users_email_key", sa.text("lower(email)"), unique=True),)

    id: uuid.UUID = primary_key()
    email: str = Field(max_length=254)
    password_hash: str = Field(max_length=60)
    role: Role = Field(
        default=Role.STUDENT, sa_type=native_enum(Role, "user_role"), sa_column_kwargs={"server_default": "student"}
    )
    is_verified: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    is_banned: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_at: datetime = instant(default=True)
    updated_at: datetime = instant(default=True, onupdate=True)
