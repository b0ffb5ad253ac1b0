"""Logins with a code by e-mail, which also verify the address, and open an account where it has none."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

import errors
from adapters.database import Database
from models import EmailCodePurpose, User
from services.identity.account_opening import open_account_within
from services.identity.address_claims import AddressClaims
from services.identity.email_codes import CheckedCode, EmailCodesService
from services.identity.login_opening import Client, LoginOpeningService
from services.identity.logins import LoginsService, LoginTokens
from services.identity.user_rows import find_user_by_email
from services.safety.barred_identifiers import BarredIdentifiers

#: An account may be opened or deleted while a code is used.
_ATTEMPTS = 3


@dataclass(slots=True)
class _LoginCode:
    """A right code as the proof of a login. `ended` are the logins that it has ended, to be published."""

    user_id: uuid.UUID
    code: CheckedCode
    claims: AddressClaims
    ended: list[str] = field(default_factory=list)
    proves_second_factor: bool = False

    async def use(self, db: AsyncSession, user: User) -> None:
        # The code was mailed to another spelling than the account's, which may be another person's mailbox.
        if user.email != self.code.email:
            raise errors.CodeInvalid()
        await self.code.use(db)
        self.ended = await self.claims.claim_within(db, user)


class EmailCodeLoginsService:
    def __init__(
        self,
        database: Database,
        codes: EmailCodesService,
        claims: AddressClaims,
        logins: LoginsService,
        login_opening: LoginOpeningService,
        barred: BarredIdentifiers,
    ) -> None:
        self._database = database
        self._codes = codes
        self._claims = claims
        self._logins = logins
        self._login_opening = login_opening
        self._barred = barred

    async def login(self, challenge_id: str, email: str, code: str, client: Client) -> LoginTokens:
        """Log a device in to the account of an address; open one where it has none.

        Raises NotFound where codes are not offered, CodeInvalid, EmailTaken for an address that another account may get
        back, and what `LoginOpeningService.open` raises.
        """
        self._codes.require_offered()
        checked = await self._codes.check(challenge_id, code, EmailCodePurpose.LOGIN, email=email)
        for _ in range(_ATTEMPTS):
            async with self._database.transaction() as db:
                found = await find_user_by_email(db, email)
            if found is not None:
                return await self._log_in(_LoginCode(found.id, checked, self._claims), client)
            try:
                return await self._open_account(checked, client)
            except IntegrityError:  # another request has opened one meanwhile
                continue
        raise errors.EmailTaken()

    async def _log_in(self, proof: _LoginCode, client: Client) -> LoginTokens:
        try:
            tokens = await self._login_opening.open(proof, client)
        except (errors.AccountBanned, errors.AccountSuspended):
            await self._logins.publish_ended(proof.ended)  # this refusal has committed
            raise
        await self._logins.publish_ended(proof.ended)
        return tokens

    async def _open_account(self, code: CheckedCode, client: Client) -> LoginTokens:
        user = User(email=code.email, password_hash="", is_verified=True)
        async with self._database.transaction() as db:
            await code.use(db)
            await open_account_within(db, self._barred, user)
            tokens, _ = await self._login_opening.open_within(db, user, client)
        return tokens
