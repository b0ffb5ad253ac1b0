"""Export of all data of one user."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias, TypeVar

import sqlalchemy as sa
from sqlmodel import SQLModel, col, select

from adapters.database import Database
from models import (
    Appeal,
    Appointment,
    Block,
    CallSession,
    Consent,
    DeviceToken,
    Dispute,
    EmailChange,
    Enrollment,
    Invitation,
    LearnerSkill,
    LessonProgress,
    LinkedIdentity,
    Notification,
    Order,
    PairingRecord,
    PartnerWish,
    Passkey,
    RefreshToken,
    Refund,
    Report,
    Sanction,
    SessionRating,
    User,
)
from services.identity.profiles import Me, ProfilesService
from services.people.appointment_rows import is_of
from services.safety.standings import SanctionNotice

T = TypeVar("T", bound=SQLModel)
_TODAY = sa.cast(sa.func.timezone("UTC", sa.func.now()), sa.Date)
OrderBy: TypeAlias = sa.ColumnExpressionArgument[datetime] | sa.ColumnExpressionArgument[uuid.UUID]


@dataclass(frozen=True, slots=True)
class DataExport:
    """All data of one user."""

    me: Me
    account: User
    consents: list[Consent]
    refresh_tokens: list[RefreshToken]
    sessions: list[CallSession]
    ratings: list[SessionRating]
    reports: list[Report]
    blocks: list[Block]
    partner_wishes: list[PartnerWish]
    appointments: list[Appointment]
    invitations: list[Invitation]
    orders: list[Order]
    refunds: list[Refund]
    disputes: list[Dispute]
    enrollments: list[Enrollment]
    progress: list[LessonProgress]
    notifications: list[Notification]
    push_devices: list[DeviceToken]
    sanctions: list[SanctionNotice]
    identities: list[LinkedIdentity]
    passkeys: list[Passkey]
    email_changes: list[EmailChange]
    #: The UTC day; and the skill, of which the user is shown what was known when that day began.
    today: date
    skill: LearnerSkill | None
    pairing_record: PairingRecord | None


class DataExportService:
    def __init__(self, database: Database, profiles: ProfilesService) -> None:
        self._database = database
        self._profiles = profiles

    async def export(self, user_id: str) -> DataExport:
        """Read all data of a user, in one snapshot; raise Unauthenticated for a deleted account."""
        me = uuid.UUID(user_id)
        profile = await self._profiles.read_own(user_id)
        took_part = sa.or_(col(CallSession.user_a_id) == me, col(CallSession.user_b_id) == me)
        of_own_order = sa.select(col(Order.id)).where(col(Order.user_id) == me)
        newest_first = col(Notification.created_at).desc(), col(Notification.id).desc()
        async with self._database.transaction() as db:
            await db.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))

            async def read(table: type[T], condition: sa.ColumnElement[bool], *order: OrderBy) -> list[T]:
                return list((await db.exec(select(table).where(condition).order_by(*order))).all())

            return DataExport(
                me=profile,
                account=(await db.exec(select(User).where(User.id == me))).one(),
                consents=await read(Consent, col(Consent.user_id) == me, col(Consent.at), col(Consent.id)),
                refresh_tokens=await read(RefreshToken, col(RefreshToken.user_id) == me),
                sessions=await read(CallSession, took_part, col(CallSession.started_at)),
                ratings=await read(SessionRating, col(SessionRating.rater_id) == me),
                reports=await read(Report, col(Report.reporter_id) == me),
                blocks=await read(Block, col(Block.blocker_id) == me),
                # Those that the user has asked; who has asked the user is not theirs to know.
                partner_wishes=await read(PartnerWish, col(PartnerWish.user_id) == me, col(PartnerWish.created_at)),
                appointments=await read(Appointment, is_of(me), col(Appointment.starts_at), col(Appointment.id)),
                invitations=await read(
                    Invitation,
                    sa.or_(col(Invitation.inviter_id) == me, col(Invitation.invitee_id) == me),
                    col(Invitation.created_at),
                ),
                orders=await read(Order, col(Order.user_id) == me, col(Order.created_at)),
                refunds=await read(Refund, col(Refund.order_id).in_(of_own_order), col(Refund.created_at)),
                disputes=await read(Dispute, col(Dispute.order_id).in_(of_own_order), col(Dispute.created_at)),
                enrollments=await read(Enrollment, col(Enrollment.user_id) == me),
                progress=await read(LessonProgress, col(LessonProgress.user_id) == me),
                notifications=await read(Notification, col(Notification.user_id) == me, *newest_first),
                push_devices=await read(DeviceToken, col(DeviceToken.user_id) == me),
                sanctions=[SanctionNotice(*row) for row in (await db.execute(_select_sanctions(me))).all()],
                identities=await read(
                    LinkedIdentity, col(LinkedIdentity.user_id) == me, col(LinkedIdentity.created_at)
                ),
                passkeys=await read(Passkey, col(Passkey.user_id) == me, col(Passkey.created_at)),
                email_changes=await read(EmailChange, col(EmailChange.user_id) == me, col(EmailChange.created_at)),
                today=(await db.execute(sa.select(_TODAY))).scalar_one(),
                skill=await db.get(LearnerSkill, me),
                pairing_record=await db.get(PairingRecord, me),
            )


def _select_sanctions(user_id: uuid.UUID) -> sa.Select[Sanction, Appeal | None]:
    return (
        sa.select(Sanction, Appeal)
        .join(Appeal, col(Appeal.sanction_id) == col(Sanction.id), isouter=True)
        .where(col(Sanction.user_id) == user_id)
        .order_by(col(Sanction.starts_at))
    )
