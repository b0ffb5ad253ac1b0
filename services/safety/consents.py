"""Consents of learners to the documents: given for a version, and withdrawn."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.jobs import Jobs
from jobs import check_pairing
from models import Consent, ConsentAction, User
from services.identity.user_rows import lock_active_user
from services.safety.policies import Policy


class DocumentConsent(NamedTuple):
    """A document in its current version, and the version that the user accepts, if there is one."""

    policy: Policy
    accepted_version: str | None
    accepted_at: datetime | None


class ConsentsService:
    def __init__(self, database: Database, jobs: Jobs, policies: Mapping[str, Policy]) -> None:
        self._database = database
        self._jobs = jobs
        self._policies = policies

    async def list_for_user(self, user_id: str) -> list[DocumentConsent]:
        """List the documents with the user's consents, in the order in which they are shown."""
        me = uuid.UUID(user_id)
        latest = (
            sa.select(col(Consent.document), col(Consent.version), sa.func.max(col(Consent.at)))
            .where(col(Consent.user_id) == me, col(Consent.action) == ConsentAction.GIVEN)
            .group_by(col(Consent.document), col(Consent.version))
        )
        async with self._database.transaction() as db:
            accepted = (await db.execute(sa.select(col(User.accepted_versions)).where(col(User.id) == me))).scalar()
            times = {(document, version): at for document, version, at in (await db.execute(latest)).all()}
        if accepted is None:
            raise errors.Unauthenticated()
        return [
            DocumentConsent(policy, version := accepted.get(policy.name), times.get((policy.name, version or "")))
            for policy in self._policies.values()
        ]

    async def give(self, user_id: str, document: str, version: str) -> None:
        """Consent to the current version of a document; raise RequestInvalid for another one."""
        self.require_current({document: version})
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(user_id))
            if user.accepted_versions.get(document) != version:
                add_consents(db, user.id, {document: version})

    async def withdraw(self, user_id: str, document: str) -> None:
        """Withdraw the consent to a document, which ends a search; raise NotFound where there is none."""
        async with self._database.transaction() as db:
            user = await lock_active_user(db, uuid.UUID(user_id))
            version = user.accepted_versions.get(document)
            if version is None:
                raise errors.NotFound("there is no consent to this document")
            row = Consent(user_id=user.id, document=document, version=version, action=ConsentAction.WITHDRAWN)
            db.add(row)
            await self._jobs.enqueue(db, check_pairing, user_id=user_id)

    def require_current(self, consents: Mapping[str, str]) -> None:
        """Raise RequestInvalid unless each version is the current one of its document."""
        for document, version in consents.items():
            policy = self._policies.get(document)
            if policy is None or policy.version != version:
                raise errors.RequestInvalid(
                    f"'version' is not the current one of the document {document}; read it again, and its version"
                    if policy
                    else "'document' does not exist; GET /users/me/consents lists the documents"
                )


def add_consents(db: AsyncSession, user_id: uuid.UUID, consents: Mapping[str, str]) -> None:
    """Add a user's consents, as versions by document, inside the caller's transaction."""
    for document, version in consents.items():
        db.add(Consent(user_id=user_id, document=document, version=version, action=ConsentAction.GIVEN))
