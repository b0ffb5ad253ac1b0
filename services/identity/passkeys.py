"""Passkeys of accounts: added, listed and removed, and logins with them."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import Passkey
from services.identity.login_methods import require_login_method
from services.identity.login_opening import Client, LoginOpeningService
from services.identity.logins import AccessToken, Identity, LoginsService, LoginTokens
from services.identity.passkey_proofs import NewChallenge, PasskeyChallenges, PasskeyProofs
from services.identity.proofs import Proof
from services.identity.second_factors import SecondFactorsService
from services.identity.security_notices import SecurityNoticesService
from services.identity.user_rows import lock_active_user, lock_user_of
from wire import rest

__all__ = ["PasskeysService", "list_passkeys", "remove_passkeys_within"]

#: Of an account; equal to `maximum` of `passkeyCount` in the contract.
MAX_PASSKEYS = 20


class PasskeysService:
    def __init__(
        self,
        database: Database,
        challenges: PasskeyChallenges,
        proofs: PasskeyProofs,
        logins: LoginsService,
        login_opening: LoginOpeningService,
        second_factors: SecondFactorsService,
        notices: SecurityNoticesService,
    ) -> None:
        self._database = database
        self._challenges = challenges
        self._proofs = proofs
        self._logins = logins
        self._login_opening = login_opening
        self._second_factors = second_factors
        self._notices = notices

    @property
    def rp_id(self) -> str | None:
        """The domain that passkeys are for; None where the installation offers none."""
        return self._challenges.rp_id

    def make_challenge(self) -> NewChallenge:
        """Make a challenge for a login or a proof; raise NotFound where no passkeys are offered."""
        return self._challenges.make_login()

    async def login(self, challenge_token: str, credential_json: str, client: Client) -> LoginTokens:
        """Log a device in to the account of a passkey.

        Raises PasskeyInvalid and what `LoginOpeningService.open` raises.
        """
        return await self._login_opening.open(await self._proofs.identify(challenge_token, credential_json), client)

    async def prove_factor(self, identity: Identity, body: rest.PasskeyProof) -> AccessToken:
        """Return an access token of the same login that has just proven a passkey as the second factor of staff.

        `body` is the schema `PasskeyProof`. Raises PasskeyInvalid.
        """
        proof = await self._proofs.verify(uuid.UUID(identity.user_id), body)
        async with self._database.transaction() as db:
            user = await lock_active_user(db, proof.user_id)
            await proof.use(db, user)
            return await self._logins.record_factor_proof(db, user, identity)

    # --- Adding -----------------------------------------------------------------------------------------

    async def begin(self, identity: Identity, proof: Proof) -> NewChallenge:
        """Use a proof, and make a challenge for a new passkey of this login.

        Raises NotFound where no passkeys are offered, what `proof.use` raises, TooManyLoginMethods, and
        SecondFactorRequired for staff whose factor was not proven lately.
        """
        _ = self._challenges.relying_party  # before the proof is used
        async with self._database.transaction() as db:
            user = await lock_user_of(db, identity)
            await proof.use(db, user)
            if not proof.proves_second_factor:
                await self._second_factors.require_recent_within(db, user, identity)
            elif user.role.is_staff:  # so that the second step, too, finds it proven
                await self._logins.record_factor_proof(db, user, identity)
            existing = await list_passkeys(db, user.id)
            _require_room(existing)
        return self._challenges.make_registration(user, identity.family_id, [each.credential_id for each in existing])

    async def add(self, identity: Identity, challenge_token: str, credential_json: str, name: str) -> Passkey:
        """Add the passkey that answers a challenge of this login.

        Raises PasskeyInvalid, also for one that an account has already, TooManyLoginMethods and SecondFactorRequired.
        As the first factor of staff it ends their other logins, like an authenticator app.
        """
        challenge = self._challenges.read(challenge_token, "register", sub=identity.user_id, sid=identity.family_id)
        new = self._challenges.relying_party.verify_registration(credential_json, challenge.value)
        ended: list[str] = []
        async with self._database.transaction() as db:
            user = await lock_user_of(db, identity)
            await self._second_factors.require_recent_within(db, user, identity)
            _require_room(await list_passkeys(db, user.id))
            await challenge.spend(db)
            passkey = Passkey(
                user_id=user.id,
                credential_id=new.credential_id,
                public_key=new.public_key,
                sign_count=new.sign_count,
                name=name.strip(),
                aaguid=new.aaguid,
                is_synced=new.is_synced,
            )
            if user.role.is_staff and not await self._second_factors.is_enrolled_within(db, user.id):
                ended = await self._logins.end_others_within(db, identity)
                await self._logins.record_factor_proof(db, user, identity)
            # Of two accounts that add the same credential at once, the second waits and finds it taken.
            statement = insert(Passkey).values(passkey.model_dump(exclude={"created_at", "last_used_at"}))
            inserted = await db.execute(statement.on_conflict_do_nothing().returning(col(Passkey.id)))
            if inserted.first() is None:
                raise errors.PasskeyInvalid("This passkey was added before; remove it from the device to add it again.")
            passkey = (await db.exec(select(Passkey).where(Passkey.id == passkey.id))).one()
            await self._notices.record_change(db, user.id, user.id, "passkey_add")
        await self._logins.publish_ended(ended)
        return passkey

    # --- Removing ---------------------------------------------------------------------------------------

    async def remove(self, identity: Identity, passkey_id: str) -> None:
        """Remove a passkey of an account.

        Raises NotFound, LastLoginMethod, and SecondFactorRequired for staff, whose logins end where it was their last
        factor.
        """
        ended: list[str] = []
        async with self._database.transaction() as db:
            user = await lock_user_of(db, identity)
            found = await db.get(Passkey, uuid.UUID(passkey_id))
            if found is None or found.user_id != user.id:
                raise errors.NotFound("This account has no such passkey.")
            await self._second_factors.require_recent_within(db, user, identity)
            await db.delete(found)
            await db.flush()
            await require_login_method(db, user)
            if user.role.is_staff and not await self._second_factors.is_enrolled_within(db, user.id):
                ended = await self._logins.end_all_within(db, user.id)
            await self._notices.record_change(db, user.id, user.id, "passkey_remove")
        await self._logins.publish_ended(ended)


async def list_passkeys(db: AsyncSession, user_id: uuid.UUID) -> list[Passkey]:
    """List the passkeys of an account, the oldest first; at most `MAX_PASSKEYS`."""
    statement = select(Passkey).where(Passkey.user_id == user_id).order_by(col(Passkey.created_at), col(Passkey.id))
    return list((await db.exec(statement)).all())


async def remove_passkeys_within(db: AsyncSession, user_id: uuid.UUID) -> int:
    """Remove the passkeys of an account inside the caller's transaction, which locks it; return how many."""
    statement = sa.delete(Passkey).where(col(Passkey.user_id) == user_id).returning(col(Passkey.id))
    return len((await db.execute(statement)).all())


def _require_room(existing: list[Passkey]) -> None:
    if len(existing) >= MAX_PASSKEYS:
        raise errors.TooManyLoginMethods()
