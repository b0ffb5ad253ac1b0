"""Owns the wire form of every row: a whitelist of fields, in camelCase. Nothing else decides what leaves the house."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from models import Platform, User
from services.paging import Page
from services.sessions import Call
from services.sign_ins import Device, SignedIn
from services.users import Me

T = TypeVar("T")


def instant(value: datetime | None) -> str | None:
    """RFC 3339 in UTC with `Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if value else None


def page(page: Page[T], shape: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    return {"items": [shape(item) for item in page.items], "nextCursor": page.next_cursor}


def account(user: User | Me) -> dict[str, Any]:
    return {"id": str(user.id), "email": user.email, "role": str(user.role), "isVerified": user.is_verified}


def tokens(signed_in: SignedIn) -> dict[str, Any]:
    shape = {
        "accessToken": signed_in.access_token,
        "tokenType": "Bearer",
        "expiresIn": signed_in.expires_in,
        "user": account(signed_in.user),
    }
    if signed_in.platform is not Platform.WEB:
        shape["refreshToken"] = signed_in.refresh_token
    return shape


def device(device: Device) -> dict[str, Any]:
    return {
        "deviceId": device.device_id,
        "platform": device.platform,
        "signedInAt": instant(device.signed_in_at),
        "lastUsedAt": instant(device.last_used_at),
        "current": device.current,
    }


def me(row: Me) -> dict[str, Any]:
    return {
        **account(row),
        "username": row.username,
        "displayName": row.display_name,
        "avatarUrl": row.avatar_url,
        "bio": row.bio,
        "nativeLanguage": row.native_language,
        "englishLevel": row.english_level,
        "learningGoal": row.learning_goal,
        "country": row.country,
        "timezone": row.timezone,
        "totalPracticeMins": row.total_practice_mins,
        "totalSessions": row.total_sessions,
        "streakDays": row.streak_days,
        "lastSessionAt": instant(row.last_session_at),
        "lastActiveAt": instant(row.last_active_at),
        "createdAt": instant(row.created_at),
    }


def session(call: Call) -> dict[str, Any]:
    row = call.session
    return {
        "id": str(row.id),
        "roomId": row.room_id,
        "partner": {
            "userId": str(call.partner_id),
            "displayName": call.partner_name,
            "avatarUrl": call.partner_avatar_url,
            "level": call.partner_level,
        },
        "topic": row.topic,
        "level": row.level,
        "startedAt": instant(row.started_at),
        "connectedAt": instant(row.connected_at),
        "endedAt": instant(row.ended_at),
        "durationSeconds": row.duration_seconds,
        "endedBy": call.ended_by,
    }
