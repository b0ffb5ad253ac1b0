"""Enrollments of users in courses, with the order that paid for one."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, primary_key


class Enrollment(SQLModel, table=True):
    __tablename__ = "enrollments"
    __table_args__ = (sa.UniqueConstraint("user_id", "course_id", name="enrollments_once_key"),)

    id: uuid.UUID = primary_key()
    user_id: uuid.UUID = Field(foreign_key="users.id")
    course_id: uuid.UUID = Field(foreign_key="courses.id", index=True)
    order_id: uuid.UUID | None = Field(default=None, foreign_key="orders.id", unique=True)
    enrolled_at: datetime = instant(default=True)
