"""Owns what users are told: a row in their list, an event to their sockets, a push to their devices.

The row is written in the transaction of whatever it tells of, and so are the jobs that carry it further.
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
from jobs import emit_notification, push_notification
from models import DeviceToken, Notification, NotificationType, Role, User, email_addresses
from models.columns import now
from services import pagination
from services.calls.user_sockets import UserSocketsService
from services.identity.logins import lock_user
from services.messaging import notification_templates
from services.messaging.notification_templates import Notice
from services.pagination import Page
from wire import rest

log = logging.getLogger("parlance.notifications")

_COLUMNS: Any = Notification.__table__.c  # type: ignore[attr-defined]
#: How long a push waits for a device that is off.
_LASTS = timedelta(days=1)
#: How many are told in one transaction.
_AT_ONCE = 1000


async def tell(db: AsyncSession, user_id: uuid.UUID, notice: Notice) -> None:
    """Tell a user something, inside the caller's transaction; nothing where they were told on that occasion."""
    await _tell(db, col(User.id) == user_id, notice)


async def tell_admins(db: AsyncSession, notice: Notice) -> None:
    """Tell every administrator something, inside the caller's transaction."""
    await _tell(db, col(User.role) == Role.ADMIN, notice)


async def _tell(db: AsyncSession, who: sa.ColumnElement[bool], notice: Notice) -> int:
    told = {
        "id": sa.func.gen_random_uuid(),
        "user_id": col(User.id),
        "type": sa.literal(notice.type, _COLUMNS.type.type),
        "title": sa.literal(notice.title),
        "body": sa.literal(notice.body),
        "data": sa.literal(notice.data, _COLUMNS.data.type),
        "occasion": sa.literal(notice.occasion, sa.String),
    }
    # What is left of a deleted account is told nothing.
    people = sa.select(*told.values()).where(who, col(User.deleted_at).is_(None))
    added = await db.execute(
        insert(Notification)
        .from_select([*told], people)
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
    # A job for each device: one that has to wait keeps no other waiting, and is not pushed to twice for its sake.
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
    """A page of one's notifications, and how many of all are unread."""

    page: Page[Notification]
    unread: int


class NotificationsService:
    def __init__(
        self, database: Database, bus: Bus, sockets: UserSocketsService, push: PushSender, match_lasts: timedelta
    ) -> None:
        """`match_lasts` is how long a match can be joined, after which nobody is woken for it."""
        self._database = database
        self._bus = bus
        self._sockets = sockets
        self._push = push
        self._match_lasts = match_lasts

    async def list_of(self, user_id: str, *, limit: int, cursor: str | None) -> Inbox:
        """Read a page of one's notifications, newest first; raise RequestInvalid for a cursor that is none."""
        mine = col(Notification.user_id) == uuid.UUID(user_id)
        statement = (
            select(Notification)
            .where(mine)
            .order_by(col(Notification.created_at).desc(), col(Notification.id).desc())
            .limit(limit + 1)
        )
        if cursor:
            after = pagination.decode(cursor)
            statement = statement.where(
                sa.tuple_(col(Notification.created_at), col(Notification.id)) < sa.tuple_(*after)
            )
        async with self._database.transaction() as db:
            rows = list((await db.exec(statement)).all())
            unread = await _unread(db, mine)
        return Inbox(pagination.page(rows, limit, lambda row: (row.created_at, row.id)), unread)

    async def mark_read(self, user_id: str, notification_id: str) -> Notification:
        """Note that one has read a notification, the first time; raise NotFound, also for somebody else's."""
        statement = (
            sa.update(Notification)
            .where(col(Notification.id) == uuid.UUID(notification_id), col(Notification.user_id) == uuid.UUID(user_id))
            .values(read=True, read_at=sa.func.coalesce(col(Notification.read_at), now()))
            .returning(Notification)
        )
        async with self._database.transaction() as db:
            row: Notification | None = (await db.execute(statement)).scalars().first()
        if row is None:
            raise errors.NotFound()
        return row

    async def mark_all_read(self, user_id: str) -> int:
        """Note that one has read all there are; answer how many are unread now."""
        mine = col(Notification.user_id) == uuid.UUID(user_id)
        # In one order, so that two that do it at once cannot wait for each other.
        unread = sa.select(col(Notification.id)).where(mine, ~col(Notification.read)).order_by(col(Notification.id))
        async with self._database.transaction() as db:
            await db.execute(
                sa.update(Notification)
                .where(col(Notification.id).in_(unread.with_for_update()))
                .values(read=True, read_at=now())
            )
            return await _unread(db, mine)

    async def match_found(self, user_id: str, partner_name: str, room_id: str, session_id: str) -> None:
        """Tell a user who looks elsewhere that somebody waits for them."""
        async with self._database.transaction() as db:
            # Held, so that an account that is being deleted is told nothing any more.
            if await lock_user(db, uuid.UUID(user_id)) is not None:
                await tell(
                    db, uuid.UUID(user_id), notification_templates.match_found(partner_name, room_id, session_id)
                )

    async def send(self, email: str, title: str, body: str) -> None:
        """Tell one user what an operator wrote; raise NotFound."""
        async with self._database.transaction() as db:
            found = col(User.email_canonical) == email_addresses.canonical(email)
            if not await _tell(db, found, notification_templates.system(title, body)):
                raise errors.NotFound(f"there is no account {email}")

    async def send_to_all(self, title: str, body: str) -> int:
        """Tell every user what an operator wrote; say how many there are."""
        told, last = 0, uuid.UUID(int=0)
        while True:
            some = select(User.id).where(col(User.id) > last, col(User.deleted_at).is_(None))
            async with self._database.transaction() as db:
                ids = (await db.exec(some.order_by(col(User.id)).limit(_AT_ONCE))).all()
                told += await _tell(db, col(User.id).in_(ids), notification_templates.system(title, body))
            if len(ids) < _AT_ONCE:
                return told
            last = ids[-1]

    async def announce(self, notification_id: str) -> None:
        """Let the user's sockets hear of a notification, on whichever worker they are."""
        async with self._database.transaction() as db:
            row = await db.get(Notification, uuid.UUID(notification_id))
        if row is None or row.read:
            return
        told: NotificationMessage = {
            "id": str(row.id),
            "type": row.type.value,
            "title": row.title,
            "body": row.body,
            "data": row.data,
            "created_at": row.created_at.isoformat(),
        }
        for socket in await self._sockets.list_socket_ids(str(row.user_id)):
            try:
                await self._bus.send(socket, "notification", told)
            except errors.Unavailable:
                log.warning("a socket could not be told of a notification")

    async def push(self, notification_id: str, device: str) -> None:
        """Wake one device for a notification, unless it is read, or too late; raise Unavailable to be asked again."""
        async with self._database.transaction() as db:
            row = await db.get(Notification, uuid.UUID(notification_id))
            to = await db.get(DeviceToken, uuid.UUID(device))
        # The token may be another user's by now, and the row of another registration.
        if row is None or to is None or to.user_id != row.user_id or row.read:
            return
        lasts = self._match_lasts if row.type is NotificationType.MATCH_FOUND else _LASTS
        left = row.created_at + lasts - now()
        if left < timedelta(seconds=1):
            return
        data = {**(row.data or {}), "type": str(row.type), "notificationId": str(row.id)}
        outcome = await self._push.send(to.fcm_token, Push(str(row.id), row.title, row.body, data, left))
        async with self._database.transaction() as db:
            if outcome == "unregistered":
                # That token: the device may have come with a new one meanwhile.
                await db.execute(sa.delete(DeviceToken).where(col(DeviceToken.fcm_token) == to.fcm_token))
            elif outcome == "sent":
                await db.execute(
                    sa.update(Notification)
                    .where(col(Notification.id) == row.id, col(Notification.sent_at).is_(None))
                    .values(sent_at=now())
                )
        if outcome == "refused":
            log.warning("push of notification %s was refused", row.id)


async def _unread(db: AsyncSession, mine: sa.ColumnElement[bool]) -> int:
    counted = sa.select(sa.func.count()).select_from(Notification).where(mine, ~col(Notification.read))
    return int((await db.execute(counted)).scalar_one())
