"""Identities of an account: linked with a proof, and removed."""

from __future__ import annotations

import uuid

from sqlalchemy.exc import IntegrityError
from sqlmodel import col

import errors
from adapters.database import Database
from adapters.tokens import Identity
from models import LinkedIdentity
from services.identity.id_tokens import IdTokensService, SentIdToken, add_identity, find_identity, use_id_token
from services.identity.identity_grants import IdentityGrantsService
from services.identity.login_methods import require_login_method
from services.identity.proofs import ProofsService
from services.identity.second_factors import SecondFactorsService
from services.identity.security_notices import SecurityNoticesService
from services.identity.user_rows import lock_user_of
from wire import rest


class IdentitiesService:
    def __init__(
        self,
        database: Database,
        id_tokens: IdTokensService,
        grants: IdentityGrantsService,
        proofs: ProofsService,
        second_factors: SecondFactorsService,
        notices: SecurityNoticesService,
    ) -> None:
        self._database = database
        self._id_tokens = id_tokens
        self._grants = grants
        self._proofs = proofs
        self._second_factors = second_factors
        self._notices = notices

    async def link(self, owner: Identity, sent: SentIdToken, proof: rest.Proof) -> LinkedIdentity:
        """Link an identity to the account of a login, with a proof of the account.

        Raises what `IdTokensService.verify` and the proof raise, IdentityTaken, TooManyLoginMethods, and
        SecondFactorRequired for staff whose factor was not proven lately.
        """
        identity = await self._id_tokens.verify(sent)
        proven = await self._proofs.verify(owner.user_id, proof)
        try:
            async with self._database.transaction() as db:
                user = await lock_user_of(db, owner)
                await proven.use(db, user)
                if not proven.proves_second_factor:
                    await self._second_factors.require_recent_within(db, user, owner)
                await use_id_token(db, identity)
                row = await find_identity(db, identity)
                if row is not None and row.user_id != user.id:
                    raise errors.IdentityTaken()
                if row is None:
                    row = await add_identity(db, user, identity, is_used=False)
                    await self._notices.record_change(db, user.id, user.id, "identity_link")
                await self._grants.keep_within(db, row, identity, sent)
        except IntegrityError:  # linked to another account meanwhile
            raise errors.IdentityTaken() from None
        return row

    async def unlink(self, owner: Identity, identity_id: str) -> None:
        """Remove an identity of the account; raise NotFound, or LastLoginMethod."""
        user_id = uuid.UUID(owner.user_id)
        is_mine = (col(LinkedIdentity.id) == uuid.UUID(identity_id)) & (col(LinkedIdentity.user_id) == user_id)
        async with self._database.transaction() as db:
            user = await lock_user_of(db, owner)
            if not await self._grants.remove_within(db, is_mine):
                raise errors.NotFound()
            await require_login_method(db, user)
            await self._notices.record_change(db, user_id, user_id, "identity_unlink")
