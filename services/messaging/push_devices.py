"""Push devices: the FCM tokens of a user's devices."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

import errors
from adapters.database import Database, lock_name
from instants import utc_now
from models import DeviceToken, Platform, RefreshToken
from services.identity.logins import Identity
from services.identity.user_rows import lock_user


class PushDevicesService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, identity: Identity, fcm_token: str, device_id: str, platform: str) -> None:
        """Store a device's FCM token, and delete it from any other device; raise Unauthenticated for an ended login."""
        user_id, family_id = uuid.UUID(identity.user_id), uuid.UUID(identity.family_id)
        this = sa.and_(col(DeviceToken.user_id) == user_id, col(DeviceToken.device_id) == device_id)
        has_token = col(DeviceToken.fcm_token) == fcm_token
        async with self._database.transaction() as db:
            # Locked: a login that ends at the same time deletes the token, or is found to have ended.
            await lock_user(db, user_id)
            active = select(RefreshToken.id).where(RefreshToken.family_id == family_id, ~col(RefreshToken.revoked))
            if (await db.exec(active.limit(1))).first() is None:
                raise errors.Unauthenticated("This login has ended; log in again.")
            # One request at a time for each token, and rows in one order: two devices may swap their tokens.
            await lock_name(db, f"fcm:{fcm_token}")
            touched = select(DeviceToken.id).where(sa.or_(has_token, this)).order_by(col(DeviceToken.id))
            await db.exec(touched.with_for_update())
            await db.execute(sa.delete(DeviceToken).where(has_token, ~this))
            values = {
                "fcm_token": fcm_token,
                "family_id": family_id,
                "platform": Platform(platform),
                "updated_at": utc_now(),
            }
            await db.execute(
                insert(DeviceToken)
                .values(id=uuid.uuid4(), user_id=user_id, device_id=device_id, **values)
                .on_conflict_do_update(constraint="device_tokens_device_key", set_=values)
            )

    async def delete(self, user_id: str, device_id: str) -> None:
        """Delete a device's token, where it has one."""
        async with self._database.transaction() as db:
            await db.execute(
                sa.delete(DeviceToken).where(
                    col(DeviceToken.user_id) == uuid.UUID(user_id), col(DeviceToken.device_id) == device_id
                )
            )
