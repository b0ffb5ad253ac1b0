"""Ages of learners: the band that is kept of a birth date, and which changes of it are refused.

The birth date is not stored. Below the minimum age, the device and the account are refused for a day, so that another
date entered at once does not help (neutral age screening: 16 CFR 312.2, and the FTC's answers about COPPA).
"""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.storage import Storage
from digests import hash_token
from instants import utc_now
from jobs import check_pairing, delete_account_of_child
from models import AgeBand, AgeRefusal, AgeSource, DeviceToken, RefreshToken, User
from services.identity.account_deletion import erase_profile
from services.identity.logins import Identity
from services.identity.user_rows import find_user_by_email, lock_active_user, lock_user_and_profile
from services.operations.audit import AuditService
from services.safety.gates import OLDEST_AGE

#: How long a device and an account are refused, and between two declarations of which the second is older.
REFUSAL_LIFETIME = timedelta(days=1)
#: How long the account of a child is kept, for an operator to correct a mistake.
CHILD_ACCOUNT_LIFETIME = timedelta(days=1)
OLDEST_BIRTH_YEARS = 120

_BANDS, _SOURCES = list(AgeBand), list(AgeSource)
#: The years in which a learner of the first band becomes one of the second, at least.
_YEARS_BETWEEN = {
    (AgeBand.UNDER_13, AgeBand.FROM_13): 0,
    (AgeBand.UNDER_13, AgeBand.FROM_16): 3,
    (AgeBand.UNDER_13, AgeBand.ADULT): 5,
    (AgeBand.FROM_13, AgeBand.FROM_16): 0,
    (AgeBand.FROM_13, AgeBand.ADULT): 2,
    (AgeBand.FROM_16, AgeBand.ADULT): 0,
}
_OLDER_REFUSED = "This is older than the age that is known of this account; write to support if that is a mistake."


class AgesService:
    def __init__(self, database: Database, audit: AuditService, jobs: Jobs, storage: Storage, minimum_age: int) -> None:
        self._database = database
        self._audit = audit
        self._jobs = jobs
        self._storage = storage
        self._minimum_age = minimum_age

    async def declare_birth_date(self, identity: Identity, birth_date: str) -> None:
        """Keep the band of a birth date (YYYY-MM-DD); raise RequestInvalid, or TooYoung."""
        age = compute_age(birth_date)
        await self._declare(identity, find_band(age), AgeSource.DECLARED, is_below=age < self._minimum_age)

    async def declare_band(self, identity: Identity, band: AgeBand, source: AgeSource) -> None:
        """Keep the band that a platform's age signals gave the app; raise TooYoung, or RequestInvalid.

        The latter where the band does not show whether the learner has the minimum age.
        """
        is_below = OLDEST_AGE.get(band, self._minimum_age) < self._minimum_age
        if not is_below and _youngest_age(band) < self._minimum_age:
            raise errors.RequestInvalid(
                f"'ageBand' does not show whether the learner is {self._minimum_age}; send 'birthDate'"
            )
        await self._declare(identity, band, source, is_below=is_below)

    async def _declare(self, identity: Identity, band: AgeBand, source: AgeSource, *, is_below: bool) -> None:
        """Keep a band, or refuse it; a refusal commits although the response is an error."""
        refusal: errors.TooYoung | None = None
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(identity.user_id))
            subjects = [_hash_user(user.id), *await self._hash_devices(db, identity.family_id)]
            is_younger = user.age_band is None or _BANDS.index(band) <= _BANDS.index(user.age_band)
            if is_below:
                refusal = errors.TooYoung()
                await refuse(db, subjects)
                # Of a band around the minimum age the refusal is kept alone.
                if is_younger and OLDEST_AGE.get(band, self._minimum_age) < self._minimum_age:
                    await self._set_band(db, user, band, source)
            elif await is_refused(db, subjects):
                refusal = errors.TooYoung()
            elif is_younger or may_grow_older(user, band, source):
                await self._set_band(db, user, band, source)
            else:
                refusal = errors.TooYoung(_OLDER_REFUSED)
        if refusal is not None:
            raise refusal

    async def _set_band(self, db: AsyncSession, user: User, band: AgeBand, source: AgeSource) -> None:
        is_changed = user.age_band is not band
        # A less trusted source that says the same, or younger, does not replace the more trusted one.
        if is_changed or user.age_source is None or _SOURCES.index(source) >= _SOURCES.index(user.age_source):
            user.age_source = source
        user.age_band, user.age_declared_at = band, utc_now()
        db.add(user)
        await db.flush()
        if not is_changed:
            return
        await self._jobs.enqueue(db, check_pairing, user_id=str(user.id))
        if band is AgeBand.UNDER_13:
            _, profile = await lock_user_and_profile(db, user.id)
            await erase_profile(db, self._jobs, self._storage, profile)
            await db.execute(sa.delete(DeviceToken).where(col(DeviceToken.user_id) == user.id))
            await self._jobs.enqueue_later(db, CHILD_ACCOUNT_LIFETIME, delete_account_of_child, user_id=str(user.id))

    async def set_for_user(self, email: str, band: AgeBand) -> User:
        """Set the band of an account as an operator, which ends its refusal; raise NotFound."""
        async with self._database.transaction() as db:
            found = await find_user_by_email(db, email)
            if found is None:
                raise errors.NotFound(f"there is no account {email}")
            user = await lock_active_user(db, found.id, absent=errors.NotFound)
            before = user.age_band
            await self._set_band(db, user, band, AgeSource.OPERATOR)
            subjects = [_hash_user(user.id), *await self._hash_devices(db, user_id=user.id)]
            await db.execute(sa.delete(AgeRefusal).where(col(AgeRefusal.id).in_(subjects)))
            detail = {"before": before.value if before else None, "after": band.value}
            await self._audit.write(db, None, "user.age", user.id, **detail)
        return user

    async def _hash_devices(
        self, db: AsyncSession, family_id: str | None = None, user_id: uuid.UUID | None = None
    ) -> list[str]:
        """Hash the id of a login's device, or of all devices of a user."""
        which = RefreshToken.user_id == user_id if family_id is None else RefreshToken.family_id == uuid.UUID(family_id)
        found = (await db.exec(select(RefreshToken.device_id).where(which).distinct())).all()
        return [hash_device(device_id) for device_id in found]

    async def check_new_account(self, birth_date: str, device_id: str) -> AgeBand:
        """Return the band of a person who registers; raise RequestInvalid, or TooYoung, which the device keeps."""
        age = compute_age(birth_date)
        device = hash_device(device_id)
        async with self._database.transaction() as db:
            if is_below := age < self._minimum_age:
                await refuse(db, [device])
            is_allowed = not is_below and not await is_refused(db, [device])
        if not is_allowed:
            raise errors.TooYoung()
        return find_band(age)


