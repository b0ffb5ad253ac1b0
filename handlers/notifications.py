"""Notifications of a user, and the devices that get their pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers import shapes
from services.identity.logins import Identity
from wire import rest

if TYPE_CHECKING:
    from container import Container


async def list_notifications(
    services: Container, identity: Identity, limit: int, cursor: str | None = None
) -> rest.NotificationPage:
    inbox = await services.notifications.list_for_user(identity.user_id, limit=limit, cursor=cursor)
    return {**shapes.page(inbox.page, shapes.notification), "unreadCount": inbox.unread}


async def mark_notification_read(services: Container, identity: Identity, notification_id: str) -> rest.Notification:
    return shapes.notification(await services.notifications.mark_read(identity.user_id, notification_id))


async def mark_all_notifications_read(services: Container, identity: Identity) -> rest.UnreadCount:
    return {"unreadCount": await services.notifications.mark_all_read(identity.user_id)}


async def register_push_device(services: Container, identity: Identity, body: rest.PushDevice) -> None:
    await services.push_devices.register(identity, body["fcmToken"], body["deviceId"], body["platform"])


async def unregister_push_device(services: Container, identity: Identity, device_id: str) -> None:
    await services.push_devices.delete(identity.user_id, device_id)


async def unregister_push_device_with_body(services: Container, identity: Identity, body: rest.PushDeviceRef) -> None:
    await unregister_push_device(services, identity, body["deviceId"])
