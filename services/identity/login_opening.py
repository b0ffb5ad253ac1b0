"""What every way to log in has in common, once a proof of the account is verified."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from instants import format_instant, utc_now
from models import Profile, User
from services.identity.logins import LoginsService, LoginTokens
from services.identity.passkey_proofs import PasskeyProof, PasskeyProofs
from services.identity.proofs import Proof
from services.identity.second_factors import SecondFactorsService
from services.identity.user_rows import lock_user
from services.safety.standings import make_login_notice, read_sanction_in_force
from wire import rest


class Client(NamedTuple):
    """The device that logs in, and where it sends them a code or a passkey (`PasskeyProof`) as the second factor."""

    device_id: str
    platform: str
    second_factor_code: str | None = None
    second_factor_passkey: rest.PasskeyProof | None = None


class _FactorEnrolled(Exception):
    """The account has got a second factor since it was looked for."""


class LoginOpeningService:
    def __init__(
        self,
        database: Database,
        logins: LoginsService,
        second_factors: SecondFactorsService,
        passkey_proofs: PasskeyProofs,
    ) -> None:
        self._database = database
        self._logins = logins
        self._second_factors = second_factors
        self._passkey_proofs = passkey_proofs

    async def open(self, proof: Proof, client: Client) -> LoginTokens:
        """Log a device in to the account of a proof, which ends the device's earlier login.

        Raises what `proof.use` raises; AccountBanned or AccountSuspended; Unauthenticated where the account is gone;
        and where it has a second factor LoginNeedsSecondFactor without one, SecondFactorInvalid, PasskeyInvalid or
        RateLimited.
        """
        while True:
            needs_factor = not proof.proves_second_factor and await self._needs_factor(proof)
            passkey = await self._verify_factor(proof, client) if needs_factor else None
            needs_code = needs_factor and passkey is None
            attempt = self._second_factors.attempt(proof.user_id) if needs_code else nullcontext()
            try:
                async with attempt, self._database.transaction() as db:
                    tokens, ended = await self._open(db, proof, client, passkey, needs_code=needs_code)
            except _FactorEnrolled:
                continue
            if isinstance(tokens, errors.ProductError):  # after the commit of the token for an appeal
                raise tokens
            await self._logins.publish_ended(ended)
            return tokens

    async def _verify_factor(self, proof: Proof, client: Client) -> PasskeyProof | None:
        """Verify the passkey that is sent as the second factor, which is preferred to a code; None where a code is."""
        if client.second_factor_passkey is not None:
            return await self._passkey_proofs.verify(proof.user_id, client.second_factor_passkey)
        if client.second_factor_code is None:
            raise errors.LoginNeedsSecondFactor()
        return None

    async def _needs_factor(self, proof: Proof) -> bool:
        async with self._database.transaction() as db:
            user = await db.get(User, proof.user_id)
            # One that is banned gets to read that, without a factor.
            is_in_use = user is not None and user.role.is_staff and not user.is_banned
            return is_in_use and await self._second_factors.is_enrolled_within(db, proof.user_id)

    async def _open(
        self, db: AsyncSession, proof: Proof, client: Client, passkey: PasskeyProof | None, *, needs_code: bool
    ) -> tuple[LoginTokens | errors.ProductError, list[str]]:
        user = await lock_user(db, proof.user_id)
        if user is None or user.deleted_at is not None:
            raise errors.Unauthenticated("This account was deleted.")
        await proof.use(db, user)
        if (refusal := await read_refusal(db, user)) is not None:
            return refusal, []
        has_proven = needs_code or passkey is not None or proof.proves_second_factor
        if user.role.is_staff and await self._second_factors.is_enrolled_within(db, user.id):
            if not has_proven:
                raise _FactorEnrolled
            if passkey is not None:
                await passkey.use(db, user)
            elif needs_code:
                await self._second_factors.use(db, user.id, client.second_factor_code)
        return await self.open_within(db, user, client, has_proven_factor=user.role.is_staff and has_proven)

    async def open_within(
        self, db: AsyncSession, user: User, client: Client, *, has_proven_factor: bool = False
    ) -> tuple[LoginTokens, list[str]]:
        """Open a login inside the caller's transaction, which locks the account and has found no sanction.

        Returns its tokens and the ids of the logins that ended, for `LoginsService.publish_ended`.
        """
        profile = sa.update(Profile).where(col(Profile.user_id) == user.id)
        await db.execute(profile.values(last_active_at=utc_now()))
        proven_at = utc_now() if has_proven_factor else None
        return await self._logins.open(db, user, client.device_id, client.platform, factor_proven_at=proven_at)


async def read_refusal(db: AsyncSession, user: User) -> errors.ProductError | None:
    """Return the refusal of a login by the sanction in force, with what the learner may know; None without one."""
    if not user.is_banned and user.suspended_until is None:
        return None
    sanction = await read_sanction_in_force(db, user.id)
    notice = await make_login_notice(db, sanction) if sanction else None
    if user.is_banned:
        return errors.AccountBanned(notice=notice)
    if sanction is None:
        return None
    assert sanction.ends_at is not None
    return errors.AccountSuspended(
        f"This account is suspended until {format_instant(sanction.ends_at)}.", notice=notice
    )
