"""Answers of passkeys: the challenges that they answer, and proofs of their accounts."""

from __future__ import annotations

import logging
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.passkeys import RelyingParty, VerifiedAssertion, decode_challenge, encode_challenge
from adapters.tokens import AccessTokens
from instants import utc_now
from models import Passkey, User
from services.identity.spent_tokens import spend_token
from wire import rest

log = logging.getLogger("parlance.accounts")

_CHALLENGE_BYTES = 32
Purpose = Literal["login", "register"]


@dataclass(frozen=True, slots=True)
class NewChallenge:
    """A challenge for an authenticator; `token` is its signed form, `options` what the authenticator gets (JSON)."""

    token: str
    options: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Challenge:
    value: bytes
    expires_at: datetime

    async def spend(self, db: AsyncSession) -> None:
        """Use it up inside the caller's transaction; raise PasskeyInvalid where it was answered before.

        By its value, not by its token, of which there may be other spellings.
        """
        if not await spend_token(db, f"passkey:{encode_challenge(self.value)}", self.expires_at):
            raise errors.PasskeyInvalid("This challenge was answered before.")


class PasskeyChallenges:
    """Challenges, kept in signed tokens: a request without a login adds no row."""

    def __init__(self, relying_party: RelyingParty | None, tokens: AccessTokens) -> None:
        self._relying_party = relying_party
        self._tokens = tokens

    @property
    def rp_id(self) -> str | None:
        """The domain that passkeys are for; None where the installation offers none."""
        return self._relying_party.rp_id if self._relying_party else None

    @property
    def relying_party(self) -> RelyingParty:
        """The relying party; raises NotFound where the installation offers no passkeys."""
        if self._relying_party is None:
            raise errors.NotFound("This service offers no passkeys, which need a domain; log in another way.")
        return self._relying_party

    def make_login(self) -> NewChallenge:
        """Make a challenge for a passkey of any account."""
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        options = self.relying_party.write_request_options(challenge)
        token, expires_at = self._tokens.issue_passkey_challenge(encode_challenge(challenge), purpose="login")
        return NewChallenge(token, options, expires_at)

    def make_registration(self, user: User, login_id: str, existing: list[bytes]) -> NewChallenge:
        """Make a challenge for a new passkey of an account, for one of its logins."""
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        options = self.relying_party.write_creation_options(challenge, user.id, user.email, existing)
        token, expires_at = self._tokens.issue_passkey_challenge(
            encode_challenge(challenge), purpose="register", sub=str(user.id), sid=login_id
        )
        return NewChallenge(token, options, expires_at)

    def read(self, token: str, purpose: Purpose, **claims: str) -> Challenge:
        """Read the challenge of a token that was made for this; raise PasskeyInvalid, also where none are offered."""
        if self._relying_party is None:
            raise errors.PasskeyInvalid("This service offers no passkeys.")
        try:
            challenge, expires_at = self._tokens.verify_passkey_challenge(token, purpose=purpose, **claims)
        except errors.Unauthenticated:
            raise errors.PasskeyInvalid("The challenge is wrong, too old, or of another login.") from None
        return Challenge(decode_challenge(challenge), expires_at)


@dataclass(frozen=True, slots=True)
class PasskeyProof:
    """A right answer of a passkey, whose authenticator has verified its user."""

    user_id: uuid.UUID
    passkey_id: uuid.UUID
    challenge: Challenge
    assertion: VerifiedAssertion

    @property
    def proves_second_factor(self) -> bool:
        return self.assertion.is_user_verified

    async def use(self, db: AsyncSession, user: User) -> None:
        """Spend the challenge and note the use; raise PasskeyInvalid.

        A counter that does not rise shows a copy of the key (WebAuthn, 6.1.1). Passkeys that are synced have none: they
        send 0 each time. Whether one may be synced can change, as it does in Apple's keychain.
        """
        await self.challenge.spend(db)
        passkey = await db.get(Passkey, self.passkey_id, populate_existing=True)
        if passkey is None or passkey.user_id != user.id:
            raise errors.PasskeyInvalid("This passkey was removed.")
        received = self.assertion.sign_count
        if (received or passkey.sign_count) and received <= passkey.sign_count:
            log.warning(
                "passkey_counter_refused user_id=%s passkey_id=%s stored=%d received=%d",
                user.id,
                passkey.id,
                passkey.sign_count,
                received,
            )
            raise errors.PasskeyInvalid()
        passkey.sign_count, passkey.is_synced = received, self.assertion.is_synced
        passkey.last_used_at = utc_now()
        db.add(passkey)


class PasskeyProofs:
    """Verifies the schema `PasskeyProof` of openapi.yaml."""

    def __init__(self, database: Database, challenges: PasskeyChallenges) -> None:
        self._database = database
        self._challenges = challenges

    async def verify(self, user_id: uuid.UUID, body: rest.PasskeyProof) -> PasskeyProof:
        """Verify an answer of a passkey of an account; raise PasskeyInvalid."""
        proof = await self.identify(body["challengeToken"], body["credentialJson"])
        if proof.user_id != user_id:
            raise errors.PasskeyInvalid("This passkey is of another account.")
        return proof

    async def identify(self, challenge_token: str, credential_json: str) -> PasskeyProof:
        """Verify an answer of a passkey of any account; raise PasskeyInvalid."""
        challenge = self._challenges.read(challenge_token, "login")
        relying_party = self._challenges.relying_party
        assertion = relying_party.parse_assertion(credential_json)
        async with self._database.transaction() as db:
            found = select(Passkey).where(col(Passkey.credential_id) == assertion.credential_id)
            passkey = (await db.exec(found)).first()
        # The authenticator says whose passkey it is, and has signed for that account alone.
        if passkey is None or assertion.user_handle != passkey.user_id.bytes:
            raise errors.PasskeyInvalid()
        verified = relying_party.verify_assertion(assertion, challenge.value, passkey.public_key)
        return PasskeyProof(passkey.user_id, passkey.id, challenge, verified)