def compute_age(birth_date: str) -> int:
    """Return the age in whole years by UTC's date; raise RequestInvalid for what cannot be a birth date."""
    today = utc_now().date()
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:
        raise errors.RequestInvalid("'birthDate' is not a date; send it as YYYY-MM-DD") from None
    age = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    if not 0 <= age <= OLDEST_BIRTH_YEARS:
        raise errors.RequestInvalid("'birthDate' is not a birth date; check the year")
    return age


def find_band(age: int) -> AgeBand:
    """Return the band of an age in years."""
    return next((band for band, oldest in OLDEST_AGE.items() if age <= oldest), AgeBand.ADULT)


def _youngest_age(band: AgeBand) -> int:
    return {AgeBand.UNDER_13: 0, AgeBand.FROM_13: 13, AgeBand.FROM_16: 16, AgeBand.ADULT: 18}[band]


def may_grow_older(user: User, band: AgeBand, source: AgeSource) -> bool:
    """Whether a source may raise the band of an account: as trusted a one, and no faster than time passes."""
    if user.age_band is None or user.age_source is None or user.age_declared_at is None:
        return True
    if _SOURCES.index(source) < _SOURCES.index(user.age_source):
        return False
    if source is not AgeSource.DECLARED:
        return True
    years = _YEARS_BETWEEN[user.age_band, band]
    return utc_now() - user.age_declared_at >= max(REFUSAL_LIFETIME, timedelta(days=365 * years))


def hash_device(device_id: str) -> str:
    # Apps and platforms write the same id in capitals and in small letters.
    return hash_token(f"device:{device_id.lower()}")


def _hash_user(user_id: uuid.UUID) -> str:
    return hash_token(f"user:{user_id}")


async def refuse(db: AsyncSession, subjects: list[str]) -> None:
    """Refuse devices and accounts from now on, for `REFUSAL_LIFETIME`."""
    expires_at: sa.ColumnElement[datetime] = sa.func.now() + REFUSAL_LIFETIME
    for subject in sorted(subjects):  # in one order, so that two cannot wait for each other
        statement = insert(AgeRefusal).values(id=subject, expires_at=expires_at)
        await db.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"expires_at": expires_at}))


async def is_refused(db: AsyncSession, subjects: list[str]) -> bool:
    active = select(AgeRefusal.id).where(col(AgeRefusal.id).in_(subjects), col(AgeRefusal.expires_at) > sa.func.now())
    return (await db.exec(active.limit(1))).first() is not None
