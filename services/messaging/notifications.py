"""Notifications: a row in the user's list, an event to their sockets, a push to their devices.

The row is written in the transaction of its cause, and so are the jobs that emit and push it.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import enqueue_each
from adapters.ports import Bus, Push, PushSender
from instants import utc_now
from jobs import emit_notification, push_notification
from models import DeviceToken, Invitation, InvitationState, Notification, NotificationType, Role, User
from services.calls.user_sockets import UserSocketsService
from services.identity.user_rows import find_user_by_email, lock_user
from services.messaging import notification_templates
from services.messaging.notification_templates import NotificationTemplate
from services.pagination import Page, read_page
from wire import rest

log = logging.getLogger("parlance.notifications")

_COLUMNS: Any = Notification.__table__.c  # type: ignore[attr-defined]
#: How long FCM keeps a push for a device that is offline.
_PUSH_LIFETIME = timedelta(days=1)
#: Users that are notified in one transaction.
_BATCH_USERS = 1000


async def notify_user(db: AsyncSession, user_id: uuid.UUID, template: NotificationTemplate) -> None:
    """Notify a user inside the caller's transaction, once for each occasion."""
    await _notify(db, col(User.id) == user_id, template)


async def mark_occasion_read(db: AsyncSession, user_id: uuid.UUID, occasion: str) -> None:
    """Mark what a user was notified of for an occasion as read, inside the caller's transaction."""
    mine = col(Notification.user_id) == user_id, col(Notification.occasion) == occasion, ~col(Notification.read)
    await db.execute(sa.update(Notification).where(*mine).values(read=True, read_at=sa.func.now()))


async def notify_admins(db: AsyncSession, template: NotificationTemplate) -> None:
    """Notify every administrator inside the caller's transaction."""
    await _notify(db, col(User.role) == Role.ADMIN, template)


async def notify_staff(db: AsyncSession, template: NotificationTemplate) -> None:
    """Notify every administrator and moderator inside the caller's transaction."""
    await _notify(db, col(User.role) != Role.STUDENT, template)


async def _notify(db: AsyncSession, condition: sa.ColumnElement[bool], template: NotificationTemplate) -> int:
    values = {
        "id": sa.func.gen_random_uuid(),
        "user_id": col(User.id),
        "type": sa.literal(template.type, _COLUMNS.type.type),
        "title": sa.literal(template.title),
        "body": sa.literal(template.body),
        "data": sa.literal(template.data, _COLUMNS.data.type),
        "occasion": sa.literal(template.occasion, sa.String),
    }
    # Rows of deleted accounts stay, and get no notification.
    users = sa.select(*values.values()).where(condition, col(User.deleted_at).is_(None))
    added = await db.execute(
        insert(Notification)
        .from_select([*values], users)
        .on_conflict_do_nothing(constraint="notifications_once_key")
        .returning(col(Notification.id), col(Notification.user_id))
    )
    by_user = {user_id: str(notification_id) for notification_id, user_id in added}
    if not by_user:
        return 0
    await enqueue_each(db, emit_notification, [{"notification_id": each} for each in by_user.values()])
    devices = await db.execute(
        sa.select(col(DeviceToken.id), col(DeviceToken.user_id)).where(col(DeviceToken.user_id).in_([*by_user]))
    )
    # A job for each device: one that is retried delays no other device and repeats no push.
    pushes = [{"notification_id": by_user[user_id], "device": str(device)} for device, user_id in devices]
    await enqueue_each(db, push_notification, pushes)
    return len(by_user)


class NotificationMessage(TypedDict):
    """A notification as the bus carries it to the sockets of its user; `created_at` in ISO 8601."""

    id: str
    type: rest.NotificationType
    title: str
    body: str
    data: dict[str, str] | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Inbox:
    """A page of a user's notifications, and how many of all are unread."""

    page: Page[Notification]
    unread: int


