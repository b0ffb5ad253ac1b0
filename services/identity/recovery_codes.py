"""Recovery codes of second factors: 80 random bits each, stored as hashes, usable once."""

from __future__ import annotations

import base64
import re
import secrets
import uuid

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from digests import hash_token
from models import RecoveryCode

#: Equal to `maxItems` of the contract.
RECOVERY_CODES = 10


def to_canonical_code(text: str) -> str:
    """Return a code without the spaces, hyphens and upper case that people type."""
    return re.sub(r"[ -]", "", text).lower()


def is_totp_code(canonical: str) -> bool:
    """Return whether a code is of an authenticator app: a recovery code is longer."""
    return re.fullmatch("[0-9]{6}", canonical) is not None


async def make_recovery_codes(db: AsyncSession, user_id: uuid.UUID) -> list[str]:
    """Replace the codes of an account inside the caller's transaction, which locks the account; return the new ones."""
    codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    await db.execute(sa.delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
    db.add_all(RecoveryCode(user_id=user_id, code_hash=hash_token(code)) for code in codes)
    return ["-".join(re.findall("....", code)) for code in codes]


async def use_recovery_code(db: AsyncSession, user_id: uuid.UUID, canonical: str) -> bool:
    """Use up a code; return False where it is none of the account, or was used."""
    statement = (
        sa.update(RecoveryCode)
        .where(
            col(RecoveryCode.user_id) == user_id,
            col(RecoveryCode.code_hash) == hash_token(canonical),
            col(RecoveryCode.used_at).is_(None),
        )
        .values(used_at=sa.func.now())
        .returning(col(RecoveryCode.user_id))
    )
    return (await db.execute(statement)).first() is not None
