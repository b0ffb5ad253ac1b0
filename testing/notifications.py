"""Learners with devices, their notifications and the pushes of these."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from container import Container
from services.identity.logins import Identity
from services.messaging import notification_templates, notifications
from testing.accounts import new_email
from testing.databases import query
from testing.servers import PASSWORD

HELLO = notification_templates.system("Hello", "There.")


async def register_learner(services: Container, *, device: str = "phone") -> Identity:
    signed_in = await services.authentication.register(new_email(), PASSWORD, device, "ios")
    return services.logins.identify(signed_in.access_token)


async def register_device(services: Container, *, device: str = "phone") -> tuple[Identity, str]:
    """Register a learner with a device; return the learner and the device's FCM token."""
    who, token = await register_learner(services, device=device), new_fcm_token()
    await services.push_devices.register(who, token, device, "ios")
    return who, token


def new_fcm_token() -> str:
    return f"{secrets.token_urlsafe(16)}:APA91b{secrets.token_urlsafe(90)}"


async def add_notification(
    services: Container, who: Identity, template: notification_templates.NotificationTemplate = HELLO
) -> None:
    async with services.database.transaction() as db:
        await notifications.notify_user(db, uuid.UUID(who.user_id), template)


async def list_notifications(services: Container, who: Identity) -> list[Any]:
    return await query(services, "SELECT * FROM notifications WHERE user_id = :u ORDER BY title", u=who.user_id)


async def list_pushes(services: Container) -> list[Any]:
    return await query(
        services,
        "SELECT id, status::text, attempts, scheduled_at FROM procrastinate_jobs"
        " WHERE task_name = 'notifications.push' ORDER BY id",
    )


async def make_pushes_due(services: Container) -> None:
    await query(services, "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")


async def list_owners(services: Container, token: str) -> list[str]:
    return [
        str(row.user_id) for row in await query(services, "SELECT * FROM device_tokens WHERE fcm_token = :t", t=token)
    ]
