"""Courses, free or for sale."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key
from models.profile import EnglishLevel


class Course(SQLModel, table=True):
    __tablename__ = "courses"
    __table_args__ = (
        sa.CheckConstraint("price >= 0", name="courses_price_check"),
        sa.CheckConstraint("currency ~ '^[a-z]{3}$'", name="courses_currency_check"),
        sa.Index("courses_newest_idx", sa.text("created_at DESC"), sa.text("id DESC")),
    )

    id: uuid.UUID = primary_key()
    title: str = Field(max_length=200)
    slug: str = Field(max_length=100, unique=True)
    description: str = Field(default="", sa_type=sa.Text)
    thumbnail_url: str | None = Field(default=None, max_length=512)
    #: In the smallest unit of the currency; 0 is free.
    price: int
    currency: str = Field(default="inr", max_length=3)
    level: EnglishLevel = Field(sa_type=native_enum(EnglishLevel, "english_level"))
    is_published: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})
    created_by: uuid.UUID | None = Field(default=None, foreign_key="users.id")
    created_at: datetime = instant(default=True)