class NotificationsService:
    def __init__(
        self, database: Database, bus: Bus, sockets: UserSocketsService, push: PushSender, match_lifetime: timedelta
    ) -> None:
        """`match_lifetime` is how long a match can be joined; its pushes expire with it."""
        self._database = database
        self._bus = bus
        self._sockets = sockets
        self._push = push
        self._match_lifetime = match_lifetime

    async def list_for_user(self, user_id: str, *, limit: int, cursor: str | None) -> Inbox:
        """Read a page of a user's notifications, newest first; raise RequestInvalid for an invalid cursor."""
        mine = col(Notification.user_id) == uuid.UUID(user_id)
        key = (col(Notification.created_at), col(Notification.id))
        async with self._database.transaction() as db:
            page = await read_page(db, select(Notification).where(mine), key, limit=limit, cursor=cursor)
            return Inbox(page, await _count_unread(db, mine))

    async def mark_read(self, user_id: str, notification_id: str) -> Notification:
        """Mark a notification as read; raise NotFound, also for one of another user."""
        statement = (
            sa.update(Notification)
            .where(col(Notification.id) == uuid.UUID(notification_id), col(Notification.user_id) == uuid.UUID(user_id))
            .values(read=True, read_at=sa.func.coalesce(col(Notification.read_at), utc_now()))
            .returning(Notification)
        )
        async with self._database.transaction() as db:
            row: Notification | None = (await db.execute(statement)).scalars().first()
        if row is None:
            raise errors.NotFound()
        return row

    async def mark_all_read(self, user_id: str) -> int:
        """Mark all notifications of a user as read; return how many are unread now."""
        mine = col(Notification.user_id) == uuid.UUID(user_id)
        # Locked in one order, so that two simultaneous requests cannot deadlock.
        unread = sa.select(col(Notification.id)).where(mine, ~col(Notification.read)).order_by(col(Notification.id))
        async with self._database.transaction() as db:
            await db.execute(
                sa.update(Notification)
                .where(col(Notification.id).in_(unread.with_for_update()))
                .values(read=True, read_at=utc_now())
            )
            return await _count_unread(db, mine)

    async def notify_match(self, user_id: str, partner_name: str, room_id: str, session_id: str) -> None:
        """Notify a user whose app is in the background of a match."""
        async with self._database.transaction() as db:
            # Locked, so that nothing is written after the deletion of the account.
            if await lock_user(db, uuid.UUID(user_id)) is not None:
                await notify_user(
                    db, uuid.UUID(user_id), notification_templates.match_found(partner_name, room_id, session_id)
                )

    async def send(self, email: str, title: str, body: str) -> None:
        """Notify one user of an operator's text; raise NotFound."""
        async with self._database.transaction() as db:
            user = await find_user_by_email(db, email)
            template = notification_templates.system(title, body)
            if user is None or not await _notify(db, col(User.id) == user.id, template):
                raise errors.NotFound(f"there is no account {email}")

    async def send_to_all(self, title: str, body: str) -> int:
        """Notify every user of an operator's text; return how many there are."""
        notified, last = 0, uuid.UUID(int=0)
        while True:
            batch = select(User.id).where(col(User.id) > last, col(User.deleted_at).is_(None))
            async with self._database.transaction() as db:
                ids = (await db.exec(batch.order_by(col(User.id)).limit(_BATCH_USERS))).all()
                notified += await _notify(db, col(User.id).in_(ids), notification_templates.system(title, body))
            if len(ids) < _BATCH_USERS:
                return notified
            last = ids[-1]

    async def emit(self, notification_id: str) -> None:
        """Emit a notification to the user's sockets, in all web processes."""
        async with self._database.transaction() as db:
            row = await db.get(Notification, uuid.UUID(notification_id))
        if row is None or row.read:
            return
        body: NotificationMessage = {
            "id": str(row.id),
            "type": row.type.value,
            "title": row.title,
            "body": row.body,
            "data": row.data,
            "created_at": row.created_at.isoformat(),
        }
        for socket_id in await self._sockets.list_socket_ids(str(row.user_id)):
            try:
                await self._bus.send(socket_id, "notification", body)
            except errors.Unavailable:
                log.warning(
                    "notification_emit_failed notification_id=%s user_id=%s socket_id=%s",
                    row.id,
                    row.user_id,
                    socket_id,
                )

    async def push(self, notification_id: str, device: str) -> None:
        """Push a notification to one device, unless it is read or expired; raise Unavailable where a retry may help."""
        async with self._database.transaction() as db:
            row = await db.get(Notification, uuid.UUID(notification_id))
            token = await db.get(DeviceToken, uuid.UUID(device))
        # The device may have been registered by another user meanwhile.
        if row is None or token is None or token.user_id != row.user_id or row.read:
            return
        lifetime = self._match_lifetime if row.type is NotificationType.MATCH_FOUND else _PUSH_LIFETIME
        left = row.created_at + lifetime - utc_now()
        if row.data is not None and row.data.get("kind") == "invitation":
            left = await self._read_time_left(uuid.UUID(row.data["invitationId"]))
        if left < timedelta(seconds=1):
            return
        data = {**(row.data or {}), "type": str(row.type), "notificationId": str(row.id)}
        outcome = await self._push.send(token.fcm_token, Push(str(row.id), row.title, row.body, data, left))
        async with self._database.transaction() as db:
            if outcome == "unregistered":
                # By its token: the device may have registered a new one meanwhile.
                await db.execute(sa.delete(DeviceToken).where(col(DeviceToken.fcm_token) == token.fcm_token))
            elif outcome == "sent":
                await db.execute(
                    sa.update(Notification)
                    .where(col(Notification.id) == row.id, col(Notification.sent_at).is_(None))
                    .values(sent_at=utc_now())
                )
        if outcome == "refused":
            log.warning("push_refused notification_id=%s user_id=%s device_id=%s", row.id, row.user_id, token.device_id)

    async def _read_time_left(self, invitation_id: uuid.UUID) -> timedelta:
        """Read how long an invitation can still be answered; nothing for one that is over, which rings nowhere."""
        async with self._database.transaction() as db:
            invitation = await db.get(Invitation, invitation_id)
        if invitation is None or invitation.state is not InvitationState.OPEN:
            return timedelta()
        return invitation.expires_at - utc_now()


async def _count_unread(db: AsyncSession, mine: sa.ColumnElement[bool]) -> int:
    counted = sa.select(sa.func.count()).select_from(Notification).where(mine, ~col(Notification.read))
    return int((await db.execute(counted)).scalar_one())
