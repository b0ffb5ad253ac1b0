"""Proofs that the owner of an account sends a request: a password, a code by e-mail, a passkey or an ID token.

A proof is verified outside of a transaction, because that takes a quarter of a second or a provider's answer, and used
inside the one that does what it permits: there it is refused where the account or the proof has changed meanwhile. So
a proof that works once is spent only if what it permits happens.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from adapters.passwords import Passwords, Verdict
from models import User
from wire import rest

Body_contra = TypeVar("Body_contra", contravariant=True)


class Proof(Protocol):
    """A verified proof, which is still to be used."""

    @property
    def user_id(self) -> uuid.UUID:
        """The account that it is of."""

    @property
    def proves_second_factor(self) -> bool:
        """Whether it is a second factor by itself: a passkey whose authenticator has verified its user."""

    async def use(self, db: AsyncSession, user: User) -> None:
        """Use it inside the caller's transaction, which locks `user`; raise what a wrong proof raises."""


class ProofVerifier(Protocol[Body_contra]):
    """One kind of proof, as a member of the schema `Proof` of openapi.yaml."""

    async def verify(self, user_id: uuid.UUID, body: Body_contra) -> Proof:
        """Verify what a request contains of this kind; raise a ProductError of status 401 for a wrong proof."""


@dataclass(frozen=True, slots=True)
class PasswordProof:
    """A right password. `renewed` is the hash that replaces the account's, where that is of an older form."""

    user_id: uuid.UUID
    password_hash: str
    renewed: str | None = None
    proves_second_factor: bool = False

    async def use(self, db: AsyncSession, user: User) -> None:
        """Raise InvalidCredentials where the password has been changed meanwhile."""
        if user.password_hash != self.password_hash:
            raise errors.InvalidCredentials("The password has just been changed.")
        if self.renewed is not None:
            user.password_hash = self.renewed
            db.add(user)


class PasswordProofs:
    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords

    async def verify(self, user_id: uuid.UUID, body: str) -> PasswordProof:
        """Verify the password of an account that is logged in; raise InvalidCredentials."""
        async with self._database.transaction() as db:
            user = await db.get(User, user_id)
        proof = await self.verify_of(user, body)
        if proof is None:
            raise errors.InvalidCredentials("The password is wrong.")
        return proof

    async def verify_of(self, user: User | None, password: str) -> PasswordProof | None:
        """Verify the password of an account as it was read; return None for a wrong one, after the same time."""
        verdict = await self._passwords.verify(password, user.password_hash if user else None)
        if user is None or verdict is Verdict.WRONG:
            return None
        renewed = await self._passwords.hash(password) if verdict is Verdict.OUTDATED else None
        return PasswordProof(user.id, user.password_hash, renewed)


class ProofsService:
    """Verifies the schema `Proof` of openapi.yaml: an object with one member, which names the kind."""

    def __init__(
        self,
        passwords: ProofVerifier[str],
        email_codes: ProofVerifier[rest.EmailCodeProof],
        passkeys: ProofVerifier[rest.PasskeyProof],
        id_tokens: ProofVerifier[rest.IdTokenProof],
    ) -> None:
        self._passwords = passwords
        self._email_codes = email_codes
        self._passkeys = passkeys
        self._id_tokens = id_tokens

    async def verify(self, user_id: str, proof: rest.Proof) -> Proof:
        """Verify a proof of an account that is logged in.

        Raises RequestInvalid unless there is exactly one; and what its kind raises, such as InvalidCredentials.
        """
        if len(proof) != 1:
            raise errors.RequestInvalid("'proof' should have one of password, emailCode, passkey, idToken")
        verified = await self._verify(uuid.UUID(user_id), proof)
        if str(verified.user_id) != user_id:  # a right proof of another account
            raise errors.InvalidCredentials("This proof is of another account.")
        return verified

    async def _verify(self, user_id: uuid.UUID, proof: rest.Proof) -> Proof:
        if "password" in proof:
            return await self._passwords.verify(user_id, proof["password"])
        if "emailCode" in proof:
            return await self._email_codes.verify(user_id, proof["emailCode"])
        if "passkey" in proof:
            return await self._passkeys.verify(user_id, proof["passkey"])
        return await self._id_tokens.verify(user_id, proof["idToken"])
