"""Skill of learners, as feedback of their partners moves it; nobody but the learner is shown it."""

from __future__ import annotations

import uuid
from datetime import date, datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant


class LearnerSkill(SQLModel, table=True):
    """A learner without a row has the prior of the declared level: services/calls/skills.py."""

    __tablename__ = "learner_skills"
    __table_args__ = (
        sa.CheckConstraint("sigma > 0", name="learner_skills_sigma_check"),
        sa.CheckConstraint("calls >= 0", name="learner_skills_calls_check"),
    )

    user_id: uuid.UUID = Field(foreign_key="users.id", primary_key=True, ondelete="CASCADE")
    #: Mean and standard deviation of the skill, in units of openskill.
    mu: float = Field(sa_type=sa.Double)
    sigma: float = Field(sa_type=sa.Double)
    #: Counted feedback, given and received.
    calls: int = Field(default=0)
    #: The UTC day of the last change, and what was known when that day began: it bounds the change of the day, and is
    #: what the learner is shown until the day is over.
    day: date
    day_mu: float = Field(sa_type=sa.Double)
    day_sigma: float = Field(sa_type=sa.Double)
    day_calls: int = Field(default=0)
    updated_at: datetime = instant(default=True)
