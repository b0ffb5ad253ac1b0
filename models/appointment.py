"""Appointments: times at which two partners mean to meet."""

from __future__ import annotations

import enum
import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from models.columns import instant, native_enum, primary_key


class AppointmentState(enum.StrEnum):
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    CANCELLED = "cancelled"


class Appointment(SQLModel, table=True):
    __tablename__ = "appointments"
    __table_args__ = (
        sa.CheckConstraint("proposer_id <> partner_id", name="appointments_two_users_check"),
        sa.CheckConstraint("duration_minutes BETWEEN 5 AND 120", name="appointments_duration_check"),
        sa.CheckConstraint(
            "(state = 'proposed' AND answered_at IS NULL) OR state = 'cancelled'"
            " OR (state IN ('accepted', 'declined') AND answered_at IS NOT NULL)",
            name="appointments_answer_check",
        ),
        # Two who propose the same time to each other have one appointment.
        sa.Index(
            "appointments_time_key",
            sa.text("least(proposer_id, partner_id)"),
            sa.text("greatest(proposer_id, partner_id)"),
            "starts_at",
            unique=True,
            postgresql_where=sa.text("state IN ('proposed', 'accepted')"),
        ),
        # The list of each of the two, the next first.
        sa.Index("appointments_proposer_idx", "proposer_id", "starts_at", "id"),
        sa.Index("appointments_partner_idx", "partner_id", "starts_at", "id"),
        # For reminders, and for pruning.
        sa.Index("appointments_starts_idx", "starts_at"),
        # Those whose instant is to be computed again, with newer rules of time zones.
        sa.Index(
            "appointments_zone_version_idx",
            "zone_version",
            "starts_at",
            postgresql_where=sa.text("state IN ('proposed', 'accepted')"),
        ),
    )

    id: uuid.UUID = primary_key()
    proposer_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    partner_id: uuid.UUID = Field(foreign_key="users.id", ondelete="CASCADE")
    #: What the two mean: the time of the clocks in a time zone.
    local_time: datetime = Field(sa_type=sa.DateTime(timezone=False))
    timezone: str = Field(max_length=64)
    #: The instant of `local_time` by the rules of `zone_version`, a version of the IANA database such as `2026a`.
    starts_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    zone_version: str = Field(max_length=16)
    duration_minutes: int = Field(sa_type=sa.SmallInteger)
    note: str | None = Field(default=None, sa_type=sa.Text)
    state: AppointmentState = Field(
        default=AppointmentState.PROPOSED,
        sa_type=native_enum(AppointmentState, "appointment_state"),
        sa_column_kwargs={"server_default": "proposed"},
    )
    created_at: datetime = instant(default=True)
    answered_at: datetime | None = instant(nullable=True)
    #: When each reminder was written, for both at once; null until then.
    day_reminded_at: datetime | None = instant(nullable=True)
    soon_reminded_at: datetime | None = instant(nullable=True)
