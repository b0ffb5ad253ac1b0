"""Grants of identity providers: kept sealed, and revoked when the account is deleted or the identity is removed.

Apple asks for that of apps with an account (App Store Review Guidelines, 5.1.1 (v)); other providers' are not kept.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from adapters.ports import ExchangedCode, IdentityProvider, VerifiedIdentity
from adapters.secret_box import SecretBox
from adapters.tokens import AccessTokens
from jobs import exchange_code, revoke_grant
from models import LinkedIdentity
from services.identity.id_tokens import SentIdToken

log = logging.getLogger("parlance.identities")

#: How long a browser may take from the exchange of its code to the login.
GRANT_LIFETIME = timedelta(minutes=10)


class IdentityGrantsService:
    def __init__(
        self,
        database: Database,
        providers: Mapping[str, IdentityProvider],
        tokens: AccessTokens,
        secrets: SecretBox,
        jobs: Jobs,
    ) -> None:
        self._database = database
        self._providers = providers
        self._tokens = tokens
        self._secrets = secrets
        self._jobs = jobs

    def sign(self, provider: str, exchanged: ExchangedCode) -> str | None:
        """Return the grant of a login in a browser, for the client to send with its ID token; None without one."""
        if not self._providers[provider].revokes_grants or exchanged.refresh_token is None:
            return None
        return self._tokens.issue_authorization(
            "grant",
            GRANT_LIFETIME,
            sub=exchanged.subject,
            provider=provider,
            client=exchanged.client_id,
            grant=self._secrets.seal(exchanged.refresh_token),
        )

    async def keep_within(
        self, db: AsyncSession, row: LinkedIdentity, identity: VerifiedIdentity, sent: SentIdToken
    ) -> None:
        """Keep the grant that came with an ID token, or enqueue the exchange of its code.

        A grant that an older key has sealed is sealed with the first one.

        Raises RequestInvalid for a grant of another identity.
        """
        if row.grant_token is not None and not self._secrets.is_current(row.grant_token):
            with suppress(errors.Unavailable):  # its key is gone, and the login does not need it
                row.grant_token = self._secrets.seal(self._secrets.open(row.grant_token))
                db.add(row)
        if sent.grant is not None:
            try:
                claims = self._tokens.read_authorization(
                    "grant", sent.grant, sub=identity.subject, provider=identity.provider
                )
            except errors.Unauthenticated:
                raise errors.RequestInvalid("'grant' is not the one that came with the ID token") from None
            row.grant_client_id, row.grant_token = claims["client"], claims["grant"]
            db.add(row)
        elif sent.authorization_code is not None and self._providers[identity.provider].revokes_grants:
            await self._jobs.enqueue(
                db,
                exchange_code,
                user_id=str(row.user_id),
                identity_id=str(row.id),
                client_id=identity.client_id,
                code=self._secrets.seal(sent.authorization_code),
            )

    async def exchange(self, identity_id: str, client_id: str, code: str) -> None:
        """Exchange a sealed code of a native SDK, and keep the grant; raise Unavailable where that may work later."""
        async with self._database.transaction() as db:
            row = await db.get(LinkedIdentity, uuid.UUID(identity_id))
        if row is None or row.provider not in self._providers:
            return
        try:
            exchanged = await self._providers[row.provider].exchange_code(self._secrets.open(code), client_id=client_id)
        except errors.AuthorizationFailed as error:
            # A code works for five minutes, and once.
            log.warning("grant_not_kept identity_id=%s reason=%s", identity_id, error)
            return
        if exchanged.refresh_token is None or exchanged.subject != row.subject:
            log.warning("grant_not_kept identity_id=%s reason=of_another_subject", identity_id)
            return
        sealed = self._secrets.seal(exchanged.refresh_token)
        async with self._database.transaction() as db:
            kept = sa.update(LinkedIdentity).where(col(LinkedIdentity.id) == row.id)
            kept = kept.values(grant_client_id=client_id, grant_token=sealed).returning(col(LinkedIdentity.id))
            if (await db.execute(kept)).first() is None:  # removed meanwhile
                await self._jobs.enqueue(db, revoke_grant, provider=row.provider, client_id=client_id, grant=sealed)

    async def remove_within(self, db: AsyncSession, condition: sa.ColumnElement[bool]) -> int:
        """Delete identities inside the caller's transaction and enqueue the revocation of their grants.

        Returns how many there were.
        """
        rows = (await db.exec(select(LinkedIdentity).where(condition))).all()
        for row in rows:
            if row.grant_client_id is not None and row.grant_token is not None:
                await self._jobs.enqueue(
                    db, revoke_grant, provider=row.provider, client_id=row.grant_client_id, grant=row.grant_token
                )
            await db.delete(row)
        await db.flush()
        return len(rows)

    async def revoke(self, provider: str, client_id: str, grant: str) -> None:
        """Revoke a sealed grant at its provider; raise Unavailable where that may work later."""
        found = self._providers.get(provider)
        if found is None:
            log.error("grant_not_revoked provider=%s reason=not_configured", provider)
            return
        await found.revoke_grant(client_id, self._secrets.open(grant))
        log.info("grant_revoked provider=%s", provider)
